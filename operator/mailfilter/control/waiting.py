"""Mail that waits, and why. Pure: the facts are arguments."""

from mailfilter.control.conditions import Observation, no, unknown, yes
from mailfilter.control.facts import Facts


def queue(facts: Facts) -> dict[str, int]:
    """status.queue over all Postfix pods that could be asked."""
    found = [(pod.status or {}).get("postfix", {}).get("queue", {}) for pod in facts.of("postfix")]
    return {
        "active": sum(one.get("incoming", 0) + one.get("active", 0) for one in found),
        "deferred": sum(one.get("deferred", 0) for one in found),
        "oldestSeconds": max((int(one.get("oldestSeconds", 0)) for one in found), default=0),
    }


def waiting(facts: Facts) -> str:
    """What becomes of mail that cannot be filtered now."""
    queued = queue(facts)
    waits = f"{queued['active'] + queued['deferred']} mails wait in Postfix' queue"
    if facts.spec.filtering.mode == "BeforeQueue":
        return f"clients are told to try later (451), and {waits}"
    return waits


def suspended(facts: Facts) -> Observation:
    """True while a Postfix pod lets mail wait unfiltered, or pass unfiltered."""
    kind = "Suspended"
    states = {pod.name: (pod.status or {}).get("postfix", {}).get("suspended") for pod in facts.of("postfix")}
    names = {how: ", ".join(sorted(name for name, state in states.items() if state == how)) for how in states.values()}
    if "PassThrough" in names:
        return yes(
            kind,
            "PassThrough",
            f"mail passes unfiltered through {names['PassThrough']}, viruses too. "
            "Set filtering.suspended to None to end it.",
        )
    if "Hold" in names:
        waits = f"{queue(facts)['active'] + queue(facts)['deferred']} mails wait"
        return yes(
            kind,
            "Hold",
            f"mail is taken and waits unfiltered in {names['Hold']}: {waits}. "
            "Set filtering.suspended to None to filter it.",
        )
    if "None" not in names:
        return unknown(kind, "AgentsUnreachable", "no Postfix pod can be asked yet")
    return no(kind, "NotSuspended", "mail goes to the filter")
