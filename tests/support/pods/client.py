"""Sends mail by SMTP: a list of jobs as JSON on stdin, what the server answered as JSON on stdout."""

import base64
import json
import smtplib
import socket
import sys
from typing import Any


class Client(smtplib.SMTP):
    """An SMTP client that sends a line of its own before the server's greeting."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.first = job["proxy"]
        super().__init__(job["host"], job["port"], job["helo"], timeout=job["timeout"])

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        if self.first:
            connection.sendall(f"{self.first}\r\n".encode())
        return connection


def send(job: dict[str, Any]) -> dict[str, Any]:
    refused: dict[str, Any] = {}
    with Client(job) as smtp:
        smtp.ehlo_or_helo_if_needed()
        code, text = smtp.mail(job["sender"])
        if code != 250:
            return {"code": code, "text": text.decode(), "refused": refused}
        for recipient in job["recipients"]:
            code, text = smtp.rcpt(recipient)
            if code // 100 != 2:
                refused[recipient] = [code, text.decode()]
        if len(refused) < len(job["recipients"]):
            code, text = smtp.data(base64.b64decode(job["message"]))
        return {"code": code, "text": text.decode(), "refused": refused}


def attempt(job: dict[str, Any]) -> dict[str, Any]:
    """An answer of code 0 where the connection failed or broke."""
    try:
        return send(job)
    except (OSError, smtplib.SMTPException) as error:
        return {"code": 0, "text": f"{type(error).__name__}: {error}", "refused": {}}


json.dump([attempt(job) for job in json.load(sys.stdin)], sys.stdout)
