"""Gives held mail back: checks the request against the quarantine file, has amavis send it, judges the replies."""

import asyncio
import errno
import logging
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter
from pydantic import TypeAdapter, ValidationError

from mailfilter.agent import heldmail, pdp, records
from mailfilter.agent.heldmail import HeldMail, plain
from mailfilter.agent.records import Record, State
from mailfilter.api.fields import Model, QuarantineId

# Longer than a hand-over to Postfix takes. amavis goes on after it, and its record tells the next try what came of it.
ANSWER_SECONDS = 60.0
# In amavis' replies that have one of Postfix (Amavis::Out::SMTP).
FROM_POSTFIX = " from MTA("
LOOKED_UP = "450 4.5.0 amavis or Postfix died while the mail was handed over; Postfix is asked whether it has it"
UNKNOWN_OUTCOME = (
    "amavis or Postfix died while the mail was handed over; whether Postfix took it is unknown. "
    "The mail is still held: a new QuarantineRelease sends it (again)."
)

log = logging.getLogger(__name__)
_quarantine_id: TypeAdapter[str] = TypeAdapter(QuarantineId)


class Result(StrEnum):
    """What became of a request."""

    RELEASED = "Released"
    RETRY = "Retry"
    FAILED = "Failed"


class Reason(StrEnum):
    """Why a request failed for good without a refusal of the next hop."""

    NOT_FOUND = "NotFound"
    INVALID_ID = "InvalidId"
    ID_MISMATCH = "IdMismatch"
    VIRUS_NOT_ALLOWED = "VirusNotAllowed"
    NOTHING_TO_DO = "NothingToDo"
    NOT_REPORTED = "NotReported"
    INTERRUPTED = "Interrupted"


class ReleaseRequest(Model):
    """One held mail that is to be given back."""

    key: str
    """Names the release: the same key never gives a recipient the mail twice."""
    message: str
    """Quarantine id."""
    recipients: tuple[str, ...] = ()
    """Who gets the mail; by default those who are owed it."""
    allow_virus: bool = False
    """Infected mail may be released."""
    last_copy: bool = False
    """The mail will not be held any more: if the next hop refuses it later, its sender has to know."""
    report: bool = False
    """The recipients are sent a report with the mail attached (RFC 5965), and count for nobody who was given it."""
    receipts: Mapping[str, str | None] | None = None
    """What Postfix says of interrupted attempts: receipt → queue id, None for a mail that it does not have. Without
    this nobody asks it."""

    @property
    def record(self) -> str:
        """Name of the record of what became of it."""
        return records.name(self.key, heldmail.mail_id_of(self.message), report=self.report)


class RecipientAnswer(Model):
    """What became of the mail for one recipient."""

    address: str
    released: bool
    reply: str
    queue_id: str | None = None


class ReleaseAnswer(Model):
    """What became of the mail."""

    message: str
    result: Result
    reason: Reason | None = None
    reply: str
    """The reply that decided, or a sentence when none did."""
    sender: str = ""
    """Envelope sender of a mail that is still held and not infected; of bounces none."""
    recipients: tuple[RecipientAnswer, ...] = ()
    receipt: str | None = None
    """Of an interrupted attempt that Postfix has to be asked about."""


class RefusalError(Exception):
    """The request ends before a mail is sent."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Releases:
    """Releases from one quarantine directory through amavis' socket."""

    def __init__(self, quarantine: Path, socket: Path, registry: CollectorRegistry) -> None:
        self._quarantine = quarantine
        self._socket = socket
        self._results = Counter("mailfilter_releases", "Answers to release requests.", ["result"], registry=registry)

    async def release(self, request: ReleaseRequest) -> ReleaseAnswer:
        """Carries out one request; never raises for what is wrong with the mail, the next hop or amavis."""
        try:
            answer = await self._release(request)
        except RefusalError as refusal:
            answer = ReleaseAnswer(
                message=request.message, result=Result.FAILED, reason=refusal.reason, reply=str(refusal)
            )
        except OSError as trouble:
            answer = ReleaseAnswer(message=request.message, result=Result.RETRY, reply=f"451 4.5.0 {trouble}")
        if not request.report:
            self._results.labels(answer.result).inc()
        log.info(
            "%s %s: %s", "report" if request.report else "release", request.key, answer.model_dump_json(by_alias=True)
        )
        return answer

    async def _release(self, request: ReleaseRequest) -> ReleaseAnswer:
        mail_id = _mail_id(request.message)
        record = self._quarantine / ".releases" / request.record
        past = await asyncio.to_thread(_past, record, request.receipts)
        try:
            mail = await asyncio.to_thread(_held, self._quarantine / request.message)
        except RefusalError:
            # Who was released stays released, even when the file is gone.
            known = request.recipients or (tuple(past.replies) if past.state is State.FREE else ())
            if known and past.released.keys() >= {plain(address) for address in known}:
                return judge(request.message, known, past.released)
            raise
        wanted = tuple({plain(address): address for address in request.recipients or mail.held_for}.values())
        log.info(
            "release %s: %s of %r, score %s, for %s", request.key, request.message, mail.sender, mail.score, wanted
        )
        missing = [address for address in wanted if plain(address) not in past.released]
        replies, receipt = past.released, None
        if missing or not wanted:
            _check(request, mail_id, mail, wanted)
            if past.state is State.FREE:
                replies |= await self._send_each(request, mail_id, missing)
                past = await asyncio.to_thread(records.read, record)
            if past.state is State.RUNNING:
                replies = dict.fromkeys(map(plain, missing), "450 4.5.0 release in progress") | replies
            elif past.state is State.INTERRUPTED:
                receipt = past.receipt if request.receipts is not None else None
                open_ones = [one for one in map(plain, missing) if not records.queue_id(replies.get(one, ""))]
                replies |= dict.fromkeys(open_ones, LOOKED_UP if receipt else UNKNOWN_OUTCOME)
        found = judge(request.message, wanted, replies).model_copy(update={"receipt": receipt})
        return found if _is_infected(request, mail) else found.model_copy(update={"sender": mail.sender})

    async def _send_each(self, request: ReleaseRequest, mail_id: str, recipients: list[str]) -> dict[str, str]:
        replies: dict[str, str] = {}
        for number, recipient in enumerate(recipients):
            reply = await self._send(request, mail_id, recipient)
            replies[plain(recipient)] = reply
            if reply.startswith("4") and FROM_POSTFIX not in reply:
                # Postfix was not reached, which may have taken its time: the others need not wait for the same.
                return replies | dict.fromkeys(map(plain, recipients[number + 1 :]), reply)
        return replies

    async def _send(self, request: ReleaseRequest, mail_id: str, recipient: str) -> str:
        try:
            reply = await pdp.release(
                self._socket,
                key=request.key,
                mail_id=mail_id,
                mail_file=request.message,
                recipient=recipient,
                bounce=request.last_copy,
                report=request.report,
                seconds=ANSWER_SECONDS,
            )
        except pdp.PdpError as error:
            return f"451 4.5.0 amavis: {error}"
        return reply or "450 4.5.0 amavis gave no reply"


def _past(record: Path, receipts: Mapping[str, str | None] | None) -> Record:
    """What became of the release so far. Raises OSError."""
    found = records.read(record)
    if found.receipt is None or found.receipt not in (receipts or {}):
        return found
    records.settle(record, found.receipt, (receipts or {})[found.receipt])
    return records.read(record)


def _mail_id(message: str) -> str:
    try:
        return heldmail.mail_id_of(_quarantine_id.validate_python(message))
    except ValidationError as error:
        raise RefusalError(Reason.INVALID_ID, error.errors()[0]["msg"].removeprefix("Value error, ")) from error


def _held(path: Path) -> HeldMail:
    try:
        return heldmail.read(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RefusalError(Reason.NOT_FOUND, "no such held mail") from error
    except heldmail.HeldMailError as error:
        raise RefusalError(Reason.NOT_FOUND, f"no held mail: {error}") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RefusalError(Reason.NOT_FOUND, "no held mail: a symbolic link") from error
        raise


def _check(request: ReleaseRequest, mail_id: str, mail: HeldMail, wanted: Iterable[str]) -> None:
    if mail.mail_id != mail_id:
        raise RefusalError(Reason.ID_MISMATCH, f"the file's X-Quarantine-ID is {mail.mail_id!r}")
    if not request.allow_virus and _is_infected(request, mail):
        raise RefusalError(Reason.VIRUS_NOT_ALLOWED, "; ".join(mail.alerts) or "held because of a virus")
    if not wanted:
        raise RefusalError(Reason.NOTHING_TO_DO, "the file names no recipient who is owed the mail")


def _is_infected(request: ReleaseRequest, mail: HeldMail) -> bool:
    return mail.infected or request.message.startswith("virus/")


def judge(message: str, recipients: Iterable[str], replies: dict[str, str]) -> ReleaseAnswer:
    """The answer for `recipients` whose `replies` are known: Released only if each was, Retry if any may still be."""
    outcomes = tuple(
        RecipientAnswer(
            address=address,
            released=records.queue_id(replies[plain(address)]) is not None,
            reply=replies[plain(address)],
            queue_id=records.queue_id(replies[plain(address)]),
        )
        for address in recipients
    )
    open_replies = [outcome.reply for outcome in outcomes if not outcome.released]
    temporary = next((reply for reply in open_replies if reply.startswith("4")), None)
    result, reason, reply = Result.RELEASED, None, outcomes[0].reply
    if temporary is not None:
        result, reply = Result.RETRY, temporary
        reason = Reason.INTERRUPTED if reply == LOOKED_UP else None
    elif open_replies:
        result, reply = Result.FAILED, open_replies[0]
        if reply == UNKNOWN_OUTCOME:
            reason = Reason.INTERRUPTED
        elif reply.startswith("2"):
            reason = Reason.NOTHING_TO_DO
    return ReleaseAnswer(message=message, result=result, reason=reason, reply=reply, recipients=outcomes)
