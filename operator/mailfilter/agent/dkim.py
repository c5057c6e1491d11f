"""What amavis says of the keys that it signs by."""

import asyncio
import logging
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from mailfilter.agent import pdp

LOOK_SECONDS = 10.0
"""How often amavis is made to look at the keys. With each mail that it signs it does so by itself."""

log = logging.getLogger(__name__)


class KeyState(BaseModel):
    """One key: the TXT record of its public key, or why amavis cannot use it (`missing`, or words)."""

    record: str | None
    error: str | None


_KEYS = TypeAdapter(dict[str, KeyState])


class DkimKeys:
    """amavis' report on its keys. The keys themselves are none of the agent's business."""

    def __init__(self, run: Path) -> None:
        self._report = run / "dkim.json"
        self._socket = run / "amavisd.sock"

    def status(self) -> dict[str, object]:
        """The form of `GET /v1/status`: `domain/selector` → its state; empty while amavis has said nothing."""
        try:
            found = _KEYS.validate_json(self._report.read_bytes())
        except (FileNotFoundError, ValidationError):
            return {}
        return {name: state.model_dump() for name, state in found.items()}

    async def watch(self) -> None:
        """Has amavis look until cancelled."""
        while True:
            try:
                await pdp.touch(self._socket, LOOK_SECONDS)
            except pdp.PdpError as error:
                log.info("amavis did not look at its keys: %s", error)
            await asyncio.sleep(LOOK_SECONDS)
