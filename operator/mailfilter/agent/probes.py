"""Dialogues with the daemons of this pod, as a client sees them."""

import asyncio

LINE_LIMIT = 4096
NAME = "localhost"
PROXY_HEADER = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n"
"""A client of the PROXY protocol; Postfix does not take its `PROXY UNKNOWN`."""


class ProbeError(Exception):
    """The daemon does not serve; the text says what is wrong."""


class SilentError(ProbeError):
    """The daemon's port takes connections, and nobody has said a word yet."""


async def smtp(port: int, *, proxy: bool = False, seconds: float = 5.0) -> None:
    """Greeting, HELO and QUIT; with `proxy` behind a PROXY header. Raises ProbeError."""
    await _dialogue(port, [b"HELO localhost\r\n"], preamble=PROXY_HEADER if proxy else b"", seconds=seconds)


async def greeting(port: int, *, seconds: float) -> None:
    """Greeting and QUIT. Raises ProbeError; SilentError when all children of the daemon are busy or hang."""
    await _dialogue(port, [], preamble=b"", seconds=seconds)


async def _dialogue(port: int, commands: list[bytes], *, preamble: bytes, seconds: float) -> None:
    greeted = False
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(NAME, port, limit=LINE_LIMIT)
            try:
                writer.write(preamble)
                await _expect(reader, "220")
                greeted = True
                for command in commands:
                    writer.write(command)
                    await _expect(reader, "250")
                writer.write(b"QUIT\r\n")
                await _expect(reader, "221")
            finally:
                writer.close()
    except TimeoutError as error:
        kind = ProbeError if greeted else SilentError
        raise kind(f"port {port}: no answer within {seconds:g} s") from error
    except ProbeError as error:
        raise ProbeError(f"port {port}: {error}") from error
    except (OSError, ValueError) as error:
        raise ProbeError(f"port {port}: {error}") from error


async def _expect(reader: asyncio.StreamReader, code: str) -> None:
    while True:
        line = (await reader.readline()).decode(errors="replace").rstrip()
        if not line:
            raise ProbeError("the connection was closed")
        if not line.startswith(code):
            raise ProbeError(line)
        if line[3:4] != "-":
            return
