"""The agent's two HTTP servers: monitoring for everybody in the cluster, the API for those who know the token."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from mailfilter.agent import origin
from mailfilter.agent.probes import ProbeError

# What is told of mail stays in no cache, and is no document or script of another page.
_HARDENED = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Check = Callable[[], Awaitable[None]]
"""Returns when all is well, raises ProbeError when not."""
Status = Callable[[], Awaitable[Mapping[str, object]]]


def monitoring(ready: Check, registry: CollectorRegistry, before_scrape: Check | None = None) -> web.Application:
    """`/healthz`, `/readyz` and `/metrics`, without a token.

    `/healthz` speaks of the agent alone: restarting the agent mends no daemon.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        try:
            await ready()
        except ProbeError as error:
            return web.Response(text=f"{error}\n", status=web.HTTPServiceUnavailable.status_code)
        return web.Response(text="ok\n")

    async def metrics(_request: web.Request) -> web.Response:
        if before_scrape:
            await before_scrape()
        # Collectors read directories.
        text = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    application = web.Application()
    application.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)],
    )
    return application


def api(
    token_file: Path, status: Status, routes: Iterable[web.RouteDef] = (), page: Collection[web.RouteDef] = ()
) -> web.Application:
    """`/v1/status` and `routes`, for those who know the token, and `page`, for everybody.

    The file is read for each request, so a new token needs no restart. Without a token in it nobody is let in. Nothing
    but the page is for browsers that were sent here by another site, whoever adds the token.
    """
    shown = {route.handler for route in page}

    @web.middleware
    async def authorised(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.match_info.handler in shown:
            return await handler(request)
        if origin.foreign(request):
            return _refused(web.HTTPForbidden, "the request comes from a page of another site")
        token = await asyncio.to_thread(_token, token_file)
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not token or not hmac.compare_digest(given, b"Bearer " + token):
            return _refused(web.HTTPUnauthorized, "wrong token")
        return await handler(request)

    async def harden(_request: web.Request, response: web.StreamResponse) -> None:
        for name, value in _HARDENED.items():
            response.headers.setdefault(name, value)

    async def show(_request: web.Request) -> web.Response:
        return web.json_response(await status())

    application = web.Application(middlewares=[authorised])
    application.on_response_prepare.append(harden)
    application.add_routes([web.get("/v1/status", show), *routes, *page])
    return application


def _refused(kind: type[web.HTTPError], text: str) -> web.Response:
    return web.json_response({"error": text}, status=kind.status_code)


def _token(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError:
        return b""
