"""Mail filtered after the queue and before it, on the real chain: what the client hears, what is delivered and held."""

import smtplib
from collections.abc import Iterator
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest

from images.configuration import policy, senders, setting
from images.gateway import Gateway, amavis_ready, clamd_ready
from images.mails import EICAR, GTUBE, exe, mail, scored
from mailfilter.agent import heldmail
from mailfilter.agent.index import Index
from mailfilter.agent.search import Query
from mailfilter.agent.volume import Volume
from support.scores import OUTCOMES, SCORE_RULES, SCORES

BOB, CAROL, DORA = "bob@example.com", "carol@example.com", "dora@example.org"
in_before_queue = pytest.mark.parametrize("chain", ["BeforeQueue"], indirect=True)
in_after_queue = pytest.mark.parametrize("chain", ["AfterQueue"], indirect=True)

# example.org is a domain with overrides.
LEVELS = {
    "tag": setting(2.0, {"example.org": 0}),
    "tag2": setting(5.0, {"example.org": 2}),
    "kill": setting(5.0, {"example.org": 9.99}),
    "cutoff": setting(10.0, {"example.org": 10.01}),
}
REJECTING = {
    "virus": setting("Reject"),
    "spam": setting("Discard"),
    "banned": setting("Reject"),
    "badHeader": setting("Pass"),
}


def rejecting(**changes: Any) -> dict[str, Any]:
    """What a gateway refuses in BeforeQueue."""
    return policy(
        **({"destiny": REJECTING, "aboveCutoff": "Reject", "levels": LEVELS, "spamRules": SCORE_RULES} | changes)
    )


@pytest.fixture
def gateway(chain: Gateway) -> Iterator[Gateway]:
    chain.set_policy(rejecting())
    yield chain
    chain.idle()
    senders = [line for text in chain.delivered("") for line in text.splitlines() if line.startswith("X-Mail-Args: <>")]
    assert not senders, "a bounce"


def became(gateway: Gateway, message: Any, *recipients: str) -> str:
    """What became of a mail, in one word: refused, clean, tagged, marked, held or gone."""
    subject = str(message["Subject"])
    code, text = gateway.answer(message, *recipients)
    assert "REJECT" not in text, text
    report = gateway.report(subject)
    gateway.idle()
    found = [one for tag in ("", "***SPAM*** ") for one in gateway.delivered(f"{tag}{subject}")]
    if code != 250:
        assert (code, found) == (554, []), text
        return "refused and held" if "quarantine" in report else "refused"
    if not found:
        return "held" if "quarantine" in report else "gone"
    assert "quarantine" not in report
    (head,) = (one.partition("\n\n")[0] for one in found)
    return "marked" if "X-Spam-Flag: YES" in head else "tagged" if "X-Spam-Status: No" in head else "clean"


@pytest.mark.parametrize("recipient", OUTCOMES)
def test_b50_what_becomes_of_each_score(gateway: Gateway, recipient: str) -> None:
    over = "refused" if gateway.before_queue else "gone"
    gateway.set_policy(rejecting(aboveCutoff="Reject" if gateway.before_queue else "Discard"))
    found = [became(gateway, scored(f"score {score} of {recipient}", score), recipient) for score in SCORES]
    assert found == [outcome.replace("over", over) for outcome in OUTCOMES[recipient]]


CONTENTS = {"clean": lambda: mail("content clean", "hello"), "spam": lambda: mail("content spam", GTUBE)}
CONTENTS |= {"virus": lambda: mail("content virus", EICAR), "banned": lambda: exe("content banned")}


@in_before_queue
@pytest.mark.parametrize(
    ("content", "outcome"),
    [("clean", "clean"), ("spam", "refused"), ("virus", "refused and held"), ("banned", "refused and held")],
)
def test_before_the_queue_the_client_hears_of_a_refusal(gateway: Gateway, content: str, outcome: str) -> None:
    assert became(gateway, CONTENTS[content]()) == outcome


@in_after_queue
def test_what_is_in_the_queue_is_never_refused(gateway: Gateway) -> None:
    """Also while a change of mode is on its way, and the policy already says Reject."""
    for content in ("spam", "virus", "banned"):
        assert became(gateway, CONTENTS[content]()) == "held"


def test_one_recipient_who_may_have_it_keeps_it_from_being_refused(gateway: Gateway) -> None:
    wanted = "lenient@example.com"
    kill = setting(5.0, {wanted: 2000})
    gateway.set_policy(rejecting(levels=LEVELS | {"kill": kill}))
    code, text = gateway.answer(mail("one may have it", GTUBE), BOB, wanted)
    assert code == 250
    assert "REJECT" not in text
    assert gateway.verdicts("one may have it") == {BOB: "DISCARD", wanted: "PASS"}
    gateway.idle()
    (delivered,) = gateway.delivered("***SPAM*** one may have it")
    assert f"X-Rcpt-Args: <{wanted}>" in delivered
    # Although it is above bob's cutoff: nobody was told that it is gone.
    identity = str(gateway.report("one may have it")["quarantine"])
    (reply,) = gateway.release(identity, BOB, key="one-may-have-it")
    assert reply.startswith("250 2.0.0 ")


@pytest.mark.parametrize(
    "spare",
    [
        {"spamEnabled": setting(True, {CAROL: False})},
        {"destiny": REJECTING | {"spam": setting("Discard", {CAROL: "Pass"})}},
    ],
    ids=["not checked", "passed"],
)
def test_a_recipient_whose_spam_passes_gets_it_and_the_other_is_not_refused(
    gateway: Gateway, spare: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    gateway.set_policy(rejecting(**spare))
    subject = f"spared {request.node.name}"
    code, text = gateway.answer(mail(subject, GTUBE), BOB, CAROL)
    assert (code, "REJECT" in text) == (250, False)
    assert gateway.verdicts(subject) == {BOB: "DISCARD", CAROL: "PASS"}
    assert "quarantine" in gateway.report(subject)


def test_one_between_the_levels_and_one_above_are_held(gateway: Gateway) -> None:
    """10.0 is above the cutoff of one and below the other's."""
    code, text = gateway.answer(scored("two levels", "10.0"), BOB, DORA)
    assert (code, "REJECT" in text) == (250, False)
    assert gateway.verdicts("two levels") == {BOB: "DISCARD", DORA: "DISCARD"}
    assert str(gateway.report("two levels")["quarantine"]) in gateway.held()


@pytest.mark.parametrize("kind", ["virus", "banned"])
@pytest.mark.parametrize("other", ["Pass", "Discard"])
def test_destinies_that_differ_by_recipient_refuse_nothing(gateway: Gateway, kind: str, other: str) -> None:
    subject = f"{kind} and {other}"
    gateway.set_policy(rejecting(destiny=REJECTING | {kind: setting("Reject", {CAROL: other})}))
    message = mail(subject, EICAR) if kind == "virus" else exe(subject)
    code, text = gateway.answer(message, BOB, CAROL)
    assert (code, "REJECT" in text) == (250, False)
    assert gateway.verdicts(subject) == {BOB: "DISCARD", CAROL: other.upper()}
    gateway.idle()
    tag = "***INFECTED*** " if kind == "virus" else ""
    assert len(gateway.delivered(f"{tag}{subject}")) == (other == "Pass")
    assert str(gateway.report(subject)["quarantine"]).startswith(f"{kind}/")


@in_before_queue
def test_a_denied_sender_is_refused(gateway: Gateway) -> None:
    gateway.set_policy(rejecting(senders=senders(deny=["alice@client.example"])))
    assert became(gateway, mail("denied", "hello")) == "refused"


def test_amavis_knows_the_client(gateway: Gateway) -> None:
    gateway.send(mail("known client", "hello"))
    assert gateway.report("known client")["client_ip"] not in (gateway.postfix.address, "")


@in_before_queue
def test_a_session_goes_on_after_a_refusal_also_in_chunks(gateway: Gateway) -> None:
    """BDAT (RFC 3030) is what large senders use."""
    with smtplib.SMTP(gateway.postfix.address, 2525, timeout=60) as client:
        client.ehlo()
        assert client.has_extn("chunking")
        for subject, body, expected in (("chunked", GTUBE, 554), ("chunked too", "Grüße", 250)):
            octets = mail(subject, body).as_bytes(policy=SMTP.clone(cte_type="8bit"))
            client.mail("alice@client.example", ["BODY=8BITMIME"])
            client.rcpt(BOB)
            client.send(b"BDAT %d\r\n%b" % (20, octets[:20]))
            assert client.getreply()[0] == 250
            client.send(b"BDAT %d LAST\r\n%b" % (len(octets) - 20, octets[20:]))
            assert client.getreply()[0] == expected
    gateway.idle()
    (delivered,) = gateway.delivered("chunked")
    assert delivered.rstrip().endswith("Grüße")


@in_before_queue
def test_b61_an_internationalised_sender_passes(gateway: Gateway) -> None:
    with smtplib.SMTP(gateway.postfix.address, 2525, timeout=60) as client:
        client.ehlo()
        client.mail("пример@client.example", ["SMTPUTF8", "BODY=8BITMIME"])
        client.rcpt(BOB)
        assert client.data(mail("smtputf8", "hello", sender="пример@client.example").as_bytes(policy=SMTP))[0] == 250
    assert gateway.report("smtputf8")["mail_from"] == "пример@client.example"


@in_before_queue
def test_without_clamd_clients_are_told_to_try_later(gateway: Gateway) -> None:
    gateway.clamd.stop()
    for content in ("clean", "virus"):
        code, text = gateway.answer(CONTENTS[content]())
        assert code == 451, text
    assert gateway.queue() == []
    gateway.clamd.start()
    clamd_ready(gateway.clamd)
    assert became(gateway, mail("after clamd", "hello")) == "clean"


@in_before_queue
def test_without_amavis_clients_are_told_to_try_later(gateway: Gateway) -> None:
    gateway.amavis.stop()
    code, text = gateway.answer(mail("no amavis", "hello"))
    assert code == 451, text
    assert gateway.queue() == []
    gateway.amavis.start()
    amavis_ready(gateway.amavis)
    assert became(gateway, mail("after amavis", "hello")) == "clean"


@in_after_queue
def test_the_index_reads_what_amavis_stores(gateway: Gateway, tmp_path: Path) -> None:
    """The agent's reading of amavis' files, with the very amavis that writes them."""
    index = Index(tmp_path / "held.sqlite")
    volume = Volume(tmp_path / "quarantine", index)
    rules = f"{SCORE_RULES}body POUND /pound/\nscore POUND 6.5\n"
    gateway.set_policy(rejecting(spamRules=rules, destiny=REJECTING | {"virus": setting("Discard")}))
    spam = mail("indexed spam", "a pound of flesh", sender="shylock@client.example")
    gateway.send(spam, BOB, CAROL)
    gateway.send(mail("indexed virus", EICAR), BOB)
    for subject in ("indexed spam", "indexed virus"):
        stored = gateway.report(subject)["quarantine"]
        file = tmp_path / "quarantine" / stored
        file.parent.mkdir(parents=True)
        file.write_bytes(gateway.amavis.read(f"/var/lib/amavis/quarantine/{stored}") or b"")
    volume.sync()
    (virus,) = index.search(Query(kind="virus"), 10)
    assert (virus.subject, virus.infected, virus.recipients) == ("indexed virus", True, (BOB,))
    assert virus.alerts[0].startswith("INFECTED, message contains virus: ")
    (held,) = index.search(Query(kind="spam", sender="@client.example", recipient=CAROL, subject="SPAM"), 10)
    assert (held.sender, held.recipients) == ("shylock@client.example", (BOB, CAROL))
    assert held.score == gateway.report("indexed spam")["spam_score"]
    tests = heldmail.read(tmp_path / "quarantine" / held.id).tests
    assert tests["POUND"] == 6.5
    assert sum(tests.values()) == pytest.approx(held.score, abs=0.01)


def test_an_archive_that_nobody_could_open_is_held_and_released(gateway: Gateway) -> None:
    gateway.set_policy(rejecting(encryptedArchives="Quarantine"))
    message = mail("unopened, held", "see attachment")
    message.add_attachment(b"ALZ\1" + bytes(200), maintype="application", subtype="octet-stream", filename="a.alz")
    assert became(gateway, message) == "held"
    report = gateway.report("unopened, held")
    assert report["content_type"] == "Unchecked"
    assert [one["name"] for one in report["unopened"]] == ["a.alz"]
    (reply,) = gateway.release(report["quarantine"], BOB)
    assert reply.startswith("250 2.0.0 ")
    gateway.idle()
    assert len(gateway.delivered("unopened, held")) == 1


def test_an_archive_that_nobody_could_open_is_marked(gateway: Gateway) -> None:
    message = mail("unopened, marked", "see attachment")
    message.add_attachment(b"ALZ\1" + bytes(200), maintype="application", subtype="octet-stream", filename="a.alz")
    assert gateway.answer(message)[0] == 250
    gateway.idle()
    assert len(gateway.delivered("***UNCHECKED*** unopened, marked")) == 1
