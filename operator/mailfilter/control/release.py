"""The loop of a QuarantineRelease: each message is handed to the agent beside amavis until it is done or has failed.

The agent keeps a record by the release's uid, so that asking again never sends a mail again: a crash at any point here
only makes the same question be asked once more.
"""

import logging
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from mailfilter.api import API_VERSION
from mailfilter.api.release import QuarantineReleaseSpec
from mailfilter.cluster.agents import AgentError, Agents
from mailfilter.cluster.api import Api
from mailfilter.cluster.queue import Key
from mailfilter.control.cache import Cache
from mailfilter.control.conditions import Observation, merged, no, timestamp, yes
from mailfilter.control.events import record
from mailfilter.stack.common import selector

Object = dict[str, Any]

FINAL = ("Released", "Failed")
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 5, 300

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
            await self._write(body, [], no("Complete", "InvalidSpec", str(error)[:1000]))
            return None
        messages = _messages(body, spec)
        if all(message["result"] in FINAL for message in messages):
            return await self._expire(body, spec, messages)
        token, addresses = await self._where(key[0], spec.mail_filter)
        if not addresses:
            why = f"no amavis pod of the MailFilter {spec.mail_filter} is ready in this namespace: waiting for one"
            await self._write(body, messages, no("Complete", "NoAgent", why))
            return FIRST_RETRY_SECONDS
        waits = []
        for message in messages:
            if message["result"] in FINAL:
                continue
            wait = _wait(message)
            if wait <= 0:
                answer = await self._ask(body, spec, message, token, addresses)
                for stale in ("reason", "reply"):
                    message.pop(stale, None)
                message |= answer
                # Written one by one, so that status never says less than what was done.
                body = await self._write(body, messages, _complete(messages))
                wait = _wait(message)
            if message["result"] not in FINAL:
                waits.append(wait)
        if waits:
            return max(min(waits), 1)
        return await self._expire(body, spec, messages)

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

    async def _ask(
        self, body: Object, spec: QuarantineReleaseSpec, message: Object, token: str, addresses: list[str]
    ) -> Object:
        """Hands one message to an agent. Returns what is to be written about it."""
        request = {
            "key": body["metadata"]["uid"],
            "message": message["id"],
            "recipients": spec.recipients,
            "allowVirus": spec.allow_virus,
        }
        new: Object = {"attempts": message.get("attempts", 0) + 1, "time": timestamp()}
        try:
            # All amavis pods share the volume with the record; the first one serves as well as any.
            answer = await self._agents.release(addresses[0], token, request)
        except AgentError as error:
            return new | {"result": "Retrying", "reason": "AgentUnreachable", "reply": str(error)[:500]}
        # What is not understood is asked again, which sends nothing twice.
        new["result"] = answer["result"] if answer.get("result") in FINAL else "Retrying"
        for name in ("reason", "reply"):
            if answer.get(name):
                new[name] = str(answer[name])[:500]
        new["recipients"] = [
            {field: value for field, value in one.items() if value is not None} for one in answer.get("recipients", [])
        ]
        queue_ids = [one["queueId"] for one in new["recipients"] if one.get("queueId")]
        if queue_ids:
            new["queueId"] = queue_ids[-1]
        if new["result"] in FINAL or message.get("result") != new["result"]:
            note = f"{message['id']}: {new.get('reason') or ''} {new.get('reply') or ''}".strip()
            await record(self._api, body, "Normal" if new["result"] == "Released" else "Warning", new["result"], note)
        return new

    async def _write(self, body: Object, messages: list[Object], complete: Observation) -> Object:
        old = body.get("status") or {}
        generation = body["metadata"]["generation"]
        conditions, _ = merged(old.get("conditions", []), [complete], generation)
        released = sum(message["result"] == "Released" for message in messages)
        new: Object = {
            "phase": _phase(messages) if messages else "Failed",
            "progress": f"{released}/{len(messages)}",
            "messages": messages,
            "conditions": conditions,
            "observedGeneration": generation,
        }
        if complete.status == "True":
            new["completionTime"] = old.get("completionTime") or timestamp()
        if new == old:
            return body
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        return await self._api.apply_status("QuarantineRelease", namespace, name, new)

    async def _expire(self, body: Object, spec: QuarantineReleaseSpec, messages: list[Object]) -> float | None:
        """Deletes an ended release when its time has come."""
        body = await self._write(body, messages, _complete(messages))
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


def _messages(body: Object, spec: QuarantineReleaseSpec) -> list[Object]:
    """The messages with what status says of them so far."""
    known = {message["id"]: message for message in (body.get("status") or {}).get("messages", [])}
    return [
        dict(known.get(one, {"id": one, "result": "Pending", "recipients": [], "attempts": 0})) for one in spec.messages
    ]


def _wait(message: Object) -> float:
    """Seconds until the next try is due."""
    if message["result"] != "Retrying":
        return 0
    pause = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** (message["attempts"] - 1))
    due = datetime.fromisoformat(message["time"]) + timedelta(seconds=pause)
    return (due - datetime.now(UTC)).total_seconds()


def _phase(messages: list[Object]) -> str:
    results = {message["result"] for message in messages}
    if results == {"Released"}:
        return "Released"
    if results <= set(FINAL):
        return "PartiallyReleased" if "Released" in results else "Failed"
    return "Pending" if results == {"Pending"} else "Releasing"


def _complete(messages: list[Object]) -> Observation:
    phase = _phase(messages)
    open_ones = [message for message in messages if message["result"] not in FINAL]
    failed = [message for message in messages if message["result"] == "Failed"]
    if open_ones:
        first = open_ones[0]
        why = f"{first['id']}: {first.get('reply') or 'not tried yet'}"
        return no("Complete", phase, f"{len(open_ones)} of {len(messages)} messages are not done; {why}")
    if failed:
        why = f"{failed[0]['id']}: {failed[0].get('reason') or ''} {failed[0].get('reply') or ''}".strip()
        return yes("Complete", phase, f"{len(failed)} of {len(messages)} not released; {why}")
    return yes("Complete", phase, f"all of {len(messages)} released")
