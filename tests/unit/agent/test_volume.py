"""The index follows the files."""

import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailfilter.agent.index import Count, Index
from mailfilter.agent.search import Query
from mailfilter.agent.volume import Volume

RELEASED = (
    '{"state": "done", "recipients": ["<bob@example.test>", "<carol@example.test>"],'
    ' "replies": ["250 2.0.0 from MTA: 250 2.0.0 Ok: queued as 4F1", "550 5.1.1 no such user"]}'
)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "held.sqlite")


@pytest.fixture
def volume(quarantine, index: Index) -> Volume:
    return Volume(quarantine.root, index)


def ids(index: Index, **query) -> list[str]:
    return [one.id for one in index.search(Query(**query), 1000)]


def test_what_is_found_is_described(quarantine, index, volume):
    name = quarantine.hold(age=3600)
    volume.sync()
    (entry,) = index.search(Query(), 10)
    assert entry == index.get(name)
    assert (entry.id, entry.kind, entry.infected, entry.problem) == (name, "spam", False, None)
    assert (entry.sender, entry.recipients, entry.score) == ("alice@client.test", ("bob@example.test",), 999.998)
    assert (entry.author, entry.subject) == ("alice@client.test", "hello")
    assert entry.size == (quarantine.root / name).stat().st_size
    assert abs(entry.time - datetime.now(UTC) + timedelta(hours=1)) < timedelta(minutes=1)
    assert not entry.seen
    assert entry.released == ()


@pytest.mark.parametrize("age", [0, 3600])
def test_files_come_and_go_and_change(quarantine, index, volume, age):
    quarantine.hold("spam/a/aAbcDEfgh123.gz", age=age)
    quarantine.hold("virus/b/bAbcDEfgh123", age=age)
    volume.sync()
    assert set(ids(index)) == {"spam/a/aAbcDEfgh123.gz", "virus/b/bAbcDEfgh123"}
    (quarantine.root / "virus/b/bAbcDEfgh123").unlink()
    quarantine.hold("banned/c/cAbcDEfgh123", age=age)
    volume.sync()
    assert set(ids(index)) == {"spam/a/aAbcDEfgh123.gz", "banned/c/cAbcDEfgh123"}
    shutil.rmtree(quarantine.root / "banned/c")
    volume.sync()
    assert ids(index) == ["spam/a/aAbcDEfgh123.gz"]


def test_a_file_that_was_seen_half_written_is_read_again(quarantine, index, volume):
    path = quarantine.root / quarantine.hold("virus/b/bAbcDEfgh123")
    whole = path.read_bytes()
    path.write_bytes(whole[:40])
    volume.sync()
    assert index.get("virus/b/bAbcDEfgh123").recipients == ()
    with path.open("ab") as file:
        file.write(whole[40:])
    volume.sync()
    assert index.get("virus/b/bAbcDEfgh123").recipients == ("bob@example.test",)


def test_directories_that_did_not_change_are_left_alone(quarantine, index, volume, monkeypatch):
    quarantine.hold(age=3600)
    for path in (quarantine.root / "spam/h", quarantine.root / "spam"):
        os.utime(path, (time.time() - 3600,) * 2)
    volume.sync()
    looked_at = []
    monkeypatch.setattr(os, "scandir", lambda path, scan=os.scandir: looked_at.append(Path(path).name) or scan(path))
    volume.sync()
    # The kind's own folder is asked for the folders in it.
    assert "h" not in looked_at
    assert len(ids(index)) == 1


def test_the_index_outlives_its_process_and_its_loss(quarantine, index, volume, tmp_path):
    quarantine.hold("spam/a/aAbcDEfgh123.gz")
    gone = quarantine.hold("spam/b/bAbcDEfgh123.gz")
    volume.sync()
    (quarantine.root / gone).unlink()
    for file in ("held.sqlite", "another.sqlite"):
        again = Index(tmp_path / file)
        fresh = Volume(quarantine.root, again)
        assert not fresh.complete
        fresh.sync()
        assert fresh.complete
        assert ids(again) == ["spam/a/aAbcDEfgh123.gz"]
        assert again.counts()["spam"].messages == 1


def test_what_amavis_reports_is_there_at_once(quarantine, index, volume):
    volume.add(quarantine.hold())
    assert ids(index) == ["spam/h/hAbcDEfgh123.gz"]
    for odd in ("spam/h/hNotThere123.gz", "../../etc/passwd", "spam/../../x", ""):
        volume.add(odd)
    assert ids(index) == ["spam/h/hAbcDEfgh123.gz"]


def test_only_quarantine_files_are_listed(quarantine, index, volume):
    kept = quarantine.hold()
    for odd in ("spam/h/.hidden", "spam/h/short", "spam/two/hAbcDEfgh123.gz", "other/h/hAbcDEfgh124.gz"):
        quarantine.hold(odd)
    (quarantine.root / "spam/h/hAbcDEfgh129.gz").symlink_to("/etc/passwd")
    os.mkfifo(quarantine.root / "spam/h/hAbcDEfgh128.gz")
    volume.sync()
    assert ids(index) == [kept]


def test_an_unreadable_file_is_listed_with_its_problem(quarantine, index, volume):
    name = quarantine.hold()
    (quarantine.root / name).write_bytes(b"no gzip")
    virus = quarantine.hold("virus/h/hAbcDEfgh124", blocked="X-Envelope-To-Blocked: <<>\n")
    volume.sync()
    assert "damaged" in index.get(name).problem
    assert "list of addresses" in index.get(virus).problem
    assert index.get(virus).infected
    assert not index.get(name).infected


def test_releases_and_looks_are_known(quarantine, index, volume):
    name, other = quarantine.hold(), quarantine.hold("spam/o/oAbcDEfgh123.gz")
    record = quarantine.record(RELEASED)
    quarantine.record("", "broken-name")
    volume.sync()
    assert index.get(name).released == ("bob@example.test",)
    assert ids(index, released=True) == [name]
    assert ids(index, released=False) == [other]
    volume.mark_seen("oAbcDEfgh123")
    assert ids(index, seen=True) == [other]
    volume.sync()
    assert ids(index, seen=False) == [name]
    record.unlink()
    volume.sync()
    assert index.get(name).released == ()


def test_a_deleted_mail_is_gone_with_its_mark(quarantine, index, volume):
    name = quarantine.hold()
    volume.sync()
    volume.mark_seen("hAbcDEfgh123")
    volume.delete(name)
    assert not (quarantine.root / name).exists()
    assert not list((quarantine.root / ".seen").iterdir())
    assert ids(index) == []
    with pytest.raises(FileNotFoundError):
        volume.delete(name)


def test_counts_are_by_kind(quarantine, index, volume):
    quarantine.hold("virus/a/aAbcDEfgh123")
    quarantine.hold("virus/b/bAbcDEfgh123")
    volume.sync()
    size = sum((quarantine.root / f"virus/{one}/{one}AbcDEfgh123").stat().st_size for one in "ab")
    nothing = dict.fromkeys(("spam", "banned", "bad-header"), Count(0, 0))
    assert index.counts() == nothing | {"virus": Count(2, size)}
