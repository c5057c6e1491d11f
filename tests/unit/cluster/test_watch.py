"""Watches of single ConfigMaps: who is told, and that none ends for good."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

import aiohttp
import pytest

from mailfilter.cluster import watch
from mailfilter.cluster.queue import Key
from mailfilter.cluster.watch import Watches

PESTS, FRIENDS = ("mail", "pests"), ("mail", "friends")
MX, OTHER = ("mail", "mx"), ("mail", "other")


class Api:
    """Streams of changes that a test feeds."""

    def __init__(self) -> None:
        self.streams: dict[Key, list[asyncio.Queue[Exception | bool | None]]] = defaultdict(list)

    async def changes(self, api_version: str, kind: str, namespace: str, name: str) -> AsyncIterator[None]:
        assert (api_version, kind) == ("v1", "ConfigMap")
        feed: asyncio.Queue[Exception | bool | None] = asyncio.Queue()
        self.streams[namespace, name].append(feed)
        try:
            while (found := await feed.get()) is not False:
                if isinstance(found, Exception):
                    raise found
                yield
        finally:
            self.streams[namespace, name].remove(feed)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FIRST_BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(watch, "LAST_BACKOFF_SECONDS", 0.0)


async def test_whoever_wants_it_is_told() -> None:
    api, told = Api(), list[Key]()
    watches = Watches(api, told.append)  # type: ignore[arg-type]
    watches.want(MX, {PESTS, FRIENDS})
    watches.want(OTHER, {PESTS})
    await settled()
    assert {place: len(feeds) for place, feeds in api.streams.items()} == {PESTS: 1, FRIENDS: 1}
    before = watches.version(PESTS)
    api.streams[PESTS][0].put_nowait(None)
    await settled()
    assert sorted(told) == [MX, OTHER]
    assert watches.version(PESTS) != before
    assert watches.version(FRIENDS) == 0
    watches.want(MX, {FRIENDS})
    watches.want(OTHER, set())
    await settled()
    assert {place: len(feeds) for place, feeds in api.streams.items()} == {PESTS: 0, FRIENDS: 1}
    await watches.close()
    assert not any(api.streams.values())


@pytest.mark.parametrize("end", [False, aiohttp.ClientError("reset"), TimeoutError()], ids=str)
async def test_a_watch_that_ends_begins_anew(end: Exception | bool) -> None:
    api, told = Api(), list[Key]()
    watches = Watches(api, told.append)  # type: ignore[arg-type]
    watches.want(MX, {PESTS})
    await settled()
    (first,) = api.streams[PESTS]
    first.put_nowait(end)
    await settled()
    (second,) = api.streams[PESTS]
    assert second is not first
    second.put_nowait(None)
    await settled()
    assert told == [MX]
    await watches.close()
