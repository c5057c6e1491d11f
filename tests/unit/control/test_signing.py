"""What is said of the keys that sign: the condition, and the records to publish."""

from dataclasses import replace
from typing import Any

import pytest

from mailfilter.control import observe, signing
from mailfilter.control.facts import Facts
from mailfilter.policy.dns import Record, State, Wanted
from support.samples import spec
from support.situations import WELL, amavis, mirror, postfix, silent

RSA, ED = "v=DKIM1; k=rsa; p=AAA", "v=DKIM1; k=ed25519; p=BBB"
SPEC = spec(
    outgoing={
        "clients": ["192.0.2.1"],
        "dkim": [
            {"domain": "example.com", "selector": "s1", "secretName": "one"},
            {"domain": "example.com", "selector": "e1", "secretName": "two", "key": "tls.key"},
        ],
    }
)
S1, E1 = "s1._domainkey.example.com", "e1._domainkey.example.com"


def said(s1: str | None = None, e1: str | None = None) -> dict[str, dict[str, str | None]]:
    """What an agent says: of each key why it cannot be used."""
    return {
        "example.com/s1": {"record": None if s1 else RSA, "error": s1},
        "example.com/e1": {"record": None if e1 else ED, "error": e1},
    }


def facts(*pods: dict[str, Any], **changes: Any) -> Facts:
    filters = []
    for number, dkim in enumerate(pods):
        pod = amavis(f"mx-amavis-{number}")
        assert pod.status
        pod.status["amavis"]["dkim"] = dkim
        filters.append(pod)
    return replace(WELL, spec=SPEC, pods=[*filters, postfix(), mirror()], **changes)


@pytest.mark.parametrize(
    ("found", "status", "reason", "text"),
    [
        (facts(said(), said()), "True", "KeysLoaded", "2 keys sign"),
        (facts(said(), said(e1="missing")), "False", "SecretMissing", "mx-amavis-1 finds no tls.key in Secret two"),
        (facts(said(s1="not a key in PEM")), "False", "KeyInvalid", "private.key in Secret one: not a key in PEM"),
        (facts({}), "Unknown", "Waiting", ""),
        (facts(said(), {}), "Unknown", "Waiting", ""),
        (facts(), "Unknown", "Waiting", ""),
    ],
)
def test_condition(found: Facts, status: str, reason: str, text: str) -> None:
    seen = {one.type: one for one in observe.observations(found)}
    condition = seen["SigningReady"]
    assert (condition.status, condition.reason) == (status, reason)
    assert text in condition.message
    if found.of("amavis"):
        assert seen["Ready"].status == "True", "other mail flows all the same"


def test_without_keys_there_is_no_condition() -> None:
    assert "SigningReady" not in [one.type for one in observe.observations(WELL)]
    way_out = replace(WELL, spec=spec(outgoing={"clients": ["192.0.2.1"]}))
    assert "SigningReady" not in [one.type for one in observe.observations(way_out)]


def test_records_are_those_that_a_pod_has_told() -> None:
    assert signing.published(facts(said())) == {S1: RSA, E1: ED}
    assert signing.published(facts(said(s1="missing"), said(e1="missing"))) == {S1: RSA, E1: ED}
    assert signing.published(facts(said(s1="missing"))) == {E1: ED}
    quiet = replace(facts(said()), pods=[silent(amavis()), postfix()])
    assert signing.published(quiet) == {}


def test_status_has_what_to_publish_and_whether_dns_has_it() -> None:
    states: dict[str, State] = {S1: "Present", E1: "Missing"}
    records = [Record(Wanted(name, "TXT", RSA), state, (), None) for name, state in states.items()]
    known = {S1: RSA, E1: ED}
    found = signing.dkim(facts(said(), dns=records), known, [])
    common = {"domain": "example.com"}
    assert found == [
        common | {"selector": "s1", "record": S1, "value": RSA, "dns": "Present"},
        common | {"selector": "e1", "record": E1, "value": ED, "dns": "Missing"},
    ]
    assert signing.dkim(facts(), {}, found) == found, "what nobody can tell of now stays"
    assert signing.dkim(facts(), {}, []) == [
        common | {"selector": "s1", "record": S1},
        common | {"selector": "e1", "record": E1},
    ]
    assert signing.dkim(WELL, {}, found) == [], "keys that are gone are gone"
