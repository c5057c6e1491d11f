"""Conditions on held mail: what a search and a release by selector have in common."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, FiniteFloat

from mailfilter.api.fields import VALIDATIONS, Model, rule

Kind = Literal["spam", "virus", "banned", "bad-header"]
_Text = Annotated[str, Field(min_length=1, max_length=320)]
_Time = Annotated[AwareDatetime, Field(json_schema_extra={"maxLength": 40})]


class Conditions(Model):
    """Conditions, of which all that are given must be true of a mail."""

    kind: Kind | None = None
    """Why amavis holds it."""
    sender: _Text | None = None
    """Envelope sender: an address, or @example.com for a whole domain."""
    recipient: _Text | None = None
    """One of those who did not get it: an address, or @example.com for a whole domain."""
    subject: _Text | None = None
    """Part of the subject; capital and small letters are the same."""
    since: _Time | None = None
    """Stored at this time or later."""
    until: _Time | None = None
    """Stored before this time."""
    min_score: FiniteFloat | None = None
    """With this score or a higher one."""
    max_score: FiniteFloat | None = None
    """With this score or a lower one."""


_ANY = " || ".join(f"has(self.{name})" for name in ("kind", "sender", "recipient", "subject", "since", "until")) + (
    " || has(self.minScore) || has(self.maxScore)"
)


class Selector(Conditions):
    """Held mail by what it is, of which the newest is taken. Mail that all its recipients were given before is left
    alone, and so is infected mail without `allowVirus`. What is held later is not in it."""

    model_config = {
        "json_schema_extra": {
            VALIDATIONS: [rule(_ANY, "give at least one condition; since 1970-01-01T00:00:00Z finds all held mail")]
        }
    }

    limit: Annotated[int, Field(ge=1, le=10000)] = 1000
    """How many mails at most."""
