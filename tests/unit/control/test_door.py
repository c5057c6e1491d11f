"""Each condition of the SMTP door with each of its reasons."""

from datetime import UTC, datetime

import pytest

from mailfilter.control import door

NOW = datetime(2026, 11, 25, tzinfo=UTC)
LATER, EARLIER = "2027-01-01 00:00:00Z", "2026-11-24 00:00:00Z"


def state(error: str | None = None, expires: str | None = LATER) -> dict[str, object]:
    return {"tls": {"error": error, "expires": expires}}


@pytest.mark.parametrize(
    ("states", "status", "reason", "part"),
    [
        ({"a": state(), "b": state(expires="2026-12-01 00:00:00Z")}, "True", "Offered", "until 2026-12-01"),
        ({"a": state(), "b": None}, "True", "Offered", LATER),
        ({"a": state("missing", None)}, "False", "SecretMissing", "there is no TLS until then. kubectl create secret"),
        ({"a": state("missing")}, "False", "SecretMissing", f"good until {LATER}, stays in use"),
        ({"a": state(), "b": state("no key")}, "False", "BrokenPair", "b cannot use Secret mine: no key. Replace both"),
        ({"a": state(expires=EARLIER)}, "False", "Expired", "renew it"),
        ({"a": state(None, None)}, "Unknown", "Waiting", "yet"),
        ({"a": {}}, "Unknown", "Waiting", "yet"),
        ({"a": None}, "Unknown", "Waiting", "yet"),
        ({}, "Unknown", "Waiting", "yet"),
    ],
)
def test_tls(states: door.States, status: str, reason: str, part: str) -> None:
    found = door.tls_active(states, "mine", NOW)
    assert (found.status, found.reason) == (status, reason)
    assert part in found.message


@pytest.mark.parametrize(
    ("states", "status", "reason", "part"),
    [
        ({"p": {"dnsbl": {"a.test": None, "b.test": None}}}, "True", "Usable", "a.test, b.test"),
        (
            {"p": {"dnsbl": {"a.test": None, "b.test": "it sulks"}}},
            "False",
            "DNSBLUnusable",
            "b.test, asked by p: it sulks.",
        ),
        ({"p": {"dnsbl": {"a.test": None, "b.test": None}}, "q": None}, "True", "Usable", "b.test"),
        ({"p": {"dnsbl": {"a.test": None}}}, "Unknown", "Waiting", "yet"),
        ({"p": {"dnsbl": {"a.test": None, "b.test": None}}, "q": {}}, "Unknown", "Waiting", "yet"),
        ({"p": None}, "Unknown", "Waiting", "yet"),
    ],
)
def test_dns_lists(states: door.States, status: str, reason: str, part: str) -> None:
    found = door.dnsbl_usable(states, ["a.test", "b.test"])
    assert (found.status, found.reason) == (status, reason)
    assert part in found.message
