"""Hands a mail of the gateway's own to Postfix, and knows whether Postfix may have it."""

import re
import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """What became of a mail."""

    result: Literal["sent", "later", "refused", "unknown"]
    """`unknown`: Postfix had all of it, and did not say whether it took it."""
    reply: str


class Postfix:
    """Postfix' reinjection, where mail is not filtered again."""

    def __init__(self, address: str, seconds: float = SECONDS) -> None:
        """address: host:port."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._seconds = seconds

    def submit(self, recipient: str, octets: bytes, begins: Callable[[], None]) -> Outcome:
        """Sends a mail with the null sender to one recipient. Blocks.

        recipient: as in SMTP, without angle brackets. begins: called when all that is left is to send the content; what
        it raises ends the attempt, and nothing was sent.
        """
        begun = False

        def sending() -> None:
            nonlocal begun
            begins()
            begun = True

        client = smtplib.SMTP(timeout=self._seconds)
        try:
            code, answer = client.connect(self._host, self._port)
            return _dialogue(client, recipient, octets, sending) if code == 220 else _refusal(code, answer)
        except (smtplib.SMTPException, OSError) as error:
            return Outcome("unknown" if begun else "later", str(error) or type(error).__name__)
        finally:
            # No QUIT: whatever came of it could not change what became of the mail.
            client.close()


def _dialogue(client: smtplib.SMTP, recipient: str, octets: bytes, begins: Callable[[], None]) -> Outcome:
    client.ehlo()
    foreign = not recipient.isascii()
    if foreign and not client.has_extn("smtputf8"):
        return Outcome("refused", "the next hops do not take internationalised addresses (relay.smtputf8)")
    client.command_encoding = "utf-8" if foreign else "ascii"
    for command in (f"MAIL FROM:<>{' SMTPUTF8' if foreign else ''}", f"RCPT TO:<{recipient}>", "DATA"):
        code, answer = client.docmd(command)
        if code not in (250, 251, 354):
            return _refusal(code, answer)
    begins()
    # From here on an answer that is none tells nothing.
    client.send(re.sub(rb"(?m)^\.", b"..", octets).removesuffix(b"\r\n") + b"\r\n.\r\n")
    code, answer = client.getreply()
    return Outcome("sent", _words(code, answer)) if 200 <= code < 300 else _refusal(code, answer, "unknown")


def _refusal(code: int, answer: bytes, otherwise: Literal["later", "unknown"] = "later") -> Outcome:
    if 500 <= code < 600:
        return Outcome("refused", _words(code, answer))
    return Outcome("later" if 400 <= code < 500 else otherwise, _words(code, answer))


def _words(code: int, answer: bytes) -> str:
    return f"{code} {answer.decode(errors='replace')}"
