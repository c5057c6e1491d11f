"""What a release has to do and what it has done: a file on the volume, so that any agent goes on where another ended.

The file `.jobs/<key>` has a line with what was chosen, once for all, then a line for each mail that is done and for
each sender who is to be allowed. Who works on it holds its lock. A line without its end was not written to the end: it
counts for nothing.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter, ValidationError

from mailfilter.agent.locked import taken
from mailfilter.api.fields import Model
from mailfilter.api.status import MessageResult, ReleaseCounts

DIRECTORY = ".jobs"
LISTED_FAILURES = 20
LISTED_SENDERS = 100


class Chosen(Model):
    """What a release is to give back."""

    mails: dict[str, tuple[str, ...]]
    """Quarantine id → those of the recipients who alone miss the mail; empty when all do."""
    by_id: bool
    """Each mail was named."""
    infected: int = 0
    """Left out because they are infected."""
    more: bool = False
    """More mail than the limit was found."""


class Sender(Model):
    """Somebody whose mail was released and who is to be allowed."""

    sender: str
    """Envelope sender."""


class Job:
    """A release as its file has it, and the tries since this agent took it up."""

    def __init__(self, chosen: Chosen) -> None:
        self.chosen = chosen
        self.open = {one: MessageResult(id=one, result="Pending") for one in chosen.mails}
        """What is not done, in the order in which it is tried."""
        self.receipts: list[str] = []
        """Of the attempts that were found interrupted."""
        self._released = 0
        self._failures: list[MessageResult] = []
        self._failed = 0
        self._done: dict[str, MessageResult] = {}
        self.senders: list[str] = []
        """Who is to be allowed, each once."""
        self.more_senders = False
        """There are more of them."""

    def allow(self, sender: str) -> None:
        """A sender's mail was released."""
        if len(self.senders) == LISTED_SENDERS:
            self.more_senders = True
        else:
            self.senders.append(sender)

    def put_off(self, result: MessageResult) -> None:
        """A mail is to be tried again."""
        self.open[result.id] = result

    def end(self, result: MessageResult) -> None:
        """A mail is done."""
        if self.open.pop(result.id, None) is None:
            return
        if result.result == "Released":
            self._released += 1
        else:
            self._failed += 1
            if len(self._failures) < LISTED_FAILURES:
                self._failures.append(result)
        if self.chosen.by_id:
            self._done[result.id] = result

    def counts(self) -> ReleaseCounts:
        """How many mails, by what became of them."""
        return ReleaseCounts(
            total=len(self.chosen.mails),
            released=self._released,
            failed=self._failed,
            retrying=sum(one.result == "Retrying" for one in self.open.values()),
            infected=self.chosen.infected,
        )

    def failures(self) -> tuple[MessageResult, ...]:
        """The first that failed, then the first that are tried again."""
        retrying = (one for one in self.open.values() if one.result == "Retrying")
        return tuple([*self._failures, *retrying][:LISTED_FAILURES])

    def messages(self) -> tuple[MessageResult, ...]:
        """All mails, if each was named."""
        return tuple((self._done | self.open)[one] for one in self.chosen.mails) if self.chosen.by_id else ()


_line: TypeAdapter[Sender | MessageResult] = TypeAdapter(Sender | MessageResult)


class JobFile:
    """The file of a job, whose lock this process has."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self) -> Job | None:
        """The job; None when nothing was chosen yet. Raises OSError."""
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        return parsed(content[:whole])

    def begin(self, chosen: Chosen) -> Job:
        """Writes down what was chosen, so that it outlives a crash of the machine. Raises OSError."""
        self._file.truncate(0)
        self._append(chosen)
        os.fsync(self._file.fileno())
        return Job(chosen)

    def end(self, result: MessageResult) -> None:
        """Writes down that a mail is done. A crash of the machine may lose it: amavis' own record does not. Raises
        OSError."""
        self._append(result)

    def allow(self, sender: str) -> None:
        """Writes down whose mail was released, before that mail is deleted. Raises OSError."""
        self._append(Sender(sender=sender))

    def _append(self, line: Model) -> None:
        data = line.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n"
        if os.write(self._file.fileno(), data) < len(data):
            raise OSError("the volume is full")


class Jobs:
    """All jobs of a quarantine. The methods block; call them in a thread."""

    def __init__(self, quarantine: Path) -> None:
        self._directory = quarantine / DIRECTORY

    @contextmanager
    def taken(self, key: str) -> Iterator[JobFile | None]:
        """The job's file, locked, made if need be; None while another one works on it. Raises OSError."""
        # To the end: a line that is written comes behind all others.
        with taken(self._directory / key, os.O_APPEND) as file:
            yield JobFile(file) if file else None

    def look(self, key: str) -> Job | None:
        """A job as it stands, whoever works on it; None when there is none. Raises OSError."""
        try:
            content = (self._directory / key).read_bytes()
        except FileNotFoundError:
            return None
        return parsed(content[: content.rfind(b"\n") + 1])

    def unfinished(self, keys: Iterable[str]) -> set[str]:
        """Quarantine ids of the mails that these jobs still have to release. Raises OSError."""
        jobs = filter(None, map(self.look, keys))
        return {one for job in jobs for one in job.open}

    def forget(self, keep: Collection[str], before: float) -> None:
        """Deletes jobs that were last worked on before a time, but not `keep`. Raises OSError."""
        if not self._directory.exists():
            return
        for path in self._directory.iterdir():
            # Another agent may be at it as well.
            with suppress(FileNotFoundError):
                if path.name not in keep and path.stat().st_mtime < before:
                    path.unlink()


def parsed(content: bytes) -> Job | None:
    """A job from the whole lines of its file; None when it does not say what was chosen."""
    first, *others = content.splitlines() or [b""]
    try:
        job = Job(Chosen.model_validate_json(first))
    except ValidationError:
        return None
    for line in others:
        try:
            said = _line.validate_json(line)
        except ValidationError:
            # Damaged: the mail is asked about again, which sends nothing twice.
            continue
        if isinstance(said, Sender):
            job.allow(said.sender)
        else:
            job.end(said)
    return job
