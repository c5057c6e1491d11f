"""What is true of the SMTP door. Pure: what the agents of the Postfix pods said is the argument."""

from datetime import UTC, datetime
from typing import Any

from mailfilter.control.conditions import Observation, no, unknown, yes

States = dict[str, dict[str, Any] | None]
"""Pod → `postfix` of its agent's status, None when it could not be asked."""


def tls_active(states: States, secret: str, now: datetime | None = None) -> Observation:
    """True when every pod that could be asked offers STARTTLS with the certificate of the Secret."""
    kind = "TLSActive"
    found = {name: state.get("tls") or {} for name, state in sorted(states.items()) if state is not None}
    for name, tls in found.items():
        error, expires = tls.get("error"), tls.get("expires")
        stays = f"the last pair, good until {expires}, stays in use" if expires else "there is no TLS until then"
        if error == "missing":
            return no(
                kind,
                "SecretMissing",
                f"{name} finds no tls.crt and tls.key in Secret {secret}; {stays}. "
                f"kubectl create secret tls {secret} --cert=tls.crt --key=tls.key",
            )
        if error:
            return no(kind, "BrokenPair", f"{name} cannot use Secret {secret}: {error}. Replace both; {stays}.")
        if expires and datetime.fromisoformat(expires) < (now or datetime.now(UTC)):
            return no(kind, "Expired", f"the certificate in Secret {secret} expired at {expires}: renew it")
    if not found or not all(tls.get("expires") for tls in found.values()):
        return unknown(kind, "Waiting", "no pod has looked at the certificate yet")
    first = min(tls["expires"] for tls in found.values())
    return yes(kind, "Offered", f"STARTTLS is offered; the certificate is good until {first}")


def dnsbl_usable(states: States, sites: list[str]) -> Observation:
    """True when all DNS lists answer every pod as such lists do."""
    kind = "DNSBLUsable"
    found = [(name, state.get("dnsbl") or {}) for name, state in sorted(states.items()) if state is not None]
    for name, problems in found:
        for site in sites:
            if problems.get(site):
                return no(
                    kind,
                    "DNSBLUnusable",
                    f"{site}, asked by {name}: {problems[site]}. Take it out of postfix.dnsbl.sites, or have the pods "
                    "ask a DNS server of your own that may ask it.",
                )
    if not found or not all(site in problems for _, problems in found for site in sites):
        return unknown(kind, "Waiting", "no pod has asked all DNS lists yet")
    return yes(kind, "Usable", f"DNS lists that answer: {', '.join(sites)}")
