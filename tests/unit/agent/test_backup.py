"""Held mail out of one quarantine over HTTP, and into another."""

import asyncio
import contextlib
import errno
import fcntl
import io
import json
import os
import tarfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient

from mailfilter.agent import backup, export, index
from mailfilter.agent.amavis import AmavisAgent
from mailfilter.agent.archive import INDEX
from mailfilter.agent.settings import Settings
from mailfilter.agent.web import api
from mailfilter.api.retention import least_free

DAY = 86400
GIB = 1 << 30
RELEASED = {
    "state": "done",
    "recipients": ["bob@example.test"],
    "replies": ["250 2.0.0 from MTA: 250 2.0.0 Ok: queued as 4F1"],
}
INFECTED = "X-Amavis-Alert: INFECTED, message contains virus: Pest\n"


@dataclass
class Gateway:
    """The agent of one gateway, its quarantine and who asks it."""

    quarantine: Any
    agent: AmavisAgent
    client: TestClient

    async def json(self, path: str) -> Any:
        """What is answered to a question."""
        response = await self.client.get(path)
        assert response.status == 200, await response.text()
        return await response.json()

    def sync(self) -> None:
        """The agent looks at the volume."""
        self.agent._held._volume.sync()

    async def exported(self, query: str = "") -> bytes:
        """An archive."""
        response = await self.client.get(f"/v1/export{query}")
        assert (response.status, response.headers["Content-Type"]) == (200, "application/x-tar")
        return await response.read()

    async def imported(self, archive: bytes, status: int = 200) -> Any:
        """The report of an import."""
        response = await self.client.post("/v1/import", data=io.BytesIO(archive))
        assert response.status == status, await response.text()
        return await response.json()

    def tree(self) -> dict[str, tuple[bytes, int]]:
        """All files with content and time, but for what belongs to imports alone."""
        files = (path for path in self.quarantine.root.rglob("*") if path.is_file())
        named = {str(path.relative_to(self.quarantine.root)): path for path in files}
        return {
            name: (path.read_bytes(), path.stat().st_mtime_ns)
            for name, path in named.items()
            if not name.startswith((".import", ".restored"))
        }


@pytest.fixture
async def gateways(quarantine, tmp_path, aiohttp_client_for) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """An old one that holds something, and a new one."""
    (tmp_path / "token").write_text("s3cret")
    found = []
    for name in ("quarantine", "new"):
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        settings = Settings(
            policy_file=tmp_path / "policy.json",
            amavis_run=tmp_path,
            quarantine=root,
            index=tmp_path / f"{name}.sqlite",
            token_file=tmp_path / "token",
        )
        agent = AmavisAgent(settings)
        agent._held._volume.sync()
        client = await aiohttp_client_for(api(settings.token_file, agent.status, agent.routes()))
        client.session.headers["Authorization"] = "Bearer s3cret"
        found.append(Gateway(type(quarantine)(root), agent, client))
    return found[0], found[1]


@pytest.fixture
def old(gateways) -> Gateway:
    return gateways[0]


@pytest.fixture
def new(gateways) -> Gateway:
    return gateways[1]


def fill(gateway: Gateway) -> list[str]:
    """One mail of each kind, the first released, the second seen, the last damaged."""
    hold = gateway.quarantine.hold
    names = [
        hold("spam/a/aAbcDEfgh123.gz", age=40 * DAY),
        hold("virus/b/bAbcDEfgh123", age=3 * DAY, alert=INFECTED),
        hold("banned/cAbcDEfgh123", age=DAY, mail="Subject: big\n\n" + "line\n" * 200_000),
        hold("bad-header/-/dAbcDEfgh123.gz".replace("-/d", "d/d"), age=60),
    ]
    (gateway.quarantine.root / names[3]).write_bytes(b"no gzip")
    os.utime(gateway.quarantine.root / names[3], (time.time() - 60,) * 2)
    gateway.quarantine.record(json.dumps(RELEASED), "key-1.aAbcDEfgh123")
    seen = gateway.quarantine.root / ".seen"
    seen.mkdir()
    (seen / "bAbcDEfgh123").touch()
    gateway.sync()
    return names


async def test_a_restored_quarantine_lists_and_shows_like_the_old_one(old, new):
    names = fill(old)
    report = await new.imported(await old.exported())
    size = sum((old.quarantine.root / name).stat().st_size for name in names)
    assert report == {"imported": 4, "bytes": size, "present": 0, "refused": 0, "problems": [], "error": None}
    listed = await new.json("/v1/held")
    assert listed == await old.json("/v1/held")
    assert [one["id"] for one in listed["items"]] == names[::-1]
    assert listed["items"][3]["released"] == ["bob@example.test"]
    assert [one["seen"] for one in listed["items"]] == [False, False, True, False]
    for name in names[:3]:
        assert await new.json(f"/v1/held/{name}") == await old.json(f"/v1/held/{name}")
        raw = [await (await one.client.get(f"/v1/held/{name}/raw")).read() for one in (old, new)]
        assert raw[0] == raw[1]
        stored = [(one.quarantine.root / name).read_bytes() for one in (old, new)]
        assert stored[0] == stored[1]


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


async def test_a_second_import_changes_nothing(old, new):
    fill(old)
    archive = await old.exported()
    await new.imported(archive)
    before = new.tree()
    assert await new.imported(archive) == {
        "imported": 0,
        "bytes": 0,
        "present": 4,
        "refused": 0,
        "problems": [],
        "error": None,
    }
    assert new.tree() == before
    untouched = old.tree()
    assert (await old.imported(archive))["present"] == 4
    assert old.tree() == untouched


async def test_who_had_a_mail_before_is_not_given_it_by_a_selector(old, new, amavis):
    fill(old)
    other = old.quarantine.hold("spam/e/eAbcDEfgh123", age=DAY)
    old.sync()
    await new.imported(await old.exported("?kind=spam"))
    amavis.replies("250 2.0.0 from MTA: 250 2.0.0 Ok: queued as 5A2")
    body = {"key": "key-2", "selector": {"sender": "alice@client.test"}}
    response = await new.client.post("/v1/releases", json=body)
    progress = await response.json()
    assert progress["counts"]["total"] == progress["counts"]["released"] == 1
    (request,) = amavis.requests
    assert f"mail_file={other}\r\n".encode() in request


async def test_a_release_that_broke_off_is_unknown_after_the_restore_too(old, new):
    name = fill(old)[0]
    old.quarantine.record('{"state": "started", "replies": [], "recipients": []}', "key-3.aAbcDEfgh123")
    old.sync()
    await new.imported(await old.exported())
    response = await new.client.post("/v1/releases", json={"key": "key-3", "messages": [name]})
    assert (await response.json())["messages"][0]["reason"] == "Interrupted"


async def test_marks_and_records_that_are_missing_are_added_to_a_mail_that_is_there(old, new):
    name = fill(old)[0]
    archive = await old.exported()
    await new.imported(archive)
    for path in (".releases/key-1.aAbcDEfgh123", ".seen/bAbcDEfgh123"):
        (new.quarantine.root / path).unlink()
    new.sync()
    await new.imported(archive)
    assert (await new.json(f"/v1/held/{name}"))["released"] == ["bob@example.test"]
    assert new.tree().keys() == old.tree().keys()


async def test_what_is_there_is_never_overwritten(old, new):
    names = fill(old)
    archive = await old.exported()
    new.quarantine.hold(names[0], mail="Subject: another\n\n", age=DAY)
    new.quarantine.hold(names[1], age=DAY)
    link = new.quarantine.root / names[2]
    link.parent.mkdir()
    link.symlink_to("/etc/passwd")
    new.quarantine.record('{"state": "started"}', "key-1.aAbcDEfgh123")
    before = new.tree()
    report = await new.imported(archive)
    assert (report["imported"], report["present"], report["refused"], report["error"]) == (1, 0, 3, None)
    assert {(one["name"], one["problem"]) for one in report["problems"]} == {
        (name, "another file has its id: that one stays as it is") for name in names[:3]
    }
    assert {name: new.tree()[name] for name in before} == before
    assert link.is_symlink()


async def test_a_record_that_says_something_else_stays_and_is_told(old, new):
    fill(old)
    archive = await old.exported("?kind=spam")
    record = new.quarantine.record('{"state": "done"}', "key-1.aAbcDEfgh123")
    report = await new.imported(archive)
    assert (report["imported"], report["refused"]) == (1, 0)
    (problem,) = report["problems"]
    assert problem["problem"] == "the record of release key-1 that is here is another: it stays"
    assert record.read_text() == '{"state": "done"}'


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


async def test_a_full_volume_stops_an_import_and_keeps_room_for_mail(old, new, tmp_path, monkeypatch):
    names = fill(old)
    archive = await old.exported()
    limit = 50 << 20
    (tmp_path / "message-size-limit").write_text(f"{limit}\n")
    kept = least_free(GIB, limit)
    sizes = [(old.quarantine.root / name).stat().st_size for name in names[::-1]]

    def volume(free: int) -> None:
        found = SimpleNamespace(f_bavail=free, f_blocks=GIB, f_frsize=1)
        monkeypatch.setattr(backup.os, "statvfs", lambda _path: found)

    volume(kept + sizes[1] - 1)
    report = await new.imported(archive, status=507)
    assert "kept for the mail that comes in" in report["error"]
    assert (report["imported"], (await new.json("/v1/held"))["total"]) == (1, 1)
    assert not (new.quarantine.root / names[2]).exists()
    volume(kept + max(sizes))
    assert (await new.imported(archive))["imported"] == 3


async def test_a_volume_that_is_full_before_its_time_leaves_nothing_behind(old, new, monkeypatch):
    fill(old)
    archive = await old.exported()
    real = os.fsync

    def full(descriptor):
        if os.fstat(descriptor).st_size > 500_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    report = await new.imported(archive, status=507)
    assert (report["imported"], report["error"]) == (1, "the quarantine volume is full")
    assert [path.name for path in (new.quarantine.root / ".import").iterdir()] == ["lock"]


async def test_a_volume_that_cannot_be_written_is_told(old, new, monkeypatch):
    fill(old)
    archive = await old.exported()
    monkeypatch.setattr(
        os, "rename", lambda *_args, **_kwargs: (_ for _ in ()).throw(OSError(errno.EROFS, "read-only"))
    )
    report = await new.imported(archive, status=503)
    assert report["error"].startswith("the quarantine volume: ")
    assert (await new.json("/v1/held"))["total"] == 0


async def test_a_link_in_place_of_a_folder_is_not_followed(old, new, tmp_path):
    fill(old)
    outside = tmp_path / "outside"
    outside.mkdir()
    (new.quarantine.root / "spam").symlink_to(outside)
    await new.imported(await old.exported("?kind=spam"), status=503)
    assert not list(outside.iterdir())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what happens in threads has no event
            await asyncio.sleep(0.01)


def unlocked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


async def test_an_upload_that_breaks_off_leaves_whole_mails_alone(old, new):
    fill(old)
    archive = await old.exported()
    middle = archive.index(b"banned/cAbcDEfgh123") + 300_000

    async def broken():
        yield archive[:middle]
        await until(new.tree)
        raise ConnectionError("the cable")

    with contextlib.suppress(aiohttp.ClientError, ConnectionError):
        await new.client.post("/v1/import", data=broken())
    await until(lambda: unlocked(new.quarantine.root / ".import/lock"))
    new.sync()
    assert [one["id"] for one in (await new.json("/v1/held"))["items"]] == ["bad-header/d/dAbcDEfgh123.gz"]
    assert [path.name for path in (new.quarantine.root / ".import").iterdir()] == ["lock"]
    assert (await new.imported(archive))["imported"] == 3


async def test_what_a_killed_import_left_is_no_obstacle(old, new):
    fill(old)
    left = new.quarantine.root / ".import"
    left.mkdir()
    (left / "mail").write_text("half")
    (left / "record").write_text("half")
    assert (await new.imported(await old.exported()))["imported"] == 4


async def test_one_import_into_a_volume_at_a_time_whatever_the_pod(old, new):
    fill(old)
    archive = await old.exported()
    await new.imported(b"", status=422)
    with (new.quarantine.root / ".import/lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another import" in (await new.imported(archive, status=409))["error"]
    async with new.agent._backup._importing:
        assert "another import" in (await new.imported(archive, status=409))["error"]
    assert (await new.imported(archive))["imported"] == 4


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


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/export"), ("POST", "/v1/import")])
async def test_nothing_comes_out_or_in_without_the_token(old, new, method, path):
    fill(old)
    archive = await old.exported()
    response = await new.client.request(method, path, data=archive, headers={"Authorization": "Bearer other"})
    assert response.status == 401
    assert new.tree() == {}


async def test_an_old_mail_is_not_too_old_in_the_first_week(old, new):
    names = fill(old)
    await new.imported(await old.exported())
    fresh = new.quarantine.hold("spam/f/fAbcDEfgh123", age=2 * DAY)
    new.sync()
    body = {"seconds": {"spam": DAY, "virus": DAY}}
    answer = await (await new.client.post("/v1/expiry", json=body)).json()
    assert answer == {"byAge": 1, "bySize": 0}
    assert fresh not in new.tree()
    for mark in (new.quarantine.root / ".restored").iterdir():
        os.utime(mark, (time.time() - 8 * DAY,) * 2)
    answer = await (await new.client.post("/v1/expiry", json=body)).json()
    assert answer == {"byAge": 2, "bySize": 0}
    assert {name for name in new.tree() if name[0] != "."} == set(names[2:])
    assert not list((new.quarantine.root / ".restored").iterdir())


async def test_what_came_by_an_import_counts_in_the_size_of_all(old, new):
    names = fill(old)
    await new.imported(await old.exported())
    answer = await (await new.client.post("/v1/expiry", json={"maxBytes": 0})).json()
    assert answer == {"byAge": 0, "bySize": len(names)}
    assert not list((new.quarantine.root / ".restored").iterdir())
