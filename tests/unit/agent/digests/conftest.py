"""What the tests of digests have in common."""

import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.digests import Sink, World
from support.heldmail import Quarantine


@pytest.fixture
def sink() -> Iterator[Sink]:
    found = Sink()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            found.talk(self.rfile, self.wfile)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found.address = f"127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        server.shutdown()


@pytest.fixture
def world(quarantine: Quarantine, sink: Sink, tmp_path: Path) -> World:
    found = World(quarantine, sink, tmp_path)
    found.set()
    return found
