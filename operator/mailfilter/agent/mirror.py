"""The agent beside freshclam: serves the signature files to the clamd pods."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry

from mailfilter.agent import signatures
from mailfilter.agent.probes import ProbeError
from mailfilter.agent.service import Service
from mailfilter.agent.settings import Settings
from mailfilter.agent.web import api, monitoring


def files(directory: Path) -> web.Application:
    """The signature files of `directory` by name; 404 for everything else, as freshclam expects of a mirror."""

    async def show(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if not signatures.servable(name):
            raise web.HTTPNotFound
        path = directory / name
        if await asyncio.to_thread(_published_since, path, request):
            return web.Response(body=path.open("rb"))
        return web.FileResponse(path)

    application = web.Application()
    application.add_routes([web.get("/{name}", show)])
    return application


def _published_since(path: Path, request: web.Request) -> bool:
    """Whether the client cannot have a file that was written before the time it names (`If-Modified-Since`).

    freshclam writes a file, checks it, and only then puts it in its place: meanwhile the old one is served.
    """
    since = request.if_modified_since
    if since is None or hdrs.RANGE in request.headers or not path.is_file():
        return False
    found = path.stat()
    return found.st_mtime <= since.timestamp() < found.st_ctime


class MirrorAgent:
    """The parts and what they answer together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.registry = CollectorRegistry()
        self.registry.register(signatures.Signatures(settings.signatures))

    async def ready(self) -> None:
        """There are signatures to serve. Raises ProbeError."""
        found = await asyncio.to_thread(signatures.look, self._settings.signatures)
        if not found.files:
            raise ProbeError("no signature file has been fetched yet")

    async def status(self) -> Mapping[str, object]:
        """`GET /v1/status`."""
        found = await asyncio.to_thread(signatures.look, self._settings.signatures)
        return {"mirror": {"signatures": found.status()}}

    def service(self) -> Service:
        """Everything to run."""
        settings = self._settings
        return Service(
            sites={
                settings.metrics_port: monitoring(self.ready, self.registry),
                settings.api_port: api(settings.token_file, self.status),
                settings.mirror_port: files(settings.signatures),
            }
        )
