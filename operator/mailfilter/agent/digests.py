"""Tells recipients once a day what is held for them."""

import asyncio
import logging
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import prometheus_client
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, Field, ValidationError

from mailfilter.agent import digestdays, digestmail
from mailfilter.agent.digestrecords import RecordFile, Records, State, Told
from mailfilter.agent.search import Entry, key
from mailfilter.agent.submission import Outcome
from mailfilter.agent.volume import Volume
from mailfilter.api.digest import Digest
from mailfilter.api.digestpolicy import DigestPolicy
from mailfilter.api.scopes import less_specific
from mailfilter.api.template import Template, TemplateError, parse

WAKE_SECONDS = 10.0
# What other pods stored until then is known by then.
PATIENCE_SECONDS = 15.0
# A digest that was refused for now is tried again after this.
AGAIN_SECONDS = 300.0
# After so many of them in a row the others wait, too.
IN_A_ROW = 3
# Mail that nobody was told of for so long is left to the number of all.
MOST_DAYS = 7
# A record says nothing any more when all that it knows of is older than that.
RECORD_DAYS = 30

Submit = Callable[[str, bytes, Callable[[], None]], Outcome]
"""Sends a mail to a recipient; calls before the content goes."""
Result = State | Literal["nothing"]

_STATES: dict[str, State] = {"sent": "sent", "later": "waiting", "refused": "refused", "unknown": "interrupted"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """What the policy in force says."""

    digest: DigestPolicy
    template: Template
    local: frozenset[str]
    """amavis' lookup keys of the gateway's own domains."""

    def domain(self, address: str) -> str | None:
        """The declared domain that an address is in; None outside."""
        found = next((one for one in less_specific(address) if one in self.local), None)
        return found.removeprefix(".") if found else None


class _Policy(BaseModel):
    """What the agent needs of policy.json."""

    digest: DigestPolicy | None
    local_domains: Annotated[list[str], Field(alias="localDomains")]


def rules(content: bytes) -> Rules | None:
    """The rules of a policy.json; None when nobody gets a digest, or it is of another version."""
    try:
        policy = _Policy.model_validate_json(content)
        if policy.digest is None:
            return None
        return Rules(policy.digest, parse(policy.digest.template), frozenset(policy.local_domains))
    except (ValidationError, TemplateError) as error:
        log.warning("no digests: the policy cannot be read: %s", error)
        return None


@dataclass
class Day:
    """What became of the digests of one setting on one day, as far as this agent knows."""

    day: date
    results: dict[str, Result] = field(default_factory=dict)
    """By address, what is done."""
    again: dict[str, float] = field(default_factory=dict)
    """By address, when to try again."""
    pause: float = 0.0
    """When to go on at all."""
    complete: bool = False
    """All who are owed one were looked at and are done."""
    trouble: str | None = None
    """The last reply that was no good."""


class Digests:
    """The digests of a quarantine."""

    def __init__(self, volume: Volume, policy: Path, submit: Submit, registry: CollectorRegistry) -> None:
        """policy: the file of the policy in force."""
        self._volume = volume
        self._policy = policy
        self._submit = submit
        self._records = Records(volume.root)
        self._days: dict[str, Day] = {}
        self._read: tuple[bytes, Rules | None] = (b"", None)
        self._counter = prometheus_client.Counter(
            "mailfilter_digests", "Digests to recipients, by what became of them.", ["result"], registry=registry
        )

    async def watch(self) -> None:
        """Sends what is due, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.round, time.time())
            except OSError as error:
                log.warning("digests: %s", error)
            await asyncio.sleep(WAKE_SECONDS)

    def status(self) -> dict[str, object]:
        """The form of `GET /v1/status`: of the last day of each setting, how many digests by what became of them."""
        found = list(self._days.values())
        tally = Tally(result for one in found for result in one.results.values())
        waiting = sum(len(one.again) for one in found)
        numbers = {name: tally[name] for name in ("sent", "refused", "interrupted")}
        return numbers | {"waiting": waiting, "trouble": next((one.trouble for one in found if one.trouble), None)}

    def rules(self) -> Rules | None:
        """What holds now. Raises OSError."""
        try:
            content = self._policy.read_bytes()
        except FileNotFoundError:
            # amavis has not accepted one yet.
            return None
        if content != self._read[0]:
            self._read = (content, rules(content))
        return self._read[1]

    def round(self, now: float) -> None:
        """Sends what is due at a time and was not sent. Blocks. Raises OSError when the volume cannot be used."""
        found = self.rules()
        if found is None or found.digest.suspended or not self._volume.complete:
            return
        enabled = {setting.model_dump_json(): setting for setting in found.digest.settings.enabled}
        self._days = {name: one for name, one in self._days.items() if name in enabled}
        for name, setting in enabled.items():
            moment = digestdays.due(setting, now - PATIENCE_SECONDS)
            if moment is None:
                continue
            day, until = moment
            state = self._days.get(name)
            if state is None or state.day != day:
                state = self._days[name] = Day(day)
            if not state.complete and state.pause <= now:
                self._send(found, setting, state, until, now)

    def _send(self, found: Rules, setting: Digest, state: Day, until: float, now: float) -> None:
        since = until - MOST_DAYS * 86400
        busy, in_a_row = False, 0
        for address in self._volume.index.waiting_recipients(setting.kinds, since, until):
            if address in state.results or state.again.get(address, 0.0) > now:
                continue
            domain = found.domain(address)
            if domain is None or found.digest.settings.of(address) != setting:
                continue
            with self._records.taken(address) as record:
                if record is None:
                    busy = True
                    continue
                result, reply = self._one(found, setting, address, domain, state.day, until, record)
            state.again.pop(address, None)
            if result == "waiting":
                state.again[address] = now + AGAIN_SECONDS
            else:
                state.results[address] = result
            if result not in ("sent", "nothing"):
                state.trouble = reply
            in_a_row = in_a_row + 1 if result == "waiting" else 0
            if result != "nothing":
                level = logging.INFO if result == "sent" else logging.WARNING
                log.log(level, "digest to %s: %s %s", address, result, reply)
            if in_a_row == IN_A_ROW:
                state.pause = now + AGAIN_SECONDS
                return
        state.complete = not busy and not state.again
        if state.complete:
            self._records.forget(now - RECORD_DAYS * 86400)
        if state.complete and not {"refused", "interrupted"} & set(state.results.values()):
            state.trouble = None

    def _one(
        self,
        found: Rules,
        setting: Digest,
        address: str,
        domain: str,
        day: date,
        until: float,
        record: RecordFile,
    ) -> tuple[Result, str]:
        last = record.read(day)
        if last and last.day == day and last.state == "started":
            last = last.model_copy(
                update={"state": "interrupted", "reply": "the agent died; Postfix may have the mail"}
            )
            record.write(last)
            self._counter.labels("interrupted").inc()
        if last and last.day == day and last.state != "waiting":
            return last.state, last.reply
        since = max(last.until if last else digestdays.before(setting, day), until - MOST_DAYS * 86400)
        index = self._volume.index
        mails, count = index.waiting(address, setting.kinds, since, until, digestmail.LISTED)
        if not count:
            return "nothing", ""
        _, total = index.waiting(address, setting.kinds, 0.0, until, 0)
        occasion = digestmail.Occasion(_spelled(address, mails), domain, day, since, until, mails, count, total)
        made = digestmail.message(occasion, setting, found.template, found.digest.hostname)

        outcome = self._submit(
            occasion.recipient, bytes(made), lambda: record.write(Told(day=day, state="started", until=since))
        )
        state = _STATES[outcome.result]
        record.write(Told(day=day, state=state, until=until if state == "sent" else since, reply=outcome.reply))
        self._counter.labels(state).inc()
        return state, outcome.reply


def _spelled(address: str, mails: list[Entry]) -> str:
    """The address as the newest mail's envelope has it: as SMTP wants it, in its own capital letters."""
    return next(one for one in _recipients(mails) if key(one) == address)


def _recipients(mails: list[Entry]) -> Iterator[str]:
    for mail in mails:
        yield from mail.recipients
