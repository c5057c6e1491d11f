"""The mirror of virus signatures."""

import os
import time
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from prometheus_client import CollectorRegistry

from mailfilter.agent import signatures
from mailfilter.agent.mirror import MirrorAgent, files
from mailfilter.agent.probes import ProbeError
from mailfilter.agent.settings import Settings
from mailfilter.agent.signatures import Signatures, look

BUILT = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)


def if_modified_since(seconds: float) -> dict[str, str]:
    return {"If-Modified-Since": formatdate(seconds, usegmt=True)}


def cvd(version: int, built: datetime) -> bytes:
    stamp = int(built.timestamp())
    head = f"ClamAV-VDB:20 Nov 2026 08-30 +0000:{version}:2035512:90:{'a' * 32}:sig/na+ture:builder:{stamp}"
    return head.encode().ljust(512) + b"\x1f\x8b"


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "custom.ndb").write_bytes(b"0123456789")
    os.utime(tmp_path / "custom.ndb", (1795564800, 1795564800))
    (tmp_path / "freshclam.dat").write_bytes(b"secret")
    return tmp_path


def test_without_official_databases_the_newest_file_counts(directory):
    assert look(directory).status() == {
        "files": {"custom.ndb": {"bytes": 10, "modified": "2026-11-25T00:00:00Z", "version": None}},
        "version": None,
        "updated": "2026-11-25T00:00:00Z",
    }


def test_b41_the_newest_official_database_counts_not_a_fresh_custom_one(directory):
    (directory / "main.cvd").write_bytes(cvd(62, datetime(2021, 9, 16, tzinfo=UTC)))
    (directory / "daily.cld").write_bytes(cvd(27800, BUILT))
    found = look(directory)
    assert found.version == "27800"
    assert found.updated == BUILT
    assert found.files["main.cvd"].version == "62"


@pytest.mark.parametrize(
    "content",
    [b"", b"ClamAV-VDB:", b"\xff" * 512, b"ClamAV-VDB:a:x:1:1:m:s:b:1", b"ClamAV-VDB:a:1:1:1:m:s:b:" + b"9" * 400],
)
def test_a_damaged_header_is_no_error(directory, content):
    (directory / "daily.cvd").write_bytes(content)
    os.utime(directory / "daily.cvd", (0, 0))
    found = look(directory)
    assert (found.files["daily.cvd"].built, found.version) == (None, None)
    assert found.updated == datetime(2026, 11, 25, tzinfo=UTC)


async def test_files_are_served_with_ranges_and_conditions(directory, aiohttp_client_for):
    client = await aiohttp_client_for(files(directory))
    whole = await client.get("/custom.ndb")
    assert (whole.status, await whole.read()) == (200, b"0123456789")
    part = await client.get("/custom.ndb", headers={"Range": "bytes=2-4"})
    assert (part.status, await part.read()) == (206, b"234")
    assert (await client.get("/custom.ndb", headers=if_modified_since(time.time() + 60))).status == 304
    assert (await client.head("/custom.ndb")).headers["Content-Length"] == "10"


async def test_a_file_that_came_into_its_place_after_it_was_written_is_new_since_then(directory, aiohttp_client_for):
    client = await aiohttp_client_for(files(directory))
    answer = await client.get("/custom.ndb", headers=if_modified_since(time.time() - 60))
    assert (answer.status, await answer.read()) == (200, b"0123456789")
    assert (await client.get("/daily.ndb", headers=if_modified_since(time.time() - 60))).status == 404


@pytest.mark.parametrize(
    "path",
    ["/", "/daily.cld", "/freshclam.dat", "/.hidden.ndb", "/..%2Foutside.ndb", "/tmp.1%2Fa.ndb", "/%2Fetc%2Fpasswd"],
)
async def test_b38_nothing_else_is_served_and_404_says_so(directory, aiohttp_client_for, path):
    (directory.parent / "outside.ndb").write_text("x")
    (directory / ".hidden.ndb").write_text("x")
    client = await aiohttp_client_for(files(directory))
    assert (await client.get(path)).status == 404


async def test_b37_it_is_ready_with_the_first_signature_file(tmp_path):
    agent = MirrorAgent(Settings(signatures=tmp_path))
    (tmp_path / "freshclam.dat").touch()
    with pytest.raises(ProbeError, match="no signature file"):
        await agent.ready()
    assert (await agent.status())["mirror"] == {"signatures": {"files": {}, "version": None, "updated": None}}
    (tmp_path / "custom.hdb").touch()
    await agent.ready()


def test_metrics(directory, monkeypatch):
    registry = CollectorRegistry()
    registry.register(Signatures(directory))
    (directory / "daily.cvd").write_bytes(cvd(27800, BUILT))
    monkeypatch.setattr(signatures.time, "time", lambda: BUILT.timestamp() + 60)
    assert registry.get_sample_value("mailfilter_signatures_age_seconds") == 60
    assert registry.get_sample_value("mailfilter_signatures_bytes") == 10 + 514
    assert registry.get_sample_value("mailfilter_signatures_info", {"version": "27800"}) == 1
