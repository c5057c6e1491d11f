"""What amavis wrote about a mail at the top of its quarantine file, and what its sender wrote below.

amavis puts its own header fields first: Return-Path, Delivered-To, X-Envelope-*, X-Quarantine-ID, X-Amavis-*, X-Spam-*,
then a Received field of its own (Amavis.pm do_quarantine, Out/Local.pm). What follows is the sender's, who may write
the very same names: only the fields before the first foreign one count, and of each the first.
"""

import gzip
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from mailfilter.agent.headers import readable

BLOCK_LIMIT = 1 << 20
"""Bytes of the longest header block: 1000 recipients with the longest addresses, twice, fit in."""
LETTER_LIMIT = 1 << 18
"""Bytes of the sender's header in which From and Subject are looked for."""

_OURS = re.compile(
    rb"(return-path|delivered-to|x-envelope-(?:from|to|to-blocked)|x-quarantine-id|x-(?:amavis|spam)-[a-z-]+):(.*)",
    re.IGNORECASE | re.DOTALL,
)
_SENDERS = re.compile(rb"(from|subject|date|message-id):(.*)", re.IGNORECASE | re.DOTALL)
_SCORE = re.compile(r"([A-Za-z0-9_]{1,64})=(-?[0-9.]{1,12})")
_ADDRESS = re.compile(r'[\s,]*+<((?:"(?:\\.|[^"\\])*+"|[^<>"])*+)>')


class HeldMailError(Exception):
    """The file is not a held mail that can be read."""


@dataclass(frozen=True)
class HeldMail:
    """What amavis says of a mail in quarantine. Addresses stand in the quoted form of SMTP, without angle brackets."""

    mail_id: str
    sender: str
    recipients: tuple[str, ...]
    blocked: tuple[str, ...] | None
    """Recipients who did not get the mail; None when the file does not say (it then was all of them)."""
    score: float | None
    """SpamAssassin's, the highest of all recipients; None when the mail was not scored."""
    alerts: tuple[str, ...]
    """X-Amavis-Alert: the virus, the banned part, the bad header."""
    tests: dict[str, float] = field(default_factory=dict)
    """SpamAssassin's rules that hit, with what each added to the score."""
    letter: dict[str, str] = field(default_factory=dict)
    """What the sender wrote as from, subject, date and message-id, readable: nothing to rely on."""

    @property
    def held_for(self) -> tuple[str, ...]:
        """Recipients who are owed the mail."""
        return self.recipients if self.blocked is None else self.blocked

    @property
    def infected(self) -> bool:
        """amavis found a virus, whatever directory the file lies in."""
        return any(alert.startswith("INFECTED") for alert in self.alerts)


@contextmanager
def stored(path: Path) -> Iterator[IO[bytes]]:
    """A quarantine file as it lies there.

    Raises FileNotFoundError, HeldMailError for a file that is no held mail, OSError for other trouble.
    """
    # A link or a pipe in a volume that others may write to must neither be followed nor waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise HeldMailError("not a plain file")
        yield file


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A quarantine file, plain or (by its name) gzip, as amavis was given it.

    Raises what `stored` raises, HeldMailError for a damaged file, too.
    """
    with stored(path) as file:
        if path.suffix != ".gz":
            yield file
            return
        try:
            with gzip.GzipFile(fileobj=file) as plain:
                yield cast(IO[bytes], plain)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise HeldMailError(f"damaged gzip file: {error}") from error


def read(path: Path) -> HeldMail:
    """Reads the top of a quarantine file. Raises what `opened` raises."""
    with opened(path) as file:
        return parse(file)


def parse(file: IO[bytes]) -> HeldMail:
    """Parses the top of an open quarantine file, reading no more than it must. Raises HeldMailError."""
    fields: list[tuple[str, str]] = []
    letter: dict[str, str] = {}
    lines = _fields(file)
    for one in lines:
        own = _OURS.fullmatch(one)
        if own is None:
            letter = _letter(one, lines)
            break
        value = own[2].replace(b"\r", b"").replace(b"\n", b"").strip()
        fields.append((own[1].decode().lower(), value.decode(errors="backslashreplace")))

    def first(name: str) -> str | None:
        return next((value for key, value in fields if key == name), None)

    recipients = first("x-envelope-to")
    blocked = first("x-envelope-to-blocked")
    return HeldMail(
        mail_id=_bare(first("x-quarantine-id")),
        sender=_bare(first("x-envelope-from")),
        recipients=addresses(recipients or ""),
        blocked=None if blocked is None else addresses(blocked),
        score=_number(first("x-spam-score")),
        alerts=tuple(value for key, value in fields if key == "x-amavis-alert"),
        tests=_tests(first("x-spam-status") or ""),
        letter=letter,
    )


def _bare(value: str | None) -> str:
    return (value or "").removeprefix("<").removesuffix(">")


def _number(value: str | None) -> float | None:
    try:
        return float(value) if value else None
    except ValueError:
        return None


def _tests(status: str) -> dict[str, float]:
    listed = status.partition("tests=[")[2].partition("]")[0]
    return {name: number for name, value in _SCORE.findall(listed) if (number := _number(value)) is not None}


def _fields(file: IO[bytes]) -> Iterator[bytes]:
    """The header, field by field. Raises HeldMailError for a field that does not end."""
    # Lines of the field so far: joining them one by one would take quadratic time.
    lines: list[bytes] = []
    left = BLOCK_LIMIT
    while True:
        line = file.readline(left)
        left -= len(line)
        if left <= 0:
            raise HeldMailError(f"the header is longer than {BLOCK_LIMIT} bytes")
        if line.startswith((b" ", b"\t")):
            lines.append(line)
            continue
        if lines:
            yield b"".join(lines)
        if line in (b"", b"\n", b"\r\n"):
            return
        lines = [line]


def _letter(first: bytes, others: Iterator[bytes]) -> dict[str, str]:
    """The sender's own fields, of each the first, as far as they stand near the top."""
    found: dict[str, str] = {}
    left = LETTER_LIMIT
    one: bytes | None = first
    try:
        while one is not None and left > 0:
            left -= len(one)
            if match := _SENDERS.fullmatch(one):
                found.setdefault(match[1].decode().lower(), readable(match[2]))
            one = next(others, None)
    except HeldMailError:
        # However long the sender's header is, amavis' own was read.
        return found
    return found


def mail_id_of(quarantine_id: str) -> str:
    """amavis' name of the mail that lies there."""
    return quarantine_id.rpartition("/")[2].removesuffix(".gz")


def addresses(value: str) -> tuple[str, ...]:
    """Addresses of a list such as `<a@example.com>, <"b, c"@example.com>`, each once.

    Raises HeldMailError for anything else: a list read in part would release a mail to a part of its recipients.
    """
    found: list[str] = []
    position = 0
    while match := _ADDRESS.match(value, position):
        found.append(match[1])
        position = match.end()
    if value[position:].strip():
        raise HeldMailError(f"not a list of addresses: {value[position : position + 100]!r}")
    return tuple(dict.fromkeys(address for address in found if address))


def plain(address: str) -> str:
    """An address to compare by: without quoting, the domain in lower case (amavis: unquote_rfc2821_local)."""
    local, at, domain = _bare(address.strip()).rpartition("@")
    if len(local) > 1 and local[0] == local[-1] == '"':
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    return local + at + domain.lower()
