"""`POST /v1/releases`: gives many held mails back, several at a time, a stretch of the work with each request.

Whoever wants a release asks again until all is done. It is the same release, by its key, for every agent on the volume
and after every crash: what to do is chosen once (mailfilter.agent.jobs), and under one key amavis gives no recipient a
mail twice (mailfilter.agent.records). Nothing goes on when nobody asks any more.
"""

import asyncio
import logging
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Annotated

from aiohttp import web
from pydantic import Field

from mailfilter.agent import origin
from mailfilter.agent.exchange import answer, asked, problem
from mailfilter.agent.giving import Giving
from mailfilter.agent.heldmail import plain
from mailfilter.agent.jobs import Chosen, Job, JobFile, Jobs
from mailfilter.agent.receipts import MOST_RECEIPTS
from mailfilter.agent.release import Reason, ReleaseAnswer, ReleaseRequest, Releases, Result
from mailfilter.agent.search import Query
from mailfilter.agent.volume import Volume
from mailfilter.api.release import Release, ReleaseProgress
from mailfilter.api.selection import Selector
from mailfilter.api.status import MessageResult, RecipientResult

# An answer comes after so long, or as soon as nothing is left to do now.
STRETCH_SECONDS = 5.0
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 5, 300
# After so many refusals in a row the others wait, too: it is not about the mail.
REFUSALS = 20
MOST_PAUSED = 100
REPLY_LENGTH = 500

log = logging.getLogger(__name__)


class BulkRequest(Release):
    """Body of `POST /v1/releases`."""

    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
    """Names this release: under it no recipient is given a mail twice, and the set of mails stays the same."""
    receipts: Annotated[dict[str, str | None], Field(max_length=MOST_RECEIPTS)] | None = None
    """What Postfix said of interrupted attempts (`receipts` of the last answer): its queue id, null where it does not
    have the mail. Whoever leaves this out asks nobody, and such a mail has failed (Interrupted)."""


class NotYetError(Exception):
    """It is not known yet what is held."""


class BulkReleases:
    """Releases from one quarantine, `parallel` mails at a time whatever the number of requests."""

    def __init__(self, volume: Volume, jobs: Jobs, releases: Releases, parallel: int) -> None:
        self._volume = volume
        self._files = jobs
        self._giving = Giving(volume, releases)
        self._parallel = parallel
        self._slots = asyncio.Semaphore(parallel)
        self._pauses: dict[str, dict[str, MessageResult]] = {}

    async def handle(self, request: web.Request) -> web.Response:
        """`POST /v1/releases`."""
        wanted = await asked(request, BulkRequest)
        try:
            return answer(await self.work(wanted, origin.by(request)))
        except NotYetError as error:
            raise problem(web.HTTPServiceUnavailable, str(error)) from error
        except OSError as error:
            raise problem(web.HTTPServiceUnavailable, f"the quarantine volume: {error}") from error

    async def work(self, wanted: BulkRequest, by: str = "") -> ReleaseProgress:
        """Goes on with a release for a while; `by` tells the log who asks.

        Raises NotYetError, OSError when the volume cannot be read or written."""
        with ExitStack() as stack:
            file = stack.enter_context(self._files.taken(wanted.key))
            if file is None:
                # By another request, whose client may have gone, or by another agent.
                found = await asyncio.to_thread(self._files.look, wanted.key)
                return _progress(found or Job(Chosen(mails={}, by_id=False)), FIRST_PAUSE_SECONDS)
            job = await asyncio.to_thread(file.read)
            if job is None:
                job = await asyncio.to_thread(self._begin, file, wanted, by)
            for one in self._pauses.pop(wanted.key, {}).values():
                if one.id in job.open:
                    job.put_off(one)
            tired = await self._stretch(wanted, job, file)
            self._remember(wanted.key, job)
            if not job.open:
                # Whoever lists the mail now shall see that it was released.
                await asyncio.to_thread(self._volume.sync)
            return _progress(job, _next_seconds(job, tired=tired))

    def _remember(self, key: str, job: Job) -> None:
        """Pauses are kept in memory alone: whoever takes the job up elsewhere tries at once."""
        paused = {one.id: one for one in job.open.values() if one.result == "Retrying"}
        if paused:
            self._pauses[key] = paused
        if len(self._pauses) > MOST_PAUSED:
            # Most likely of a release that nobody asks for any more.
            del self._pauses[next(iter(self._pauses))]

    def _begin(self, file: JobFile, wanted: BulkRequest, by: str) -> Job:
        if wanted.selector is None:
            chosen = Chosen(mails=dict.fromkeys(wanted.messages or (), ()), by_id=True)
        elif self._volume.complete:
            # What other pods have stored belongs to it.
            self._volume.sync()
            chosen = self._chosen(wanted, wanted.selector)
        else:
            raise NotYetError("the held files are still being looked through")
        count = len(chosen.mails)
        log.info("release %s%s: %d mails chosen, %d infected left out", wanted.key, by, count, chosen.infected)
        return file.begin(chosen)

    def _chosen(self, wanted: BulkRequest, selector: Selector) -> Chosen:
        mails: dict[str, tuple[str, ...]] = {}
        infected = 0
        for entry in self._volume.index.all(Query(**selector.model_dump(exclude={"limit"}))):
            recipients = wanted.recipients or entry.recipients
            had = set(entry.released)
            missing = tuple(one for one in recipients if plain(one) not in had)
            if not missing and not entry.problem:
                continue
            if (entry.infected or entry.kind == "virus") and not wanted.allow_virus:
                infected += 1
            elif len(mails) == selector.limit:
                return Chosen(mails=mails, by_id=False, infected=infected, more=True)
            else:
                mails[entry.id] = missing if len(missing) < len(recipients) else ()
        return Chosen(mails=mails, by_id=False, infected=infected)

    async def _stretch(self, wanted: BulkRequest, job: Job, file: JobFile) -> bool:
        """Tries what is due, for a while. Returns whether the others shall wait because too many were refused."""
        loop = asyncio.get_running_loop()
        end = loop.time() + STRETCH_SECONDS
        now = datetime.now(UTC)
        due = iter([one for one in job.open.values() if _due(one) <= now])
        refused = 0

        async def worker() -> None:
            nonlocal refused
            while True:
                async with self._slots:
                    tired = refused >= REFUSALS or loop.time() >= end
                    before = None if tired else next(due, None)
                    if before is None:
                        return
                    result = await self._try(wanted, before, job, file)
                in_vain = result.result == "Retrying" or result.reason == Reason.INTERRUPTED
                refused = refused + 1 if in_vain else 0
                if result.result == "Retrying":
                    job.put_off(result)
                else:
                    file.end(result)
                    job.end(result)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._parallel):
                    group.create_task(worker())
        except* OSError as trouble:
            error = trouble.exceptions[0]
        else:
            return refused >= REFUSALS
        raise error

    async def _try(self, wanted: BulkRequest, before: MessageResult, job: Job, file: JobFile) -> MessageResult:
        request = ReleaseRequest(
            key=wanted.key,
            message=before.id,
            recipients=job.chosen.mails[before.id] or tuple(wanted.recipients),
            allow_virus=wanted.allow_virus,
            last_copy=wanted.delete_after,
            receipts=wanted.receipts,
        )
        found = await self._giving.release(request, again=job.chosen.by_id)
        released = found.result is Result.RELEASED
        if (
            wanted.allow_sender
            and released
            and found.sender
            and found.sender not in job.senders
            and not job.more_senders
        ):
            file.allow(found.sender)
            job.allow(found.sender)
        if wanted.report_to and released:
            found = await self._reported(request, found, tuple(wanted.report_to))
            released = found.result is Result.RELEASED
        if wanted.delete_after and released:
            try:
                await asyncio.to_thread(self._giving.delete_released, found)
            except OSError as error:
                reply = f"451 4.3.0 released, but not deleted: {error}"
                found = found.model_copy(update={"result": Result.RETRY, "reply": reply})
        if found.receipt:
            job.receipts.append(found.receipt)
        return _result(found, before.attempts + 1)

    async def _reported(self, request: ReleaseRequest, found: ReleaseAnswer, to: tuple[str, ...]) -> ReleaseAnswer:
        """Reports a released mail. What is not reported is not done, though its recipients have it."""
        report = request.model_copy(update={"recipients": to, "report": True})
        told = await self._giving.release(report, again=True)
        if told.result is Result.RELEASED:
            return found
        if told.result is Result.RETRY:
            reply = f"451 4.3.0 released, but not reported: {told.reply}"
            open_part = {"result": Result.RETRY, "reason": told.reason, "receipt": told.receipt}
            return found.model_copy(update=open_part | {"reply": reply})
        reply = f"released, but not reported: {told.reply}"
        return found.model_copy(update={"result": Result.FAILED, "reason": Reason.NOT_REPORTED, "reply": reply})


def _result(found: ReleaseAnswer, attempts: int) -> MessageResult:
    queue_ids = [one.queue_id for one in found.recipients if one.queue_id]
    return MessageResult(
        id=found.message,
        result="Retrying" if found.result is Result.RETRY else found.result.value,
        reason=found.reason,
        reply=found.reply[:REPLY_LENGTH],
        queue_id=queue_ids[-1] if queue_ids else None,
        recipients=[
            RecipientResult(**one.model_dump() | {"reply": one.reply[:REPLY_LENGTH]}) for one in found.recipients
        ],
        attempts=attempts,
        time=datetime.now(UTC).replace(microsecond=0),
    )


def _due(one: MessageResult) -> datetime:
    """When the next try is due. Whoever asks may know meanwhile what Postfix has: that never waits."""
    if one.time is None or one.reason == Reason.INTERRUPTED:
        return datetime.min.replace(tzinfo=UTC)
    pause = min(LAST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(one.attempts - 1, 10))
    return one.time + timedelta(seconds=pause)


def _next_seconds(job: Job, *, tired: bool) -> float | None:
    if not job.open:
        return None
    first = (min(map(_due, job.open.values())) - datetime.now(UTC)).total_seconds()
    return max(first, FIRST_PAUSE_SECONDS if tired else 0)


def _progress(job: Job, next_seconds: float | None) -> ReleaseProgress:
    return ReleaseProgress(
        counts=job.counts(),
        failures=job.failures(),
        messages=job.messages(),
        more=job.chosen.more,
        senders=tuple(job.senders),
        more_senders=job.more_senders,
        receipts=tuple(job.receipts[:MOST_RECEIPTS]),
        next_seconds=next_seconds,
    )
