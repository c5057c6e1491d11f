"""A next hop for tests: an SMTP server that prints each mail it takes as one line of JSON.

A recipient's local part may say what it gets: bob+452@… and bob+550@… are answered so at RCPT. The file /tmp/mode
(kubectl exec) says the same for all mail: a reply code, close instead of an answer to the content, or hang as long as
it says so and then close.
"""

import asyncio
import json
import re
import sys
from contextlib import suppress
from email import message_from_bytes, policy
from hashlib import sha256
from itertools import count
from pathlib import Path
from time import time

MODE = Path("/tmp/mode")
NUMBERS = count(1)
ORDERS = re.compile(r"\+([45]\d\d)@")


def record(sender: str, recipients: list[str], raw: bytes) -> str:
    head, _, body = raw.partition(b"\r\n\r\n")
    message = message_from_bytes(head, policy=policy.compat32)
    return json.dumps({
        "time": time(),
        "from": sender,
        "recipients": recipients,
        "headers": [[name, re.sub(r"\r?\n\s+", " ", str(value))] for name, value in message.items()],
        "body": body[:20_000].decode(errors="replace"),
        "size": len(raw),
        "sha256": sha256(raw).hexdigest(),
    })  # fmt: skip


def ordered() -> str:
    return MODE.read_text().strip() if MODE.exists() else ""


async def take(reader: asyncio.StreamReader) -> bytes:
    lines = []
    while (line := await reader.readline()) not in (b".\r\n", b""):
        lines.append(line[1:] if line.startswith(b".") else line)
    return b"".join(lines)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        await dialogue(reader, writer)
    writer.close()


async def dialogue(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    def answer(text: str) -> None:
        writer.write(text.encode() + b"\r\n")

    sender = ""
    recipients: list[str] = []
    answer("220 sink ESMTP")
    while line := (await reader.readline()).decode(errors="replace").strip():
        verb, address = line[:4].upper(), (re.findall(r"<(.*?)>", line) or [""])[0]
        mode = ordered()
        match verb:
            case "EHLO":
                answer("250-sink\r\n250-8BITMIME\r\n250-PIPELINING\r\n250 SIZE 0")
            case "HELO" | "RSET" | "NOOP":
                answer("250 2.0.0 Ok")
                recipients = []
            case "MAIL":
                sender, recipients = address, []
                answer("250 2.1.0 Ok")
            case "RCPT":
                order = mode or next(iter(ORDERS.findall(address)), "")
                if order.isdigit():
                    answer(f"{order} {order[0]}.3.0 as the test said")
                else:
                    recipients.append(address)
                    answer("250 2.1.5 Ok")
            case "DATA" if recipients:
                answer("354 go on")
                raw = await take(reader)
                if mode == "close":
                    return
                if mode == "hang":
                    while ordered() == "hang":  # noqa: ASYNC110 - the mode is a file, of which nothing tells
                        await asyncio.sleep(0.2)
                    return
                print(record(sender, recipients, raw), flush=True)
                answer(f"250 2.0.0 Ok: queued as SINK{next(NUMBERS)}")
            case "QUIT":
                answer("221 2.0.0 Bye")
                break
            case _:
                answer("503 5.5.1 not now")


async def main() -> None:
    server = await asyncio.start_server(serve, "0.0.0.0", int(sys.argv[1]), limit=1 << 20)
    async with server:
        await server.serve_forever()


asyncio.run(main())
