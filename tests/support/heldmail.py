"""Held mail as amavis stores it, without amavis."""

import gzip
import os
import time
from dataclasses import dataclass
from pathlib import Path

HEADER = """\
Return-Path: <{sender}>
Delivered-To: {kind}-quarantine
X-Envelope-From: <{sender}>
X-Envelope-To: <bob@example.test>,
 <carol@example.test>
{blocked}X-Quarantine-ID: <{mail_id}>
{alert}X-Spam-Flag: YES
X-Spam-Score: {score}
X-Spam-Status: Yes, score={score} tag=2 tag2=5 kill=5 tests=[{tests}] autolearn=no
Received: from mx.example.test ([127.0.0.1]) by filter.example.test (amavis, port 10024)
 with ESMTP id {mail_id}; Wed, 25 Nov 2026 00:00:00 +0000
"""
MAIL = "From: alice@client.test\nTo: outsider@example.net\nSubject: hello\n\nbody\n"
TESTS = "BAYES_00=-1.9,\n GTUBE=1000, LOCAL_NO_ADDRESS=0.001"
BLOCKED = "X-Envelope-To-Blocked: <bob@example.test>\n"


@dataclass
class Quarantine:
    """A directory of held mail with amavis' records of releases."""

    root: Path

    def hold(
        self,
        name: str = "spam/h/hAbcDEfgh123.gz",
        *,
        mail_id: str | None = None,
        blocked: str = BLOCKED,
        alert: str = "",
        sender: str = "alice@client.test",
        score: float = 999.998,
        tests: str = TESTS,
        mail: str = MAIL,
        age: float = 0,
    ) -> str:
        """Stores a mail as amavis did `age` seconds ago, and returns its quarantine id."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        stem = path.name.removesuffix(".gz")
        header = HEADER.format(
            kind=name.split("/")[0],
            mail_id=mail_id or stem,
            blocked=blocked,
            alert=alert,
            sender=sender,
            score=score,
            tests=tests,
        )
        content = (header + mail).encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        if age:
            os.utime(path, (time.time() - age,) * 2)
        return name

    def record(self, content: str, name: str = "key-1.hAbcDEfgh123") -> Path:
        """Leaves a record of a release."""
        path = self.root / ".releases" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return path
