"""Held mail into an archive, while mail comes and goes."""

import errno
import io
import json
import os
import tarfile
import time
from types import SimpleNamespace

import aiohttp
import pytest

from mailfilter.agent import export, index
from mailfilter.agent.archive import INDEX
from support.backup import DAY, RELEASED, fill


async def test_the_archive_can_be_read_with_any_tar(old):
    names = fill(old)
    pairs = [one for name in names[::-1] for one in (f"{name}.json", name)]
    with tarfile.open(fileobj=io.BytesIO(await old.exported())) as archive:
        assert archive.getnames() == ["mailfilter-quarantine.json", *pairs, INDEX]
        lines = [json.loads(line) for line in archive.extractfile(INDEX).read().splitlines()]
    assert [one["id"] for one in lines] == names[::-1]
    assert lines[3] | {"time": "", "sha256": ""} == {
        "id": names[0],
        "time": "",
        "size": (old.quarantine.root / names[0]).stat().st_size,
        "sha256": "",
        "sender": "alice@client.test",
        "recipients": ["bob@example.test"],
        "seen": False,
        "releases": {"key-1": RELEASED},
    }


async def test_an_export_says_beforehand_how_much_it_is(old):
    names = fill(old)
    response = await old.client.get("/v1/export?kind=virus")
    size = (old.quarantine.root / names[1]).stat().st_size
    assert (response.headers["X-Held-Messages"], response.headers["X-Held-Bytes"]) == ("1", str(size))
    assert response.headers["Content-Disposition"].startswith('attachment; filename="quarantine-2')


@pytest.mark.parametrize(
    ("query", "expected"),
    [("?kind=virus", [1]), ("?recipient=bob@example.test&released=false", [1, 2]), ("?seen=true", [1])],
)
async def test_an_export_has_what_a_search_finds(old, new, query, expected):
    names = fill(old)
    report = await new.imported(await old.exported(query))
    assert report["imported"] == len(expected)
    assert {one["id"] for one in (await new.json("/v1/held"))["items"]} == {names[one] for one in expected}


async def test_what_is_deleted_while_an_export_runs_is_left_out(old, new, monkeypatch):
    names = fill(old)
    described = export._about

    def deleting(volume, entry, file):
        for name in names[:2]:
            (old.quarantine.root / name).unlink(missing_ok=True)
        return described(volume, entry, file)

    monkeypatch.setattr(export, "_about", deleting)
    report = await new.imported(await old.exported())
    assert (report["imported"], report["refused"], report["error"]) == (2, 0, None)


async def test_a_file_that_is_deleted_while_it_is_sent_is_sent_whole(old, new, monkeypatch):
    names = fill(old)
    described = export._about

    def deleting(volume, entry, file):
        found = described(volume, entry, file)
        (old.quarantine.root / entry.id).unlink()
        return found

    monkeypatch.setattr(export, "_about", deleting)
    assert (await new.imported(await old.exported()))["imported"] == len(names)


async def test_what_comes_while_an_export_runs_is_not_in_it(old, new, monkeypatch):
    fill(old)
    described = export._about

    def arriving(volume, entry, file):
        volume.add(old.quarantine.hold("spam/z/zAbcDEfgh123"))
        return described(volume, entry, file)

    monkeypatch.setattr(export, "_about", arriving)
    monkeypatch.setattr(index, "_PAGE", 1)
    assert (await new.imported(await old.exported()))["imported"] == 4


async def test_a_mail_of_a_clock_that_is_ahead_is_saved_too(old, new, monkeypatch):
    name = old.quarantine.hold(age=-9 * DAY)
    old.sync()
    monkeypatch.setattr(export, "time", SimpleNamespace(time=time.time, sleep=lambda _seconds: None))
    assert (await new.imported(await old.exported()))["imported"] == 1
    assert (new.quarantine.root / name).stat().st_mtime < time.time() + 1


async def test_a_mail_that_is_still_being_written_is_waited_for(old, new, monkeypatch):
    path = old.quarantine.root / old.quarantine.hold("virus/b/bAbcDEfgh123")
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    old.sync()

    def later(_seconds):
        path.write_bytes(whole)
        os.utime(path, (time.time() - DAY,) * 2)

    monkeypatch.setattr(export, "time", SimpleNamespace(time=time.time, sleep=later))
    assert (await new.imported(await old.exported()))["imported"] == 1
    assert (new.quarantine.root / "virus/b/bAbcDEfgh123").read_bytes() == whole


async def test_a_file_that_shrinks_while_it_is_sent_breaks_the_answer_off(old, new, monkeypatch):
    names = fill(old)
    digest = export._digest

    def shrinking(quarantine_id, file):
        found = digest(quarantine_id, file)
        if quarantine_id == names[0]:
            os.truncate(old.quarantine.root / names[0], 5)
        return found

    monkeypatch.setattr(export, "_digest", shrinking)
    response = await old.client.get("/v1/export")
    with pytest.raises(aiohttp.ClientPayloadError):
        await response.read()


async def test_a_file_that_cannot_be_read_keeps_no_other_from_being_saved(old, new, monkeypatch):
    names = fill(old)

    def digest(file, name, real=export.hashlib.file_digest):
        if b"Pest" in file.peek(1000):
            raise OSError(errno.EIO, "bad block")
        return real(file, name)

    monkeypatch.setattr(export, "hashlib", SimpleNamespace(file_digest=digest))
    report = await new.imported(await old.exported())
    assert (report["imported"], report["refused"], report["error"]) == (3, 1, None)
    assert report["problems"] == [{"name": names[1], "problem": "its file could not be read when it was archived"}]


async def test_exports_are_refused_while_they_cannot_be_whole(old):
    async with old.agent._backup._exporting:
        assert (await old.client.get("/v1/export")).status == 409
    old.agent._held._volume.complete = False
    response = await old.client.get("/v1/export")
    assert response.status == 503
    assert "looked through" in await response.text()
    response = await old.client.get("/v1/export?colour=red")
    assert response.status == 400
    assert (await response.json())["error"].startswith("colour: ")
