"""The loop of a release against an API and agents in memory."""

import copy
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

from mailfilter.control.cache import Cache
from mailfilter.control.release import ReleaseLoop
from support.samples import SMALL, with_changes

Object = dict[str, Any]
KEY = ("mail", "let-it-go")
FIRST, SECOND = "spam/a/aAbcDEfgh123.gz", "virus/b/bAbcDEfgh123"
BOB = {"address": "bob@example.com", "released": True, "reply": "250 …", "queueId": "4F1"}
RELEASED = {"result": "Released", "reply": "250 2.0.0 Ok: queued as 4F1", "queueId": "4F1", "recipients": [BOB]}
RETRY = {"result": "Retrying", "reply": "452 4.3.1 full"}
FAILED = {"result": "Failed", "reason": "NotFound", "reply": "no such mail"}


class CrashError(Exception):
    """The operator's process ends here."""


class World:
    """The API server and the agents. `crash_at` ends the process after so many calls."""

    def __init__(self, *messages: str, answers: dict[str, list[Any]] | None = None, **spec: Any) -> None:
        self.body: Object | None = {
            "apiVersion": "mailfilter.dev/v1alpha1",
            "kind": "QuarantineRelease",
            "metadata": {"name": KEY[1], "namespace": KEY[0], "uid": "uid-7", "generation": 1},
            "spec": {"mailFilter": "mx"}
            | ({} if "selector" in spec else {"messages": list(messages) or [FIRST]})
            | spec,
        }
        self.answers = answers or {}
        self.chosen: list[str] | None = None
        self.more, self.infected = False, 0
        self.senders: list[str] = []
        self.released_senders: list[list[Object]] = []
        self.trouble: list[Exception | Object] = []
        self.pods = [pod("10.0.0.5")]
        self.postfix, self.replicas = [pod("10.0.1.1")], 1
        self.known: Object = {"taken": {}, "missing": []}
        self.token: str | None = "secret"  # noqa: S105 - not one
        self.asked: list[Object] = []
        self.done: dict[str, Object] = {}
        self.tries: dict[str, int] = {}
        self.deliveries = 0
        self.events: list[Object] = []
        self.calls = 0
        self.crash_at = 0

    def _step(self) -> None:
        self.calls += 1
        if self.calls == self.crash_at:
            raise CrashError

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Object | None:
        found: Object | None
        if kind == "Secret":
            assert (namespace, name) == ("mail", "mx-agent")
            found = {"data": {"token": b64encode(self.token.encode()).decode()}} if self.token else None
        elif kind == "StatefulSet":
            assert (api_version, namespace, name) == ("apps/v1", "mail", "mx-postfix")
            found = {"spec": {"replicas": self.replicas}}
        elif kind == "MailFilter":
            assert (namespace, name) == ("mail", "mx")
            entries = self.released_senders[-1] if self.released_senders else []
            found = {"metadata": {"uid": "uid-mx"}, "spec": with_changes(SMALL, releasedSenders=entries)}
        else:
            assert (kind, namespace, name) == ("QuarantineRelease", *KEY)
            found = copy.deepcopy(self.body)
        self._step()
        return found

    async def list(self, api_version: str, kind: str, namespace: str, labels: dict[str, str]) -> list[Object]:
        assert labels["app.kubernetes.io/instance"] == "mx"
        self._step()
        return self.pods if labels["app.kubernetes.io/component"] == "amavis" else self.postfix

    async def apply_status(self, kind: str, namespace: str, name: str, status: Object) -> Object:
        assert self.body
        self.body["status"] = copy.deepcopy(status)
        self._step()
        return copy.deepcopy(self.body)

    async def add(self, body: Object, manager: str) -> None:
        assert manager == "quarantinerelease-uid-7"
        self.released_senders.append(body["spec"]["releasedSenders"])
        self._step()

    async def create(self, body: Object) -> Object:
        self.events.append(body)
        self._step()
        return body

    async def delete(self, api_version: str, kind: str, namespace: str, name: str, uid: str) -> None:
        assert uid == "uid-7"
        self.body = None
        self._step()

    async def release(self, pod_ip: str, token: str, request: Object) -> Object:
        """As an agent: each question is a try of all that is not done."""
        assert (pod_ip, token) == ("10.0.0.5", "secret")
        self.asked.append(request)
        if self.trouble:
            trouble = self.trouble.pop(0)
            if isinstance(trouble, Exception):
                raise trouble
            return trouble
        ids = request.get("messages") or self.chosen or []
        messages = []
        for one in ids:
            if one not in self.done:
                self.tries[one] = self.tries.get(one, 0) + 1
                script = self.answers.get(one, [RELEASED])
                found = {"id": one, "attempts": self.tries[one]} | (script.pop(0) if len(script) > 1 else script[0])
                if found["result"] == "Retrying":
                    messages.append(found)
                    continue
                self.done[one] = found
                self.deliveries += found["result"] == "Released"
            messages.append(self.done[one])
        counts = {
            "total": len(ids),
            "released": sum(one["result"] == "Released" for one in messages),
            "failed": sum(one["result"] == "Failed" for one in messages),
            "retrying": sum(one["result"] == "Retrying" for one in messages),
            "infected": self.infected,
        }
        self._step()
        return {
            "counts": counts,
            "failures": [one for one in messages if one["result"] != "Released"][:20],
            "messages": messages if "messages" in request else [],
            "more": self.more,
            "senders": self.senders if request["allowSender"] else [],
            "nextSeconds": 7.5 if counts["retrying"] else None,
        }

    async def receipts(self, pod_ip: str, token: str, receipts: Sequence[str]) -> Object:
        assert (pod_ip, token) == ("10.0.1.1", "secret")
        self._step()
        return self.known

    async def run(self) -> float | None:
        """One reconcile of an operator that has just started."""
        cache = Cache()
        if self.body:
            cache.see(copy.deepcopy(self.body), gone=False)
        return await ReleaseLoop(self, self, cache).reconcile(KEY)  # type: ignore[arg-type]

    @property
    def status(self) -> Object:
        assert self.body
        found: Object = self.body["status"]
        return found

    def complete(self) -> Object:
        (found,) = self.status["conditions"]
        assert found["type"] == "Complete"
        return dict(found)


def pod(address: str | None, *, ready: bool = True, **metadata: Any) -> Object:
    """As the API server has it."""
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": metadata, "status": {"podIP": address, "conditions": conditions}}


def make_all() -> World:
    """A release of three mails: one is given back at once, one at the second try, one never."""
    answers: dict[str, list[Any]] = {SECOND: [RETRY, RELEASED], "spam/c/cAbcDEfgh123": [FAILED]}
    world = World(FIRST, SECOND, "spam/c/cAbcDEfgh123", answers=answers, allowSender=True)
    world.senders = ["alice@client.test"]
    return world


async def settle(world: World, attend: Callable[[], None] = lambda: None) -> None:
    """Reconciles until the release has ended; `attend` is called after each crash."""
    for _ in range(20):
        try:
            if await world.run() is None:
                return
        except CrashError:
            attend()
    raise AssertionError(f"never ends: {world.body}")
