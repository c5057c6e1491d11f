"""Postfix' parameters and lookup tables."""

import hashlib
import re

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.policy import door, outgoing
from mailfilter.policy.capacity import capacity
from mailfilter.policy.keys import domain_keys
from mailfilter.policy.names import Names

ADMIN_ALIASES = ("root", "postmaster", "abuse", "webmaster")

# No "$" (parameter expansion), no line break, no quote: what a value may be made of in main.cf.
_PARAMETER_VALUE = re.compile(r"[A-Za-z0-9 .,:/_\[\]@=+*-]*")


def parameters(spec: MailFilterSpec, names: Names) -> dict[str, str]:
    """The parameters that differ between gateways (postconf(5)); all others are static in the image."""
    numbers, limits = capacity(spec), spec.postfix.limits
    before_queue = spec.filtering.mode == "BeforeQueue"
    dnsbl = spec.postfix.dnsbl
    return {
        "myhostname": spec.hostname.lower(),
        "message_size_limit": str(spec.message_size_limit),
        "content_filter": f"amavis:[{names.host('amavis')}]:10024",
        "amavis_destination_concurrency_limit": str(numbers.filter_connections),
        "default_process_limit": str(numbers.postfix_processes),
        # content_filter stays with it: should it ever be empty, mail is still filtered.
        "mailfilter_proxy_filter": f"{names.host('amavis')}:10026" if before_queue else "",
        "mailfilter_filter_timeout": f"{numbers.filter_seconds}s",
        "smtpd_client_connection_count_limit": str(limits.connections_per_client),
        "smtpd_client_connection_rate_limit": str(limits.connection_rate),
        "smtpd_client_message_rate_limit": str(limits.message_rate),
        "smtpd_client_recipient_rate_limit": str(limits.recipient_rate),
        "postscreen_dnsbl_sites": ", ".join(map(door.dnsbl_site, dnsbl.sites)) if dnsbl else "",
        "postscreen_dnsbl_threshold": str(dnsbl.threshold if dnsbl else 1),
        "mailfilter_tls_minimum": spec.postfix.tls.minimum_version if spec.postfix.tls else "TLSv1.2",
        "mailfilter_upstream_proxy": "haproxy" if spec.postfix.proxy_protocol else "",
        **outgoing.parameters(spec, names),
    }


def main_cf(values: dict[str, str]) -> str:
    """Parameters as main.cf lines.

    Raises ValueError for a value that could be anything else than itself in main.cf.
    """
    for name, value in values.items():
        if not _PARAMETER_VALUE.fullmatch(value):
            raise ValueError(f"{name}: {value!r} cannot be a Postfix parameter")
    return "".join(f"{name} = {value}\n" for name, value in sorted(values.items()))


def tables(spec: MailFilterSpec) -> dict[str, dict[str, str]]:
    """Lookup tables by name; a key means itself alone, `.example.com` the subdomains."""
    relay_domains: dict[str, str] = {}
    transport: dict[str, str] = {}
    virtual_alias: dict[str, str] = {}
    recipients: dict[str, str] = {}
    for domain in spec.domains:
        for key in domain_keys(domain):
            relay_domains[key] = "OK"
            transport[key] = f"nexthop:[{domain.relay.host.lower()}]:{domain.relay.port}"
        aliases = {local: [spec.admin] for local in ADMIN_ALIASES if spec.admin}
        aliases |= {local.lower(): targets for local, targets in domain.aliases.items()}
        for local, targets in aliases.items():
            virtual_alias[f"{local}@{domain.name.lower()}"] = ", ".join(targets)
        recipients |= door.recipients(domain, aliases)
    # Mail to <postmaster> without a domain has to be taken (RFC 5321, 4.5.1). It is mail to the host, and would bounce.
    postmaster = f"postmaster@{spec.hostname.lower()}"
    virtual_alias.setdefault(postmaster, spec.admin or f"postmaster@{spec.domains[0].name.lower()}")
    bounces = any(scope.verdicts.bounces for scope in spec.scopes())
    notices = spec.notifications
    admins = (notices.virus_admin, notices.spam_admin, notices.banned_admin, notices.bad_header_admin)
    return {
        "relay_domains": relay_domains,
        "transport": transport,
        "virtual_alias": virtual_alias,
        "recipients": recipients,
        "ehlo_networks": {} if all(domain.relay.smtputf8 for domain in spec.domains) else door.WITHOUT_SMTPUTF8,
        "filtering": {"suspended": spec.filtering.suspended},
        **door.clients(spec.lists.clients),
        **outgoing.tables(spec),
        "reinjection_recipients": {admin.lower(): "OK" for admin in (*admins, postmaster) if admin},
        # Notices to senders, who are anywhere, come from the null sender.
        "reinjection_senders": {"<>": "OK"} if bounces else {},
    }


def table_source(table: dict[str, str]) -> str:
    """A table as postmap(1) reads it."""
    return "".join(f"{key}\t{value}\n" for key, value in sorted(table.items()))


def tables_hash(sources: dict[str, str]) -> str:
    """SHA-256 over all tables' sources in name order, hexadecimal, as the container `tables` reports it."""
    found = hashlib.sha256()
    for name, source in sorted(sources.items()):
        found.update(name.encode() + b"\0" + source.encode() + b"\0")
    return found.hexdigest()
