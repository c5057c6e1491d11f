"""Agents in this process whose amavis sends as amavis does."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from mailfilter.agent import bulk as module
from mailfilter.agent.bulk import BulkReleases
from mailfilter.agent.index import Index
from mailfilter.agent.jobs import Jobs
from mailfilter.agent.release import Releases
from mailfilter.agent.volume import Volume
from support.amavis import Amavis


@pytest.fixture
async def amavis(tmp_path, quarantine):
    fake = Amavis(quarantine.root)
    async with await asyncio.start_unix_server(fake.talk, tmp_path / "amavisd.sock"):
        yield fake


@pytest.fixture
def no_pause(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0)


@pytest.fixture
def agent(quarantine, tmp_path):
    """Makes an agent that has just started."""

    def start(parallel: int = 4) -> BulkReleases:
        number = len(list(tmp_path.glob("*.sqlite")))
        volume = Volume(quarantine.root, Index(tmp_path / f"{number}.sqlite"))
        volume.sync()
        releases = Releases(quarantine.root, tmp_path / "amavisd.sock", CollectorRegistry())
        return BulkReleases(volume, Jobs(quarantine.root), releases, parallel)

    return start
