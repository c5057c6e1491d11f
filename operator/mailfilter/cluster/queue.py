"""A work queue of keys: each key at most once in work, waiting keys once, failures with backoff."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from mailfilter.metrics import QUEUE_DEPTH, RECONCILE_SECONDS, RECONCILES

Key = tuple[str, str]
"""Namespace and name."""

# A burst of events about one object becomes one reconcile.
SETTLE_SECONDS = 0.1
FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS = 1.0, 120.0
STUCK_SECONDS = 300.0

log = logging.getLogger(__name__)


class WorkQueue:
    """Calls `work` for each key that was added, and again after the seconds that it returns."""

    def __init__(self, kind: str, work: Callable[[Key], Awaitable[float | None]]) -> None:
        self._kind = kind
        self._work = work
        self._due: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._working: dict[Key, float] = {}
        self._changed = asyncio.Event()

    def add(self, key: Key, delay: float = SETTLE_SECONDS) -> None:
        """Wants `key` to be worked on in `delay` seconds, or sooner when it is due sooner."""
        due = time.monotonic() + delay
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._changed.set()

    def stuck(self) -> list[Key]:
        """Keys in work for longer than any reconcile may take."""
        oldest = time.monotonic() - STUCK_SECONDS
        return [key for key, since in self._working.items() if since < oldest]

    async def run(self, workers: int) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while True:
            await self._process(await self._next())

    async def _next(self) -> Key:
        while True:
            now = time.monotonic()
            free = [(due, key) for key, due in self._due.items() if key not in self._working]
            ready = sum(due <= now for due, _ in free)
            QUEUE_DEPTH.labels(self._kind).set(ready)
            if ready:
                _, key = min(free)
                del self._due[key]
                self._working[key] = now
                return key
            self._changed.clear()
            timeout = min(free)[0] - now if free else None
            try:
                await asyncio.wait_for(self._changed.wait(), timeout)
            except TimeoutError:
                continue

    async def _process(self, key: Key) -> None:
        started = time.monotonic()
        try:
            again = await self._work(key)
        except Exception as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(LAST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** (failures - 1))
            log.exception("%s %s/%s: reconcile failed, next try in %.0f s", self._kind, *key, delay, exc_info=error)
            self.add(key, delay * random.uniform(0.8, 1.2))  # noqa: S311
            RECONCILES.labels(self._kind, "error").inc()
        else:
            self._failures.pop(key, None)
            RECONCILES.labels(self._kind, "ok").inc()
            if again is not None:
                self.add(key, again)
        finally:
            RECONCILE_SECONDS.labels(self._kind).observe(time.monotonic() - started)
            del self._working[key]
            self._changed.set()
