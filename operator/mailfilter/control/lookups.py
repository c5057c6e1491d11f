"""Asks DNS for the records that MailFilters need. A loop of its own: no answer keeps a gateway waiting."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

import dns.asyncresolver
import dns.exception
import dns.rdata
import dns.resolver
from dns.rdtypes.ANY.TXT import TXT
from pydantic import ValidationError

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.cluster.queue import Key
from mailfilter.control.cache import Cache
from mailfilter.policy.dns import Answer, Record, Wanted, judged, wanted

# Of one question with all its repetitions, of all questions of a MailFilter, and how many are asked at a time.
LOOKUP_SECONDS, CHECK_SECONDS, AT_A_TIME = 5.0, 60.0, 20
# How soon to ask again when DNS did not answer.
RETRY_SECONDS = 60.0
# Values of one record that are kept.
MOST_VALUES = 10
# Characters of a TXT record that are kept.
MOST_TEXT = 2000

log = logging.getLogger(__name__)


class Resolver(Protocol):
    """Who is asked."""

    async def ask(self, name: str, kind: str) -> Answer:
        """The records of one name and type."""
        ...


class WorldResolver:
    """The resolver of this pod (/etc/resolv.conf)."""

    def __init__(self, resolver: dns.asyncresolver.Resolver | None = None) -> None:
        self._resolver = resolver

    async def ask(self, name: str, kind: str) -> Answer:
        """The records of one name and type."""
        try:
            self._resolver = self._resolver or dns.asyncresolver.Resolver()
            # The final dot: names of the world, not of the cluster's search list.
            found = await self._resolver.resolve(
                f"{name}.", kind, lifetime=LOOKUP_SECONDS, raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN:
            return Answer()
        except (dns.exception.DNSException, OSError) as error:
            return Answer(trouble=f"DNS does not answer: {type(error).__name__}")
        return Answer(tuple(sorted(_text(each) for each in found.rrset or ())[:MOST_VALUES]))


def _text(record: dns.rdata.Rdata) -> str:
    """A value without the dot at the end of its name, but the null MX' is all there is of it; a TXT record's in one."""
    if isinstance(record, TXT):
        return b"".join(record.strings).decode(errors="replace")[:MOST_TEXT]
    value = str(record)
    return value if value.endswith(" .") else value.removesuffix(".")


class LookupLoop:
    """Looks for the records of one MailFilter after the other and leaves what it found in the cache."""

    def __init__(
        self, cache: Cache, resolver: Resolver, changed: Callable[[Key], None], interval_seconds: float
    ) -> None:
        self._cache = cache
        self._resolver = resolver
        self._changed = changed
        self._interval = interval_seconds

    async def check(self, key: Key) -> float | None:
        """Asks for all records of a MailFilter. Returns when to ask again, in seconds; None when it is gone."""
        body = self._cache.mailfilters.get(key)
        if body is None:
            self._cache.dns.pop(key, None)
            return None
        try:
            spec = MailFilterSpec.model_validate(body["spec"])
        except ValidationError:
            return self._interval
        keys = self._cache.published.get(key, {})
        records = await self._records(wanted(spec, keys)) if spec.dns.check else None
        if key in self._cache.mailfilters and self._cache.dns.get(key) != records:
            self._cache.dns[key] = records
            self._changed(key)
        silent = any(record.state == "Unknown" for record in records or ())
        return min(RETRY_SECONDS, self._interval) if silent else self._interval

    async def _records(self, asked: list[Wanted]) -> list[Record]:
        answers: dict[Wanted, Answer] = {}
        slots = asyncio.Semaphore(AT_A_TIME)

        async def one(record: Wanted) -> None:
            async with slots:
                answers[record] = await self._answer(record)

        try:
            async with asyncio.timeout(CHECK_SECONDS), asyncio.TaskGroup() as group:
                for record in asked:
                    group.create_task(one(record))
        except TimeoutError:
            log.warning("DNS: %d of %d records in %.0f s", len(answers), len(asked), CHECK_SECONDS)
        late = Answer(trouble=f"not asked within {CHECK_SECONDS:.0f} s: DNS is slow or silent")
        return [judged(record, answers.get(record, late)) for record in asked]

    async def _answer(self, record: Wanted) -> Answer:
        answer = await self._resolver.ask(record.name, record.type)
        if record.type == "A" and not answer.values and not answer.trouble:
            return await self._resolver.ask(record.name, "AAAA")
        return answer
