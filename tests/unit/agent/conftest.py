"""A quarantine and an amavis that speaks AM.PDP, without amavis."""

import asyncio
import contextlib
import gzip
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

HEADER = """\
Return-Path: <{sender}>
Delivered-To: {kind}-quarantine
X-Envelope-From: <{sender}>
X-Envelope-To: <bob@example.test>,
 <carol@example.test>
{blocked}X-Quarantine-ID: <{mail_id}>
{alert}X-Spam-Flag: YES
X-Spam-Score: {score}
X-Spam-Status: Yes, score={score} tag=2 tag2=5 kill=5 tests=[BAYES_00=-1.9,
 GTUBE=1000, LOCAL_NO_ADDRESS=0.001] autolearn=no
Received: from mx.example.test ([127.0.0.1]) by filter.example.test (amavis, port 10024)
 with ESMTP id {mail_id}; Wed, 25 Nov 2026 00:00:00 +0000
"""
MAIL = "From: alice@client.test\nTo: outsider@example.net\nSubject: hello\n\nbody\n"
BLOCKED = "X-Envelope-To-Blocked: <bob@example.test>\n"


@dataclass
class FakeAmavis:
    """Answers each request with the next of `answers` (lines without CRLF) and keeps what it was sent."""

    socket: Path
    answers: list[list[str]] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)

    def replies(self, *replies: str) -> None:
        """The next answer: one setreply line for each of `replies` in wire form."""
        self.answers.append([f"setreply={reply}" for reply in replies])

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
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


@dataclass
class Quarantine:
    """A directory of held mail with amavis' records of releases."""

    root: Path

    def hold(
        self,
        name: str = "spam/h/hAbcDEfgh123.gz",
        *,
        mail_id: str | None = None,
        blocked: str = BLOCKED,
        alert: str = "",
        sender: str = "alice@client.test",
        score: float = 999.998,
        mail: str = MAIL,
        age: float = 0,
    ) -> str:
        """Stores a mail as amavis did `age` seconds ago, and returns its quarantine id."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        stem = path.name.removesuffix(".gz")
        header = HEADER.format(
            kind=name.split("/")[0],
            mail_id=mail_id or stem,
            blocked=blocked,
            alert=alert,
            sender=sender,
            score=score,
        )
        content = (header + mail).encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        if age:
            os.utime(path, (time.time() - age,) * 2)
        return name

    def record(self, content: str, name: str = "key-1.hAbcDEfgh123") -> Path:
        """Leaves a record of a release."""
        path = self.root / ".releases" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return path


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
