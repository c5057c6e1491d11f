"""Watches of single objects by name: only their changes come over the wire, whatever else is in the cluster."""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable

from aiohttp import ClientError

from mailfilter.cluster.api import Api, ApiError
from mailfilter.cluster.queue import Key

Place = tuple[str, str]
"""Namespace and name of a ConfigMap."""

FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS = 1.0, 60.0

log = logging.getLogger(__name__)


class Watches:
    """Watches the ConfigMaps that somebody wants, and tells whoever wants them of each change."""

    def __init__(self, api: Api, changed: Callable[[Key], None]) -> None:
        self._api = api
        self._changed = changed
        self._wanted: dict[Key, set[Place]] = {}
        self._tasks: dict[Place, asyncio.Task[None]] = {}
        self._versions: dict[Place, int] = defaultdict(int)

    def want(self, key: Key, places: set[Place]) -> None:
        """From now on these, and no others, are watched for `key`."""
        if places:
            self._wanted[key] = places
        else:
            self._wanted.pop(key, None)
        wanted = set().union(*self._wanted.values())
        for place in wanted - self._tasks.keys():
            self._tasks[place] = asyncio.create_task(self._watch(place), name=f"watch {'/'.join(place)}")
        for place in self._tasks.keys() - wanted:
            self._tasks.pop(place).cancel()
            self._versions.pop(place, None)

    def version(self, place: Place) -> int:
        """Another number after each change that was seen."""
        return self._versions[place]

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The running watches; none ends by itself."""
        return list(self._tasks.values())

    async def close(self) -> None:
        """Ends all watches."""
        tasks = self.tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, place: Place) -> None:
        pause = FIRST_BACKOFF_SECONDS
        while True:
            try:
                # At the start of each watch comes the object as it is, so that nothing is missed in between.
                async for _ in self._api.changes("v1", "ConfigMap", *place):
                    self._versions[place] += 1
                    for key, places in list(self._wanted.items()):
                        if place in places:
                            self._changed(key)
                pause = FIRST_BACKOFF_SECONDS
            except (ApiError, ClientError, TimeoutError, OSError) as error:
                log.warning("watch of ConfigMap %s/%s: %s", *place, error or type(error).__name__)
                pause = min(LAST_BACKOFF_SECONDS, pause * 2)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311
