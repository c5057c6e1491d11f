"""Archives that were damaged, or made by an enemy."""

import gc
import hashlib
import io
import json
import re
import tarfile
import tempfile
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailfilter.agent.archive import HEAD, INDEX, LINE_LIMIT, ArchivedMail, ArchiveError, Head, Writer
from mailfilter.agent.restore import FullError, Restore, Tally
from mailfilter.agent.search import KINDS

NAME = "spam/h/hAbcDEfgh123.gz"
OTHER = "virus/b/bAbcDEfgh123"
MAIL = b"X-Quarantine-ID: <hAbcDEfgh123>\n\nSubject: hello\n\n" + b"text\n" * 300
TIME = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
RELEASE = {"state": "done", "recipients": ["bob@example.test"], "replies": ["250 2.0.0 x: 250 2.0.0 Ok: queued as 4F"]}
Members = list[tuple[str | tarfile.TarInfo, bytes]]


def line(name: str = NAME, content: bytes = MAIL, **changes: object) -> bytes:
    """What an archive says of a mail."""
    about = {
        "id": name,
        "time": TIME.isoformat(),
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "sender": "",
        "recipients": [],
        "seen": False,
        "releases": {},
    }
    return json.dumps(about | changes).encode() + b"\n"


HEAD_LINE = Head(time=TIME).model_dump_json().encode()


def tarred(members: Members, form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar of members, whatever their names are."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for named, content in members:
            member = named if isinstance(named, tarfile.TarInfo) else tarfile.TarInfo(named)
            if member.type == tarfile.REGTYPE:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def archive(members: Members, index: bytes | None = None, form: int = tarfile.USTAR_FORMAT) -> bytes:
    """An archive with its first member and the right index."""
    lines = b"".join(content for name, content in members if isinstance(name, str) and name.endswith(".json"))
    return tarred([(HEAD, HEAD_LINE), *members, (INDEX, lines if index is None else index)], form)


def pair(name: str = NAME, content: bytes = MAIL, **changes: object) -> Members:
    """A mail as it stands in an archive."""
    return [(f"{name}.json", line(name, content, **changes)), (name, content)]


def kind(name: str, type_: bytes, link: str = "", size: int = 0) -> tarfile.TarInfo:
    """A member that is no plain file."""
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = type_, link, size
    return found


def restored(root: Path, content: bytes, room: int = 1 << 30) -> Tally:
    """Imports, whatever comes of it."""
    one = Restore(root, lambda: room)
    try:
        one.run(io.BytesIO(content))
    except (ArchiveError, FullError) as error:
        one.tally.error = str(error)
    return one.tally


def held(root: Path) -> dict[str, bytes]:
    """What is held."""
    files = (path for path in root.rglob("*") if path.is_file() or path.is_symlink())
    return {str(one.relative_to(root)): one.read_bytes() for one in files if one.relative_to(root).parts[0][0] != "."}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A quarantine without anything."""
    path = tmp_path / "volume" / "quarantine"
    path.mkdir(parents=True)
    return path


def test_a_mail_is_what_it_was(root: Path) -> None:
    tally = restored(root, archive(pair(seen=True, releases={"key-1": RELEASE})))
    assert (tally.imported, tally.bytes, tally.refused, tally.error) == (1, len(MAIL), 0, None)
    assert held(root) == {NAME: MAIL}
    assert (root / NAME).stat().st_mtime_ns == 1767323045678901000
    assert json.loads((root / ".releases/key-1.hAbcDEfgh123").read_text()) == RELEASE
    assert (root / ".seen/hAbcDEfgh123").exists()
    assert (root / NAME).stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("given", "expected"), [("1949-01-01T00:00:00Z", 0), ("9999-01-01T00:00:00Z", None)])
def test_whatever_time_a_file_has_it_can_be_archived(root: Path, given: str, expected: int | None) -> None:
    file = io.BytesIO()
    with Writer(file, Head(time=TIME)) as writer:
        writer.add(ArchivedMail.model_validate_json(line(time=given)), io.BytesIO(MAIL))
    assert restored(root, file.getvalue()).imported == 1
    if expected is not None:
        assert (root / NAME).stat().st_mtime == expected


def test_a_time_in_the_future_becomes_now(root: Path) -> None:
    restored(root, archive(pair(time=(datetime.now(UTC) + timedelta(days=99)).isoformat())))
    assert abs((root / NAME).stat().st_mtime - time.time()) < 3600


EVIL = b"#!/bin/sh\n"
DIGEST = hashlib.sha256(MAIL).hexdigest()


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([(f"{OTHER}.json", line(OTHER) + b" " * LINE_LIMIT), (OTHER, MAIL)], "Invalid JSON"),
        (pair("../../etc/cron.d/evil"), "id: "),
        (pair("/etc/cron.d/evil"), "id: "),
        (pair("spam/../../evil123456"), "id: "),
        (pair("spam/h/../../../x/hAbcDEfgh123"), "id: "),
        (pair(".releases/key-1.hAbcDEfgh123"), "id: "),
        (pair(".import/lock"), "id: "),
        (pair("other/h/hAbcDEfgh124"), "id: "),
        (pair("spam/h/.hiddenfile1"), "id: "),
        (pair("spam/h/hAbcDEfgh124\n"), "id: "),
        (pair(OTHER, time="2026-01-01T00:00:00"), "time: "),
        (pair(OTHER, time="soon"), "time: "),
        (pair(OTHER, size=-1), "size: "),
        (pair(OTHER, sha256="x"), "sha256: "),
        (pair(OTHER, owner="root"), "owner: "),
        (pair(OTHER, releases={"../../key": RELEASE}), "releases.../../key.[key]: "),
        (pair(OTHER, releases={"key": RELEASE | {"state": "x"}}), "releases.key.state: "),
        ([(f"{OTHER}.json", b"{"), (OTHER, MAIL)], "Invalid JSON"),
        ([(f"{OTHER}.json", b"\xff\x00"), (OTHER, MAIL)], "Invalid JSON"),
        ([(f"{OTHER}.json", line(NAME)), (OTHER, MAIL)], "says that it is about another mail"),
        ([(f"{OTHER}.json", line(OTHER)), ("spam/x/xAbcDEfgh123", MAIL)], "nothing before it says what it is"),
        ([(f"{OTHER}.json", line(OTHER))], "its file is not in the archive"),
        ([(OTHER, MAIL)], "nothing before it says what it is"),
        (pair(OTHER, sha256="0" * 64), "not the one that was archived"),
        ([(f"{OTHER}.json", line(OTHER, sha256=DIGEST)), (OTHER, MAIL[:-1] + b"x")], "not the one that was archived"),
        ([(f"{OTHER}.json", line(OTHER)), (OTHER, MAIL + b"x")], "not the one that was archived"),
        (pair(OTHER, size=3, sha256=DIGEST), "not the one that was archived"),
        ([(f"{OTHER}.json", line(OTHER, b"")), (kind(OTHER, tarfile.SYMTYPE, "/etc/passwd"), b"")], "not the one that"),
        ([(kind("spam/h", tarfile.SYMTYPE, "/etc"), b"")], "not a plain file"),
        ([(kind(OTHER, tarfile.LNKTYPE, "../../etc/passwd"), b"")], "not a plain file"),
        ([(kind("spam/null", tarfile.CHRTYPE), b"")], "not a plain file"),
        ([(kind("spam/pipe", tarfile.FIFOTYPE), b"")], "not a plain file"),
        ([(kind("../", tarfile.DIRTYPE), b"")], "not a plain file"),
    ],
)
def test_what_is_no_held_mail_is_left_out_and_told(root: Path, members: Members, problem: str) -> None:
    tally = restored(root, archive([*members, *pair()]))
    assert tally.imported == 1
    assert tally.refused >= 1
    assert problem in tally.problems[0].problem
    assert tally.problems[0].name.isprintable()
    assert tally.error is None
    assert held(root) == {NAME: MAIL}
    assert [str(path.relative_to(root.parent.parent)) for path in root.parent.iterdir()] == ["volume/quarantine"]


def blown_up(name: str, size: int) -> bytes:
    """A header that says what is not there."""
    found = tarfile.TarInfo(name)
    found.size = size
    return found.tobuf(tarfile.GNU_FORMAT)


def long_name() -> bytes:
    found = tarfile.TarInfo("x" * 300)
    return found.tobuf(tarfile.PAX_FORMAT)


FIRST = tarred([(HEAD, HEAD_LINE)])[:1024]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "no tar: empty file"),
        (b"no tar at all", "no tar: "),
        (b"\0" * 10240, "no archive"),
        (tarred(pair()), "no archive that `kubectl mailfilter export` wrote"),
        (tarred([(HEAD, HEAD_LINE.replace(b'"version":1', b'"version":2'))]), "an archive of another version"),
        (tarred([(HEAD, b"{")]), "an archive of another version"),
        (FIRST + blown_up(NAME, 1 << 60), "says that it has"),
        (FIRST + blown_up(NAME, -1024), "says that it has"),
        (FIRST + blown_up(f"{NAME}.json", LINE_LIMIT + 1), "it breaks off"),
        (FIRST + long_name(), "a member of type "),
        (archive([("x" * 200, b"")], form=tarfile.GNU_FORMAT), "a member of type "),
        (archive([(kind(NAME, tarfile.GNUTYPE_SPARSE), b"")], form=tarfile.GNU_FORMAT), "a member of type "),
        (archive(pair(), index=b""), "its index is another"),
        (archive(pair(), index=line() + line(OTHER)), "its index is another"),
        (tarred([(HEAD, HEAD_LINE), *pair()]), "mails that came later are missing"),
        (FIRST + b"\xff" * 512 + archive(pair())[1024:], "mails that came later are missing"),
    ],
)
def test_what_is_no_whole_archive_is_told(root: Path, content: bytes, error: str) -> None:
    tally = restored(root, content)
    assert tally.error is not None
    assert error in tally.error
    assert set(held(root)) <= {NAME}


def test_a_mail_that_was_cut_out_is_noticed(root: Path) -> None:
    both = line() + line(OTHER)
    tally = restored(root, archive(pair(OTHER), index=both))
    assert (tally.imported, tally.error) == (1, "its index is another: mails were taken out of it, or put into it")


def test_the_same_mail_twice_is_held_once(root: Path) -> None:
    another = pair(content=MAIL + b"more")
    tally = restored(root, archive([*pair(), *pair(), *another]))
    assert (tally.imported, tally.present, tally.refused) == (1, 1, 1)
    assert held(root) == {NAME: MAIL}


def test_wherever_it_is_cut_off_what_is_whole_is_held_and_the_rest_is_told() -> None:
    whole = archive([*pair(), *pair(OTHER)])
    index = whole.index(INDEX.encode()) // 512
    end = index * 512 + 512 + len(line()) + len(line(OTHER))
    for cut in [*range(0, end, 512), *range(100, end, 512), end - 1]:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            tally = restored(root, whole[:cut])
            assert tally.error, cut
            found = held(root)
            # A mail counts as soon as its last byte is there.
            expected = [name for name in (NAME, OTHER) if cut >= whole.index(name.encode() + b"\0") + 512 + len(MAIL)]
            assert (list(found), tally.imported) == (expected, len(expected)), cut
            assert set(found.values()) <= {MAIL}
            assert restored(root, whole).error is None
            assert held(root) == {NAME: MAIL, OTHER: MAIL}


def test_a_mail_that_finds_no_room_stops_it(root: Path) -> None:
    tally = restored(root, archive([*pair(), *pair(OTHER, MAIL * 9)]), room=len(MAIL) + 100)
    assert tally.imported == 1
    assert "room" in (tally.error or "")
    assert held(root) == {NAME: MAIL}
    assert [path.name for path in (root / ".import").iterdir()] == ["lock"]


def test_memory_does_not_grow_with_the_number_of_mails(tmp_path: Path, root: Path) -> None:
    peaks: dict[int, list[int]] = {}
    for number in (600, 1600):
        path = tmp_path / f"{number}.tar"
        tracemalloc.start()
        with path.open("wb") as file, Writer(file, Head(time=TIME)) as writer:
            for one in range(number):
                writer.add(ArchivedMail.model_validate_json(line(f"spam/m/m{one:011}")), io.BytesIO(MAIL))
        peaks.setdefault(number, []).append(tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()
        restore = Restore(root, lambda: 1 << 30)
        with path.open("rb") as file:
            restore.run(file)
        peaks[number].append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # tarfile's own objects of a thousand mails would be twice as much.
    for few, many in zip(peaks[600], peaks[1600], strict=True):
        assert many - few < 400_000


def test_what_breaks_off_an_export_does_not_end_as_if_all_were_in_it(root: Path) -> None:
    file = io.BytesIO()

    def broken() -> None:
        with Writer(file, Head(time=TIME)) as writer:
            writer.add(ArchivedMail.model_validate_json(line()), io.BytesIO(MAIL))
            raise RuntimeError("the disk")

    with pytest.raises(RuntimeError):
        broken()
    sent = file.getvalue()
    gc.collect()
    assert file.getvalue() == sent
    assert restored(root, sent).error


NAMES = st.one_of(
    st.sampled_from([NAME, OTHER, f"{NAME}.json", HEAD, INDEX, "../x", "/tmp/x", "spam/../../y", ".releases/a.b", ""]),
    st.lists(st.sampled_from(["..", ".", "spam", "virus", "h", "", "hAbcDEfgh123", ".seen", "~", "é"]), max_size=6).map(
        "/".join
    ),
)
TYPES = st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])


@st.composite
def hostile(draw: st.DrawFn) -> Members:
    """Members of any name and type, some with a line about them."""
    found: Members = []
    for _ in range(draw(st.integers(0, 5))):
        name, content = draw(NAMES), draw(st.binary(max_size=20))
        if draw(st.booleans()):
            about = draw(st.sampled_from([name, NAME, OTHER]))
            keys = draw(st.sampled_from(["key-1", "../key", "a/b", "."]))
            found.append((f"{name}.json", line(about, content, releases={keys: RELEASE}, seen=True)))
        found.append((kind(name, draw(TYPES), draw(NAMES)), content) if draw(st.booleans()) else (name, content))
    return found


@settings(max_examples=150, deadline=None)
@given(members=hostile(), flips=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=3))
def test_nothing_but_held_mail_is_ever_written(members: Members, flips: list[tuple[int, int]]) -> None:
    content = bytearray(archive(members))
    for where, value in flips:
        content[where % len(content)] = value
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "volume" / "quarantine"
        root.mkdir(parents=True)
        restored(root, bytes(content))
        files = [path for path in Path(folder).rglob("*") if not path.is_dir()]
        assert all(path.is_relative_to(root) and not path.is_symlink() and path.is_file() for path in files)
        names = {str(path.relative_to(root)) for path in files}
        allowed = rf"(?:{'|'.join(KINDS)})/(?:[A-Za-z0-9]/)?[A-Za-z0-9_-]{{6,31}}(?:\.gz)?"
        marks = (
            r"\.import/lock|\.(?:seen|restored)/[A-Za-z0-9_-]{6,31}|\.releases/[A-Za-z0-9-]{1,64}\.[A-Za-z0-9_-]{6,31}"
        )
        assert all(re.fullmatch(f"{allowed}|{marks}", name) for name in names), names
