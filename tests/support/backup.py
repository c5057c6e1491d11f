"""Quarantines with their agents, of which one is saved and the other restored."""

import asyncio
import fcntl
import io
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient

from mailfilter.agent.amavis import AmavisAgent

DAY = 86400
GIB = 1 << 30
RELEASED = {
    "state": "done",
    "recipients": ["bob@example.test"],
    "replies": ["250 2.0.0 from MTA: 250 2.0.0 Ok: queued as 4F1"],
}
INFECTED = "X-Amavis-Alert: INFECTED, message contains virus: Pest\n"


@dataclass
class Gateway:
    """The agent of one gateway, its quarantine and who asks it."""

    quarantine: Any
    agent: AmavisAgent
    client: TestClient[Any, Any]

    async def json(self, path: str) -> Any:
        """What is answered to a question."""
        response = await self.client.get(path)
        assert response.status == 200, await response.text()
        return await response.json()

    def sync(self) -> None:
        """The agent looks at the volume."""
        self.agent._held._volume.sync()

    async def exported(self, query: str = "") -> bytes:
        """An archive."""
        response = await self.client.get(f"/v1/export{query}")
        assert (response.status, response.headers["Content-Type"]) == (200, "application/x-tar")
        return await response.read()

    async def imported(self, archive: bytes, status: int = 200) -> Any:
        """The report of an import."""
        response = await self.client.post("/v1/import", data=io.BytesIO(archive))
        assert response.status == status, await response.text()
        return await response.json()

    def tree(self) -> dict[str, tuple[bytes, int]]:
        """All files with content and time, but for what belongs to imports alone."""
        files = (path for path in self.quarantine.root.rglob("*") if path.is_file())
        named = {str(path.relative_to(self.quarantine.root)): path for path in files}
        return {
            name: (path.read_bytes(), path.stat().st_mtime_ns)
            for name, path in named.items()
            if not name.startswith((".import", ".restored"))
        }


def fill(gateway: Gateway) -> list[str]:
    """One mail of each kind, the first released, the second seen, the last damaged."""
    hold = gateway.quarantine.hold
    names = [
        hold("spam/a/aAbcDEfgh123.gz", age=40 * DAY),
        hold("virus/b/bAbcDEfgh123", age=3 * DAY, alert=INFECTED),
        hold("banned/cAbcDEfgh123", age=DAY, mail="Subject: big\n\n" + "line\n" * 200_000),
        hold("bad-header/d/dAbcDEfgh123.gz", age=60),
    ]
    (gateway.quarantine.root / names[3]).write_bytes(b"no gzip")
    os.utime(gateway.quarantine.root / names[3], (time.time() - 60,) * 2)
    gateway.quarantine.record(json.dumps(RELEASED), "key-1.aAbcDEfgh123")
    seen = gateway.quarantine.root / ".seen"
    seen.mkdir()
    (seen / "bAbcDEfgh123").touch()
    gateway.sync()
    return names


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what happens in threads has no event
            await asyncio.sleep(0.01)


def unlocked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
