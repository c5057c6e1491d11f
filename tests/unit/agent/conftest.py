"""A quarantine and an amavis that speaks AM.PDP, without amavis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from support.heldmail import Quarantine


@dataclass
class FakeAmavis:
    """Answers each request with the next of `answers` (lines without CRLF) and keeps what it was sent."""

    socket: Path
    answers: list[list[str]] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    talks: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
    """What it does instead."""

    def replies(self, *replies: str) -> None:
        """The next answer: one setreply line for each of `replies` in wire form."""
        self.answers.append([f"setreply={reply}" for reply in replies])

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self.talks:
            await self.talks(reader, writer)
            return
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        if self.answers:
            writer.write("".join(f"{line}\r\n" for line in [*self.answers.pop(0), ""]).encode())
        writer.close()


@pytest.fixture
async def amavis(tmp_path: Path) -> AsyncIterator[FakeAmavis]:
    """amavis listening at its socket; without an answer it closes the connection."""
    fake = FakeAmavis(tmp_path / "amavisd.sock")
    async with await asyncio.start_unix_server(fake.talk, fake.socket):
        yield fake


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    """An empty quarantine."""
    root = tmp_path / "quarantine"
    root.mkdir()
    return Quarantine(root)


@pytest.fixture
async def aiohttp_client_for() -> AsyncIterator[Callable[[web.Application], Awaitable[TestClient]]]:
    """Makes a client of an application, served on a free port."""
    async with contextlib.AsyncExitStack() as stack:

        async def client(application: web.Application) -> TestClient:
            return await stack.enter_async_context(TestClient(TestServer(application)))

        yield client
