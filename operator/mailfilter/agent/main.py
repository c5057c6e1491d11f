"""Starts the agent of one kind."""

import asyncio
import logging

from prometheus_client import disable_created_metrics

from mailfilter.agent.amavis import AmavisAgent
from mailfilter.agent.mirror import MirrorAgent
from mailfilter.agent.postfix import PostfixAgent
from mailfilter.agent.service import until_signalled
from mailfilter.agent.settings import Settings

KINDS: dict[str, type[AmavisAgent] | type[PostfixAgent] | type[MirrorAgent]] = {
    "amavis": AmavisAgent,
    "postfix": PostfixAgent,
    "mirror": MirrorAgent,
}


def run(kind: str) -> None:
    """Runs the agent `amavis`, `postfix` or `mirror` until SIGTERM.

    Raises KeyError for another kind, ValidationError for a bad environment, OSError for a port that is taken.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    disable_created_metrics()  # type: ignore[no-untyped-call]
    asyncio.run(_run(kind))


async def _run(kind: str) -> None:
    await until_signalled(KINDS[kind](Settings()).service())
