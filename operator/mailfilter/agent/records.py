"""What amavis wrote down about a release, so that a mail is given back once, whatever breaks off in between.

amavis holds a lock on `<key>.<mail_id>` while it hands a mail to Postfix for one recipient and leaves the outcome in
its place; the replies for the others stay in the record. Where it had no time for that, Postfix knows the attempt by
its receipt (mailfilter.agent.receipts).
"""

import fcntl
import os
import re
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from mailfilter.agent.heldmail import plain
from mailfilter.agent.locked import taken

# Ends the key of a report's record; no key of a release has it.
_REPORT = "_report"
_QUEUED = re.compile(r"250 2\.\d{1,3}\.\d{1,3} .*\bqueued as ([0-9A-Za-z]+)\b", re.DOTALL)


class State(Enum):
    """Whether amavis may be asked for those who miss the mail."""

    FREE = "nothing is under way"
    RUNNING = "amavis is at it"
    INTERRUPTED = "amavis died in the middle; whether Postfix has the mail is unknown"


@dataclass(frozen=True)
class Record:
    """One release of one mail."""

    state: State
    replies: dict[str, str] = field(default_factory=dict)
    """The last known reply by address in plain form."""
    receipt: str | None = None
    """The name by which Postfix knows the attempt that was interrupted."""

    @property
    def released(self) -> dict[str, str]:
        """Replies of those who have the mail."""
        return {address: reply for address, reply in self.replies.items() if queue_id(reply)}


class _Stored(BaseModel):
    state: Literal["started", "done"]
    replies: list[str] = []
    recipients: list[str] = []
    receipt: str | None = None
    recipient: str | None = None
    """For whom the attempt was."""


def name(key: str, mail_id: str, *, report: bool = False) -> str:
    """The name of the record of a release, or of the report that belongs to it."""
    return f"{key}{_REPORT if report else ''}.{mail_id}"


def key_of(record: str) -> str:
    """The key of the release that a record is of."""
    return record.partition(".")[0].removesuffix(_REPORT)


def given(path: Path) -> dict[str, str]:
    """Replies of those who were given the mail, from a record by its path. Who got a report was not. Raises OSError."""
    return {} if path.name.partition(".")[0].endswith(_REPORT) else read(path).released


def queue_id(reply: str) -> str | None:
    """Postfix' queue id of a mail that was taken over; None for any other reply, `250 2.5.0 … nothing to do` too."""
    match = _QUEUED.match(reply)
    return match[1] if match else None


def read(path: Path) -> Record:
    """Reads a record. Raises OSError."""
    while True:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return Record(State.FREE)
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                locked = False
            except BlockingIOError:
                locked = True
            # The outcome may have taken the place of the opened file, which then says "started" for ever.
            if _in_place(path, file.fileno()):
                found = parsed(file.read())
                return replace(found, state=State.RUNNING, receipt=None) if locked else found


def settle(path: Path, receipt: str, queued_as: str | None) -> None:
    """Writes down how an interrupted attempt ended: Postfix has the mail under a queue id, or does not have it.

    Does nothing when the record is not of that attempt any more. Raises OSError."""
    with taken(path) as file:
        if file is None:
            return
        try:
            stored = _Stored.model_validate_json(file.read())
        except ValidationError:
            return
        if stored.state != "started" or stored.receipt != receipt or stored.recipient is None:
            return
        replies = dict(zip(stored.recipients, stored.replies, strict=False))
        if queued_as:
            replies[stored.recipient] = f"250 2.0.0 amavis was interrupted, Postfix has it: queued as {queued_as}"
        outcome = _Stored(state="done", recipients=list(replies), replies=list(replies.values()))
        _replace(path, outcome.model_dump_json(exclude_none=True).encode())


def _replace(path: Path, content: bytes) -> None:
    """As amavis does it: a reader sees the old content or the new, whole, also after a crash of the machine."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _in_place(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def parsed(content: bytes) -> Record:
    """A record that nobody has locked."""
    if not content:
        # Created, but not even marked as started.
        return Record(State.FREE)
    try:
        stored = _Stored.model_validate_json(content)
    except ValidationError:
        return Record(State.INTERRUPTED)
    replies = dict(zip(map(plain, stored.recipients), stored.replies, strict=False))
    if stored.state == "done":
        return Record(State.FREE, replies)
    return Record(State.INTERRUPTED, replies, stored.receipt if stored.recipient else None)
