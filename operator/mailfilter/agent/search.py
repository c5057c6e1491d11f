"""What can be asked of the held mail, and the form of an answer."""

import base64
import struct
from typing import Any, NamedTuple, Self

from pydantic import AwareDatetime

from mailfilter.agent.heldmail import plain
from mailfilter.api.fields import Model
from mailfilter.api.selection import Conditions, Kind

KINDS: tuple[Kind, ...] = ("spam", "virus", "banned", "bad-header")


class Entry(Model):
    """A held mail, as lists show it. What its sender wrote (author, subject) is harmless text and may be a lie."""

    id: str
    """Quarantine id, the path of the file: what a release names."""
    kind: Kind
    """Why amavis holds it."""
    time: AwareDatetime
    """When amavis stored it."""
    size: int
    """Bytes of the file, compressed as it is."""
    sender: str
    """Envelope sender; empty for the null sender."""
    recipients: tuple[str, ...]
    """Envelope recipients who did not get the mail."""
    author: str
    """From header field."""
    subject: str
    """Subject header field."""
    score: float | None
    """SpamAssassin's; null when the mail was not scored."""
    alerts: tuple[str, ...]
    """What amavis found: the virus, the banned part, the bad header."""
    infected: bool
    """amavis found a virus, whatever the kind."""
    released: tuple[str, ...]
    """Who was given the mail."""
    seen: bool
    """Somebody has looked at it."""
    problem: str | None
    """Why the file cannot be read; null when it can."""


class Query(Conditions):
    """Conditions, of which all that are given must be true of a mail."""

    released: bool | None = None
    """Given to somebody, or to nobody yet."""
    seen: bool | None = None
    """Looked at, or not yet."""

    def condition(self) -> tuple[str, list[Any]]:
        """The condition in SQL, on the index's table `held`, and its values."""
        parts: dict[str, Any] = {}
        if self.kind:
            parts["kind = ?"] = self.kind
        if self.sender is not None:
            parts[f"sender_{_part(self.sender)} = ?"] = key(self.sender)
        if self.recipient is not None:
            by = f"recipient.{_part(self.recipient)} = ?"
            parts[f"id IN (SELECT recipient.id FROM recipient WHERE {by})"] = key(self.recipient)  # noqa: S608 (fixed words)
        if self.subject is not None:
            parts["instr(folded, ?) > 0"] = self.subject.casefold()
        if self.since:
            parts["time >= ?"] = self.since.timestamp()
        if self.until:
            parts["time < ?"] = self.until.timestamp()
        if self.min_score is not None:
            parts["score >= ?"] = self.min_score
        if self.max_score is not None:
            parts["score <= ?"] = self.max_score
        if self.released is not None:
            parts["EXISTS (SELECT 1 FROM released WHERE released.mail_id = held.mail_id) = ?"] = self.released
        if self.seen is not None:
            parts["EXISTS (SELECT 1 FROM seen WHERE seen.mail_id = held.mail_id) = ?"] = self.seen
        return " AND ".join(parts) or "1", list(parts.values())


class Cursor(NamedTuple):
    """Where a page ends: the next one begins with what is older."""

    time: float
    id: str

    def token(self) -> str:
        """For the client to give back."""
        return base64.urlsafe_b64encode(struct.pack("!d", self.time) + self.id.encode()).decode()

    @classmethod
    def parsed(cls, token: str) -> Self:
        """Raises ValueError for what `token` did not make."""
        try:
            raw = base64.urlsafe_b64decode(token.encode())
            return cls(struct.unpack("!d", raw[:8])[0], raw[8:].decode())
        except (ValueError, struct.error) as error:
            raise ValueError("not the `next` of an answer") from error


def key(address: str) -> str:
    """An address, or @domain, to look up by: people seldom care about capital letters in local parts."""
    return address.lower() if address.startswith("@") else plain(address).lower()


def _part(wanted: str) -> str:
    return "domain" if wanted.startswith("@") else "address"
