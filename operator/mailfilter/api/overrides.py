"""What differs from the rest of the gateway for one domain or one recipient."""

from typing import Annotated, Any

from pydantic import Field

from mailfilter.api.digest import DigestOverrides
from mailfilter.api.fields import (
    VALIDATIONS,
    EmailAddress,
    FileNameOverride,
    FileTypeOverride,
    MimeTypeOverride,
    Model,
    PrintableAscii,
    Score,
    SenderPatternOverride,
    SenderRegexpOverride,
    rule,
)
from mailfilter.api.lists import EITHER_SENDER
from mailfilter.api.verdicts import BannedPreset, Bounceable, Destiny


def _ordered(lower: str, upper: str) -> dict[str, Any]:
    """CEL: two levels that are both given are in order."""
    return rule(
        f"!has(self.{lower}) || !has(self.{upper}) || self.{lower} <= self.{upper}",
        f"{lower} must not be above {upper}",
    )


class SpamOverrides(Model):
    """Spam levels and what follows from them."""

    model_config = {
        "json_schema_extra": {
            VALIDATIONS: [
                _ordered("tagLevel", "tag2Level"),
                _ordered("tag2Level", "killLevel"),
                _ordered("killLevel", "cutoffLevel"),
            ]
        }
    }

    enabled: bool | None = None
    """As in spec.spam."""
    tag_level: Score | None = None
    """As in spec.spam."""
    tag2_level: Score | None = None
    """As in spec.spam."""
    kill_level: Score | None = None
    """As in spec.spam."""
    cutoff_level: Score | None = None
    """As in spec.spam."""
    destiny: Destiny | None = None
    """As in spec.spam."""
    subject_tag: PrintableAscii | None = None
    """As in spec.spam; an empty one means none."""


class VirusOverrides(Model):
    """What becomes of infected mail."""

    destiny: Destiny | None = None
    """As in spec.virus."""


class BannedOverrides(Model):
    """Attachments that are not let through. A list that is given replaces the other as a whole."""

    enabled: bool | None = None
    """As in spec.banned."""
    destiny: Bounceable | None = None
    """As in spec.banned."""
    names: Annotated[list[FileNameOverride], Field(max_length=500)] | None = None
    """As in spec.banned."""
    types: Annotated[list[FileTypeOverride], Field(max_length=100)] | None = None
    """As in spec.banned."""
    mime_types: Annotated[list[MimeTypeOverride], Field(max_length=100)] | None = None
    """As in spec.banned."""
    presets: Annotated[list[BannedPreset], Field(max_length=10)] | None = None
    """As in spec.banned."""
    double_extensions: bool | None = None
    """As in spec.banned."""
    allow_inside: Annotated[list[FileTypeOverride], Field(max_length=100)] | None = None
    """As in spec.banned."""


class BadHeaderOverrides(Model):
    """What becomes of mail with a broken header."""

    destiny: Bounceable | None = None
    """As in spec.badHeader."""


class OwnScore(Model):
    """Points for a sender."""

    model_config = {"json_schema_extra": {VALIDATIONS: [EITHER_SENDER]}}

    sender: SenderPatternOverride | None = None
    """As in spec.lists.scores."""
    sender_regexp: SenderRegexpOverride | None = None
    """As in spec.lists.scores."""
    score: Score
    """As in spec.lists.scores."""


class OwnLists(Model):
    """Lists of senders of a domain or a recipient."""

    allow: Annotated[list[SenderPatternOverride], Field(max_length=200)] = []
    """As in spec.lists."""
    deny: Annotated[list[SenderPatternOverride], Field(max_length=200)] = []
    """As in spec.lists."""
    scores: Annotated[list[OwnScore], Field(max_length=50)] = []
    """As in spec.lists."""


class Overrides(Model):
    """What is given here replaces what the spec says; all else is inherited. Effective without a restart."""

    spam: SpamOverrides | None = None
    """Spam levels and what follows from them."""
    virus: VirusOverrides | None = None
    """Infected mail."""
    banned: BannedOverrides | None = None
    """Banned attachments."""
    bad_header: BadHeaderOverrides | None = None
    """Mail with a broken header."""
    digest: DigestOverrides | None = None
    """The daily mail about held mail."""
    lists: OwnLists | None = None
    """Senders that are allowed, denied and scored here. They are asked before the spec's, which stay."""

    @property
    def bounces(self) -> list[str]:
        """The fields that say Bounce here."""
        parts = {"banned.destiny": self.banned, "badHeader.destiny": self.bad_header}
        return [field for field, part in parts.items() if part and part.destiny == "Bounce"]


class Recipient(Model):
    """A recipient for whom something differs from the domain."""

    address: EmailAddress
    """An address in one of `domains` as senders write it: aliases are followed after the filter. Upper and lower case
    are the same. user@example.com also means user+anything@example.com, unless that has an entry of its own."""
    policy: Overrides
    """What differs from the domain's policy."""
