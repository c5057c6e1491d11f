"""Mails to send through containers."""

from email.message import EmailMessage
from email.utils import formatdate

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*"


def mail(subject: str, body: str, *, sender: str = "alice@client.example", to: str = "bob@example.com") -> EmailMessage:
    """A small mail."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, subject
    # SpamAssassin scores a date that is hours away from now.
    message["Date"], message["Message-ID"] = formatdate(), f"<{subject.replace(' ', '.')}@client.example>"
    message.set_content(body)
    return message


def attached(subject: str, name: str, content: bytes) -> EmailMessage:
    """A mail with one attachment."""
    message = mail(subject, "see attachment")
    message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return message


def exe(subject: str, name: str = "tool.exe") -> EmailMessage:
    """A mail with what its name says is a program."""
    return attached(subject, name, b"MZ\x90\x00not really")


def scored(subject: str, score: str) -> EmailMessage:
    """A mail for the rules of support.scores."""
    message = mail(subject, "hello")
    message["X-Test-Score"] = score
    return message
