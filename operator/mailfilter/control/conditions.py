"""Conditions: merged so that lastTransitionTime tells when the status last changed (meta/v1 Condition)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Status = Literal["True", "False", "Unknown"]
# Conditions that are bad news when they are true.
WARNINGS = ("BackscatterRisk", "Suspended")
# The reason of what is on its way and needs nobody.
WAITING = "Waiting"


@dataclass(frozen=True)
class Observation:
    """What was observed of one type of condition."""

    type: str
    status: Status
    reason: str
    message: str
    generation: int | None = None
    """The generation that it holds for, where that is not yet the newest one."""

    @property
    def good(self) -> bool:
        """Whether all is as it should be."""
        return self.status == ("False" if self.type in WARNINGS else "True")


def yes(kind: str, reason: str, message: str) -> Observation:
    """It was observed to be so."""
    return Observation(kind, "True", reason, message)


def no(kind: str, reason: str, message: str) -> Observation:
    """It was observed not to be so; the message says what to do."""
    return Observation(kind, "False", reason, message)


def unknown(kind: str, reason: str, message: str) -> Observation:
    """It could not be observed."""
    return Observation(kind, "Unknown", reason, message)


def timestamp(moment: datetime | None = None) -> str:
    """RFC 3339 in UTC with seconds, as metav1.Time."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def before(body: dict[str, Any], kind: str) -> Observation | None:
    """What a condition in the status of an object says, if it says it of the object's newest generation."""
    for one in (body.get("status") or {}).get("conditions", []):
        if one["type"] == kind and one.get("observedGeneration") == body["metadata"]["generation"]:
            return Observation(kind, one["status"], one["reason"], one["message"])
    return None


def merged(
    old: list[dict[str, Any]], observed: list[Observation], generation: int
) -> tuple[list[dict[str, Any]], list[Observation]]:
    """The new list of conditions, and the observations whose status or reason is new."""
    before = {condition["type"]: condition for condition in old}
    conditions, changed = [], []
    for seen in observed:
        last = before.get(seen.type, {})
        same = last.get("status") == seen.status
        if not same or last.get("reason") != seen.reason:
            changed.append(seen)
        conditions.append(
            {
                "type": seen.type,
                "status": seen.status,
                "reason": seen.reason,
                "message": seen.message,
                "observedGeneration": seen.generation or generation,
                "lastTransitionTime": last["lastTransitionTime"] if same else timestamp(),
            }
        )
    return conditions, changed
