"""The loop of a QuarantineRelease: an agent beside amavis is asked to go on with it, until all mail is released or has
failed. Of what was interrupted the agents beside Postfix are asked whether it has the mail.

The agent keeps what it does by the release's uid, so that asking again never sends a mail again: a crash at any point
here only makes the same question be asked once more. Without questions nothing goes on: who deletes a release ends it.
"""

import logging
from base64 import b64decode
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from mailfilter.api import API_VERSION
from mailfilter.api.release import QuarantineReleaseSpec, ReleaseProgress
from mailfilter.api.status import SenderResult
from mailfilter.cluster.agents import AgentError, Agents
from mailfilter.cluster.api import Api
from mailfilter.cluster.queue import Key
from mailfilter.control.allow import allow
from mailfilter.control.cache import Cache
from mailfilter.control.conditions import Observation, merged, no, timestamp, yes
from mailfilter.control.events import record
from mailfilter.control.receipts import looked_up
from mailfilter.stack.common import selector

Object = dict[str, Any]

RETRY_SECONDS = 5.0
# Until Postfix is asked again about a mail of which it does not know yet.
LOOK_SECONDS = 2.0
# What the agent has to know of a release.
OURS = {"mail_filter", "ttl_seconds_after_finished"}

log = logging.getLogger(__name__)


class ReleaseLoop:
    """Reconciles QuarantineReleases."""

    def __init__(self, api: Api, agents: Agents, cache: Cache) -> None:
        self._api = api
        self._agents = agents
        self._cache = cache

    async def reconcile(self, key: Key) -> float | None:
        """Brings one release a step further. Returns when to look again, in seconds; None when it has ended."""
        seen = self._cache.releases.get(key)
        if seen is None or seen["metadata"].get("deletionTimestamp"):
            return None
        # The watch may lag behind our own last write; what was written is what counts.
        body = await self._api.get(API_VERSION, "QuarantineRelease", *key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return None
        try:
            spec = QuarantineReleaseSpec.model_validate(body["spec"])
        except ValidationError as error:
            await self._write(body, no("Complete", "InvalidSpec", str(error)[:1000]), phase="Failed")
            return None
        if (body.get("status") or {}).get("completionTime"):
            return await self._expire(body, spec)
        token, addresses = await self._where(key[0], spec.mail_filter)
        if not addresses:
            why = f"no amavis pod of the MailFilter {spec.mail_filter} is ready in this namespace: waiting for one"
            await self._write(body, no("Complete", "NoAgent", why))
            return RETRY_SECONDS
        request = spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=OURS)
        request["key"] = body["metadata"]["uid"]
        receipts: dict[str, str | None] = {}
        try:
            # All amavis pods share the volume with the records; the first one serves as well as any.
            progress = await self._work(addresses[0], token, request | {"receipts": receipts})
            if progress.receipts:
                receipts = await looked_up(self._api, self._agents, key[0], spec.mail_filter, token, progress.receipts)
            if receipts:
                progress = await self._work(addresses[0], token, request | {"receipts": receipts})
        except (AgentError, ValidationError) as error:
            # What is not understood is asked again, which sends nothing twice.
            await self._write(body, no("Complete", "AgentUnreachable", str(error)[:500]))
            return RETRY_SECONDS
        body = await self._report(body, progress)
        if progress.next_seconds is None:
            return await self._expire(body, spec)
        return max(progress.next_seconds, LOOK_SECONDS) if progress.receipts else progress.next_seconds

    async def _work(self, address: str, token: str, request: Object) -> ReleaseProgress:
        return ReleaseProgress.model_validate(await self._agents.release(address, token, request))

    async def _where(self, namespace: str, mail_filter: str) -> tuple[str, list[str]]:
        """The agents' token, and the addresses of those that are ready."""
        secret = await self._api.get("v1", "Secret", namespace, f"{mail_filter}-agent")
        token = (secret or {}).get("data", {}).get("token")
        if not token:
            return "", []
        pods = await self._api.list("v1", "Pod", namespace, selector(mail_filter, "amavis"))
        found = []
        for pod in pods:
            status = pod.get("status", {})
            ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", []))
            if ready and status.get("podIP") and not pod["metadata"].get("deletionTimestamp"):
                found.append(status["podIP"])
        return b64decode(token).decode(), found

    async def _report(self, body: Object, progress: ReleaseProgress) -> Object:
        """Writes down what an agent has told, with an event when the first mail has to wait and one at the end."""
        old = body.get("status") or {}
        complete, counts = outcome(progress), progress.counts
        ended = complete.status == "True"
        senders = await allow(self._api, body, progress.senders) if ended and progress.senders else []
        complete = replace(complete, message=complete.message + _allowed(senders, more=progress.more_senders))
        if ended or (counts.retrying and not (old.get("counts") or {}).get("retrying")):
            reason = complete.reason if ended else "Retrying"
            await record(self._api, body, "Normal" if reason == "Released" else "Warning", reason, complete.message)
        told = progress.model_dump(mode="json", by_alias=True, exclude_none=True)
        failures = [
            {name: one[name] for name in ("id", "result", "reason", "reply") if name in one} for one in told["failures"]
        ]
        return await self._write(
            body,
            complete,
            phase=complete.reason,
            progress=f"{counts.released}/{counts.total}",
            counts=told["counts"],
            failures=failures,
            messages=told["messages"],
            senders=[one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in senders],
        )

    async def _write(self, body: Object, complete: Observation, **news: Any) -> Object:
        old = body.get("status") or {}
        generation = body["metadata"]["generation"]
        conditions, _ = merged(old.get("conditions", []), [complete], generation)
        new: Object = {"phase": "Pending", "progress": "0/0"} | old | news
        new |= {"conditions": conditions, "observedGeneration": generation}
        if complete.status == "True":
            new["completionTime"] = old.get("completionTime") or timestamp()
        if new == old:
            return body
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        return await self._api.apply_status("QuarantineRelease", namespace, name, new)

    async def _expire(self, body: Object, spec: QuarantineReleaseSpec) -> float | None:
        """Deletes an ended release when its time has come."""
        if spec.ttl_seconds_after_finished is None:
            return None
        ended = datetime.fromisoformat(body["status"]["completionTime"])
        left = (ended + timedelta(seconds=spec.ttl_seconds_after_finished) - datetime.now(UTC)).total_seconds()
        if left > 0:
            return left
        metadata = body["metadata"]
        await self._api.delete(
            API_VERSION, "QuarantineRelease", metadata["namespace"], metadata["name"], metadata["uid"]
        )
        return None


def _allowed(senders: list[SenderResult], *, more: bool) -> str:
    """What came of `allowSender`, for people."""
    counts = Counter(one.result for one in senders)
    refused = next((one for one in senders if one.result == "Refused"), None)
    found = f". Senders allowed from now on: {counts['Allowed']}" if senders else ""
    if refused:
        found += f"; refused: {counts['Refused']} ({refused.sender}: {refused.message})"
    return f"{found}; there are more senders, which are not allowed" if senders and more else found


def phase(progress: ReleaseProgress) -> str:
    """The phase in one word. `Failed` where nothing was released, for want of mail, too."""
    counts = progress.counts
    if progress.next_seconds is not None:
        return "Releasing" if counts.released or counts.failed or counts.retrying else "Pending"
    if counts.released < counts.total or not counts.total:
        return "PartiallyReleased" if counts.released else "Failed"
    return "Released"


def outcome(progress: ReleaseProgress) -> Observation:
    """The condition Complete."""
    counts, reason = progress.counts, phase(progress)
    first = progress.failures[0] if progress.failures else None
    why = f"; {first.id}: {first.reason or ''} {first.reply or ''}".rstrip() if first else ""
    left = counts.total - counts.released - counts.failed
    if progress.next_seconds is not None:
        return no("Complete", reason, f"{left} of {counts.total} messages are not done{why}")
    found = (
        f"{counts.failed} of {counts.total} not released{why}" if counts.failed else f"all of {counts.total} released"
    )
    if not counts.total:
        found = "no held mail to be released meets the conditions"
    if counts.infected:
        found += f". {counts.infected} infected mails are left out: allowVirus releases them"
    if progress.more:
        found += ". More than the selector's limit meet the conditions: another QuarantineRelease goes on with them"
    return yes("Complete", reason, found)
