"""What amavis wrote about a mail at the top of its quarantine file.

amavis puts its own header fields first: Return-Path, Delivered-To, X-Envelope-*, X-Quarantine-ID, X-Amavis-*, X-Spam-*,
then a Received field of its own (Amavis.pm do_quarantine, Out/Local.pm). What follows is the sender's, who may write
the very same names: only the fields before the first foreign one count, and of each the first.
"""

import gzip
import os
import re
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

BLOCK_LIMIT = 1 << 20
"""Bytes of the longest header block: 1000 recipients with the longest addresses, twice, fit in."""

_OURS = re.compile(
    rb"(return-path|delivered-to|x-envelope-(?:from|to|to-blocked)|x-quarantine-id|x-(?:amavis|spam)-[a-z-]+):(.*)",
    re.IGNORECASE | re.DOTALL,
)
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
    score: str
    alerts: tuple[str, ...]

    @property
    def held_for(self) -> tuple[str, ...]:
        """Recipients who are owed the mail."""
        return self.recipients if self.blocked is None else self.blocked

    @property
    def infected(self) -> bool:
        """amavis found a virus, whatever directory the file lies in."""
        return any(alert.startswith("INFECTED") for alert in self.alerts)


def read(path: Path) -> HeldMail:
    """Reads the top of a quarantine file, plain or (by its name) gzip.

    Raises FileNotFoundError, HeldMailError for a file that is no held mail or is damaged, OSError for other trouble.
    """
    # A link or a pipe in a volume that others may write to must neither be followed nor waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise HeldMailError("not a plain file")
        if path.suffix != ".gz":
            return parse(file)
        try:
            with gzip.GzipFile(fileobj=file) as plain:
                return parse(cast(IO[bytes], plain))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise HeldMailError(f"damaged gzip file: {error}") from error


def parse(file: IO[bytes]) -> HeldMail:
    """Parses the top of an open quarantine file, reading no more than it must. Raises HeldMailError."""
    fields = _own_fields(file)

    def first(name: str) -> str | None:
        return next((value for key, value in fields if key == name), None)

    recipients = first("x-envelope-to")
    blocked = first("x-envelope-to-blocked")
    return HeldMail(
        mail_id=_bare(first("x-quarantine-id")),
        sender=_bare(first("x-envelope-from")),
        recipients=addresses(recipients or ""),
        blocked=None if blocked is None else addresses(blocked),
        score=first("x-spam-score") or "",
        alerts=tuple(value for key, value in fields if key == "x-amavis-alert"),
    )


def _bare(value: str | None) -> str:
    return (value or "").removeprefix("<").removesuffix(">")


def _own_fields(file: IO[bytes]) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    # Lines of the field so far: joining them one by one would take quadratic time.
    field: list[bytes] = []
    left = BLOCK_LIMIT
    while True:
        line = file.readline(left)
        left -= len(line)
        if left <= 0:
            raise HeldMailError(f"the header of amavis is longer than {BLOCK_LIMIT} bytes")
        if line.startswith((b" ", b"\t")):
            field.append(line)
            continue
        if field:
            own = _OURS.fullmatch(b"".join(field))
            if own is None:
                return fields
            value = own[2].replace(b"\r", b"").replace(b"\n", b"").strip()
            fields.append((own[1].decode().lower(), value.decode(errors="backslashreplace")))
        if line in (b"", b"\n", b"\r\n"):
            return fields
        field = [line]


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
