"""Readiness as an SMTP client sees it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from mailfilter.agent import probes
from mailfilter.agent.probes import ProbeError, SilentError

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Daemon:
    """Says `greeting`, then the next of `answers` to each line; keeps the lines."""

    def __init__(self, greeting: str | None, *answers: str, preamble: bool = False) -> None:
        self.greeting = greeting
        self.answers = list(answers)
        self.preamble = preamble
        self.heard: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.preamble:
            self.heard.append(await reader.readline())
        if self.greeting is not None:
            writer.write(self.greeting.encode())
        while line := await reader.readline():
            self.heard.append(line)
            if not self.answers:
                break
            writer.write(self.answers.pop(0).encode())
        writer.close()


@pytest.fixture
async def listening() -> AsyncIterator[Callable[[Talk], Awaitable[int]]]:
    servers: list[asyncio.Server] = []

    async def listen(talk: Talk) -> int:
        servers.append(await asyncio.start_server(talk, "127.0.0.1", 0))
        return servers[-1].sockets[0].getsockname()[1]

    yield listen
    for server in servers:
        server.close()


async def test_a_postfix_that_talks_is_ready(listening):
    daemon = Daemon("220-mx\r\n220 mx ESMTP\r\n", "250 mx\r\n", "221 2.0.0 Bye\r\n")
    await probes.smtp(await listening(daemon))
    assert daemon.heard == [b"HELO localhost\r\n", b"QUIT\r\n"]


async def test_b15_behind_a_proxy_the_header_comes_before_the_greeting(listening):
    daemon = Daemon("220 mx\r\n", "250 mx\r\n", "221 Bye\r\n", preamble=True)
    await probes.smtp(await listening(daemon), proxy=True)
    assert daemon.heard == [probes.PROXY_HEADER, b"HELO localhost\r\n", b"QUIT\r\n"]


async def test_b15_a_port_that_waits_for_a_proxy_header_is_not_ready_without(listening):
    with pytest.raises(SilentError):
        await probes.smtp(await listening(Daemon("220 mx\r\n", preamble=True)), seconds=0.05)


@pytest.mark.parametrize(
    ("daemon", "reason"),
    [
        (Daemon("421 4.3.2 shutting down\r\n"), "421 4.3.2 shutting down"),
        (Daemon("220 mx\r\n", "501 5.5.4 no\r\n"), "501 5.5.4 no"),
        (Daemon("220 mx\r\n"), "closed"),
        (Daemon("220 " + "x" * 100_000 + "\r\n"), "limit"),
    ],
)
async def test_everything_else_is_not_ready_and_says_why(listening, daemon, reason):
    port = await listening(daemon)
    with pytest.raises(ProbeError, match=reason) as error:
        await probes.smtp(port)
    assert f"port {port}: " in str(error.value)


async def test_b27_amavis_is_ready_when_it_greets(listening):
    daemon = Daemon("220 [127.0.0.1] ESMTP amavisd-new service ready\r\n", "221 2.0.0 closing\r\n")
    await probes.greeting(await listening(daemon), seconds=5)
    assert daemon.heard == [b"QUIT\r\n"]


async def test_silence_is_told_from_a_closed_port(listening):
    with pytest.raises(SilentError):
        await probes.greeting(await listening(Daemon(None)), seconds=0.05)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ProbeError) as error:
            await probes.greeting(unused.getsockname()[1], seconds=5)
    assert not isinstance(error.value, SilentError)
