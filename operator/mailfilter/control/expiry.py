"""Held mail comes to its end: the operator says when, for it knows which mail is to be released."""

import logging
import time
from collections.abc import Iterable
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.cluster.agents import AgentError, Agents
from mailfilter.cluster.queue import Key
from mailfilter.control.facts import Facts

Object = dict[str, Any]

EVERY_SECONDS = 60.0
# Where held mail is kept for ever there are only records of past releases to be deleted.
TIDY_SECONDS = 3600.0
DAY_SECONDS = 86400
ENDED = ("Released", "PartiallyReleased", "Failed")

log = logging.getLogger(__name__)


class Expiry:
    """Has the agents delete what was held for long enough, or is too much, and what releases have left behind."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._last: dict[Key, float] = {}

    async def run(self, key: Key, facts: Facts, token: str, releases: Iterable[Object]) -> None:
        """Asks one agent, for all of them have the same volume. What goes wrong is tried again at the next time."""
        wanted = request(facts.spec, [body for body in releases if _of(body, key)])
        pod = next((pod for pod in facts.of("amavis") if pod.ready and pod.ip), None)
        pause = EVERY_SECONDS if wanted["seconds"] or "maxBytes" in wanted else TIDY_SECONDS
        if not pod or time.monotonic() - self._last.get(key, -pause) < pause:
            return
        assert pod.ip  # noqa: S101 - for the type checker
        self._last[key] = time.monotonic()
        try:
            await self._agents.expire(pod.ip, token, wanted)
        except AgentError as error:
            log.warning("MailFilter %s/%s: nothing was deleted from the quarantine: %s", *key, error)

    def forget(self, key: Key) -> None:
        """The MailFilter is gone."""
        self._last.pop(key, None)


def request(spec: MailFilterSpec, releases: Iterable[Object]) -> Object:
    """What the agent is asked to delete; no bounds where held mail is kept for ever."""
    kept = spec.quarantine
    days = {
        "spam": kept.retention.spam,
        "virus": kept.retention.virus,
        "banned": kept.retention.banned,
        "bad-header": kept.retention.bad_header,
    }
    seconds = {kind: one * DAY_SECONDS for kind, one in days.items() if one}
    waiting = [body for body in releases if (body.get("status") or {}).get("phase") not in ENDED]
    wanted: Object = {
        "seconds": seconds,
        "keep": sorted({one for body in waiting for one in body["spec"].get("messages", [])}),
        "releases": sorted(body["metadata"]["uid"] for body in waiting),
    }
    return wanted if kept.max_size is None else wanted | {"maxBytes": int(parse_quantity(kept.max_size))}


def _of(body: Object, key: Key) -> bool:
    return (body["metadata"]["namespace"], body["spec"].get("mailFilter")) == key
