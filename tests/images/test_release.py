"""A release by selector: the agent and amavis as in their pod, each killed in the middle."""

import email
import email.policy
import json
import re
import smtplib
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from images.agent import TOKEN, ask
from images.configuration import policy, setting
from images.docker import Container, Lab, docker, eventually
from images.gateway import (
    Gateway,
    am_pdp,
    amavis_ready,
    started_agent,
    started_amavis,
    started_gateway,
    started_postfix_agent,
)
from images.mails import GTUBE, mail
from images.nexthop import started_next_hop

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
def postfix_agent(gateway: Gateway) -> Iterator[Container]:
    with started_postfix_agent(gateway, TOKEN) as agent:
        eventually(lambda: ask(agent, "POST", "/v1/receipts", {"receipts": []}), "the agent beside Postfix")
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


def settled(agent: Container, key: str, postfix_agent: Container | None = None, **more: Any) -> Any:
    """The answer when all is done. With the agent beside Postfix as the operator asks it, else nobody does."""
    known: dict[str, str | None] | None = None if postfix_agent is None else {}

    def done() -> Any:
        nonlocal known
        found = release(agent, key, receipts=known, **more)
        if found and postfix_agent:
            known = receipts(postfix_agent, found["receipts"])
        return found if found and found["nextSeconds"] is None else None

    return eventually(done, f"the end of {key}", 120)


def receipts(postfix_agent: Container, wanted: list[str]) -> dict[str, str | None]:
    """What Postfix has, and does not have, of these attempts."""
    found = ask(postfix_agent, "POST", "/v1/receipts", {"receipts": wanted})
    return dict.fromkeys(found["missing"]) | found["taken"]


def records(gateway: Gateway, key: str) -> int:
    directory = gateway.amavis_volumes["/var/lib/amavis/quarantine"] / ".releases"
    return len(list(directory.glob(f"{key}.*")))


def copies(gateway: Gateway, subjects: list[str]) -> Counter[int]:
    """How many mails the next hop has so many times."""
    gateway.idle()
    text = "\n".join(gateway.delivered(subjects[0][0]))
    return Counter(text.count(f"\nSubject: {subject}\n") for subject in subjects)


@pytest.mark.parametrize("victim", ["agent", "amavis", "postfix"])
def test_each_mail_is_released_once_whoever_is_killed_meanwhile(
    gateway: Gateway, agent: Container, postfix_agent: Container, original: str, victim: str
) -> None:
    subjects = hold(gateway, original, victim[1], 30)
    killed = {"agent": agent, "amavis": gateway.amavis, "postfix": gateway.postfix}[victim]
    key = f"while-{victim}-dies"
    first = threading.Thread(target=release, args=(agent, key), kwargs={"receipts": {}})
    eventually(lambda: (ask(agent, "GET", "/v1/held?limit=1") or {}).get("complete"), "all files are known")
    first.start()
    eventually(lambda: records(gateway, key) >= 5, "some are released")
    docker("kill", "--signal", "KILL", killed.name)
    assert records(gateway, key) < 30, "killed in the middle"
    killed.start()
    amavis_ready(gateway.amavis)
    first.join()
    found = settled(agent, key, postfix_agent)
    assert found["counts"] == {"total": 30, "released": 30, "failed": 0, "retrying": 0, "infected": 0}, found
    assert copies(gateway, subjects) == {1: 30}


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
    assert re.fullmatch(r"[0-9a-f]{32}", report["X-Release-Receipt"])
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


def interrupted(gateway: Gateway, held: str, key: str, receipt: str) -> None:
    """As amavis leaves it that died while it handed the mail over."""
    path = f"/var/lib/amavis/quarantine/.releases/{key}.{held.rpartition('/')[2].removesuffix('.gz')}"
    content = {"state": "started", "recipients": [], "replies": [], "receipt": receipt, "recipient": "bob@example.com"}
    gateway.amavis.run("sh", "-c", 'cat > "$0"', path, stdin=json.dumps(content).encode())


def receipt_now() -> str:
    return f"{int(time.time()):08x}{uuid.uuid4().hex[8:]}"


def submitted(gateway: Gateway, receipt: str) -> smtplib.SMTP:
    """A mail with a receipt, as amavis hands it over, but for the dot."""
    client = smtplib.SMTP(gateway.postfix.address, 10025, timeout=30)
    client.ehlo()
    assert client.mail("alice@client.example")[0] == client.rcpt("bob@example.com")[0] == 250
    assert client.docmd("DATA")[0] == 354
    client.send(f"X-Release-Receipt: {receipt}\r\nSubject: given back\r\n\r\nhello\r\n".encode())
    return client


@pytest.mark.parametrize("queued", [True, False], ids=["in-the-queue", "delivered"])
def test_a_mail_that_postfix_has_is_not_sent_again(
    gateway: Gateway, agent: Container, postfix_agent: Container, queued: bool
) -> None:
    subject = f"taken already {queued}"
    gateway.send(mail(subject, GTUBE))
    held, receipt = gateway.report(subject)["quarantine"], receipt_now()
    if queued:
        # Where the link cannot be made, the mail waits with its receipt.
        gateway.postfix.run("chmod", "a-w", "/var/spool/postfix/receipts")
    with submitted(gateway, receipt) as client:
        code, answered = client.docmd(".")
    assert code == 250
    queue_id = answered.decode().rpartition(" ")[2]
    if queued:
        # Should it never work, the sender is not told: DSN_NOTIFY_NEVER.
        envelope = gateway.postfix.run("postcat", "-eq", queue_id).stdout.decode()
        assert f"notify_flags=1\noriginal_recipient: {receipt}@release-receipts.invalid\n" in envelope
    else:
        gateway.idle()
    interrupted(gateway, held, f"taken-{queued}", receipt)
    found = settled(agent, f"taken-{queued}", postfix_agent, selector=None, messages=[held])
    (one,) = found["messages"]
    assert (one["result"], one["queueId"]) == ("Released", queue_id), one
    gateway.postfix.run("chmod", "755", "/var/spool/postfix/receipts")
    gateway.idle()
    assert gateway.delivered(subject) == []
    (given,) = [text for text in gateway.delivered("given back") if receipt in text]
    assert re.findall(r"^X-Rcpt-Args: (\S+)", given, re.MULTILINE) == ["<bob@example.com>"]


def test_a_mail_that_is_under_way_is_neither_taken_nor_missing(
    gateway: Gateway, agent: Container, postfix_agent: Container
) -> None:
    gateway.send(mail("under way", GTUBE))
    held, receipt = gateway.report("under way")["quarantine"], receipt_now()
    interrupted(gateway, held, "under-way", receipt)
    asked = {"selector": None, "messages": [held]}
    with closing(submitted(gateway, receipt)):
        known: dict[str, str | None] = {}
        for _ in range(4):
            found = release(agent, "under-way", receipts=known, **asked)
            (one,) = found["messages"]
            assert (one["result"], one["reason"], found["receipts"]) == ("Retrying", "Interrupted", [receipt]), found
            known = receipts(postfix_agent, [receipt])
            assert known == {}
    # The client has gone without the dot: the mail is lost to Postfix, and known to be.
    found = settled(agent, "under-way", postfix_agent, **asked)
    assert found["messages"][0]["result"] == "Released"
    gateway.idle()
    assert len(gateway.delivered("under way")) == 1


def test_whoever_asks_nobody_is_told_that_it_is_not_known(gateway: Gateway, agent: Container) -> None:
    gateway.send(mail("not looked up", GTUBE))
    held = gateway.report("not looked up")["quarantine"]
    interrupted(gateway, held, "alone", receipt_now())
    found = settled(agent, "alone", selector=None, messages=[held])
    (one,) = found["messages"]
    assert (one["result"], one["reason"]) == ("Failed", "Interrupted"), one
    gateway.idle()
    assert gateway.delivered("not looked up") == []


def test_nobody_outside_can_forge_a_receipt(gateway: Gateway) -> None:
    receipt = receipt_now()
    for subject, content in (("forged clean", "hello"), ("forged spam", GTUBE)):
        message = mail(subject, content)
        message["X-Release-Receipt"] = receipt
        gateway.send(message)
    held = gateway.report("forged spam")["quarantine"]
    assert gateway.release(held, "bob@example.com", key="forged")[0].startswith("250 2.0.0 ")
    gateway.idle()
    (clean,), (spam,) = gateway.delivered("forged clean"), gateway.delivered("forged spam")
    assert "X-Release-Receipt" not in clean
    assert receipt not in spam
    assert len(re.findall(r"^X-Release-Receipt: [0-9a-f]{32}$", spam, re.MULTILINE)) == 1
    assert receipt not in gateway.postfix.run("ls", "/var/spool/postfix/receipts").stdout.decode()


def test_what_postfix_did_not_answer_is_not_known(lab: Lab) -> None:
    """It may have the mail: it is not sent again before Postfix was asked."""
    policy_map, quarantine = lab.config_map({"policy.json": json.dumps(policy())}), lab.volume()
    header = (
        "X-Envelope-From: <alice@client.example>\nX-Envelope-To: <bob@example.com>\nX-Quarantine-ID: <hAbcDEfgh123>\n"
    )
    held = f"{header}From: alice@client.example\nSubject: held\n\nhello\n"
    request = ["request=release", "mail_id=hAbcDEfgh123", "mail_file=spam/hAbcDEfgh123", "quar_type=F"]
    request += ["recipient=%3Cbob@example.com%3E", "policy_bank=RELEASE-k"]
    with started_next_hop(lab, "bob@example.com", dying=True) as postfix:
        address = postfix.address.replace("[", "").replace("]", "")
        with started_amavis(lab, policy_map, quarantine, lab.volume(), AMAVIS_RELEASE_TO=address) as amavis:
            amavis_ready(amavis)
            amavis.run("sh", "-c", "cat > /var/lib/amavis/quarantine/spam/hAbcDEfgh123", stdin=held.encode())
            replies = [am_pdp(amavis, request) for _ in range(2)]
            record = amavis.read("/var/lib/amavis/quarantine/.releases/k.hAbcDEfgh123")
    assert replies == [["450 4.5.0 release interrupted"]] * 2
    (sent,) = postfix.mails
    found = json.loads(record or b"{}")
    assert (found["state"], found["recipient"]) == ("started", "bob@example.com")
    assert f"X-Release-Receipt: {found['receipt']}\r\n".encode() in sent
