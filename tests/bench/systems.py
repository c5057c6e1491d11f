"""What the two systems have in common: mail goes in, arrives at a sink, is judged, and costs CPU time and memory."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

METER = Path(__file__).with_name("meter.sh").read_text()
SENDER, RECIPIENT = "alice@client.example", "bob@example.com"
SINK_PORT = 2525
# Postfix' own test server, each mail a file in memory.
SINK = ("sh", "-c", f"mkdir -p /tmp/mails && exec smtp-sink -d /tmp/mails/%M. 0.0.0.0:{SINK_PORT} 200")
SLEEP = ("sleep", "infinity")


@dataclass(frozen=True)
class Usage:
    """CPU time so far in milliseconds, and memory in bytes without what the kernel may drop at once."""

    cpu: float
    memory: int


@dataclass(frozen=True)
class Verdict:
    """What was found, whether the mail went on, and its score: None where it got none."""

    kind: str
    passed: bool
    score: float | None
    tests: frozenset[str] = frozenset()

    def __str__(self) -> str:
        score = "-" if self.score is None else f"{self.score:.3f}".rstrip("0").rstrip(".")
        return f"{self.kind} {'passed' if self.passed else 'blocked'} {score}"


class System(Protocol):
    """A running system, with a container `source` for sending and a container `sink` as next hop."""

    @property
    def name(self) -> str:
        """What it is called in the results."""

    @property
    def address(self) -> str:
        """host:port where `source` reaches it."""

    def source(self, *command: str, stdin: str = "", timeout: float = 60) -> str:
        """Run a command where mail comes from."""

    def sink(self, *command: str, timeout: float = 60) -> str:
        """Run a command where mail arrives."""

    def usage(self) -> dict[str, Usage]:
        """What each container has used, those of the source and the sink left out."""

    def verdicts(self) -> dict[str, Verdict]:
        """Message-ID without <> → what became of the mail."""


def usages(names: list[str], metered: str) -> dict[str, Usage]:
    """What meter.sh printed for these."""
    found = {}
    for name, line in zip(names, metered.splitlines(), strict=True):
        cpu, memory = line.split()
        found[name] = Usage(int(cpu) / 1000, int(memory))
    return found


# Beginnings of amavis' names: of its categories in reports, of the same in its log's template.
_KINDS = {
    "Clean": "clean", "Spammy": "spammy", "Spam": "spam", "Virus": "virus", "Banned": "banned",
    "BadHdr": "bad header", "Unchecked": "unchecked", "Oversized": "oversized",
    "CLEAN": "clean", "SPAMMY": "spammy", "SPAM": "spam", "INFECTED": "virus", "BANNED": "banned",
    "BAD-HEADER": "bad header", "UNCHECKED": "unchecked", "OVERSIZED": "oversized",
}  # fmt: skip


def kind(name: str) -> str:
    """One name for a category, whichever way amavis writes it."""
    return next((found for start, found in _KINDS.items() if re.match(start, name)), name)
