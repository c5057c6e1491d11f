"""Held mail comes to its end: by age and by the size of all, the oldest first, and never what is to be released."""

import asyncio
import logging
import time
from collections.abc import Iterator
from itertools import islice
from typing import Annotated

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter
from pydantic import Field

from mailfilter.agent.exchange import answer, asked, problem
from mailfilter.agent.heldmail import mail_id_of
from mailfilter.agent.jobs import Jobs
from mailfilter.agent.volume import RECORD_SECONDS, Volume
from mailfilter.api.fields import Model
from mailfilter.api.selection import Kind

# The rest is the next request's.
MOST_DELETED = 5000

log = logging.getLogger(__name__)


class ExpiryRequest(Model):
    """Body of `POST /v1/expiry`."""

    seconds: dict[Kind, Annotated[int, Field(ge=1)]] = {}
    """How long mail is kept, by kind; a kind that is left out is kept for ever. What an import brought is kept for
    a week at least."""
    max_bytes: Annotated[int, Field(ge=0)] | None = None
    """How much may be held in all."""
    keep: tuple[str, ...] = ()
    """Quarantine ids of mail that is to be released."""
    releases: tuple[str, ...] = ()
    """Keys of releases that have not ended: their records are needed, and what they have not released yet is kept."""


class ExpiryAnswer(Model):
    """Body of the answer."""

    by_age: int
    """Mails deleted because of their age."""
    by_size: int
    """Mails deleted because of the size of all."""


class Expiry:
    """Deletes on the volume. The operator asks for it, for it knows the releases."""

    def __init__(self, volume: Volume, jobs: Jobs, registry: CollectorRegistry) -> None:
        self._volume = volume
        self._jobs = jobs
        self._running = asyncio.Lock()
        self._expired = Counter(
            "mailfilter_quarantine_expired", "Held mails deleted by age or by size.", ["reason"], registry=registry
        )

    async def handle(self, request: web.Request) -> web.Response:
        """`POST /v1/expiry`."""
        wanted = await asked(request, ExpiryRequest)
        async with self._running:
            try:
                return answer(await asyncio.to_thread(self.run, wanted, time.time()))
            except OSError as error:
                raise problem(web.HTTPServiceUnavailable, f"the quarantine volume: {error}") from error

    def run(self, wanted: ExpiryRequest, now: float) -> ExpiryAnswer:
        """Deletes what has come to its end. Nothing, as long as not all files are known. Blocks.

        Raises OSError when it cannot be read what is to be released."""
        if not self._volume.complete:
            return ExpiryAnswer(by_age=0, by_size=0)
        keep = frozenset(wanted.keep) | self._jobs.unfinished(wanted.releases)
        restored = self._volume.restored(now)
        left = MOST_DELETED
        old = (
            one
            for kind, seconds in wanted.seconds.items()
            for one, _ in self._volume.index.oldest(now - seconds, kind)
            if one not in keep and mail_id_of(one) not in restored
        )
        by_age = sum(self._delete(one, "age") for one in islice(old, left))
        by_size = sum(self._delete(one, "size") for one in islice(self._surplus(wanted.max_bytes, keep), left - by_age))
        self._volume.forget_records(keep=wanted.releases, before=now)
        self._jobs.forget(keep=wanted.releases, before=now - RECORD_SECONDS)
        return ExpiryAnswer(by_age=by_age, by_size=by_size)

    def _surplus(self, max_bytes: int | None, keep: frozenset[str]) -> Iterator[str]:
        if max_bytes is None:
            return
        surplus = sum(count.bytes for count in self._volume.index.counts().values()) - max_bytes
        if surplus <= 0:
            return
        for one, size in self._volume.index.oldest(float("inf")):
            if one not in keep:
                yield one
                surplus -= size
                if surplus <= 0:
                    return

    def _delete(self, quarantine_id: str, reason: str) -> bool:
        try:
            self._volume.delete(quarantine_id)
        except FileNotFoundError:
            return False
        except OSError as error:
            log.warning("cannot delete %s: %s", quarantine_id, error)
            return False
        log.info("deleted %s: %s", quarantine_id, reason)
        self._expired.labels(reason).inc()
        return True
