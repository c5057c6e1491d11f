"""Digests in this process, of a quarantine on which several agents may be."""

import email
import email.policy
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from mailfilter.agent.digests import PATIENCE_SECONDS, Digests
from mailfilter.agent.index import Index
from mailfilter.agent.submission import Postfix
from mailfilter.agent.volume import Volume
from mailfilter.policy.amavis import policy_json
from support.heldmail import Quarantine
from support.samples import spec

DAY = 86400.0
# Not long ago: what the tests hold is as old as they say by the real clock.
NINE = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) - timedelta(days=1)
DUE = NINE.timestamp()
LATER = DUE + PATIENCE_SECONDS
FOR = "X-Envelope-To-Blocked: {}\n"


class Killed(BaseException):
    """The agent is no more."""


@dataclass
class Sink:
    """Takes mails as Postfix does; `said` overrides the answer to a command, or to the content, once a connection."""

    said: dict[str, list[str]] = field(default_factory=dict)
    mails: list[tuple[str, str, bytes]] = field(default_factory=list)
    """Sender, recipient and content as given in commands."""
    commands: list[str] = field(default_factory=list)
    offers: str = "250-sink\r\n250 8BITMIME"
    address: str = ""

    def answer(self, word: str, usual: str) -> str:
        return self.said[word].pop(0) if self.said.get(word) else usual

    def talk(self, file: Any, out: Any) -> None:
        def say(line: str) -> bool:
            out.write(f"{line}\r\n".encode() if line else b"")
            return line[:3] not in ("", "421")

        if not say(self.answer("connect", "220 sink")):
            return
        sender = recipient = ""
        for raw in file:
            line = raw.decode().strip()
            self.commands.append(line)
            word = line.split(":")[0].split()[0].upper()
            if word == "MAIL":
                sender = line.partition(":")[2]
            if word == "RCPT":
                recipient = line.partition(":")[2]
            if word != "DATA":
                said = self.answer(word, self.offers if word == "EHLO" else "250 2.1.0 Ok")
            elif (said := self.answer("DATA", "354 go")).startswith("354"):
                say(said)
                content = b""
                while (one := file.readline()) != b".\r\n":
                    if not one:
                        return
                    content += one.removeprefix(b".") if one.startswith(b"..") else one
                said = self.answer("content", "250 2.0.0 Ok: queued as 4F1")
                if said.startswith("250"):
                    self.mails.append((sender, recipient, content))
            if not say(said):
                return


@dataclass
class World:
    """A quarantine with the agents that are on its volume."""

    quarantine: Quarantine
    sink: Sink
    directory: Path
    numbers: int = 0

    def set(self, *, at: str = "09:00", recipients: list[dict[str, Any]] | None = None, **more: Any) -> None:
        changes: dict[str, Any] = {"recipients": recipients} if recipients else {}
        if "suspended" in more:
            changes["filtering"] = {"suspended": more.pop("suspended")}
        digest = {"enabled": True, "at": at, **more}
        domains = [{"name": name, "relay": {"host": "mail"}} for name in ("example.test", "other.test")]
        made = spec(domains=domains, quarantine={"digest": digest}, **changes)
        (self.directory / "policy.good").write_text(policy_json(made))

    def agent(self, submit: Any = None) -> Digests:
        """One that has just been started."""
        self.numbers += 1
        volume = Volume(self.quarantine.root, Index(self.directory / f"{self.numbers}.sqlite"))
        volume.sync()
        wanted = submit or Postfix(self.sink.address, 2).submit
        return Digests(volume, self.directory / "policy.good", wanted, CollectorRegistry())

    def hold(self, name: str, *recipients: str, before: float = 3600.0, **how: Any) -> str:
        """A mail that was stored so many seconds before the digest."""
        kind = name.partition("/")[0]
        full = f"{kind}/h/h{name.partition('/')[2]:_<11}" + (".gz" if kind == "spam" else "")
        blocked = FOR.format(", ".join(f"<{one}>" for one in recipients or ("bob@example.test",)))
        mail = f"From: a@client.test\nSubject: {name}\n\nx\n"
        return self.quarantine.hold(full, blocked=blocked, mail=mail, age=time.time() - DUE + before, **how)

    @property
    def got(self) -> dict[str, list[str]]:
        """Recipient → the texts of the digests."""
        found: dict[str, list[str]] = {}
        for _, recipient, content in self.sink.mails:
            parsed = email.message_from_bytes(content, policy=email.policy.default)
            assert isinstance(parsed, EmailMessage)
            found.setdefault(recipient.strip("<>"), []).append(str(parsed.get_content()))
        return found
