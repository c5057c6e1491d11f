"""One load on one system, and the verdicts on a corpus."""

import base64
import os
from dataclasses import dataclass
from pathlib import Path

from bench.corpus import Mail
from bench.systems import RECIPIENT, SENDER, System, Verdict
from support.run import CommandError, wait_for

SESSIONS = 10
SLOWEST = 2.0
"""Mails a second below which a load is given up."""

_SOURCE = f"smtp-source -M client.example -f {SENDER} -t {RECIPIENT} -F /tmp/mail"
_ONE = f'base64 -d >/tmp/mail && {_SOURCE} "$1"'
_MANY = f'date +%s.%N && {_SOURCE} -s {SESSIONS} -m "$2" "$1" && date +%s.%N'
# Waits for $1 mails, at most $2 half seconds, and prints when the last of them arrived.
_ARRIVALS = r"""
    count() { find /tmp/mails -type f | wc -l; }
    tries=0
    until [ "$(count)" -ge "$1" ] || [ $tries = "$2" ]; do tries=$((tries + 1)); sleep 0.5; done
    find /tmp/mails -type f -printf '%T@\n' | sort -n | sed -n "$1p"
"""


@dataclass(frozen=True)
class Round:
    """What a load took and cost."""

    system: str
    mails: int
    seconds: float
    """From the first connection to the last delivery."""
    accept_seconds: float
    """Until the last mail was accepted."""
    cpu_ms: dict[str, float]
    """CPU time of each container."""
    memory: dict[str, int]
    """Bytes of each container at the end."""
    others: float
    """Cores that all else on the machine used meanwhile: source, sink, Kubernetes, strangers."""

    @property
    def speed(self) -> float:
        """Mails a second."""
        return self.mails / self.seconds

    @property
    def cpu_per_mail(self) -> float:
        """Milliseconds of all containers."""
        return sum(self.cpu_ms.values()) / self.mails


def load(system: System, mail: bytes, count: int) -> Round:
    """Send the mail many times, as fast as it is accepted, and wait for the last delivery."""
    limit = int(60 + count / SLOWEST)
    system.source("sh", "-c", "base64 -d >/tmp/mail", stdin=base64.b64encode(mail).decode())
    system.sink("find", "/tmp/mails", "-type", "f", "-delete")
    before, busy_before = system.usage(), _busy_seconds()
    sent = system.source("sh", "-c", _MANY, "many", system.address, str(count), timeout=limit)
    last = system.sink("sh", "-c", _ARRIVALS, "arrivals", str(count), str(2 * limit), timeout=limit + 60).strip()
    after, busy = system.usage(), _busy_seconds() - busy_before
    if not last:
        raise CommandError(f"{system.name}: {count} mails did not arrive within {limit} s")
    start, accepted = map(float, sent.split())
    cpu = {name: used.cpu - before[name].cpu for name, used in after.items()}
    seconds = float(last) - start
    return Round(
        system=system.name,
        mails=count,
        seconds=seconds,
        accept_seconds=accepted - start,
        cpu_ms=cpu,
        memory={name: used.memory for name, used in after.items()},
        others=(busy - sum(cpu.values()) / 1000) / seconds,
    )


def judge(system: System, mails: list[Mail]) -> dict[str, Verdict]:
    """Send each mail and wait for all verdicts: name of the mail → verdict."""
    for mail in mails:
        system.source("sh", "-c", _ONE, "one", system.address, stdin=base64.b64encode(mail.content).decode())

    def all_judged() -> dict[str, Verdict]:
        found = system.verdicts()
        missing = [mail.name for mail in mails if mail.message_id not in found]
        assert not missing, f"no verdict on {', '.join(missing)}"
        return {mail.name: found[mail.message_id] for mail in mails}

    return wait_for(all_judged, f"all verdicts of the {system.name} system", timeout=120, interval=2)


def _busy_seconds() -> float:
    """CPU time of the whole machine."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, fields)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
