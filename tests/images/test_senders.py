"""Senders' lists through the real chain: each pattern against each sender, and which list goes first."""

import base64
import gzip
import hashlib
import json
import smtplib
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from images.configuration import policy, senders
from images.docker import Lab
from images.gateway import Gateway, amavis_ready, started_amavis
from images.mails import GTUBE, mail
from mailfilter.policy.longlists import parse, rendered

NEUTRAL = "author@neutral.example"
NUMBERS = count()


@pytest.fixture(scope="module")
def gateway(after_queue: Gateway) -> Iterator[Gateway]:
    yield after_queue
    after_queue.idle()


def listed(gateway: Gateway, by: dict[str, Any] | None = None, **lists: Any) -> None:
    """Gives amavis these lists."""
    gateway.set_policy(policy(senders=senders(by, **lists)))


def judged(
    gateway: Gateway, sender: str, *recipients: str, author: str = NEUTRAL, body: str = "How are you?"
) -> dict[str, Any]:
    """amavis' report on a mail; by recipient under `by`."""
    subject = f"sender {next(NUMBERS)}"
    message = mail(subject, body, sender=author, to="bob@example.com")
    utf8 = [] if sender.isascii() else ["SMTPUTF8"]
    with smtplib.SMTP(gateway.postfix.address, 2525, timeout=30) as client:
        client.ehlo("client.example")
        client.mail(sender, utf8)
        for recipient in recipients or ("bob@example.com",):
            assert client.rcpt(recipient)[0] == 250
        assert client.data(message.as_bytes())[0] == 250
    report = gateway.report(subject)
    return report | {"by": {one["rcpt_to"].strip("<>"): one for one in report["recipients"]}}


SENDERS = (
    "USER@EXAMPLE.com",
    "other@example.com",
    "user+tag@example.com",
    "user@sub.example.com",
    "user@xn--exmple-cua.de",
    "user@exämple.de",
    "u@SUB.exämple.de",
    "user@notexample.com",
    "",
)
MATCHES: dict[str, set[str]] = {
    "User@Example.COM": {"USER@EXAMPLE.com"},
    "example.com": {"USER@EXAMPLE.com", "other@example.com", "user+tag@example.com"},
    "@example.com": {"USER@EXAMPLE.com", "other@example.com", "user+tag@example.com"},
    "*@Example.com": {"USER@EXAMPLE.com", "other@example.com", "user+tag@example.com"},
    ".example.com": {"USER@EXAMPLE.com", "other@example.com", "user+tag@example.com", "user@sub.example.com"},
    "*.example.com": {"USER@EXAMPLE.com", "other@example.com", "user+tag@example.com", "user@sub.example.com"},
    ".com": {
        "USER@EXAMPLE.com",
        "other@example.com",
        "user+tag@example.com",
        "user@sub.example.com",
        "user@notexample.com",
    },
    "exämple.de": {"user@xn--exmple-cua.de", "user@exämple.de"},
    "*.EXÄMPLE.de": {"user@xn--exmple-cua.de", "user@exämple.de", "u@SUB.exämple.de"},
    "user@exämple.de": {"user@xn--exmple-cua.de", "user@exämple.de"},
    "user+tag@example.com": {"user+tag@example.com"},
    "user@*": {
        "USER@EXAMPLE.com",
        "user@sub.example.com",
        "user@xn--exmple-cua.de",
        "user@exämple.de",
        "user@notexample.com",
    },
    "<>": {""},
}


@pytest.mark.parametrize(("name", "mark"), [("deny", "blacklisted"), ("allow", "whitelisted")])
def test_b46_b20_each_pattern_matches_what_it_says(gateway: Gateway, name: str, mark: str) -> None:
    """One recipient a pattern, so that one mail asks about them all."""
    recipients = {f"r{number}@example.com": pattern for number, pattern in enumerate(MATCHES)}
    listed(gateway, {who: {name: [pattern]} for who, pattern in recipients.items()})
    found: dict[str, set[str]] = {pattern: set() for pattern in MATCHES}
    for sender in SENDERS:
        by = judged(gateway, sender, *recipients)["by"]
        assert set(by) == set(recipients)
        for who, pattern in recipients.items():
            if by[who].get(mark):
                found[pattern].add(sender)
    assert found == MATCHES


@pytest.mark.parametrize(
    ("envelope", "allow"),
    [
        ("SRS0=ab1=Cd=sender.example=info@forwarder.example", "info@sender.example"),
        ("bounces+123-user=rcpt.example@bounce.sender.example", "sender.example"),
        ("", "*@sender.example"),
    ],
    ids=["srs", "verp", "null"],
)
def test_b47_the_author_counts_as_well_as_the_envelope(gateway: Gateway, envelope: str, allow: str) -> None:
    listed(gateway, allow=[allow])
    assert judged(gateway, envelope, author="Info <info@sender.example>", body=GTUBE)["content_type"] == "Clean"
    assert judged(gateway, envelope, body=GTUBE)["content_type"] == "Spam"


def test_a_name_without_domain_is_not_the_null_sender(gateway: Gateway) -> None:
    listed(gateway, allow=["<>"])
    assert judged(gateway, "eve@client.example", author="root", body=GTUBE)["content_type"] == "Spam"


@pytest.mark.parametrize(
    ("lists", "sender", "author", "verdict"),
    [
        ({"deny": ["a@x.example"], "allow": ["a@x.example"]}, "a@x.example", NEUTRAL, "Spam"),
        ({"deny": [".example"], "allow": ["a@x.example"]}, "a@x.example", NEUTRAL, "Spam"),
        ({"deny": ["a@x.example"], "allow": ["b@y.example"]}, "a@x.example", "b@y.example", "Spam"),
        ({"deny": ["a@x.example"], "allow": ["b@y.example"]}, "b@y.example", "a@x.example", "Spam"),
        ({"allow": ["x.example"], "scores": [{"sender": "x.example", "score": 99}]}, "a@x.example", NEUTRAL, "Clean"),
        ({"deny": ["x.example"], "scores": [{"sender": "x.example", "score": -99}]}, "a@x.example", NEUTRAL, "Spam"),
    ],
)
def test_denied_goes_before_allowed_and_both_before_scores(
    gateway: Gateway, lists: dict[str, Any], sender: str, author: str, verdict: str
) -> None:
    listed(gateway, **lists)
    assert judged(gateway, sender, author=author)["content_type"] == verdict


def test_the_nearer_list_decides(gateway: Gateway) -> None:
    """The recipient's own, then the domain's, then everybody's."""
    listed(
        gateway,
        {
            "bob@example.com": {"allow": ["pest@x.example"]},
            "example.com": {"allow": ["friend@x.example"], "deny": ["foe@x.example"]},
            "eve@example.com": {"deny": ["friend@x.example"], "scores": [{"sender": "x.example", "score": 1}]},
        },
        deny=["pest@x.example", "friend@x.example"],
        scores=[{"sender": "x.example", "score": 3}],
    )

    def opinions(sender: str) -> list[str]:
        everybody = ("bob@example.com", "eve@example.com", "carol@example.com", "dave@example.org")
        by = judged(gateway, sender, *everybody)["by"]
        return [
            "deny" if by[who].get("blacklisted") else "allow" if by[who].get("whitelisted") else "" for who in everybody
        ]

    assert opinions("pest@x.example") == ["allow", "deny", "deny", "deny"]
    assert opinions("friend@x.example") == ["allow", "deny", "allow", "deny"]
    assert opinions("foe@x.example") == ["deny", "deny", "deny", ""]
    plus = judged(gateway, "pest@x.example", "bob+news@example.com")["by"]
    assert plus["bob+news@example.com"].get("whitelisted"), "of user+extension as of user"
    by = judged(gateway, "neutral@x.example", "eve@example.com", "dave@example.org")["by"]
    assert by["dave@example.org"]["spam_score"] - by["eve@example.com"]["spam_score"] == 2


def test_a_declared_domain_does_not_have_the_lists_of_the_one_above(gateway: Gateway) -> None:
    listed(gateway, {".example.com": {"deny": ["a@x.example"]}, "sub.example.com": {}, ".sub.example.com": {}})
    recipients = ("b@deep.example.com", "b@sub.example.com", "b@deep.sub.example.com")
    by = judged(gateway, "a@x.example", *recipients)["by"]
    assert [bool(by[who].get("blacklisted")) for who in recipients] == [True, False, False]


@pytest.mark.parametrize("quarantine", [True, False])
def test_b49_denied_mail_is_stored_or_not_as_is_said(gateway: Gateway, quarantine: bool) -> None:
    """amavis by itself stores none of it as soon as there is a cutoff level."""
    listed(gateway, deny=["bad@x.example"], quarantine=quarantine)
    for body in ("How are you?", GTUBE):
        report = judged(gateway, "bad@x.example", body=body)
        assert report["content_type"] == "Spam"
        assert report["recipients"][0]["action"] == "DISCARD"
        assert (report.get("quarantine") in gateway.held()) is quarantine


def long_lists(deny: str, allow: str) -> tuple[str, dict[str, bytes]]:
    """A policy that names files, and the files, as the operator makes them."""
    files = rendered([parse(deny, "x", "Deny"), parse(allow, "y", "Allow")])
    wanted = policy(senders=senders(deny=["a@known.example"]) | {"files": files.hashes})
    return json.dumps(wanted), {name: base64.b64decode(content) for name, content in files.content.items()}


def test_long_lists_are_asked_on_disk_and_taken_as_a_whole(gateway: Gateway) -> None:
    many = "".join(f"u{number}@pests.example\n" for number in range(20_000))
    text, files = long_lists(f"{many}*.pest.example\n*@exämple.de\n", "good@friend.example\nx@sub.pest.example\n")

    def opinion(sender: str) -> str:
        (recipient,) = judged(gateway, sender)["recipients"]
        return "deny" if recipient.get("blacklisted") else "allow" if recipient.get("whitelisted") else ""

    listed(gateway, deny=["before@known.example"])
    assert opinion("before@known.example") == "deny"
    # The policy has come, its lists have not, or not all of them: the one before stays, and nothing is refused.
    for incomplete in ({}, {"senders-0.gz": b"other"}):
        gateway.policy.write({"policy.json": text} | incomplete)
        assert opinion("before@known.example") == "deny"
        assert opinion("a@known.example") == ""
        assert gateway.amavis.read("/run/amavis/policy.refused") is None
    gateway.policy.write({"policy.json": text} | files)
    expected = {
        "before@known.example": "",
        "a@known.example": "deny",
        "U0@pests.example": "deny",
        "u19999@pests.example": "deny",
        "u20000@pests.example": "",
        "a@sub.pest.example": "deny",
        "x@sub.pest.example": "deny",
        "a@xn--exmple-cua.de": "deny",
        "good@friend.example": "allow",
        "bad@friend.example": "",
    }
    assert {sender: opinion(sender) for sender in expected} == expected
    (first,) = [name for name in gateway.amavis.list("/run/amavis/senders") if name.endswith(".cdb")]

    other, files = long_lists("b@pest.example\n", "")
    gateway.policy.write({"policy.json": other} | files)
    assert opinion("u0@pests.example") == ""
    assert opinion("b@pest.example") == "deny"
    (second,) = [name for name in gateway.amavis.list("/run/amavis/senders") if name.endswith(".cdb")]
    assert second != first, "the old table is gone"


def test_a_malformed_file_of_lists_is_refused(gateway: Gateway) -> None:
    listed(gateway, deny=["before@known.example"])
    for number, content in enumerate((b"x", gzip.compress(b"D a@x.example\nZ b\n"), gzip.compress(b"D a b\n"))):
        named = {"senders-0.gz": hashlib.sha256(content).hexdigest()}
        wanted = json.dumps(policy(senders=senders(deny=[f"{number}@x.example"]) | {"files": named}))
        gateway.policy.write({"policy.json": wanted, "senders-0.gz": content})
        assert judged(gateway, "before@known.example")["content_type"] == "Spam"
        refused = json.loads(gateway.amavis.read("/run/amavis/policy.refused") or b"{}")
        assert refused["hash"] == hashlib.sha256(wanted.encode()).hexdigest()
        assert refused["reason"].startswith("a file of senders")


def test_a_new_pod_waits_for_its_lists(lab: Lab) -> None:
    text, files = long_lists("pest.example\n", "")
    policy_map = lab.config_map({"policy.json": text})
    with started_amavis(lab, policy_map, lab.volume(), lab.volume()) as amavis:
        amavis.wait_for_log("waiting for the lists of senders")
        policy_map.write({"policy.json": text} | files)
        amavis_ready(amavis)
        assert amavis.read("/run/amavis/policy.good") == text.encode()


SCORES = [
    {"senderRegexp": r"^info\d*@", "score": 2},
    {"sender": "info1@x.example", "score": 30},
    {"sender": "x.example", "score": 3.5},
    {"sender": ".x.example", "score": -4},
]


@pytest.mark.parametrize(
    ("sender", "author", "points"),
    [
        ("INFO1@x.example", NEUTRAL, 2),
        ("a@x.example", NEUTRAL, 3.5),
        ("a@sub.x.example", NEUTRAL, -4),
        ("a@sub.x.example", "info@y.example", -4),
        (NEUTRAL, "info@y.example", 2),
        ("MakeMoney77@y.example", NEUTRAL, 5),
        ("lists@securityfocus.com", NEUTRAL, -3),
        ("lists@sub.securityfocus.com", NEUTRAL, 0),
        ("someinfo@y.example", NEUTRAL, 0),
    ],
)
def test_scores_are_added_and_the_first_entry_decides(
    gateway: Gateway, sender: str, author: str, points: float
) -> None:
    listed(gateway, scores=SCORES, presets=["ClassicScores"])
    tests = {test.partition("=")[0] for test in judged(gateway, sender, author=author)["tests"]}
    scored = judged(gateway, sender, author=author)["spam_score"]
    listed(gateway)
    assert scored - judged(gateway, sender, author=author)["spam_score"] == pytest.approx(points)
    assert ("AM.WBL" in tests) is (points != 0)
