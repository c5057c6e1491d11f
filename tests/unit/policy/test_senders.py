"""Patterns of senders: each is read as documented, or refused with what is wrong and what is right."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter.api.lists import Lists
from mailfilter.policy.amavis import policy
from mailfilter.policy.presets import CLASSIC_SCORES
from mailfilter.policy.senders import PatternError, all_lists, gateway_lists, key, lists_by_key, matching, normalised
from support.fieldcases import ACCEPTED, REFUSED
from support.samples import Object, spec


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("User@Example.COM", "user@example.com"),
        ("Example.com", "example.com"),
        ("@Example.com", "example.com"),
        ("*@example.com", "example.com"),
        (".Example.com", ".example.com"),
        ("*.example.com", ".example.com"),
        ("*@*.example.com", ".example.com"),
        ("@.example.com", ".example.com"),
        (".com", ".com"),
        ("example.com.", "example.com"),
        (" example.com ", "example.com"),
        ("exämple.de", "xn--exmple-cua.de"),
        ("*.EXÄMPLE.de", ".xn--exmple-cua.de"),
        ("user@exämple.de", "user@xn--exmple-cua.de"),
        ("user@xn--exmple-cua.de", "user@xn--exmple-cua.de"),
        ("straße.de", "xn--strae-oqa.de"),
        ("user+tag@example.com", "user+tag@example.com"),
        ("user@*", "user@"),
        ("user@", "user@"),
        ("root@localhost", "root@localhost"),
        ("<>", ""),
    ],
)
def test_b46_a_pattern_has_one_form(pattern: str, expected: str) -> None:
    assert key(pattern) == expected
    if expected not in ("", "user@"):
        assert key(expected) == expected


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "is empty"),
        ("com", r"or \.com for all domains that end so, or com@\*"),
        ("*", "every sender"),
        ("*@*", "every sender"),
        (".", "every sender"),
        ("192.0.2.1", "IP address"),
        ("2001:db8::/32", "IP address"),
        ("a@[192.0.2.1]", "IP address"),
        ("!a@b.example", "no exceptions"),
        ("Bob <bob@b.example>", "write the address alone: bob@b.example"),
        ("<bob@b.example>", "write the address alone: bob@b.example"),
        ("mailto:bob@b.example", "write the address alone: bob@b.example"),
        ("http://b.example/x", "without http://"),
        ("/^a@/", "senderRegexp"),
        ("a@b.example, c@d.example", "one pattern"),
        ("a b.example", "one pattern"),
        ("news*@b.example", r"\* stands only for a whole part"),
        ("*b.example", r"\* stands only for a whole part"),
        ("müller@b.example", "only ASCII before the @"),
        ("b..example", "is none of"),
        ("☃.example", "not an internationalised domain name"),
        ("ä" * 70 + ".example", "not an internationalised domain name|is none of"),
        ("a" * 300 + ".example", "at most 254 characters"),
        (".".join(["ä" * 20] * 12), "cannot be a domain|not an internationalised"),
    ],
)
def test_b46_what_would_be_dead_is_refused_with_the_right_form(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        key(pattern)


@pytest.mark.parametrize("pattern", ACCEPTED["SenderPattern"])
def test_what_the_api_server_takes_has_a_key(pattern: str) -> None:
    assert re.fullmatch(r"[\x21-\x7e]*", key(pattern))


@pytest.mark.parametrize("pattern", REFUSED["SenderPattern"])
def test_what_the_api_server_refuses_has_none(pattern: str) -> None:
    if pattern == pattern.strip():
        with pytest.raises(PatternError):
            key(pattern)


@given(pattern=st.text(max_size=300))
def test_any_text_is_a_key_or_refused(pattern: str) -> None:
    try:
        found = key(pattern)
    except PatternError:
        return
    assert re.fullmatch(r"|[^@\s*]+@|(?:[^@\s*]+@)?\.?[a-z0-9-]+(?:\.[a-z0-9-]+)*", found)


LISTS: dict[str, Any] = {
    "allow": ["B@x.example", "a@x.example", "b@X.example", "☃.example"],
    "deny": ["*.pest.example", "<>"],
    "scores": [
        {"senderRegexp": "^a", "score": 1},
        {"sender": "@☃.example", "score": 2},
        {"sender": "@X.example", "score": -3.5},
    ],
}


def test_lists_are_sorted_and_scores_keep_their_order() -> None:
    found = normalised(Lists.model_validate(LISTS))
    assert (found.allow, found.deny) == (["a@x.example", "b@x.example"], ["", ".pest.example"])
    assert found.scores == [{"senderRegexp": "^a", "score": 1}, {"sender": "x.example", "score": -3.5}]
    assert [reason.partition(" ")[0] for reason in found.refused] == [
        "spec.lists.allow[3]:",
        "spec.lists.scores[1].sender:",
    ]
    assert found.rewritten == {
        "B@x.example": "b@x.example",
        "b@X.example": "b@x.example",
        "*.pest.example": ".pest.example",
        "@X.example": "x.example",
    }


def domain(name: str, **more: Any) -> Object:
    return {"name": name, "relay": {"host": "mail"}} | more


def deny(*patterns: str) -> Object:
    return {"policy": {"lists": {"deny": list(patterns)}}}


def test_domains_and_recipients_have_lists_of_their_own() -> None:
    wanted = spec(
        domains=[
            domain("example.com", **deny("*@A.example")),
            domain("sub.example.com"),
            domain("own.example.com", subdomains=False, **deny("b.example")),
            domain("example.org"),
        ],
        recipients=[{"address": "Bob@example.org", **deny("☃.example", "c.example")}],
        lists={"deny": ["d.example"]},
    )
    by = {key: lists["deny"] for key, lists in lists_by_key(wanted).items()}
    assert by == {
        "example.com": ["a.example"],
        ".example.com": ["a.example"],
        "sub.example.com": [],
        ".sub.example.com": [],
        "own.example.com": ["b.example"],
        "bob@example.org": ["c.example"],
    }
    (refused,) = [reason for one in all_lists(wanted) for reason in one.refused]
    assert refused.startswith("recipient Bob@example.org policy.lists.deny[0]: ☃.example")
    document = policy(wanted)["senders"]
    assert document["by"] == lists_by_key(wanted)
    assert document["default"]["deny"] == ["d.example"]


def test_a_preset_comes_after_what_is_said() -> None:
    own = {"sender": ".example.net", "score": -9}
    found = normalised(Lists.model_validate({"scores": [own], "presets": ["ClassicScores"]}))
    assert found.scores[0] == own
    assert len(found.scores) == 1 + len(CLASSIC_SCORES)
    assert not found.refused
    assert not found.rewritten, "the preset's keys are what is looked up"


@pytest.mark.parametrize(
    ("sender", "points"),
    [
        ("makemoney77@x.example", 5),
        ("new.tld.registry@x.example", 5),
        ("newXtld.registry@x.example", None),
        ("bulkmailer@x.example", None),
    ],
)
def test_the_classic_table_reads_as_it_did(sender: str, points: float | None) -> None:
    rules = [score for score in CLASSIC_SCORES if score.sender_regexp]
    assert next((one.score for one in rules if re.search(str(one.sender_regexp), sender, re.I)), None) == points


def test_senders_of_released_mail_are_allowed_with_the_others() -> None:
    entry = {"release": "r", "time": "2026-11-25T00:00:00Z"}
    released = [{"sender": one, **entry} for one in ("b@client.test", "a@client.test", "a@1.2")]
    given = spec(lists={"allow": ["z.test", "B@client.test"]}, releasedSenders=released)
    assert policy(given)["senders"]["default"]["allow"] == ["a@client.test", "b@client.test", "z.test"]
    assert gateway_lists(given).refused[0].startswith("spec.releasedSenders: a@1.2 is none of user@example.com")
    assert sum(len(one.allow) for one in all_lists(given)) == 3


def test_all_keys_that_match_an_address() -> None:
    assert matching("a+b@x.client.test") == {
        "a+b@x.client.test",
        "a+b@",
        "x.client.test",
        ".x.client.test",
        ".client.test",
        ".test",
    }
