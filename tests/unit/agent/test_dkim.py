"""What amavis says of its keys, passed on."""

import asyncio
import json
from pathlib import Path

import pytest

from mailfilter.agent import dkim
from mailfilter.agent.dkim import DkimKeys
from mailfilter.agent.pdp import PdpError

SAID = {
    "example.com/s1": {"record": "v=DKIM1; k=rsa; p=AAA", "error": None},
    "example.com/s2": {"record": None, "error": "missing"},
}


def test_what_amavis_said(tmp_path: Path) -> None:
    keys = DkimKeys(tmp_path)
    assert keys.status() == {}
    (tmp_path / "dkim.json").write_text(json.dumps(SAID))
    assert keys.status() == SAID


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"record": 1}}'])
def test_what_is_no_report_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "dkim.json").write_text(text)
    assert DkimKeys(tmp_path).status() == {}


async def test_amavis_is_made_to_look_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    enough = asyncio.Event()

    async def touch(socket: Path, _seconds: float) -> None:
        asked.append(socket)
        if len(asked) == 3:
            enough.set()
        raise PdpError("busy")

    monkeypatch.setattr(dkim, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr("mailfilter.agent.pdp.touch", touch)
    watch = asyncio.create_task(DkimKeys(tmp_path).watch())
    await asyncio.wait_for(enough.wait(), 10)
    watch.cancel()
    assert set(asked) == {tmp_path / "amavisd.sock"}
