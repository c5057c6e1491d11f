"""The tables of recipients and clients that the door knows."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter.policy import door, postfix
from support.samples import FULL, NAMES, spec
from unit.policy.test_data import of_type

UNVERIFIED = "reject_unverified_recipient"


def recipients(**domain: Any) -> dict[str, str]:
    domain = {"name": "example.com", "relay": {"host": "mail"}} | domain
    return postfix.tables(spec(domains=[domain], admin="admin@example.org"))["recipients"]


def test_nothing_is_said_of_a_domain_that_accepts_all() -> None:
    assert recipients() == {}
    assert recipients(recipients={"verify": "AcceptAll"}, aliases={"a": ["b@c"]}) == {}


def test_aliases_and_the_admins_are_known() -> None:
    admins = {f"{name}@example.com": "OK" for name in ("root", "postmaster", "abuse", "webmaster")}
    called = recipients(recipients={"verify": "CallOut"}, aliases={"info": ["bob@example.org"]})
    assert called == admins | {"info@example.com": "OK", "example.com": UNVERIFIED, ".example.com": UNVERIFIED}
    listed = recipients(recipients={"verify": "List", "list": ["bob"]}, subdomains=False)
    assert listed == admins | {"bob@example.com": "OK", "example.com": "550 5.1.1 user unknown"}


def test_a_subdomain_of_its_own_speaks_for_itself() -> None:
    """A key of the subdomain goes before the one of all subdomains."""
    domains = [
        {"name": "example.com", "relay": {"host": "a"}, "recipients": {"verify": "List", "list": ["bob"]}},
        {"name": "sub.example.com", "relay": {"host": "b"}, "recipients": {"verify": "CallOut"}},
    ]
    found = postfix.tables(spec(domains=domains))["recipients"]
    assert found["sub.example.com"] == UNVERIFIED
    assert found[".example.com"].startswith("550 ")


@pytest.mark.parametrize(
    ("pattern", "table", "keys"),
    [
        ("192.0.2.1", "networks", {"192.0.2.1/32"}),
        ("192.0.2.77/24", "networks", {"192.0.2.0/24"}),
        ("2001:DB8::1", "networks", {"2001:db8::1/128"}),
        ("2001:db8:ffff::/32", "networks", {"2001:db8::/32"}),
        ("::ffff:cb00:7107", "networks", {"203.0.113.7/32"}),
        ("::ffff:cb00:7100/120", "networks", {"203.0.113.0/24"}),
        ("::/0", "networks", {"::/0"}),
        ("Mail.Example.COM", "names", {"mail.example.com"}),
        (".Example.com", "names", {".example.com", "example.com"}),
        ("*.example.com", "names", {".example.com", "example.com"}),
    ],
)
def test_b46_clients_are_normalised(pattern: str, table: str, keys: set[str]) -> None:
    found = postfix.tables(spec(lists={"clients": {"deny": [pattern]}}))
    assert found.pop(f"client_deny_{table}") == dict.fromkeys(keys, "reject")
    assert [name for name in found if name.startswith("client_") and found[name]] == []
    allowed = postfix.tables(spec(lists={"clients": {"allow": [pattern]}}))
    assert allowed[f"client_allow_{table}"] == dict.fromkeys(keys, "permit")


@given(patterns=st.lists(of_type("ClientPattern"), max_size=5), local=of_type("KnownLocalPart"))
def test_one_line_a_key(patterns: list[str], local: str) -> None:
    listed = {"recipients": {"verify": "List", "list": [local]}}
    domain = {"name": "example.com", "relay": {"host": "mail"}, "subdomains": False}
    found = postfix.tables(spec(domains=[domain | listed], lists={"clients": {"allow": patterns}}))
    assert found["recipients"] == {f"{local}@example.com": "OK", "example.com": door.UNKNOWN}
    for name in ("recipients", "client_allow_networks", "client_allow_names"):
        lines = postfix.table_source(found[name]).splitlines()
        assert [line.partition("\t")[::2] for line in lines] == sorted(found[name].items())
        assert not [line for line in lines if line[0] in '# "' or line.count("\t") != 1]
    # Each pattern is somewhere.
    assert bool(patterns) == bool(found["client_allow_networks"] or found["client_allow_names"])


def test_the_full_sample_has_both_kinds() -> None:
    found = postfix.tables(spec(FULL))
    assert found["client_deny_networks"] == {"198.51.100.0/24": "reject", "203.0.113.7/32": "reject"}
    assert found["client_allow_names"] == {"mail.partner.example": "permit"}


def test_b61_smtputf8_needs_every_next_hop() -> None:
    def offered(*capable: bool) -> bool:
        domains = [
            {"name": f"d{number}.example", "relay": {"host": "mail", "smtputf8": one}}
            for number, one in enumerate(capable)
        ]
        return not postfix.tables(spec(domains=domains))["ehlo_networks"]

    assert offered(True, True)
    assert not offered(True, False)
    assert not offered(False)
    assert postfix.tables(spec())["ehlo_networks"] == {"0.0.0.0/0": "smtputf8", "::/0": "smtputf8"}


def test_b44_dns_lists_count_by_their_answers() -> None:
    sites = [{"name": "bl.example"}, {"name": "good.example", "weight": -2}]
    found = postfix.parameters(spec(postfix={"dnsbl": {"sites": sites, "threshold": 3}}), NAMES)
    assert found["postscreen_dnsbl_sites"] == "bl.example=127.0.0.[2..11]*1, good.example=127.0.0.[2..11]*-2"
    assert found["postscreen_dnsbl_threshold"] == "3"
    assert f"postscreen_dnsbl_sites = {found['postscreen_dnsbl_sites']}\n" in postfix.main_cf(found)
    assert postfix.parameters(spec(), NAMES)["postscreen_dnsbl_sites"] == ""
