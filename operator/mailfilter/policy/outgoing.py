"""The way out: what Postfix and amavis read of it, and the records that signatures need."""

from ipaddress import ip_network

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.api.outgoing import DkimKey
from mailfilter.policy.capacity import capacity
from mailfilter.policy.keys import domain_keys
from mailfilter.policy.names import Names

_TLS = {"Opportunistic": "may", "Required": "encrypt", "Verified": "secure"}


def parameters(spec: MailFilterSpec, names: Names) -> dict[str, str]:
    """Postfix' parameters; without a filter for outgoing mail the image has no port that takes any."""
    if not spec.outgoing:
        return {}
    relay = spec.outgoing.relay
    return {
        "mailfilter_outgoing_filter": f"outgoing:[{names.host('amavis')}]:10028",
        "outgoing_destination_concurrency_limit": str(capacity(spec).filter_connections),
        "mailfilter_smarthost_tls": _TLS[relay.tls] if relay else "may",
        "default_transport": f"smarthost:[{relay.host.lower()}]:{relay.port}" if relay else "smtp",
    }


def tables(spec: MailFilterSpec) -> dict[str, dict[str, str]]:
    """Postfix' tables of who may send, and in whose name."""
    if not spec.outgoing:
        return {"outgoing_networks": {}, "outgoing_senders": {}}
    return {
        "outgoing_networks": {str(ip_network(client, strict=False)): "permit" for client in spec.outgoing.clients},
        "outgoing_senders": {"<>": "permit"} | {key: "permit" for one in spec.domains for key in domain_keys(one)},
    }


def keys(spec: MailFilterSpec) -> tuple[DkimKey, ...]:
    """The keys that sign."""
    return tuple(spec.outgoing.dkim) if spec.outgoing else ()


def signing(spec: MailFilterSpec) -> dict[str, list[dict[str, str]]]:
    """policy.json's `signing`: domains of authors as lookup keys, and the keys that sign for them.

    A domain without keys stands there, too, so that the one above it does not sign in its stead.
    """
    if not keys(spec):
        return {}
    return {
        key: [{"domain": one.domain, "selector": one.selector} for one in keys(spec) if one.domain == domain.name]
        for domain in spec.domains
        for key in domain_keys(domain)
    }


def key_name(key: DkimKey) -> str:
    """How the agent names a key; with `.pem`, its file in the pod."""
    return f"{key.domain}/{key.selector}"


def record_name(key: DkimKey) -> str:
    """Where DNS has the public key."""
    return f"{key.selector}._domainkey.{key.domain}"
