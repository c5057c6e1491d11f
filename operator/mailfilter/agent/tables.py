"""Which lookup tables Postfix works with."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

PARAMETERS = "main.cf"
"""The one file beside the tables that is not a table."""


@dataclass(frozen=True)
class TlsState:
    """The certificate of the door."""

    error: str | None
    """What is wrong with the Secret's pair: `missing`, or words."""
    expires: str | None
    """When the certificate in use expires, ISO 8601; None without one."""


@dataclass(frozen=True)
class TablesState:
    """Tables by the hash of all their sources; None while there are none."""

    mounted: str | None
    in_force: str | None
    error: str | None
    """Why the last compilation failed."""
    tls: TlsState = TlsState(None, None)
    """The certificate."""
    suspended: str | None = None
    """None, Hold or PassThrough in words, as the daemons work; None while Postfix does not run."""

    @property
    def stale(self) -> bool:
        """Postfix does not work with what is mounted."""
        return self.mounted != self.in_force

    def status(self) -> dict[str, object]:
        """The form of `GET /v1/status`."""
        return {"mounted": self.mounted, "inForce": self.in_force, "error": self.error}


class Tables(Collector):
    """Sources (the mounted ConfigMap) and compiled tables of the pod, and the ones that Postfix has loaded."""

    def __init__(self, sources: Path, compiled: Path, spool: Path) -> None:
        self._sources = sources
        self._compiled = compiled
        self._spool = spool

    def state(self) -> TablesState:
        """Reads and hashes all of it. Raises OSError."""
        return TablesState(
            mounted=_mounted(self._sources),
            in_force=_text(self._spool / "tables-loaded"),
            error=_text(self._compiled / "error"),
            tls=TlsState(error=_text(self._compiled / "tls-error"), expires=self._expires()),
            suspended=_text(self._spool / "suspended"),
        )

    def _expires(self) -> str | None:
        """Of the certificate that Postfix has loaded; while it is about to load another, of none."""
        loaded = _text(self._spool / "certificate-loaded")
        if loaded is None or loaded != _text(self._compiled / "tls-chain"):
            return None
        return _text(self._compiled / "tls-expires")

    def collect(self) -> Iterable[Metric]:
        """The metric of the tables."""
        stale = self.state().stale
        yield GaugeMetricFamily("mailfilter_tables_stale", "1 when the mounted tables are not in force.", float(stale))


def _mounted(directory: Path) -> str | None:
    # The kubelet swaps the link ..data, behind which all files of one generation lie, and then removes the old ones.
    while True:
        generation = _generation(directory)
        found = _digest(generation)
        if generation == _generation(directory):
            return found


def _generation(directory: Path) -> Path:
    link = directory / "..data"
    return link.resolve() if link.is_symlink() else directory


def _digest(generation: Path) -> str | None:
    found = hashlib.sha256()
    try:
        for path in sorted(path for path in generation.iterdir() if path.is_file() and path.name != PARAMETERS):
            found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.hexdigest()


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip() or None
    except FileNotFoundError:
        return None
