"""An amavis that gives held mail back, without amavis."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from mailfilter.agent.heldmail import plain


@dataclass
class Amavis:
    """Sends mail under its records as amavis does. Who dies does so between the delivery and the answer."""

    quarantine: Path
    refusals: dict[str, list[str]] = field(default_factory=dict)
    """Mail id → replies before the mail is taken; the last one stays if it is final."""
    sent: list[tuple[str, str]] = field(default_factory=list)
    """Mail id and recipient of each delivery."""
    keys: list[str] = field(default_factory=list)
    """The release of each delivery."""
    reported: list[tuple[str, str]] = field(default_factory=list)
    """Mail id and recipient of each report, which `report_refusals` may refuse before."""
    report_refusals: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    hold: asyncio.Event | None = None
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    running: int = 0
    most_running: int = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = [line.split("=", 1) for line in lines if line]
        request = dict(pairs)
        recipients = [plain(unquote(value)) for name, value in pairs if name == "recipient"]
        self.asked.append(request["mail_id"])
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        self.arrived.release()
        if self.hold:
            await self.hold.wait()
        self.running -= 1
        writer.write("".join(f"setreply={reply}\r\n" for reply in self.send(request, recipients)).encode() + b"\r\n")
        writer.close()

    def send(self, request: dict[str, str], recipients: list[str]) -> list[str]:
        mail_id, key = request["mail_id"], request["policy_bank"].removeprefix("RELEASE-")
        report = request["request"] == "report"
        record = self.quarantine / ".releases" / f"{key}{'_report' if report else ''}.{mail_id}"
        record.parent.mkdir(exist_ok=True)
        past = json.loads(record.read_text()) if record.exists() else {"recipients": [], "replies": []}
        known = dict(zip(past["recipients"], past["replies"], strict=True))
        for who in recipients:
            if known.get(who, "").startswith("250 2.0.0"):
                continue
            script = (self.report_refusals if report else self.refusals).get(mail_id, [])
            if script:
                known[who] = script.pop(0) if script[0].startswith("4") else script[0]
                continue
            if report:
                self.reported.append((mail_id, who))
            else:
                self.sent.append((mail_id, who))
                self.keys.append(key)
            known[who] = f"250 2.0.0 from MTA: 250 2.0.0 Ok: queued as Q{len(self.sent) + len(self.reported)}"
        content = {"state": "done", "recipients": list(known), "replies": list(known.values())}
        record.write_text(json.dumps(content))
        return [known[who] for who in recipients]
