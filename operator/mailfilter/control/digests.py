"""Whether recipients are told of held mail. Pure: what the agents said is in the facts."""

from typing import Any

from mailfilter.control.conditions import Observation, no, unknown, yes
from mailfilter.control.facts import Facts


def digests_sent(facts: Facts) -> Observation:
    """False while a digest could not be sent, or the template has a mistake."""
    kind = "DigestsSent"
    if facts.reading.template_trouble:
        why = f"{facts.reading.template_trouble}. The last good template, or else the default one, stays in force."
        return no(kind, "TemplateRefused", why)
    if facts.spec.filtering.suspended != "None":
        return no(kind, "Suspended", "filtering is suspended: digests wait until it is not, on the same day")
    found: list[dict[str, Any]] = [
        one for pod in facts.of("amavis") if (one := (pod.status or {}).get("amavis", {}).get("digests"))
    ]
    if not found:
        return unknown(kind, "AgentsUnreachable", "no amavis pod can be asked yet")
    # Each agent knows of all: what one has sent is in the records that the others read.
    number = {name: max(one[name] for one in found) for name in ("sent", "waiting", "refused", "interrupted")}
    reply = next((str(one["trouble"]) for one in found if one["trouble"]), "")
    if number["waiting"]:
        return no(kind, "Retrying", f"{number['waiting']} digests wait and are tried again, on this day: {reply}")
    if number["refused"]:
        return no(kind, "Refused", f"Postfix refused {number['refused']} digests of this day: {reply}")
    if number["interrupted"]:
        return no(
            kind,
            "Interrupted",
            f"{number['interrupted']} digests of this day may have been sent or not, and are not repeated: {reply}. "
            "What they told of is in those of the next day, too.",
        )
    return yes(kind, "Sent", f"digests of the last day: {number['sent']}")
