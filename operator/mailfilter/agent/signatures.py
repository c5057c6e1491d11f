"""The virus signature files of a directory: which, how new."""

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

OFFICIAL = frozenset({".cvd", ".cld"})
CUSTOM = frozenset(
    {".cbc", ".cdb", ".crb", ".db", ".fp", ".ftm", ".gdb", ".hdb", ".hdu", ".hsb", ".hsu", ".idb", ".ign", ".ign2"}
    | {".ldb", ".ldu", ".mdb", ".mdu", ".msb", ".msu", ".ndb", ".ndu", ".pdb", ".sfp", ".wdb", ".yar", ".yara"}
)
HEADER_BYTES = 512

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Signature:
    """One file. `version` and `built` are of official databases only."""

    bytes: int
    modified: datetime
    version: str | None = None
    built: datetime | None = None

    def status(self) -> dict[str, object]:
        """The form of `GET /v1/status`."""
        return {"bytes": self.bytes, "modified": timestamp(self.modified), "version": self.version}


@dataclass(frozen=True)
class SignatureSet:
    """All files of the directory by name."""

    files: dict[str, Signature]

    @property
    def newest(self) -> Signature | None:
        """The official database built last."""
        official = [(file.built, name) for name, file in self.files.items() if file.built]
        return self.files[max(official)[1]] if official else None

    @property
    def updated(self) -> datetime | None:
        """When the newest official database was built; with none of them, when the newest file was written.

        A custom file that comes every hour would otherwise hide official databases of last year.
        """
        if self.newest:
            return self.newest.built
        return max((file.modified for file in self.files.values()), default=None)

    @property
    def version(self) -> str | None:
        """The newest official database's version."""
        return self.newest.version if self.newest else None

    def status(self) -> dict[str, object]:
        """The form of `GET /v1/status`."""
        return {
            "files": {name: file.status() for name, file in sorted(self.files.items())},
            "version": self.version,
            "updated": timestamp(self.updated) if self.updated else None,
        }


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def servable(name: str) -> bool:
    """Whether a file of this name may leave the mirror: signatures and their differences, nothing else."""
    return _NAME.fullmatch(name) is not None and Path(name).suffix in OFFICIAL | CUSTOM | {".cdiff"}


def look(directory: Path) -> SignatureSet:
    """Reads the directory. Raises OSError when it cannot be read."""
    return SignatureSet(dict(_files(directory)))


def _files(directory: Path) -> Iterator[tuple[str, Signature]]:
    for path in directory.iterdir():
        if not servable(path.name) or path.suffix == ".cdiff":
            continue
        try:
            found = path.stat()
            version, built = header(path) if path.suffix in OFFICIAL else (None, None)
        except FileNotFoundError:
            continue
        yield path.name, Signature(found.st_size, datetime.fromtimestamp(int(found.st_mtime), UTC), version, built)


def header(path: Path) -> tuple[str | None, datetime | None]:
    """Version and build time of an official database, from its first 512 bytes:

    `ClamAV-VDB:<date>:<version>:<signatures>:<level>:<md5>:<signature>:<builder>:<unix time>` (ClamAV: cvd.c).
    Both None when they do not read like that. Raises OSError.
    """
    with path.open("rb") as file:
        fields = file.read(HEADER_BYTES).decode(errors="replace").split(":")
    if fields[0] != "ClamAV-VDB" or len(fields) < 9 or not fields[2].isdecimal():
        return None, None
    try:
        return fields[2], datetime.fromtimestamp(int(fields[8].split()[0]), UTC)
    except (ValueError, IndexError, OverflowError, OSError):
        return None, None


class Signatures(Collector):
    """The metrics of a directory of signatures."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """Reads the directory."""
        found = look(self._directory)
        total = sum(file.bytes for file in found.files.values())
        yield GaugeMetricFamily("mailfilter_signatures_bytes", "Size of all signature files.", total)
        info = GaugeMetricFamily("mailfilter_signatures_info", "The newest official database.", labels=["version"])
        if found.version:
            info.add_metric([found.version], 1)
        yield info
        age = GaugeMetricFamily("mailfilter_signatures_age_seconds", "Age of the newest signatures.", labels=[])
        if found.updated:
            age.add_metric([], max(0.0, time.time() - found.updated.timestamp()))
        yield age
