"""Sends mail by SMTP: a list of jobs as JSON on stdin, what the server answered as JSON on stdout."""

import base64
import json
import smtplib
import sys
from typing import Any


def send(job: dict[str, Any]) -> dict[str, Any]:
    refused: dict[str, Any] = {}
    with smtplib.SMTP(job["host"], job["port"], job["helo"], timeout=job["timeout"]) as smtp:
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
