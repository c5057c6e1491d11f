"""DNS lists that refuse to answer SpamAssassin, as the reports on mail tell of them."""

import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter

MEMORY_SECONDS = 3600.0
"""A list is not asked for every mail, and not for some minutes after it refused."""


class DnsLists:
    """Which lists refused lately, by the names of SpamAssassin's tests that ask them."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._refusals = Counter(
            "mailfilter_spam_list_refusals",
            "Mails for which the DNS list of a test of SpamAssassin refused to answer.",
            ["test"],
            registry=registry,
        )
        self._clock = clock
        self._last: dict[str, float] = {}

    def judged(self, refused: Sequence[str]) -> None:
        """A mail was judged. Refusals that were not seen again for a while are forgotten then, and not without mail."""
        now = self._clock()
        for test in refused:
            self._refusals.labels(test).inc()
        fresh = {test: last for test, last in self._last.items() if now - last < MEMORY_SECONDS}
        self._last = fresh | dict.fromkeys(refused, now)

    def status(self) -> dict[str, object]:
        """Part of `GET /v1/status`."""
        return {"refused": sorted(self._last)}
