"""How much mail is held, and whether more can be."""

import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mailfilter.agent.search import KINDS
from mailfilter.agent.volume import Volume

INTERVAL = 15.0
"""Seconds for which one look at the volume is good."""


@dataclass(frozen=True)
class Space:
    """One look at the volume; sizes in bytes."""

    writable: bool
    capacity: int
    free: int


class Quarantine(Collector):
    """The quarantine directory of the pod. Its methods block; call them in a thread."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._lock = threading.Lock()
        self._seen: tuple[float, Space] | None = None

    def space(self) -> Space:
        """The volume's state, at most INTERVAL old. Raises OSError when it cannot be read."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > INTERVAL:
                self._seen = (time.monotonic(), look(self._volume.root))
            return self._seen[1]

    def status(self) -> dict[str, object]:
        """The form of `GET /v1/status`; what is held is null as long as the files are being looked through."""
        space, counts = self.space(), self._volume.index.counts() if self._volume.complete else None
        return {
            "writable": space.writable,
            "messages": counts and {kind: count.messages for kind, count in counts.items()},
            "bytes": counts and {kind: count.bytes for kind, count in counts.items()},
            "capacityBytes": space.capacity,
            "freeBytes": space.free,
        }

    def collect(self) -> Iterable[Metric]:
        """The metrics of the quarantine."""
        space = self.space()
        if self._volume.complete:
            messages = GaugeMetricFamily("mailfilter_quarantine_messages", "Held mails.", labels=["kind"])
            size = GaugeMetricFamily("mailfilter_quarantine_bytes", "Size of held mails.", labels=["kind"])
            for kind, count in self._volume.index.counts().items():
                messages.add_metric([kind], count.messages)
                size.add_metric([kind], count.bytes)
            yield from (messages, size)
        yield GaugeMetricFamily("mailfilter_quarantine_free_bytes", "Free space of the volume.", space.free)
        yield GaugeMetricFamily("mailfilter_quarantine_capacity_bytes", "Size of the volume.", space.capacity)


def look(root: Path) -> Space:
    """Asks for the space below `root` and tries to write. Raises OSError when the volume cannot be read."""
    volume = os.statvfs(root)
    return Space(
        writable=all(_writable(root / kind) for kind in KINDS),
        capacity=volume.f_blocks * volume.f_frsize,
        free=volume.f_bavail * volume.f_frsize,
    )


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
