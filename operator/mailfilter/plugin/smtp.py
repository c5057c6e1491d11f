"""An SMTP dialogue through a forwarded port, told line by line."""

import smtplib
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import click

from mailfilter.plugin.forward import Forward
from mailfilter.plugin.text import line

SECONDS = 180
NAME = "kubectl-mailfilter.invalid"
# Postfix does not take `PROXY UNKNOWN`.
PROXY_HEADER = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n"


@dataclass(frozen=True)
class Reply:
    """What the server said."""

    code: int
    text: str

    @property
    def well(self) -> bool:
        """The server did what it was asked."""
        return self.code // 100 == 2


class _Client(smtplib.SMTP):
    def __init__(self, port: int, *, proxy: bool) -> None:
        self._proxy = proxy
        self.greeting = Reply(0, "")
        super().__init__(timeout=SECONDS, local_hostname=NAME)
        self.greeting = _reply(*self.connect("127.0.0.1", port))

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        if self._proxy:
            connection.sendall(PROXY_HEADER)
        return connection


class Dialogue:
    """A session with Postfix. Each step prints what was said, and raises PluginError when the connection breaks."""

    def __init__(self, to: Forward, *, proxy: bool) -> None:
        self._to = to
        try:
            self._client = _Client(to.port, proxy=proxy)
        except (OSError, smtplib.SMTPException) as error:
            raise to.broken(error) from error
        _tell(to.pod, self._client.greeting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        with suppress(OSError, smtplib.SMTPException):
            self._client.quit()
        self._client.close()

    def ehlo(self) -> Reply:
        """Greets."""
        return self._step("EHLO", "ehlo", NAME)

    def mail(self, sender: str) -> Reply:
        """MAIL FROM."""
        return self._step(f"MAIL FROM:<{sender}>", "mail", sender)

    def rcpt(self, recipient: str) -> Reply:
        """RCPT TO."""
        return self._step(f"RCPT TO:<{recipient}>", "rcpt", recipient)

    def data(self, mail: bytes) -> Reply:
        """DATA and the mail."""
        return self._step("DATA", "data", mail)

    def reset(self) -> Reply:
        """RSET: what was said before is forgotten, and no mail is sent."""
        return self._step("RSET", "rset")

    def _step(self, title: str, method: str, *arguments: str | bytes) -> Reply:
        try:
            reply = _reply(*getattr(self._client, method)(*arguments))
        except smtplib.SMTPResponseException as error:
            reply = _reply(error.smtp_code, error.smtp_error)
        except (OSError, smtplib.SMTPException) as error:
            raise self._to.broken(error) from error
        _tell(title, reply)
        return reply


def _reply(code: int, text: bytes | str) -> Reply:
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    return Reply(code, " ".join(words.split()))


def _tell(title: str, reply: Reply) -> None:
    click.echo(f"{title:<30} {reply.code} {line(reply.text)}")
