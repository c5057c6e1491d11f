"""Who asks: requests that another site made a browser send, and the name that a proxy in front gives.

Where a proxy adds the token, every page in the browser of somebody who has signed in could make it do so. The browser
says who wrote the page: in `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/) over https and on this machine, in
`Origin` with all that changes something. Other clients send neither.
"""

from aiohttp import web

from mailfilter.agent.headers import readable

_NAMES = ("X-Auth-Request-Email", "X-Auth-Request-User", "X-Forwarded-Email", "X-Forwarded-User")
_LONGEST_NAME = 100


def foreign(request: web.Request) -> bool:
    """Whether a page of another site sent the request."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is not None and origin.partition("://")[2].lower() != request.host.lower()


def by(request: web.Request) -> str:
    """` by 'name'` for the log, as a proxy says; empty without one. It proves nothing: anybody can send that field."""
    for name in _NAMES:
        if given := request.headers.get(name):
            return f" by {readable(given.encode(errors='replace'))[:_LONGEST_NAME]!r}"
    return ""
