"""The text of a digest. Pure. What strangers wrote comes out as single lines of harmless text."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from zoneinfo import ZoneInfo

from mailfilter.agent.search import Entry
from mailfilter.api.digest import Digest
from mailfilter.api.template import Template

LISTED = 100
"""Mails that a digest shows; of the others it has the number."""
_LONGEST = 200


@dataclass(frozen=True)
class Occasion:
    """A digest that is to be written."""

    recipient: str
    """As in SMTP, without angle brackets."""
    domain: str
    """The recipient's domain as the MailFilter declares it."""
    day: date
    since: float
    until: float
    """Seconds since the epoch: mail that was stored after one and up to the other."""
    mails: Sequence[Entry]
    """The newest, LISTED at most."""
    count: int
    """How many there are."""
    total: int
    """How many are held for the recipient, whenever they were stored."""


def message(occasion: Occasion, setting: Digest, template: Template, hostname: str) -> EmailMessage:
    """The mail."""
    zone = ZoneInfo(setting.time_zone)
    postmaster = f"postmaster@{occasion.domain}"

    def moment(seconds: float) -> str:
        return datetime.fromtimestamp(seconds, zone).strftime("%Y-%m-%d %H:%M")

    values = {
        "count": str(occasion.count),
        "total": str(occasion.total),
        "recipient": line(occasion.recipient),
        "domain": occasion.domain,
        "since": moment(occasion.since),
        "until": moment(occasion.until),
        "date": occasion.day.isoformat(),
        "zone": setting.time_zone,
        "contact": line(setting.contact or postmaster),
    }
    mails = [
        {
            "time": moment(one.time.timestamp()),
            "kind": one.kind,
            "score": "-" if one.score is None else f"{one.score:g}",
            "from": line(one.author),
            "sender": line(f"<{one.sender}>"),
            "subject": line(one.subject),
            "id": one.id,
        }
        for one in occasion.mails
    ]
    left = occasion.count - len(mails)
    subject, text = template.render(values, mails, {"left": str(left)} if left > 0 else None)
    made = EmailMessage(policy=SMTP)
    made["From"] = Address(line(setting.from_name), addr_spec=setting.from_address or postmaster)
    made["To"] = _to(occasion.recipient)
    made["Subject"] = line(subject)
    made["Date"] = datetime.now(UTC)
    name = hashlib.sha256(f"{occasion.recipient.lower()} {occasion.day}".encode()).hexdigest()[:24]
    made["Message-ID"] = f"<digest.{occasion.day:%Y%m%d}.{name}@{hostname}>"
    made["Auto-Submitted"] = "auto-generated"
    made["Precedence"] = "bulk"
    made["X-Auto-Response-Suppress"] = "All"
    made.set_content(text, cte="quoted-printable")
    return made


def line(text: str) -> str:
    """One line, in which nothing moves the cursor or turns the direction of writing."""
    shown = "".join(one if one.isprintable() else " " if one.isspace() else "\ufffd" for one in text)
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "..."


def _to(recipient: str) -> Address | str:
    """The recipient, where it is of a form that a header has without trouble."""
    try:
        found = Address(addr_spec=recipient)
    except Exception:  # the standard library's parser raises whatever it stumbles over
        return "undisclosed-recipients:;"
    return found if recipient.isascii() and found.addr_spec == recipient else "undisclosed-recipients:;"
