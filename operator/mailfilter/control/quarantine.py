"""What is true of the quarantine. Pure: the facts are arguments."""

from typing import Any

from mailfilter.api.retention import least_free
from mailfilter.control.conditions import Observation, no, unknown, yes
from mailfilter.control.facts import Facts


def held(facts: Facts) -> dict[str, Any] | None:
    """status.quarantine; None while no agent knows what is held. All pods see the same volume."""
    for pod in facts.of("amavis"):
        found = (pod.status or {}).get("amavis", {}).get("quarantine", {})
        if found.get("messages") is not None:
            messages: dict[str, int] = found["messages"]
            return {
                "messages": sum(messages.values()),
                "bytes": sum(found["bytes"].values()),
                "byKind": messages,
            }
    return None


def writable(facts: Facts) -> Observation:
    """True when every amavis pod can write to the quarantine; while one cannot, its mail waits."""
    kind = "QuarantineWritable"
    known = [pod for pod in facts.of("amavis") if pod.status]
    if not known:
        return unknown(kind, "AgentsUnreachable", "no amavis pod can be asked yet")
    for pod in known:
        if not (pod.status or {}).get("amavis", {}).get("quarantine", {}).get("writable"):
            return no(
                kind,
                "NotWritable",
                f"{pod.name} cannot write to the quarantine volume: mail to be held waits in the queue",
            )
    return yes(kind, "Writable", "held mail can be stored")


def space(facts: Facts) -> Observation:
    """False before the volume is full, so that somebody can do something before mail has to wait."""
    kind = "QuarantineSpace"
    found = [(pod.status or {}).get("amavis", {}).get("quarantine", {}) for pod in facts.of("amavis")]
    known = [one for one in found if one.get("capacityBytes")]
    if not known:
        return unknown(kind, "AgentsUnreachable", "no amavis pod can be asked yet")
    free, capacity = min((one["freeBytes"], one["capacityBytes"]) for one in known)
    if free < least_free(capacity, facts.spec.message_size_limit):
        return no(
            kind,
            "NearlyFull",
            f"{free * 100 // capacity} % of the quarantine volume are free. When it is full, mail to be held waits in "
            "Postfix' queue. Delete held mail, set quarantine.retention or quarantine.maxSize, or enlarge the volume.",
        )
    return yes(kind, "Room", "there is room on the quarantine volume")
