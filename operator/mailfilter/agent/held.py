"""`/v1/held`: the held mail, to list, search, look at and delete."""

import asyncio
import contextlib
import logging
import time
from dataclasses import asdict
from typing import Annotated

from aiohttp import web
from pydantic import Field, ValidationError

from mailfilter.agent import heldmail, origin, preview
from mailfilter.agent.exchange import answer, bad_request, problem
from mailfilter.agent.heldmail import HeldMailError
from mailfilter.agent.preview import PreviewError
from mailfilter.agent.search import Cursor, Entry, Query
from mailfilter.agent.volume import Volume
from mailfilter.api.fields import Model
from mailfilter.api.selection import Kind

# How often the directories are looked at: news of other pods waits this long.
SYNC_SECONDS = 5.0
# Reports of more mails than this wait for the next look at the directories.
ANNOUNCED = 1000
LONGEST_PAGE = 1000
CHUNK = 1 << 16
# Each is a process.
PREVIEWS = 2

# What may be a quarantine id, and no other path.
_ID = r"[a-z-]+/(?:[A-Za-z0-9]/)?[A-Za-z0-9][A-Za-z0-9_-]{5,30}(?:\.gz)?"


log = logging.getLogger(__name__)


class Page(Model):
    """Body of `GET /v1/held`: the newest mails first."""

    items: tuple[Entry, ...]
    total: int
    """How many mails the query finds on all pages."""
    next: str | None
    """To be given as `after` for the next page; null on the last one."""
    complete: bool
    """False in the first moments of a pod, while files are still being looked through."""


class Details(Entry):
    """Body of `GET /v1/held/<id>`."""

    mail_id: str
    """amavis' name of the mail, in its log and its notices."""
    all_recipients: tuple[str, ...]
    """Envelope recipients, with those who got the mail."""
    tests: dict[str, float]
    """SpamAssassin's rules that hit, with what each added to the score."""
    date: str
    """Date header field, as the sender wrote it."""
    message_id: str
    """Message-ID header field, as the sender wrote it."""


class Amount(Model):
    """How much mail."""

    messages: int
    """Number of mails."""
    bytes: int
    """Size of their files."""


class Ages(Model):
    """How much mail of a kind, by the days since it was stored."""

    one_day: Amount
    """Up to a day."""
    seven_days: Amount
    """From one day to seven."""
    thirty_days: Amount
    """From seven days to thirty."""
    older: Amount
    """More than thirty days."""


class Quarantine(Model):
    """Body of `GET /v1/quarantine`."""

    kinds: dict[Kind, Ages]
    """All held mail."""
    complete: bool
    """False in the first moments of a pod, while files are still being looked through."""


class Paging(Model):
    """Which part of a list."""

    limit: Annotated[int, Field(ge=1, le=LONGEST_PAGE)] = 50
    """Longest page."""
    after: str | None = None
    """The `next` of the page before."""


class HeldMails:
    """What the agent tells of the held mail. `follow` keeps it up to date."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._announced: asyncio.Queue[str] = asyncio.Queue(ANNOUNCED)
        self._previews = asyncio.Semaphore(PREVIEWS)

    def announce(self, quarantine_id: str) -> None:
        """amavis has reported a mail that it holds."""
        with contextlib.suppress(asyncio.QueueFull):
            self._announced.put_nowait(quarantine_id)

    async def follow(self) -> None:
        """Takes up what is announced and what is found, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_up())
            group.create_task(self._look())

    async def _take_up(self) -> None:
        while True:
            await asyncio.to_thread(self._volume.add, await self._announced.get())

    async def _look(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._volume.sync)
            except OSError as error:
                log.warning("quarantine: %s", error)
            await asyncio.sleep(SYNC_SECONDS)

    def routes(self) -> list[web.RouteDef]:
        """Everything below `/v1/held`."""
        one = f"/v1/held/{{id:{_ID}}}"
        return [
            web.get("/v1/quarantine", self._count),
            web.get("/v1/held", self._list),
            web.get(one, self._show),
            web.delete(one, self._delete),
            web.get(f"{one}/preview", self._preview),
            web.get(f"{one}/raw", self._raw),
            web.put(f"{one}/seen", self._see),
        ]

    async def _count(self, _request: web.Request) -> web.Response:
        found = await asyncio.to_thread(self._volume.index.ages, time.time())
        kinds = {
            kind: dict(zip(Ages.model_fields, (asdict(count) for count in counts), strict=True))
            for kind, counts in found.items()
        }
        return answer(Quarantine.model_validate({"kinds": kinds, "complete": self._volume.complete}))

    async def _list(self, request: web.Request) -> web.Response:
        given = dict(request.query)
        try:
            paging = Paging.model_validate({name: given.pop(name) for name in ("limit", "after") if name in given})
            query = Query.model_validate(given)
            after = Cursor.parsed(paging.after) if paging.after else None
        except ValidationError as error:
            raise bad_request(error) from error
        except ValueError as error:
            raise problem(web.HTTPBadRequest, f"after: {error}") from error
        # One more than asked for tells whether there is another page.
        found = await asyncio.to_thread(self._volume.index.search, query, paging.limit + 1, after)
        total = await asyncio.to_thread(self._volume.index.count, query)
        items, more = found[: paging.limit], len(found) > paging.limit
        page = Page(
            items=tuple(items),
            total=total,
            next=Cursor(items[-1].time.timestamp(), items[-1].id).token() if more else None,
            complete=self._volume.complete,
        )
        return answer(page)

    async def _show(self, request: web.Request) -> web.Response:
        entry = await self._entry(request)
        try:
            mail = await asyncio.to_thread(heldmail.read, self._volume.root / entry.id)
        except FileNotFoundError as error:
            raise gone() from error
        except (HeldMailError, OSError) as error:
            raise unreadable(error) from error
        details = Details(
            **entry.model_dump(),
            mail_id=mail.mail_id,
            all_recipients=mail.recipients,
            tests=dict(sorted(mail.tests.items(), key=lambda one: (-abs(one[1]), one[0]))),
            date=mail.letter.get("date", ""),
            message_id=mail.letter.get("message-id", ""),
        )
        return answer(details)

    async def _delete(self, request: web.Request) -> web.Response:
        quarantine_id = request.match_info["id"]
        try:
            await asyncio.to_thread(self._volume.delete, quarantine_id)
        except FileNotFoundError as error:
            raise gone() from error
        except OSError as error:
            raise problem(web.HTTPInternalServerError, f"the file cannot be deleted: {error}") from error
        log.info("deleted %s%s", quarantine_id, origin.by(request))
        return web.Response(status=web.HTTPNoContent.status_code)

    async def _preview(self, request: web.Request) -> web.Response:
        entry = await self._entry(request)
        try:
            async with self._previews:
                return answer(await preview.look(self._volume.root / entry.id))
        except FileNotFoundError as error:
            raise gone() from error
        except (HeldMailError, PreviewError, OSError) as error:
            raise unreadable(error) from error

    async def _raw(self, request: web.Request) -> web.StreamResponse:
        entry = await self._entry(request)
        name = f"{heldmail.mail_id_of(entry.id)}.eml"
        response = web.StreamResponse(
            headers={
                "Content-Type": "message/rfc822",
                "Content-Disposition": f'attachment; filename="{name}"',
            }
        )
        try:
            with contextlib.ExitStack() as stack:
                opened = heldmail.opened(self._volume.root / entry.id)
                file = await asyncio.to_thread(stack.enter_context, opened)
                first = await asyncio.to_thread(file.read, CHUNK)
                log.info("given out raw: %s%s", entry.id, origin.by(request))
                await response.prepare(request)
                while first:
                    await response.write(first)
                    first = await asyncio.to_thread(file.read, CHUNK)
        except FileNotFoundError as error:
            raise gone() from error
        except (HeldMailError, OSError) as error:
            if response.prepared:
                # The client must not take a part for the whole.
                raise
            raise unreadable(error) from error
        return response

    async def _see(self, request: web.Request) -> web.Response:
        entry = await self._entry(request)
        try:
            await asyncio.to_thread(self._volume.mark_seen, heldmail.mail_id_of(entry.id))
        except OSError as error:
            raise problem(web.HTTPInternalServerError, f"the mark cannot be stored: {error}") from error
        return web.Response(status=web.HTTPNoContent.status_code)

    async def _entry(self, request: web.Request) -> Entry:
        found = await asyncio.to_thread(self._volume.index.get, request.match_info["id"])
        if found is None:
            raise gone()
        return found


def gone() -> web.HTTPError:
    """There is no such mail."""
    return problem(web.HTTPNotFound, "no such held mail")


def unreadable(error: Exception) -> web.HTTPError:
    """There is a file, but no mail can be read from it."""
    return problem(web.HTTPUnprocessableEntity, f"the file cannot be read: {error}")
