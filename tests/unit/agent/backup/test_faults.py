"""An import on a volume that is full or strange, or that breaks off."""

import contextlib
import errno
import fcntl
import os
from types import SimpleNamespace

import aiohttp
import pytest

from mailfilter.agent import backup
from mailfilter.api.retention import least_free
from support.backup import GIB, fill, unlocked, until


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


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/export"), ("POST", "/v1/import")])
async def test_nothing_comes_out_or_in_without_the_token(old, new, method, path):
    fill(old)
    archive = await old.exported()
    response = await new.client.request(method, path, data=archive, headers={"Authorization": "Bearer other"})
    assert response.status == 401
    assert new.tree() == {}
