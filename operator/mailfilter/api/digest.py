"""The daily mail to recipients about what is held for them."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from mailfilter.api.fields import EmailAddress, Line, Model, TimeOfDay, ZoneName
from mailfilter.api.lists import ConfigMapRef

# Infected mail is not in it: who is told of it asks for it.
DigestKind = Literal["spam", "banned", "bad-header"]


def _known(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"there is no time zone {name}: use a name such as Europe/Berlin or UTC") from error
    return name


TimeZone = Annotated[ZoneName, AfterValidator(_known)]
Kinds = Annotated[
    list[DigestKind], Field(min_length=1, max_length=3, json_schema_extra={"x-kubernetes-list-type": "set"})
]


class Digest(Model):
    """A mail a day to each recipient for whom mail was held since the last one. Who has none gets none; nobody learns
    of mail that was not for them (docs/notices.md)."""

    enabled: bool = False
    """Whether digests are sent. Domains and recipients can differ (`policy.digest`)."""
    at: TimeOfDay = "07:00"
    """When, in hours and minutes of `timeZone`. What was missed is made up for on the same day."""
    time_zone: TimeZone = "UTC"
    """The time zone by its name in the IANA database, such as Europe/Berlin; times in the digest are of it, too."""
    kinds: Kinds = ["spam", "banned"]
    """Which held mail is in it. Infected mail never is."""
    contact: Line | None = None
    """Whom recipients ask for a mail, in words; postmaster at their domain when left out."""
    from_address: EmailAddress | None = None
    """The author's address; postmaster at the recipient's domain when left out. The envelope's sender is empty."""
    from_name: Line = "Mail filter"
    """The author's name."""


class GatewayDigest(Digest):
    """Digests of the gateway."""

    template: ConfigMapRef | None = None
    """The text in place of the default one (docs/notices.md). It is watched; of one that has a mistake the condition
    DigestsSent names the line, and the last good one stays in force."""


class DigestOverrides(Model):
    """The daily mail about held mail."""

    enabled: bool | None = None
    """As in spec.quarantine.digest."""
    at: TimeOfDay | None = None
    """As in spec.quarantine.digest."""
    time_zone: TimeZone | None = None
    """As in spec.quarantine.digest."""
    kinds: Kinds | None = None
    """As in spec.quarantine.digest."""
    contact: Line | None = None
    """As in spec.quarantine.digest."""
    from_address: EmailAddress | None = None
    """As in spec.quarantine.digest."""
    from_name: Line | None = None
    """As in spec.quarantine.digest."""
