"""Whether DNS block lists answer as RFC 5782 says, asked through the resolver of the pod."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

AGAIN_SECONDS = 300.0
LISTED, UNLISTED = "2.0.0.127", "1.0.0.127"
"""The entries that each list has, and must not have (RFC 5782, 5), reversed as in its zone."""
COUNTED = range(2, 12)
"""Last bytes of 127.0.0.x that count as listed."""
REFUSALS = ipaddress.ip_network("127.255.255.0/24")
"""What lists answer to DNS servers whose questions they do not want."""

Resolve = Callable[[str], Awaitable[set[str]]]

log = logging.getLogger(__name__)


class NoAnswerError(Exception):
    """DNS did not answer."""


async def resolve(name: str) -> set[str]:
    """IPv4 addresses of an absolute name, none when there is no such name. Raises NoAnswerError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            f"{name}.", None, family=socket.AF_INET, type=socket.SOCK_STREAM
        )
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            return set()
        raise NoAnswerError(str(error)) from error
    return {str(address[0]) for *_, address in found}


async def problem(site: str, resolve: Resolve = resolve) -> str | None:
    """What is wrong with the answers of one list, None when they are good."""
    try:
        test, control = await resolve(f"{LISTED}.{site}"), await resolve(f"{UNLISTED}.{site}")
    except NoAnswerError as error:
        return f"DNS does not answer ({error})"
    refusals = [one for one in sorted(test | control) if ipaddress.ip_address(one) in REFUSALS]
    if refusals:
        return f"it answers {refusals[0]}: it does not want questions from this DNS server"
    if not _listed(test):
        return "it does not list its test address 127.0.0.2"
    if _listed(control):
        return "it lists 127.0.0.1, so it may list everybody"
    return None


def _listed(addresses: set[str]) -> bool:
    return bool(addresses & {f"127.0.0.{last}" for last in COUNTED})


class Dnsbl:
    """The lists that postscreen asks."""

    def __init__(self, sites: Sequence[str]) -> None:
        self._sites = sites
        self.problems: dict[str, str | None] = {}
        """What is wrong with each list that was looked at."""

    async def watch(self) -> None:
        """Looks at all of them again and again, until cancelled."""
        while True:
            for site in self._sites:
                found = await problem(site)
                if found and found != self.problems.get(site):
                    log.warning("DNS list %s: %s", site, found)
                self.problems[site] = found
            await asyncio.sleep(AGAIN_SECONDS)
