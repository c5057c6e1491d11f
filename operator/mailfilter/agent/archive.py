"""An archive of held mail: a tar that may break off, or be made by an enemy (its form: docs/backup.md).

First a member that says what it is, then of each mail a line about it and the file itself as it is stored, at the end
the index: all those lines once more. Without the right index something is missing.
"""

import io
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Annotated, Literal, Protocol, Self

from pydantic import AwareDatetime, Field

from mailfilter.agent.headers import readable
from mailfilter.api.fields import Model, QuarantineId

HEAD, INDEX = "mailfilter-quarantine.json", "index.jsonl"
SUFFIX = ".json"
BLOCK = 1 << 17
# Of a line: many recipients with long replies in many releases fit in.
LINE_LIMIT = 4 << 20
# Of a member: more than amavis or an index of a million mails ever writes.
MEMBER_LIMIT = 4 << 30
_LAST_TIME = 0o77777777777
_PLAIN = {tarfile.REGTYPE, tarfile.AREGTYPE}
_EMPTY = {tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE}


class ArchiveError(Exception):
    """The archive is none, or is damaged from here on."""


class Head(Model):
    """The first member."""

    format: Literal["mailfilter-quarantine"] = "mailfilter-quarantine"
    version: Literal[1] = 1
    time: AwareDatetime
    """When the archive was begun: what was held later is not in it."""


class ArchivedRelease(Model):
    """The record of a release: who was given the mail."""

    state: Literal["started", "done"]
    replies: tuple[str, ...]
    recipients: tuple[str, ...]


class ArchivedMail(Model):
    """A line about a mail."""

    id: QuarantineId
    """Quarantine id, which is also the name of the file's member."""
    time: AwareDatetime
    """When amavis stored it."""
    size: Annotated[int, Field(ge=0, lt=MEMBER_LIMIT)]
    """Bytes of the file, compressed as it is."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    """Of the file; null when it could not be read, and is not in the archive."""
    sender: str
    """Envelope sender; empty for the null sender."""
    recipients: tuple[str, ...]
    """Envelope recipients who did not get the mail."""
    seen: bool
    """Somebody has looked at it."""
    releases: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}(_report)?$")], ArchivedRelease]
    """Records of releases by their key."""


class Sink(Protocol):
    """Where an archive goes."""

    def write(self, data: bytes, /) -> object:
        """Takes all of it."""


class Source(Protocol):
    """Where an archive comes from."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, `size` at most; none at the end."""


class _Gate:
    """A sink that can be taken away."""

    def __init__(self, sink: Sink) -> None:
        self.sink: Sink | None = sink

    def write(self, data: bytes) -> None:
        """To the sink, while there is one."""
        if self.sink:
            self.sink.write(data)


class Writer:
    """Writes an archive in one pass. What is raised within its `with` leaves one that shows that it is a part."""

    def __init__(self, sink: Sink, head: Head) -> None:
        self._gate = _Gate(sink)
        self._tar = tarfile.open(fileobj=self._gate, mode="w|", format=tarfile.USTAR_FORMAT, bufsize=BLOCK)  # type: ignore[call-overload]  # noqa: SIM115
        self._index = tempfile.TemporaryFile()  # noqa: SIM115
        self._text(HEAD, head)

    def add(self, about: ArchivedMail, file: IO[bytes]) -> None:
        """One mail. Raises OSError when the file has less than its size: the archive is void then."""
        self._index.write(self._text(about.id + SUFFIX, about))
        if about.sha256:
            self._member(about.id, about.size, about.time.timestamp(), file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._index:
            if kind is None:
                size = self._index.tell()
                self._index.seek(0)
                self._member(INDEX, size, 0, self._index)
            else:
                # The tar would end as if all were in it.
                self._gate.sink = None
            self._tar.close()

    def _text(self, name: str, model: Model) -> bytes:
        line = model.model_dump_json(by_alias=True).encode() + b"\n"
        self._member(name, len(line), 0, io.BytesIO(line))
        return line

    def _member(self, name: str, size: int, time: float, file: IO[bytes]) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o640
        # For people; the line says it exactly.
        member.mtime = min(max(0, int(time)), _LAST_TIME)
        self._tar.addfile(member, file)
        # It remembers all members.
        self._tar.members.clear()


class _Member(tarfile.TarInfo):
    """A header that makes its reader neither remember nor skip much, and has no other before it or after it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """One block."""
        found = super().frombuf(buf, encoding, errors)
        if found.type not in _PLAIN | _EMPTY:
            raise ArchiveError(f"{shown(found.name)}: a member of type {found.type!r}, which no export writes")
        if not 0 <= found.size <= MEMBER_LIMIT:
            raise ArchiveError(f"{shown(found.name)}: says that it has {found.size} bytes")
        return found


@dataclass(frozen=True)
class Member:
    """A member of an archive; whatever its name says."""

    name: str
    size: int
    content: IO[bytes] | None
    """To be read before the next member; None when it is no plain file."""

    def blocks(self) -> Iterator[bytes]:
        """The content. Raises ArchiveError when the archive breaks off in it."""
        try:
            while self.content and (block := self.content.read(BLOCK)):
                yield block
        except tarfile.TarError as error:
            raise ArchiveError("it breaks off") from error

    def text(self) -> bytes:
        """The content of a short member; nothing of another one. Raises ArchiveError."""
        return b"".join(self.blocks()) if self.size <= LINE_LIMIT else b""


def members(source: Source) -> Iterator[Member]:
    """The members of a tar as far as it can be read, in bounded memory. Raises ArchiveError, and what `source` does."""
    try:
        opened = tarfile.open(fileobj=source, mode="r|", bufsize=BLOCK, tarinfo=_Member)  # type: ignore[call-overload]  # noqa: SIM115
    except tarfile.TarError as error:
        raise ArchiveError(f"this is no tar: {error}") from error
    try:
        with opened as tar:
            while (found := tar.next()) is not None:
                tar.members.clear()
                yield Member(found.name, found.size, tar.extractfile(found) if found.type in _PLAIN else None)
    except tarfile.TarError as error:
        raise ArchiveError(str(error)) from error


def shown(name: str) -> str:
    """The name of a member, to be told."""
    return repr(readable(name.encode(errors="replace"))[:100])
