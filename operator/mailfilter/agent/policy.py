"""Which policy amavis judges by, and the push that makes it look at a new one."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import BaseModel, ValidationError

from mailfilter.agent import pdp

POLL_SECONDS = 0.25
AGAIN_SECONDS = 1.0
"""Pause before amavis is asked once more to look at the same file."""
ANSWER_SECONDS = 10.0

T = TypeVar("T")

log = logging.getLogger(__name__)


class Refused(BaseModel):
    """A policy that amavis did not accept."""

    hash: str
    reason: str


@dataclass(frozen=True)
class PolicyState:
    """Policies by the SHA-256 of their bytes, hexadecimal; None for a file that is not there."""

    mounted: str | None
    in_force: str | None
    refused: Refused | None

    @property
    def unseen(self) -> bool:
        """amavis has not yet looked at the mounted policy."""
        judged = {self.in_force, self.refused.hash if self.refused else None}
        return self.mounted is not None and self.mounted not in judged

    def status(self) -> dict[str, object]:
        """The form of `GET /v1/status`."""
        refused = self.refused.model_dump() if self.refused else None
        return {"mounted": self.mounted, "inForce": self.in_force, "refused": refused}


class _Watched(Generic[T]):
    """What was made of a file, made again only when stat(2) says that the file changed; None while it is not there."""

    def __init__(self, path: Path, make: Callable[[bytes], T]) -> None:
        self._path = path
        self._make = make
        self._seen: tuple[tuple[int, ...], T] | None = None

    def value(self) -> T | None:
        try:
            found = self._path.stat()
            stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            if self._seen is None or self._seen[0] != stamp:
                self._seen = (stamp, self._make(self._path.read_bytes()))
        except FileNotFoundError:
            self._seen = None
        return self._seen[1] if self._seen else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _refusal(content: bytes) -> Refused | None:
    try:
        return Refused.model_validate_json(content)
    except ValidationError:
        return None


class Policy(Collector):
    """The policy files of the pod and amavis' socket."""

    def __init__(self, mounted: Path, run: Path) -> None:
        self._mounted = _Watched(mounted, _digest)
        self._good = _Watched(run / "policy.good", _digest)
        self._refused = _Watched(run / "policy.refused", _refusal)
        self._socket = run / "amavisd.sock"
        self._asked: tuple[str | None, float] = (None, 0.0)

    def state(self) -> PolicyState:
        """What is mounted, in force and refused now."""
        return PolicyState(self._mounted.value(), self._good.value(), self._refused.value())

    async def look(self) -> None:
        """Makes amavis look at the mounted policy if it has not, at most every AGAIN_SECONDS for the same one."""
        state = self.state()
        now = asyncio.get_running_loop().time()
        if not state.unseen or (state.mounted == self._asked[0] and now < self._asked[1]):
            return
        try:
            await pdp.touch(self._socket, ANSWER_SECONDS)
        except pdp.PdpError as error:
            log.info("policy %s waits for amavis: %s", state.mounted, error)
        self._asked = (state.mounted, asyncio.get_running_loop().time() + AGAIN_SECONDS)

    async def watch(self) -> None:
        """Looks until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_SECONDS)

    def collect(self) -> Iterable[Metric]:
        """The metrics of the policy."""
        state = self.state()
        info = GaugeMetricFamily(
            "mailfilter_policy_info", "Policies, wanted and in force.", labels=["wanted", "in_force"]
        )
        info.add_metric([state.mounted or "", state.in_force or ""], 1)
        yield info
        refused = state.refused is not None and state.refused.hash == state.mounted
        yield GaugeMetricFamily("mailfilter_policy_refused", "1 when amavis refused the wanted policy.", float(refused))
