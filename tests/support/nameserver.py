"""A name server on loopback that knows what a test tells it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.asyncresolver

from support.pods.nameserver import NameServer


@asynccontextmanager
async def name_server(
    records: dict[tuple[str, str], list[str]], broken: set[str] | None = None, silent: set[str] | None = None
) -> AsyncIterator[tuple[NameServer, dns.asyncresolver.Resolver]]:
    """A running server, and a resolver that asks it alone."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: NameServer(records, broken or set(), silent or set()), local_addr=("127.0.0.1", 0)
    )
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = transport.get_extra_info("sockname")[1]
    try:
        yield server, resolver
    finally:
        transport.close()
