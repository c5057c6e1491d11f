"""An amavis that gives held mail back, and the Postfix behind it, without amavis and Postfix."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from mailfilter.agent.heldmail import plain

# In place of a reply: amavis dies, and Postfix does not have the mail, or has it.
DIES_BEFORE, DIES_AFTER = "4 dies before", "4 dies after"


@dataclass
class Amavis:
    """Sends mail under its records as amavis does."""

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
    receipts: dict[str, str | None] = field(default_factory=dict)
    """What Postfix says of the attempts in which amavis died."""
    asked: list[str] = field(default_factory=list)
    hold: asyncio.Event | None = None
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    running: int = 0
    most_running: int = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = [line.split("=", 1) for line in lines if line]
        request = dict(pairs)
        recipient = plain(unquote(request["recipient"]))
        self.asked.append(request["mail_id"])
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        self.arrived.release()
        if self.hold:
            await self.hold.wait()
        self.running -= 1
        reply = self.send(request, recipient)
        if reply:
            writer.write(f"setreply={reply}\r\n\r\n".encode())
        writer.close()

    def send(self, request: dict[str, str], recipient: str) -> str | None:
        """The reply; None when amavis dies."""
        mail_id, key = request["mail_id"], request["policy_bank"].removeprefix("RELEASE-")
        report = request["request"] == "report"
        record = self.quarantine / ".releases" / f"{key}{'_report' if report else ''}.{mail_id}"
        record.parent.mkdir(exist_ok=True)
        past = json.loads(record.read_text()) if record.exists() else {"recipients": [], "replies": []}
        if past.get("state") == "started":
            return "450 4.5.0 release interrupted"
        known: dict[str, str] = dict(zip(past["recipients"], past["replies"], strict=True))
        if known.get(recipient, "").startswith("250 2.0.0"):
            return known[recipient]
        script = (self.report_refusals if report else self.refusals).get(mail_id, [])
        happens = script.pop(0) if script and script[0].startswith("4") else script[0] if script else ""
        if happens in ("", DIES_AFTER):
            if report:
                self.reported.append((mail_id, recipient))
            else:
                self.sent.append((mail_id, recipient))
                self.keys.append(key)
        queue_id = f"Q{len(self.sent) + len(self.reported)}"
        dies = happens in (DIES_BEFORE, DIES_AFTER)
        if dies:
            receipt = f"{len(self.receipts):032x}"
            self.receipts[receipt] = queue_id if happens == DIES_AFTER else None
            content = {"state": "started", "receipt": receipt, "recipient": recipient}
        else:
            known[recipient] = happens or f"250 2.0.0 from MTA: 250 2.0.0 Ok: queued as {queue_id}"
            content = {"state": "done"}
        record.write_text(json.dumps(content | {"recipients": list(known), "replies": list(known.values())}))
        return None if dies else known[recipient]
