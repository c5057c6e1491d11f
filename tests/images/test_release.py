"""A release by selector: the agent and amavis as in their pod, each killed in the middle."""

import email
import email.policy
import json
import threading
from collections import Counter
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from images.agent import TOKEN, ask
from images.docker import Container, Lab, docker, eventually
from images.gateway import (
    GTUBE,
    Gateway,
    am_pdp,
    amavis_ready,
    mail,
    policy,
    setting,
    started_agent,
    started_amavis,
    started_gateway,
)
from images.nexthop import started_next_hop
from mailfilter.agent.release import UNANSWERED

SENDER = "offers@client.example"


def message_from_string(text: str) -> EmailMessage:
    found = email.message_from_string(text, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


@pytest.fixture(scope="module")
def gateway(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    lab = Lab(images, network, tmp_path_factory.mktemp("release"))
    with started_gateway(lab, {"AMAVIS_MAX_SERVERS": "3"}) as gateway:
        gateway.set_policy(policy(levels=policy()["levels"] | {"cutoff": setting(2000.0)}))
        yield gateway


@pytest.fixture(scope="module")
def agent(gateway: Gateway) -> Iterator[Container]:
    with started_agent(gateway, TOKEN, parallel=2) as agent:
        yield agent


@pytest.fixture(scope="module")
def original(gateway: Gateway) -> str:
    """A held spam, from which others are copied."""
    gateway.send(mail("original", GTUBE, sender="alice@client.example"))
    held: str = gateway.report("original")["quarantine"]
    return held


def hold(gateway: Gateway, original: str, letter: str, number: int) -> list[str]:
    """So many more held mails, each of its own subject."""
    quarantine = gateway.amavis_volumes["/var/lib/amavis/quarantine"]
    program = (
        "use IO::Uncompress::Gunzip '$GunzipError'; use IO::Compress::Gzip '$GzipError';"
        "my ($source, $id, $letter, $number) = @ARGV;"
        "IO::Uncompress::Gunzip::gunzip($source => \\my $mail) or die;"
        'mkdir "spam/$letter";'
        "for my $n (1 .. $number) { my $new = sprintf('%s%011d', $letter, $n); my $copy = $mail;"
        "  $copy =~ s/$id/$new/g; $copy =~ s/Subject: original/Subject: $new/; $copy =~ s/alice\\@/offers\\@/g;"
        '  IO::Compress::Gzip::gzip(\\$copy => "spam/$letter/$new.gz") or die }'
    )
    mail_id = original.rpartition("/")[2].removesuffix(".gz")
    gateway.amavis.run(
        "sh",
        "-c",
        'cd /var/lib/amavis/quarantine && exec perl -e "$0" "$@"',
        program,
        original,
        mail_id,
        letter,
        str(number),
    )
    assert len(list(Path(quarantine, "spam", letter).glob(f"{letter}0000*"))) == number
    return [f"{letter}{one:011}" for one in range(1, number + 1)]


def release(agent: Container, key: str, **more: Any) -> Any:
    body = {"key": key, "selector": {"sender": SENDER}} | more
    given = {name: value for name, value in body.items() if value is not None}
    return ask(agent, "POST", "/v1/releases", given)


def settled(agent: Container, key: str, **more: Any) -> Any:
    """The answer when all is done."""

    def done() -> Any:
        found = release(agent, key, **more)
        return found if found and found["nextSeconds"] is None else None

    return eventually(done, f"the end of {key}", 120)


def records(gateway: Gateway, key: str) -> int:
    directory = gateway.amavis_volumes["/var/lib/amavis/quarantine"] / ".releases"
    return len(list(directory.glob(f"{key}.*")))


def copies(gateway: Gateway, subjects: list[str]) -> Counter[int]:
    """How many mails the next hop has so many times."""
    gateway.idle()
    text = "\n".join(gateway.delivered(subjects[0][0]))
    return Counter(text.count(f"\nSubject: {subject}\n") for subject in subjects)


@pytest.mark.parametrize("victim", ["agent", "amavis"])
def test_each_mail_is_released_once_whoever_is_killed_meanwhile(
    gateway: Gateway, agent: Container, original: str, victim: str
) -> None:
    subjects = hold(gateway, original, victim[1], 30)
    killed = agent if victim == "agent" else gateway.amavis
    key = f"while-{victim}-dies"
    first = threading.Thread(target=release, args=(agent, key))
    eventually(lambda: (ask(agent, "GET", "/v1/held?limit=1") or {}).get("complete"), "all files are known")
    first.start()
    eventually(lambda: records(gateway, key) >= 5, "some are released")
    docker("kill", "--signal", "KILL", killed.name)
    assert records(gateway, key) < 30, "killed in the middle"
    killed.start()
    amavis_ready(gateway.amavis)
    first.join()
    found = settled(agent, key)
    interrupted = [one for one in found["failures"] if one["reason"] == "Interrupted"]
    assert found["counts"]["total"] == 30
    assert found["counts"]["released"] == 30 - len(interrupted)
    if victim == "agent":
        assert copies(gateway, subjects) == {1: 30}
    else:
        # Of what amavis had in its hands nobody knows.
        assert len(interrupted) <= 2
        assert copies(gateway, subjects).keys() <= {0, 1}
        assert copies(gateway, subjects)[0] <= len(interrupted)


def test_b12_a_mail_larger_than_what_spamassassin_sees_is_held_and_given_back_whole(
    gateway: Gateway, agent: Container
) -> None:
    lines = [f"line {number:06}" for number in range(50_000)]
    gateway.send(mail("large", "\n".join([GTUBE, *lines])))
    held = gateway.report("large")["quarantine"]
    found = settled(agent, "large", selector=None, messages=[held])
    assert found["counts"]["released"] == 1
    gateway.idle()
    assert "\r\n\r\n" + "\r\n".join([GTUBE, *lines]) in gateway.raw("large").decode()


def test_a_release_is_reported_once_with_the_mail_attached(gateway: Gateway, agent: Container) -> None:
    gateway.send(mail("mistaken", f"our offer\n{GTUBE}", sender="alice@client.example"))
    held = gateway.report("mistaken")["quarantine"]
    for _ in range(2):
        found = settled(agent, "reported", selector=None, messages=[held], reportTo=["learn@example.com"])
        assert found["counts"]["released"] == 1, found
    gateway.idle()
    assert len(gateway.delivered("mistaken")) == 1
    (text,) = gateway.delivered("Fw: mistaken")
    assert "X-Rcpt-Args: <learn@example.com>" in text
    report = message_from_string(text)
    assert (report.get_content_type(), report.get_param("report-type")) == ("multipart/report", "feedback-report")
    words, feedback, attached = list(report.iter_parts())
    assert words.get_content_type() == "text/plain"
    assert "Feedback-Type: not-spam" in feedback.as_string()
    assert "Original-Mail-From: <alice@client.example>" in feedback.as_string()
    (mistaken,) = attached.iter_parts()
    assert mistaken["Subject"] == "mistaken"
    assert "our offer" in mistaken.get_content()


def test_a_report_that_postfix_refuses_is_a_failure(gateway: Gateway, agent: Container) -> None:
    gateway.send(mail("unreported", GTUBE))
    held = gateway.report("unreported")["quarantine"]
    found = settled(agent, "unreported", selector=None, messages=[held], reportTo=["learn@elsewhere.example"])
    (one,) = found["messages"]
    assert (one["result"], one["reason"]) == ("Failed", "NotReported"), one
    assert one["reply"].startswith("released, but not reported: 5")
    gateway.idle()
    assert len(gateway.delivered("unreported")) == 1


def test_deleted_once_released(gateway: Gateway, agent: Container, original: str) -> None:
    subjects = hold(gateway, original, "d", 3)
    found = settled(agent, "deleting", deleteAfter=True)
    assert found["counts"]["released"] == found["counts"]["total"] >= 3
    assert copies(gateway, subjects) == {1: 3}
    assert [name for name in gateway.held() if name.startswith("spam/d/d0000")] == []
    assert original in gateway.held()


def test_the_reply_when_postfix_dies_between_a_mail_and_its_answer(lab: Lab) -> None:
    """It may have the mail: the agent knows by this reply that it must not send it again."""
    policy_map, quarantine = lab.config_map({"policy.json": json.dumps(policy())}), lab.volume()
    header = (
        "X-Envelope-From: <alice@client.example>\nX-Envelope-To: <bob@example.com>\nX-Quarantine-ID: <hAbcDEfgh123>\n"
    )
    held = f"{header}From: alice@client.example\nSubject: held\n\nhello\n"
    request = ["request=release", "mail_id=hAbcDEfgh123", "mail_file=spam/hAbcDEfgh123", "quar_type=F"]
    with started_next_hop(lab, "bob@example.com", dying=True) as postfix:
        address = postfix.address.replace("[", "").replace("]", "")
        with started_amavis(lab, policy_map, quarantine, lab.volume(), AMAVIS_RELEASE_TO=address) as amavis:
            amavis_ready(amavis)
            amavis.run("sh", "-c", "cat > /var/lib/amavis/quarantine/spam/hAbcDEfgh123", stdin=held.encode())
            (reply,) = am_pdp(amavis, [*request, "recipient=%3Cbob@example.com%3E", "policy_bank=RELEASE-k"])
    assert reply.endswith(UNANSWERED)
    assert len(postfix.mails) == 1
