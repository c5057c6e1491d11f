"""One running agent: its servers and background tasks, from start to SIGTERM."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

# In-flight requests get this long; a release goes on in amavis without its request.
SHUTDOWN_SECONDS = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """What one kind of agent runs."""

    sites: dict[int, web.Application]
    """Applications by port, on all addresses."""
    background: list[Coroutine[Any, Any, None]] = field(default_factory=list)
    """Tasks that never end by themselves. One that fails ends the agent, so that it is started anew."""


async def serve(service: Service, stop: asyncio.Event) -> None:
    """Runs until `stop`. Raises OSError for a port that cannot be had, and what a background task raised."""
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(job) for job in service.background]
        for port, application in service.sites.items():
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, port=port).start()
        log.info("serving on ports %s", ", ".join(map(str, service.sites)))
        await stop.wait()
        for task in running:
            task.cancel()


async def until_signalled(service: Service) -> None:
    """Runs until SIGTERM or SIGINT. Raises what `serve` raises."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(service, stop)
