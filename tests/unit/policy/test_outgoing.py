"""What the daemons read of the way out, and that without one there is nothing of it."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from mailfilter.policy import amavis, outgoing, postfix
from mailfilter.stack import desired_objects
from support.samples import FULL, NAMES, SMALL, gateway, spec

CLIENTS = ["10.9.8.7/24", "192.0.2.1", "2001:DB8::1"]


def test_without_a_way_out_there_is_nothing_of_it() -> None:
    wanted = spec(SMALL)
    assert outgoing.parameters(wanted, NAMES) == {}
    assert outgoing.tables(wanted) == {"outgoing_networks": {}, "outgoing_senders": {}}
    assert outgoing.signing(wanted) == {}
    objects = [each for each in desired_objects(gateway(SMALL)) if each["kind"] != "ConfigMap"]
    text = json.dumps(objects)
    assert not [trace for trace in ("2587", "10028", "10029", "outgoing", "dkim") if trace in text]


def test_mail_goes_to_the_recipients_mx_or_to_a_smarthost() -> None:
    direct = outgoing.parameters(spec(outgoing={"clients": CLIENTS}), NAMES)
    assert direct["default_transport"] == "smtp"
    assert direct["mailfilter_outgoing_filter"] == "outgoing:[mx-amavis.mail.svc]:10028"
    found = outgoing.parameters(spec(FULL), NAMES)
    assert found["default_transport"] == "smarthost:[relay.example.net]:587"


@pytest.mark.parametrize(("tls", "level"), [("Opportunistic", "may"), ("Required", "encrypt"), ("Verified", "secure")])
def test_tls_to_the_smarthost(tls: str, level: str) -> None:
    wanted = spec(outgoing={"clients": CLIENTS, "relay": {"host": "x", "tls": tls}})
    assert outgoing.parameters(wanted, NAMES)["mailfilter_smarthost_tls"] == level


def test_b21_clients_are_networks_and_senders_are_domains_of_the_gateway() -> None:
    domains = [{"name": "a.example", "relay": {"host": "x"}, "subdomains": False}, *SMALL["domains"]]
    tables = postfix.tables(spec(outgoing={"clients": CLIENTS}, domains=domains))
    assert set(tables["outgoing_networks"]) == {"10.9.8.0/24", "192.0.2.1/32", "2001:db8::1/128"}
    assert set(tables["outgoing_senders"]) == {"<>", "a.example", "example.com", ".example.com"}
    assert set(tables["outgoing_networks"].values()) | set(tables["outgoing_senders"].values()) == {"permit"}


def test_an_ipv4_network_in_disguise_is_refused() -> None:
    with pytest.raises(ValidationError, match="as the IPv4 network that it stands for"):
        spec(outgoing={"clients": ["::ffff:0:0/96"]})


def key(domain: str, selector: str = "s1") -> dict[str, str]:
    return {"domain": domain, "selector": selector, "secretName": "keys"}


def test_a_declared_subdomain_is_signed_for_by_its_own_keys_alone() -> None:
    domains: list[dict[str, Any]] = [
        *SMALL["domains"],
        {"name": "sub.example.com", "relay": {"host": "x"}},
        {"name": "alone.example", "relay": {"host": "x"}, "subdomains": False},
    ]
    dkim = [key("example.com"), key("example.com", "s2"), key("alone.example")]
    found = amavis.policy(spec(domains=domains, outgoing={"clients": CLIENTS, "dkim": dkim}))["signing"]
    both = [{"domain": "example.com", "selector": "s1"}, {"domain": "example.com", "selector": "s2"}]
    assert found == {
        "example.com": both,
        ".example.com": both,
        "sub.example.com": [],
        ".sub.example.com": [],
        "alone.example": [{"domain": "alone.example", "selector": "s1"}],
    }


def test_a_key_is_of_a_domain_of_the_gateway() -> None:
    with pytest.raises(ValidationError, match=r"elsewhere\.example is not one of spec\.domains"):
        spec(outgoing={"clients": CLIENTS, "dkim": [key("elsewhere.example")]})


def test_names_of_a_key() -> None:
    (first, _) = outgoing.keys(spec(FULL))
    assert outgoing.key_name(first) == "example.org/s1"
    assert outgoing.record_name(first) == "s1._domainkey.example.org"
