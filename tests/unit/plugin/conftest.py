"""The plugin against the real HTTP API of an agent, and a kubectl that leads there."""

import asyncio
import contextlib
import json
import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from mailfilter.agent.amavis import AmavisAgent
from mailfilter.agent.settings import Settings
from mailfilter.agent.web import api
from mailfilter.plugin.main import commands
from support import fakekubectl
from support.heldmail import Quarantine

TOKEN = "s3cret"  # noqa: S105 - opens nothing
Object = dict[str, Any]
Run = Callable[..., Result]


@dataclass
class World:
    """One gateway `mx` in the namespace `mail`, as the plugin meets it."""

    folder: Path
    quarantine: Quarantine
    state: Object = field(default_factory=dict)
    agent: AmavisAgent | None = None

    def save(self, **news: Any) -> None:
        """Changes what kubectl tells."""
        self.state |= news
        (self.folder / "state.json").write_text(json.dumps(self.state))

    def hold(self, name: str = "spam/h/hAbcDEfgh123.gz", **mail: Any) -> str:
        """A held mail that the agent knows of."""
        held = self.quarantine.hold(name, **mail)
        self.look()
        return held

    def look(self) -> None:
        """The agent looks at the files."""
        assert self.agent
        self.agent._held._volume.sync()

    def calls(self, verb: str) -> list[list[str]]:
        """The calls of kubectl with this verb."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if verb in call]

    def created(self) -> Object:
        """The QuarantineRelease that was made."""
        state = json.loads((self.folder / "state.json").read_text())
        (made,) = state["objects"][fakekubectl.RELEASES]
        return made

    def forwards(self) -> bool:
        """Whether a port-forward still runs."""
        path = self.folder / "forwarding"
        if not path.exists():
            return False
        return Path(f"/proc/{path.read_text()}").exists()


@contextlib.contextmanager
def serving(application: web.Application) -> Iterator[int]:
    """An application on a free port, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> web.AppRunner:
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield runner.addresses[0][1]
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    root, programs = tmp_path / "quarantine", tmp_path / "bin"
    root.mkdir()
    programs.mkdir()
    program = programs / "kubectl"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S {shlex.quote(fakekubectl.__file__)} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_KUBECTL", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    (tmp_path / "token").write_text(TOKEN)
    settings = Settings(
        policy_file=tmp_path / "policy.json",
        amavis_run=tmp_path,
        quarantine=root,
        index=tmp_path / "held.sqlite",
        token_file=tmp_path / "token",
    )
    agent = AmavisAgent(settings)
    world = World(tmp_path, Quarantine(root), agent=agent)
    world.look()
    with serving(api(tmp_path / "token", agent.status, agent.routes())) as port:
        objects = {
            "mailfilters.mailfilter.dev": [fakekubectl.mailfilter()],
            "pods": [fakekubectl.pod("mx-amavis-1", "amavis", ready=False), fakekubectl.pod("mx-amavis-0", "amavis")],
            "secrets": [fakekubectl.secret(TOKEN)],
        }
        world.save(objects=objects, forbidden=[], statuses=[], port=port)
        yield world
    assert not world.forwards(), "a port-forward was left behind"


@pytest.fixture
def run(world: World) -> Run:
    """Runs `kubectl mailfilter` with these words."""

    def plugin(*words: str, **more: Any) -> Result:
        result = CliRunner().invoke(commands, words, prog_name="kubectl mailfilter", **more)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return plugin
