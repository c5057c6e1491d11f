"""How much mail is held, and whether more can be."""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

KINDS = ("spam", "virus", "banned", "bad-header")
INTERVAL = 15.0
"""Seconds for which one look at the directories is good."""


@dataclass(frozen=True)
class Usage:
    """One look at the quarantine; sizes in bytes."""

    writable: bool
    messages: dict[str, int]
    bytes: dict[str, int]
    capacity: int
    free: int

    def status(self) -> dict[str, object]:
        """The form of `GET /v1/status`."""
        return {
            "writable": self.writable,
            "messages": self.messages,
            "bytes": self.bytes,
            "capacityBytes": self.capacity,
            "freeBytes": self.free,
        }


class Quarantine(Collector):
    """The quarantine directory of the pod. Its methods block; call them in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._seen: tuple[float, Usage] | None = None

    def usage(self) -> Usage:
        """The usage, at most INTERVAL old. Raises OSError when the volume cannot be read."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > INTERVAL:
                self._seen = (time.monotonic(), look(self._root))
            return self._seen[1]

    def collect(self) -> Iterable[Metric]:
        """The metrics of the quarantine."""
        usage = self.usage()
        messages = GaugeMetricFamily("mailfilter_quarantine_messages", "Held mails.", labels=["kind"])
        size = GaugeMetricFamily("mailfilter_quarantine_bytes", "Size of held mails.", labels=["kind"])
        for kind in KINDS:
            messages.add_metric([kind], usage.messages[kind])
            size.add_metric([kind], usage.bytes[kind])
        yield from (messages, size)
        yield GaugeMetricFamily("mailfilter_quarantine_free_bytes", "Free space of the volume.", usage.free)
        yield GaugeMetricFamily("mailfilter_quarantine_capacity_bytes", "Size of the volume.", usage.capacity)


def look(root: Path) -> Usage:
    """Counts the files below `root` and tries to write. Raises OSError when the volume cannot be read."""
    sizes = {kind: list(_sizes(root / kind)) for kind in KINDS}
    volume = os.statvfs(root)
    return Usage(
        writable=all(_writable(root / kind) for kind in KINDS),
        messages={kind: len(found) for kind, found in sizes.items()},
        bytes={kind: sum(found) for kind, found in sizes.items()},
        capacity=volume.f_blocks * volume.f_frsize,
        free=volume.f_bavail * volume.f_frsize,
    )


def _sizes(directory: Path) -> Iterator[int]:
    try:
        entries = os.scandir(directory)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(Path(entry.path))
                continue
            try:
                yield entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue


def _writable(directory: Path) -> bool:
    # Permissions do not tell of a full or read-only volume: only a byte that reached it does.
    path = directory / ".writable"
    try:
        with path.open("wb") as file:
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
