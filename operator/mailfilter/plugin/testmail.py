"""The mails that a probe sends: harmless, and known to every filter."""

import uuid
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.utils import formatdate

from mailfilter.plugin.errors import PluginError

KINDS = ("clean", "spam", "virus")
# https://spamassassin.apache.org/gtube/ and https://www.eicar.org/download-anti-malware-testfile/; not in one piece, or
# scanners would hold this file.
_GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
_EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
_WORDS = "This is a test of the mail gateway by kubectl mailfilter probe. Nothing is to be done about it.\n"


@dataclass(frozen=True)
class TestMail:
    """A mail to send."""

    kind: str
    message_id: str
    content: bytes


def make(kind: str, hostname: str, sender: str, recipient: str) -> TestMail:
    """A mail `clean`, `spam` (GTUBE) or `virus` (EICAR as an attachment)."""
    if kind not in KINDS:
        raise PluginError(f"there is no test mail {kind}")
    mail = EmailMessage()
    mail["From"] = sender or f"postmaster@{hostname}"
    mail["To"] = recipient
    mail["Subject"] = f"Test of the mail gateway: {kind}"
    mail["Date"] = formatdate(localtime=True)
    message_id = f"<{uuid.uuid4().hex}@{hostname}>"
    mail["Message-ID"] = message_id
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(f"{_WORDS}\n{_GTUBE}\n" if kind == "spam" else _WORDS)
    if kind == "virus":
        mail.add_attachment(_EICAR.encode(), "application", "octet-stream", filename="eicar.com.txt")
    return TestMail(kind, message_id, mail.as_bytes(policy=policy.SMTP))
