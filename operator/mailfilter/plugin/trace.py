"""What became of a mail, by the logs of the gateway: amavis' report of it and Postfix' deliveries."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from mailfilter.plugin.kubectl import Kubectl, selector

_QUEUED = re.compile(r"queued as ([0-9A-Za-z]+)")
_PODS = 50


@dataclass(frozen=True)
class Delivery:
    """What Postfix says of one recipient."""

    recipient: str
    status: str
    """Such as sent, deferred, bounced."""
    reply: str

    @property
    def ended(self) -> bool:
        """It is not tried again."""
        return self.status != "deferred"


@dataclass(frozen=True)
class Seen:
    """What is known of a mail by now."""

    report: dict[str, Any] | None = None
    """amavis' report."""
    deliveries: list[Delivery] = field(default_factory=list)
    """To the next hop; to the filter as long as there is no report."""

    @property
    def held(self) -> str:
        """The quarantine id."""
        return str((self.report or {}).get("quarantine", ""))

    @property
    def passed(self) -> bool:
        """The filter gave it back to be delivered."""
        return self.report is not None and bool(_queued_as(self.report))

    @property
    def ended(self) -> bool:
        """Nothing more will become of it."""
        if self.report is None or not self.passed:
            return self.report is not None
        return bool(self.deliveries) and all(one.ended for one in self.deliveries)

    @property
    def arrived(self) -> bool:
        """The next hop has it."""
        return self.passed and self.ended and all(one.status == "sent" for one in self.deliveries)


def look(kubectl: Kubectl, name: str, message_id: str, reply: str, seconds: int) -> Seen:
    """What the logs of the last `seconds` say. `reply` is Postfix' to the mail. Raises PluginError."""
    report = report_of(_logs(kubectl, name, "amavis", seconds), message_id)
    queued = _queued_as(report) if report else _QUEUED.findall(reply)
    return Seen(report, deliveries(_logs(kubectl, name, "postfix", seconds), queued) if queued else [])


def report_of(log: str, message_id: str) -> dict[str, Any] | None:
    """amavis' report of a mail."""
    for text in log.splitlines():
        if message_id in text:
            try:
                found: dict[str, Any] = json.loads(text[text.index("{") :])
            except ValueError:
                continue
            if found.get("message_id") == message_id:
                return found
    return None


def deliveries(log: str, queue_ids: list[str]) -> list[Delivery]:
    """What Postfix said last of each recipient of these queue ids."""
    pattern = rf" (?:{'|'.join(map(re.escape, queue_ids))}): to=<([^>]*)>.* status=(\w+) \((.*)\)$"
    found = re.findall(pattern, log, re.MULTILINE)
    return list({who: Delivery(who, status, reply) for who, status, reply in found}.values())


def _queued_as(report: dict[str, Any]) -> list[str]:
    found = (one.get("queued_as") for one in report.get("recipients", []))
    return [str(one) for one in found if one]


def _logs(kubectl: Kubectl, name: str, component: str, seconds: int) -> str:
    chosen = (selector(name, component), f"--container={component}", f"--since={seconds}s", "--tail=-1")
    return kubectl.run("logs", *chosen, f"--max-log-requests={_PODS}")
