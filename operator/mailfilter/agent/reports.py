"""amavis' report of each mail, a datagram of JSON, as metrics."""

import asyncio
import json
import logging
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from prometheus_client import CollectorRegistry, Counter, Histogram
from pydantic import BaseModel, Field, FiniteFloat

from mailfilter.agent.dnslists import DnsLists

SCORES = (-5, -1, 0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 50, 100)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

# Beginnings of amavis' category names (Amavis/Conf.pm %ccat_display_names), which has minor ones such as BadHdrMime.
_VERDICTS = {
    "Clean": "Clean",
    "Spammy": "Spammy",
    "Spam": "Spam",
    "Virus": "Virus",
    "Banned": "Banned",
    "BadHdr": "BadHeader",
    "Unchecked": "Unchecked",
    "Oversized": "Oversized",
    "Mta": "MtaFailed",
}
_STAGE = re.compile(r"[A-Za-z]{1,32}")

log = logging.getLogger(__name__)


RuleName = Annotated[str, Field(pattern=r"^\w{1,100}$")]


class Report(BaseModel):
    """What the metrics need of amavis' report (Amavis.pm structured_report); sizes in bytes, times in seconds.

    What begins with spam_ is added to it by the image, but for spam_score.
    """

    content_type: str
    size: Annotated[int, Field(ge=0)] = 0
    spam_score: FiniteFloat | None = None
    spam_truncated: bool = False
    quarantine: str | None = None
    spam_rules_left: list[RuleName] = []
    spam_lists_refused: list[RuleName] = []
    elapsed: dict[str, FiniteFloat] = {}


def verdict(content_type: str) -> str:
    """The metric's verdict for amavis' category; Other for one that is not known."""
    return next((name for start, name in _VERDICTS.items() if content_type.startswith(start)), "Other")


class Reports(asyncio.DatagramProtocol):
    """Counts the reports. What is no report is counted too, and otherwise ignored."""

    def __init__(self, registry: CollectorRegistry, held: Callable[[str], None]) -> None:
        """held: takes the quarantine id of each mail that amavis has stored."""
        self._held = held
        self._mails = Counter("mailfilter_mails", "Judged mails.", ["verdict"], registry=registry)
        self._bytes = Counter("mailfilter_mail_bytes", "Size of judged mails.", registry=registry)
        self._malformed = Counter(
            "mailfilter_reports_malformed", "Datagrams that were no report of amavis.", registry=registry
        )
        self._truncated = Counter(
            "mailfilter_spam_truncated",
            "Mails of which SpamAssassin saw only the header and the first spam.bodySizeLimit bytes of the body.",
            registry=registry,
        )
        self._left = Counter(
            "mailfilter_spam_rule_timeouts",
            "Mails for which a rule of spam.rules took too long, so that they were judged without it.",
            ["rule"],
            registry=registry,
        )
        self._scores = Histogram(
            "mailfilter_spam_score", "Highest spam score of the mail.", buckets=SCORES, registry=registry
        )
        self._stages = Histogram(
            "mailfilter_stage_seconds", "Time that a mail spent.", ["stage"], buckets=SECONDS, registry=registry
        )
        self.dns_lists = DnsLists(registry)
        self._last = -float("inf")

    @property
    def silence(self) -> float:
        """Seconds since the last report."""
        return time.monotonic() - self._last

    def datagram_received(self, data: bytes, _addr: object) -> None:
        """One report of amavis."""
        try:
            report = Report.model_validate(json.loads(data.decode(errors="replace")))
        except (ValueError, RecursionError) as error:
            self._malformed.inc()
            log.warning("not a report of amavis: %s", str(error).splitlines()[0])
            return
        self._last = time.monotonic()
        if report.quarantine:
            self._held(report.quarantine)
        self._mails.labels(verdict(report.content_type)).inc()
        self._bytes.inc(report.size)
        if report.spam_truncated:
            self._truncated.inc()
        for rule in report.spam_rules_left:
            self._left.labels(rule).inc()
        if report.spam_score is not None:
            self.dns_lists.judged(report.spam_lists_refused)
            self._scores.observe(report.spam_score)
        for stage, seconds in report.elapsed.items():
            if _STAGE.fullmatch(stage):
                self._stages.labels(stage).observe(seconds)

    async def listen(self, path: Path) -> None:
        """Receives at `path`, in place of one left over, until cancelled."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=str(path), family=socket.AF_UNIX)
        try:
            await loop.create_future()
        finally:
            transport.close()
