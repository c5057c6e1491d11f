"""The page of the quarantine: files that hold nothing themselves and use the API."""

from importlib.resources import files

from aiohttp import web

INDEX = "index.html"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
# What mail brings can add neither a script nor an address: strings become HTML in one place alone (mail.js), for a
# frame without rights.
_POLICY = "; ".join(
    [
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "connect", "img")),
        *(f"{kind} 'none'" for kind in ("frame-src", "base-uri", "form-action", "frame-ancestors")),
        "require-trusted-types-for 'script'",
        "trusted-types mail",
    ]
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    # The frame of a mail is nobody's origin, and has a style sheet here.
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cache-Control": "no-cache",
}


def routes() -> list[web.RouteDef]:
    """`/` and `/page/<file>`. Only what is in the package is served, from memory."""
    found = [one for one in files(__package__).joinpath("page").iterdir() if one.name.rpartition(".")[2] in _TYPES]
    return [_route(one.name, one.read_bytes()) for one in sorted(found, key=lambda one: one.name)]


def _route(name: str, content: bytes) -> web.RouteDef:
    kind = _TYPES[name.rpartition(".")[2]]

    async def show(_request: web.Request) -> web.Response:
        return web.Response(body=content, content_type=kind, charset="utf-8", headers=HEADERS)

    return web.get("/" if name == INDEX else f"/page/{name}", show)
