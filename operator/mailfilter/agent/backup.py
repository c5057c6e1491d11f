"""`GET /v1/export` and `POST /v1/import`: held mail as an archive, out of one quarantine and into another."""

import asyncio
import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import ValidationError

from mailfilter.agent import origin
from mailfilter.agent.archive import BLOCK, ArchiveError, Head, Sink, Writer
from mailfilter.agent.exchange import answer, bad_request, problem
from mailfilter.agent.export import export
from mailfilter.agent.restore import BusyError, FullError, ImportReport, Restore
from mailfilter.agent.search import Query
from mailfilter.agent.volume import Volume
from mailfilter.api.retention import least_free

MEDIA_TYPE = "application/x-tar"
# A client that neither takes nor sends anything for so long is gone.
IDLE_SECONDS = 120.0
# As the operator has it, which may be older than this agent.
DEFAULT_LIMIT = 26214400

log = logging.getLogger(__name__)


class Upload:
    """The body of a request as a file of a thread."""

    def __init__(self, request: web.Request) -> None:
        self._loop = asyncio.get_running_loop()
        self._content = request.content

    def read(self, size: int) -> bytes:
        """The next bytes. Raises ArchiveError when the client is gone."""
        try:
            return asyncio.run_coroutine_threadsafe(self._read(size), self._loop).result()
        except (ClientError, HttpProcessingError, OSError) as error:
            raise ArchiveError(f"it was not sent to its end: {error}") from error

    async def _read(self, size: int) -> bytes:
        async with asyncio.timeout(IDLE_SECONDS):
            return await self._content.read(size)

    async def rest(self) -> None:
        """Leaves the rest unread. A client listens when it has sent all."""
        with suppress(ClientError, HttpProcessingError, OSError):
            while await self._read(BLOCK):
                pass


class Download:
    """A response as a file of a thread."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._loop = asyncio.get_running_loop()
        self._response = response

    def write(self, data: bytes) -> None:
        """Sends bytes. Raises OSError when the client is gone."""
        asyncio.run_coroutine_threadsafe(self._write(data), self._loop).result()

    async def _write(self, data: bytes) -> None:
        async with asyncio.timeout(IDLE_SECONDS):
            await self._response.write(data)


class Backup:
    """Export from and import into one quarantine, each once at a time."""

    def __init__(self, volume: Volume, limit_file: Path) -> None:
        self._volume = volume
        self._limit_file = limit_file
        self._exporting = asyncio.Lock()
        self._importing = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Both."""
        return [web.get("/v1/export", self._export), web.post("/v1/import", self._import)]

    async def _export(self, request: web.Request) -> web.StreamResponse:
        begun = datetime.now(UTC)
        try:
            query = Query.model_validate(dict(request.query))
        except ValidationError as error:
            raise bad_request(error) from error
        if not self._volume.complete:
            raise problem(web.HTTPServiceUnavailable, "the held files are still being looked through")
        if self._exporting.locked():
            raise problem(web.HTTPConflict, "another export is under way")
        async with self._exporting:
            try:
                # What other pods have stored belongs to it.
                await asyncio.to_thread(self._volume.sync)
            except OSError as error:
                raise problem(web.HTTPServiceUnavailable, f"the quarantine volume: {error}") from error
            amount = await asyncio.to_thread(self._volume.index.amount, query)
            response = web.StreamResponse(
                headers={
                    "Content-Type": MEDIA_TYPE,
                    "Content-Disposition": f'attachment; filename="quarantine-{begun:%Y%m%dT%H%M%SZ}.tar"',
                    "X-Held-Messages": str(amount.messages),
                    "X-Held-Bytes": str(amount.bytes),
                }
            )
            await response.prepare(request)
            # What is raised here breaks the connection off: the client must not take a part for the whole.
            await asyncio.to_thread(self._archive, query, begun, Download(response))
            await response.write_eof()
        log.info("exported %d mails%s", amount.messages, origin.by(request))
        return response

    def _archive(self, query: Query, begun: datetime, sink: Sink) -> None:
        with Writer(sink, Head(time=begun)) as writer:
            export(self._volume, query, writer)

    async def _import(self, request: web.Request) -> web.StreamResponse:
        if self._importing.locked():
            raise problem(web.HTTPConflict, "another import is under way")
        async with self._importing:
            restore, upload = Restore(self._volume.root, self._room), Upload(request)
            status = web.HTTPOk.status_code
            try:
                await asyncio.to_thread(restore.run, upload)
            except BusyError as error:
                raise problem(web.HTTPConflict, str(error)) from error
            except ArchiveError as error:
                status, restore.tally.error = web.HTTPUnprocessableEntity.status_code, f"the archive: {error}"
            except FullError as error:
                status, restore.tally.error = web.HTTPInsufficientStorage.status_code, str(error)
            except OSError as error:
                status, restore.tally.error = web.HTTPServiceUnavailable.status_code, f"the quarantine volume: {error}"
            with suppress(OSError):
                # Else it is known with the next look.
                await asyncio.to_thread(self._volume.sync)
            report = restore.tally.report()
            log.info("import%s: %s", origin.by(request), report.model_dump_json(by_alias=True))
            await upload.rest()
            return _answer(report, status)

    def _room(self) -> int:
        """Bytes that an import may still take. Raises OSError."""
        volume = os.statvfs(self._volume.root)
        try:
            limit = int(self._limit_file.read_text())
        except (OSError, ValueError):
            limit = DEFAULT_LIMIT
        return volume.f_bavail * volume.f_frsize - least_free(volume.f_blocks * volume.f_frsize, limit)


def _answer(report: ImportReport, status: int) -> web.Response:
    response = answer(report)
    response.set_status(status)
    return response
