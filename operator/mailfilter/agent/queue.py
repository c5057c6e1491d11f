"""Postfix' queue by the names of its files: how many, how old; and the word to try all of it now."""

import asyncio
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

QUEUES = ("incoming", "active", "deferred", "hold")
# Of the file of a mail that Postfix has as a whole (mail_queue.h).
WHOLE = 0o100
AGES = (60, 300, 900, 3600, 14400, 86400, 432000)
"""Upper bounds of the age metric, seconds."""

# Digits and consonants (Postfix: safe_ultostr.c).
_ALPHABET = {char: value for value, char in enumerate("0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz")}
_MICROSECOND_CHARS = 4

# Dead destinations are alive, all times to wait are over, look at deferred and incoming (Postfix: mail_flush.c).
FLUSH = b"FADI"
FLUSH_SECONDS = 5
_TIME_CHARS = 6 + _MICROSECOND_CHARS


@dataclass(frozen=True)
class Queue:
    """One look at the queue."""

    messages: dict[str, int]
    ages: dict[str, list[float]]
    """Seconds since arrival by queue, of the messages whose queue id tells it."""

    def oldest(self, *queues: str) -> float:
        """Age in seconds of the oldest mail, 0 without one."""
        return max((age for queue in queues for age in self.ages[queue]), default=0.0)

    def status(self) -> dict[str, object]:
        """The form of `GET /v1/status`."""
        return {**self.messages, "oldestSeconds": int(self.oldest(*QUEUES))}


def arrival(queue_id: str) -> float | None:
    """Unix time at which a mail came, from its long queue id; None for a short id, which does not tell.

    A long id is the seconds and four characters of microseconds in base 52, a `z`, the inode in base 51
    (postconf(5) enable_long_queue_ids; Postfix: mail_queue.h).
    """
    moment, separator, _inode = queue_id.rpartition("z")
    if not separator or len(moment) < _TIME_CHARS or not _ALPHABET.keys() >= set(moment):
        return None
    return _number(moment[:-_MICROSECOND_CHARS]) + _number(moment[-_MICROSECOND_CHARS:]) / 1e6


def _number(digits: str) -> int:
    value = 0
    for digit in digits:
        value = value * len(_ALPHABET) + _ALPHABET[digit]
    return value


def look(spool: Path, now: float) -> Queue:
    """Lists the queue directories. Raises OSError when one cannot be read."""
    names = {
        # What is being taken in, or what a Postfix that was killed had not taken in yet, is no mail.
        queue: [path.name for path in files(spool / queue) if queue != "incoming" or _whole(path)]
        for queue in QUEUES
    }
    return Queue(
        messages={queue: len(found) for queue, found in names.items()},
        ages={
            queue: [max(0.0, now - came) for came in map(arrival, found) if came is not None]
            for queue, found in names.items()
        },
    )


def files(directory: Path) -> Iterator[Path]:
    """The files of a queue directory. Raises OSError when it cannot be read."""
    try:
        entries = os.scandir(directory)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            # hash_queue_names: deferred/A/A1B2…
            if entry.is_dir(follow_symlinks=False):
                yield from files(Path(entry.path))
            else:
                yield Path(entry.path)


def _whole(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & WHOLE)
    except FileNotFoundError:
        return False


async def flush(spool: Path) -> None:
    """Tells the queue manager to try all mail now, as `postqueue -f` does. Raises OSError when it does not listen."""
    async with asyncio.timeout(FLUSH_SECONDS):
        reader, writer = await asyncio.open_unix_connection(spool / "public/qmgr")
        try:
            writer.write(FLUSH)
            await reader.read()
        finally:
            writer.close()


class QueueMetrics(Collector):
    """The metrics of the queue at `spool`."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool

    def collect(self) -> Iterable[Metric]:
        """Reads the directories."""
        queue = look(self._spool, time.time())
        messages = GaugeMetricFamily("mailfilter_queue_messages", "Mails in the queue.", labels=["queue"])
        oldest = GaugeMetricFamily("mailfilter_queue_oldest_seconds", "Age of the oldest mail.", labels=["queue"])
        for name in QUEUES:
            messages.add_metric([name], queue.messages[name])
            oldest.add_metric([name], queue.oldest(name))
        ages = GaugeMetricFamily(
            "mailfilter_queue_age_messages", "Mails in the queue, not older than so many seconds.", labels=["seconds"]
        )
        every = [age for found in queue.ages.values() for age in found]
        for bound in AGES:
            ages.add_metric([str(bound)], sum(age <= bound for age in every))
        ages.add_metric(["+Inf"], len(every))
        yield from (messages, oldest, ages)
