"""Postfix' tables of whom the door knows: recipients and clients."""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_network

from mailfilter.api.clients import Clients
from mailfilter.api.domains import Domain
from mailfilter.api.door import DnsblSite
from mailfilter.policy.keys import domain_keys

UNKNOWN = "550 5.1.1 user unknown"
# What no client is offered in the answer to EHLO.
WITHOUT_SMTPUTF8 = {"0.0.0.0/0": "smtputf8", "::/0": "smtputf8"}


def dnsbl_site(site: DnsblSite) -> str:
    """As in postscreen_dnsbl_sites. Other answers than these tell about the list, not about the client."""
    return f"{site.name}=127.0.0.[2..11]*{site.weight}"


def recipients(domain: Domain, aliases: Iterable[str]) -> dict[str, str]:
    """What check_recipient_access says of the domain's recipients; nothing of a domain that accepts all."""
    if domain.recipients.verify == "AcceptAll":
        return {}
    known = {*domain.recipients.known, *(local.lower() for local in aliases)}
    others = "reject_unverified_recipient" if domain.recipients.verify == "CallOut" else UNKNOWN
    return dict.fromkeys(domain_keys(domain), others) | {f"{local}@{domain.name.lower()}": "OK" for local in known}


def clients(lists: Clients) -> dict[str, dict[str, str]]:
    """Tables of allowed and denied clients: CIDR tables of addresses, the others of names.

    `permit` and `reject` are words that smtpd's access tables and postscreen's have in common.
    """
    found: dict[str, dict[str, str]] = {}
    for name, patterns, action in (("allow", lists.allow, "permit"), ("deny", lists.deny, "reject")):
        networks: dict[str, str] = {}
        names: dict[str, str] = {}
        for pattern in patterns:
            if network := client_network(pattern):
                networks[network] = action
            else:
                names |= dict.fromkeys(client_names(pattern), action)
        found |= {f"client_{name}_networks": networks, f"client_{name}_names": names}
    return found


def client_network(pattern: str) -> str | None:
    """The network of an address or network, without bits beyond its prefix, IPv4 as itself; None for a name."""
    try:
        network = ip_network(pattern, strict=False)
    except ValueError:
        return None
    address = network.network_address
    if isinstance(address, IPv6Address) and address.ipv4_mapped and network.prefixlen >= 96:
        return str(ip_network((address.ipv4_mapped, network.prefixlen - 96)))
    return str(network)


def client_names(pattern: str) -> list[str]:
    """Lookup keys of a host name: `.example.com` means example.com, too, as it does in lists of senders."""
    name = pattern.lower().removeprefix("*")
    return [name, name[1:]] if name.startswith(".") else [name]
