"""A next hop on this machine that knows only some recipients."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from images.docker import Lab


@dataclass
class NextHop:
    """What it answers, and what it was asked."""

    address: str
    """host:port as the containers reach it."""
    known: set[str]
    """Recipients that exist."""
    extensions: tuple[str, ...] = ("8BITMIME",)
    temporary: bool = False
    """Whether it puts everybody off."""
    dying: bool = False
    """Whether it takes a mail and is gone before it has answered."""
    trouble: str = ""
    """What becomes of a mail's content: an SMTP reply, `close` or, until `well` is set, `hang`. 452 is the reply to
    MAIL, as that of a server whose disk is full."""
    well: threading.Event = field(default_factory=threading.Event)
    hanging: threading.Event = field(default_factory=threading.Event)
    """A client waits for it."""
    senders: list[str] = field(default_factory=list)
    """Of the mails that it took."""
    asked: list[str] = field(default_factory=list)
    """Recipients of all RCPT commands."""
    mails: list[bytes] = field(default_factory=list)
    """Mails that it took."""
    sender: str = ""
    """Of the last MAIL command."""

    def reply(self, line: str) -> str:
        """The reply to a command other than DATA."""
        verb = line[:4].upper()
        if verb == "MAIL":
            self.sender = line[line.index("<") + 1 : line.index(">")]
            if self.trouble.startswith("452"):
                return self.trouble
        if verb == "EHLO":
            return "\r\n".join([f"250-{one}" for one in self.extensions] + ["250 nexthop"])
        if verb != "RCPT":
            return "250 2.0.0 Ok"
        recipient = line[line.index("<") + 1 : line.index(">")]
        self.asked.append(recipient)
        if self.temporary:
            return "451 4.3.0 secret-host is busy"
        return "250 2.1.5 Ok" if recipient.lower() in self.known else "550 5.1.1 unknown to secret-host"


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        hop: NextHop = self.server.hop  # type: ignore[attr-defined]
        self.say("220 nexthop ESMTP")
        while line := self.rfile.readline().decode(errors="replace").strip():
            if line.upper() == "DATA":
                if hop.trouble == "hang":
                    hop.hanging.set()
                    hop.well.wait(60)
                if hop.trouble in ("hang", "close"):
                    return
                self.say("354 go on")
                mail = self.mail()
                if hop.trouble:
                    self.say(hop.trouble)
                    continue
                hop.mails.append(mail)
                hop.senders.append(hop.sender)
                if hop.dying:
                    return
                self.say("250 2.0.0 Ok: taken")
            elif line.upper() == "QUIT":
                self.say("221 2.0.0 Bye")
                break
            else:
                self.say(hop.reply(line))

    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")

    def mail(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        return b"".join(lines)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def started_next_hop(lab: Lab, *known: str, port: int = 0, **options: Any) -> Iterator[NextHop]:
    """Serves on the network's address of this machine."""
    with _Server((lab.host, port), _Handler) as server:
        hop = NextHop(f"[{lab.host}]:{server.server_address[1]}", set(known), **options)
        server.hop = hop  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield hop
        server.shutdown()
