"""Whether DNS has the records that a gateway needs. Pure: what DNS said is among the facts."""

from typing import Any

from mailfilter.control.conditions import Observation, no, unknown, yes
from mailfilter.control.facts import Facts
from mailfilter.policy.dns import STATES, by_need

LISTED_RECORDS = 100


def dns_ready(facts: Facts) -> Observation:
    """True when DNS sends the mail of all domains to this gateway."""
    kind = "DNSReady"
    if facts.dns is None:
        return facts.dns_before or unknown(kind, "NotChecked", "DNS was not asked yet")
    worst, *others = by_need(facts.dns)
    alike = sum(other.state == worst.state for other in others)
    more = f" ({alike} more: status.dns)" if alike else ""
    if worst.state == "Present":
        keys = sum(record.wanted.type == "TXT" for record in facts.dns)
        found = f", and {keys} DKIM records are there" if keys else ""
        return yes(kind, "RecordsFound", f"the MX records of all domains name {facts.spec.hostname.lower()}{found}")
    if worst.state == "Unknown":
        return unknown(kind, "NoAnswer", f"{worst.advice}{more}")
    return no(kind, "RecordsMissing" if worst.state == "Missing" else "RecordsDiffer", f"{worst.advice}{more}")


def dns(facts: Facts) -> dict[str, Any] | None:
    """status.dns: counts of all, and the first of the records that want attention."""
    if facts.dns is None:
        return None
    found: dict[str, Any] = {state.lower(): sum(record.state == state for record in facts.dns) for state in STATES}
    found["records"] = [
        {"name": one.wanted.name, "type": one.wanted.type, "state": one.state, "found": list(one.found)}
        | ({"expected": one.wanted.expected} if one.wanted.expected else {})
        for one in by_need(facts.dns)[:LISTED_RECORDS]
    ]
    return found
