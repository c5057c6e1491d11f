"""Client of AM.PDP, amavis' own protocol for requests that are not mail.

A request is lines `name=value` ended by an empty line; so is the answer. Values are octets, those outside printable
ASCII and the percent sign as `%xx` (amavis: Amavis/In/AMPDP.pm, Amavis/Util.pm proto_encode). The blanks between the
parts of an answer's value stand unencoded, so that `250 2.0.0 from%20MTA` is `250 2.0.0 from MTA`.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote_to_bytes

LINE_LIMIT = 1 << 20
"""Bytes of the longest line of an answer."""

Attributes = list[tuple[str, str]]


class PdpError(Exception):
    """amavis could not be reached, did not answer in time, or answered something that is not AM.PDP."""


def encode(attributes: Iterable[tuple[str, str]]) -> bytes:
    """The request on the wire."""
    lines = [f"{name}={_quote(value)}\r\n" for name, value in attributes]
    return "".join([*lines, "\r\n"]).encode("ascii")


def _quote(value: str) -> str:
    return "".join(chr(b) if 0x21 <= b <= 0x7E and b != 0x25 else f"%{b:02x}" for b in value.encode())


def decode(line: bytes) -> tuple[str, str]:
    """One line of an answer; what is not UTF-8 becomes replacement characters. Raises PdpError without `name=`."""
    name, equals, value = line.rstrip(b"\r\n").partition(b"=")
    if not equals:
        raise PdpError(f"not an attribute of AM.PDP: {line[:100]!r}")
    return unquote_to_bytes(name).decode(errors="replace"), unquote_to_bytes(value).decode(errors="replace")


async def request(socket: Path, attributes: Iterable[tuple[str, str]], seconds: float) -> Attributes:
    """Sends one request and returns the whole answer, in its order. Raises PdpError.

    A request whose answer did not come in time may still be carried out: amavis reads it as soon as a child is free.
    """
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(socket, limit=LINE_LIMIT)
            try:
                writer.write(encode(attributes))
                return await _answer(reader)
            finally:
                writer.close()
    except TimeoutError as error:
        raise PdpError(f"no answer within {seconds:g} s") from error
    except (OSError, ValueError) as error:
        raise PdpError(str(error)) from error


async def _answer(reader: asyncio.StreamReader) -> Attributes:
    answer: Attributes = []
    while line := await reader.readline():
        if line in (b"\r\n", b"\n"):
            return answer
        answer.append(decode(line))
    raise PdpError("the connection was closed before the end of the answer")


async def release(
    socket: Path,
    *,
    key: str,
    mail_id: str,
    mail_file: str,
    recipient: str,
    seconds: float,
    bounce: bool = False,
    report: bool = False,
) -> str:
    """Has amavis send a held mail to `recipient` (an address without angle brackets). Raises PdpError.

    `bounce`: if the next hop refuses it later, Postfix tells the sender of the mail, or else nobody.
    `report`: not the mail itself is sent, but a report that it was held by mistake, with the mail attached.

    Returns the SMTP reply as amavis reports it (`250 2.0.0 from MTA(…): 250 2.0.0 Ok: queued as …`); empty without one.
    """
    attributes = [
        ("request", "report" if report else "release"),
        ("mail_id", mail_id),
        ("quar_type", "Z" if mail_file.endswith(".gz") else "F"),
        ("mail_file", mail_file),
        ("recipient", f"<{recipient}>"),
        ("policy_bank", f"RELEASE-{key}"),
        ("notify", "FAILURE" if bounce else "NEVER"),
    ]
    return next((value for name, value in await request(socket, attributes, seconds) if name == "setreply"), "")


async def touch(socket: Path, seconds: float) -> None:
    """A request that does nothing but make an amavis child look at the policy file. Raises PdpError."""
    await request(socket, [("request", "smtpd_access_policy")], seconds)
