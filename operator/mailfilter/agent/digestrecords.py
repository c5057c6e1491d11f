"""Who was told of held mail, and when: a record for each recipient, so that nobody gets two digests for a day.

Whoever sends a digest holds the lock of the recipient's file. `started` stands in it from the moment on in which
Postfix may have the mail. Where it stands and nobody holds the lock, the sender died in the middle, and whether Postfix
has the mail is unknown. A record is one block that is written over, so that it takes no room on a full volume.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import IO, Literal

from pydantic import ValidationError

from mailfilter.agent.locked import taken
from mailfilter.api.fields import Model

DIRECTORY = ".digests"
_BLOCK = 512
_LONGEST_REPLY = 200

State = Literal["started", "waiting", "sent", "refused", "interrupted"]


class Told(Model):
    """The last digest of a recipient."""

    day: date
    """Of which day."""
    state: State
    """What became of it. `waiting` was refused for now, and Postfix does not have it."""
    until: float
    """Mail that was stored up to this time, in seconds since the epoch, needs not to be told of any more."""
    reply: str = ""
    """What Postfix said."""


class RecordFile:
    """A recipient's record, whose lock this process has."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, day: date) -> Told | None:
        """The last digest; None when there was none. One that cannot be read may be of this day. Raises OSError."""
        content = os.pread(self._file.fileno(), _BLOCK, 0)
        if not content:
            return None
        try:
            return Told.model_validate_json(content)
        except ValidationError:
            return Told(day=day, state="started", until=0.0)

    def write(self, told: Told) -> None:
        """Replaces the record, also for a machine that crashes. Raises OSError."""
        short = told.model_copy(update={"reply": told.reply.encode("ascii", "replace").decode()[:_LONGEST_REPLY]})
        data = short.model_dump_json(by_alias=True).encode().ljust(_BLOCK)
        if os.pwrite(self._file.fileno(), data, 0) < len(data):
            raise OSError("the volume is full")
        os.fsync(self._file.fileno())


class Records:
    """The records of a quarantine. The methods block; call them in a thread."""

    def __init__(self, quarantine: Path) -> None:
        self._directory = quarantine / DIRECTORY

    @contextmanager
    def taken(self, address: str) -> Iterator[RecordFile | None]:
        """The record of an address, locked, made if need be; None while another one sends. Raises OSError."""
        with taken(self._directory / hashlib.sha256(address.encode()).hexdigest()[:40]) as file:
            yield RecordFile(file) if file else None

    def forget(self, before: float) -> None:
        """Deletes records that were last written before a time. Raises OSError."""
        if not self._directory.exists():
            return
        for path in self._directory.iterdir():
            # Another agent may be at it as well.
            with suppress(FileNotFoundError, BlockingIOError):
                if path.stat().st_mtime < before:
                    with path.open("rb") as file:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        if os.fstat(file.fileno()).st_mtime < before:
                            path.unlink()
