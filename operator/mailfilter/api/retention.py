"""How long held mail is kept, and what room there must be."""

from typing import Annotated

from pydantic import Field

from mailfilter.api.fields import Model, Quantity

# A volume with less room, as a part of it and in mails of the largest size, is nearly full.
_LEAST_FREE, _LEAST_MAILS = 0.1, 10

_Days = Annotated[int, Field(ge=1, le=3650)]


class Retention(Model):
    """After how many days held mail is deleted, by kind; mail of a kind that is left out is kept. A mail that a pending
    QuarantineRelease names is never deleted."""

    spam: _Days | None = None
    """Days for mail under spam/."""
    virus: _Days | None = None
    """Days for mail under virus/."""
    banned: _Days | None = None
    """Days for mail under banned/."""
    bad_header: _Days | None = None
    """Days for mail under bad-header/."""


class Kept(Model):
    """What bounds the quarantine."""

    retention: Retention = Retention()
    """Bounds by age."""
    max_size: Quantity | None = None
    """Bound of the size of all held mail, such as 8Gi: above it the oldest is deleted, whatever its kind. Without it
    held mail may fill the volume; then mail that is to be held waits in Postfix' queue."""


def least_free(capacity: int, message_size_limit: int) -> int:
    """Free bytes below which a quarantine volume is nearly full: what comes in needs this room."""
    return max(int(capacity * _LEAST_FREE), _LEAST_MAILS * message_size_limit)
