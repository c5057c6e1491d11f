"""Takes the mails of an archive into the quarantine. Whoever made the archive, nothing but held mail comes of it.

A mail is written beside the quarantine's folders, and takes its place when it is whole and the one that was archived.
No file that is there is touched: what is already held, and records of releases, stay as they are.
"""

import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from mailfilter.agent import archive, records
from mailfilter.agent.archive import HEAD, INDEX, SUFFIX, ArchivedMail, ArchiveError, Head, Member, Source
from mailfilter.agent.heldmail import mail_id_of
from mailfilter.agent.volume import RELEASES, RESTORED, SEEN
from mailfilter.api.fields import Model

DIRECTORY = ".import"
LISTED_PROBLEMS = 20
# Files that are being written, in DIRECTORY.
_MAIL, _RECORD = "mail", "record"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class BusyError(Exception):
    """Another import into this volume is under way."""


class FullError(Exception):
    """There is no room for more."""


class Problem(Model):
    """A member of the archive that was left out, or not taken as it is."""

    name: str
    """The member; a quarantine id where it has one."""
    problem: str
    """Why."""


class ImportReport(Model):
    """Body of the answer to `POST /v1/import`."""

    imported: int
    """Mails that are held now and were not before."""
    bytes: int
    """Size of their files."""
    present: int
    """Mails that were held before, the very same."""
    refused: int
    """Members that were left out: `problems` says why."""
    problems: tuple[Problem, ...]
    """The first of them."""
    error: str | None
    """Why the import ended before the end of the archive, or what is missing in it; null when it is whole."""


@dataclass
class Tally:
    """An import so far."""

    imported: int = 0
    bytes: int = 0
    present: int = 0
    refused: int = 0
    problems: list[Problem] = field(default_factory=list)
    error: str | None = None

    def refuse(self, name: str, problem: str) -> None:
        """A member is left out."""
        self.refused += 1
        self.remark(name, problem)

    def remark(self, name: str, problem: str) -> None:
        """Something is to be told of a member."""
        if len(self.problems) < LISTED_PROBLEMS:
            self.problems.append(Problem(name=name, problem=problem))

    def report(self) -> ImportReport:
        """What is answered."""
        return ImportReport.model_validate(self, from_attributes=True)


class Restore:
    """One import into the quarantine below `root`. Its methods block; call them in a thread."""

    def __init__(self, root: Path, room: Callable[[], int]) -> None:
        self._root = root
        self._room = room
        self._folders: dict[str, int] = {}
        self.tally = Tally()

    def run(self, source: Source) -> None:
        """Takes in what `source` has; `tally` tells how far it came, whatever ends it.

        Raises ArchiveError, FullError, BusyError, OSError when the volume cannot be written, and what `source` raises.
        """
        try:
            with self._alone():
                try:
                    self._take(archive.members(source))
                finally:
                    # What is counted outlives a crash of the machine.
                    for folder in self._folders.values():
                        os.fsync(folder)
        except OSError as error:
            if error.errno in _FULL:
                raise FullError("the quarantine volume is full") from error
            raise
        finally:
            for folder in self._folders.values():
                os.close(folder)
            self._folders.clear()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Other pods have the same volume."""
        lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640, dir_fd=self._at(DIRECTORY))
        with os.fdopen(lock, "wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BusyError("another import into this quarantine is under way") from error
            yield

    def _take(self, members: Iterator[Member]) -> None:
        if not _is_head(next(members, None)):
            raise ArchiveError("this is no archive that `kubectl mailfilter export` wrote")
        lines = hashlib.sha256()
        about: ArchivedMail | None = None
        for member in members:
            if member.name == INDEX:
                self._missing(about)
                _check(member, lines.digest())
                return
            if member.name.endswith(SUFFIX):
                self._missing(about)
                about = self._described(member, lines.update)
            elif about and member.name == about.id:
                self._mail(about, member)
                about = None
            else:
                kind = "nothing before it says what it is" if member.content else "not a plain file"
                self.tally.refuse(archive.shown(member.name), kind)
        raise ArchiveError("it breaks off: mails that came later are missing")

    def _missing(self, about: ArchivedMail | None) -> None:
        if about:
            self.tally.refuse(about.id, "its file is not in the archive")

    def _described(self, member: Member, count: Callable[[bytes], None]) -> ArchivedMail | None:
        name, line = member.name, member.text()
        # Of a line that is too long nothing was read.
        for block in (line,) if line else member.blocks():
            count(block)
        try:
            about = ArchivedMail.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            self.tally.refuse(archive.shown(name), f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
            return None
        if name != about.id + SUFFIX:
            self.tally.refuse(archive.shown(name), "says that it is about another mail")
            return None
        if about.sha256 is None:
            self.tally.refuse(about.id, "its file could not be read when it was archived")
            return None
        return about

    def _mail(self, about: ArchivedMail, member: Member) -> None:
        folder, _, name = about.id.rpartition("/")
        if member.content is None or member.size != about.size:
            self.tally.refuse(about.id, "its file is not the one that was archived")
            return
        there = _digest(self._at(folder), name)
        if there not in (None, about.sha256):
            self.tally.refuse(about.id, "another file has its id: that one stays as it is")
            return
        if there is None:
            with self._written(_MAIL, about.size, member.blocks()) as (file, found):
                if found != about.sha256:
                    self.tally.refuse(about.id, "its file is not the one that was archived")
                    return
                # From the future it would never end.
                stamp = min(max(0, (about.time - _EPOCH) // timedelta(microseconds=1) * 1000), time.time_ns())
                os.utime(file, ns=(stamp, stamp))
                os.fsync(file)
                # Before the mail: nobody is given it again who had it.
                self._marks(about)
                self._mark(RESTORED, mail_id_of(about.id))
                os.rename(_MAIL, name, src_dir_fd=self._at(DIRECTORY), dst_dir_fd=self._at(folder))
            self.tally.imported += 1
            self.tally.bytes += about.size
        else:
            self._marks(about)
            self.tally.present += 1

    def _marks(self, about: ArchivedMail) -> None:
        mail_id = mail_id_of(about.id)
        if about.seen:
            self._mark(SEEN, mail_id)
        for key, release in about.releases.items():
            name = f"{key}.{mail_id}"
            content = release.model_dump_json().encode()
            if os.path.lexists(self._root / RELEASES / name):
                known = records.read(self._root / RELEASES / name)
                if not records.parsed(content).released.keys() <= known.released.keys():
                    self.tally.remark(about.id, f"the record of release {key} that is here is another: it stays")
                continue
            with self._written(_RECORD, len(content), iter([content])) as (file, _):
                os.fsync(file)
                os.rename(_RECORD, name, src_dir_fd=self._at(DIRECTORY), dst_dir_fd=self._at(RELEASES))

    def _mark(self, folder: str, name: str) -> None:
        with suppress(FileExistsError):
            os.close(os.open(name, _NEW, 0o640, dir_fd=self._at(folder)))

    @contextmanager
    def _written(self, name: str, size: int, content: Iterator[bytes]) -> Iterator[tuple[int, str]]:
        """A new file beside the quarantine, and the hash of its content. It goes when nobody has moved it away."""
        folder = self._at(DIRECTORY)
        if size > self._room():
            raise FullError("the room that is left on the quarantine volume is kept for the mail that comes in")
        # Of an import that was killed.
        _unlink(folder, name)
        try:
            with os.fdopen(os.open(name, _NEW, 0o640, dir_fd=folder), "wb") as file:
                found = hashlib.sha256()
                for block in content:
                    file.write(block)
                    found.update(block)
                file.flush()
                yield file.fileno(), found.hexdigest()
        finally:
            _unlink(folder, name)

    def _at(self, path: str) -> int:
        """A folder of the quarantine, made if need be; what is no folder, or leads elsewhere, is an OSError."""
        if path not in self._folders:
            parent, _, name = path.rpartition("/")
            above = self._at(parent) if parent else None
            where = os.fspath(self._root / name) if above is None else name
            with suppress(FileExistsError):
                os.mkdir(where, 0o750, dir_fd=above)
            self._folders[path] = os.open(where, _FOLDER, dir_fd=above)
        return self._folders[path]


def _is_head(member: Member | None) -> bool:
    if member is None or member.name != HEAD:
        return False
    try:
        Head.model_validate_json(member.text())
    except ValidationError as error:
        raise ArchiveError(f"an archive of another version: {error.errors(include_url=False)[0]['msg']}") from error
    return True


def _check(index: Member, lines: bytes) -> None:
    found = hashlib.sha256()
    for block in index.blocks():
        found.update(block)
    if found.digest() != lines:
        raise ArchiveError("its index is another: mails were taken out of it, or put into it")


def _digest(folder: int, name: str) -> str | None:
    """SHA-256 of a file; None when there is none, something else when there is no plain file."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link"
        raise
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return "no plain file"
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unlink(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
