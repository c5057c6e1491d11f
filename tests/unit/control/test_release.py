"""The loop of a release against an API and an agent in memory: every outcome, and a crash at every await."""

import copy
import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailfilter.cluster.agents import AgentError
from mailfilter.control import release as module
from mailfilter.control.cache import Cache
from mailfilter.control.conditions import timestamp
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
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": metadata, "status": {"podIP": address, "conditions": conditions}}


async def test_released() -> None:
    more = {"recipients": ["bob@example.com"], "reportTo": ["learn@example.com"]}
    world = World(allowVirus=True, deleteAfter=True, allowSender=True, **more)
    assert await world.run() is None
    assert world.asked == [
        {
            "key": "uid-7",
            "messages": [FIRST],
            "recipients": ["bob@example.com"],
            "allowVirus": True,
            "deleteAfter": True,
            "reportTo": ["learn@example.com"],
            "allowSender": True,
            "receipts": {},
        },
    ]
    assert (world.status["phase"], world.status["progress"]) == ("Released", "1/1")
    assert world.status["counts"] == {"total": 1, "released": 1, "failed": 0, "retrying": 0, "infected": 0}
    assert world.status["failures"] == []
    (message,) = world.status["messages"]
    assert (message["result"], message["queueId"], message["attempts"]) == ("Released", "4F1", 1)
    assert message["recipients"] == [BOB]
    assert "reason" not in message
    assert (world.complete()["status"], world.complete()["reason"]) == ("True", "Released")
    assert [event["reason"] for event in world.events] == ["Released"]


async def test_a_selector_is_the_agents_to_answer_and_status_stays_small() -> None:
    ids = [f"spam/a/a{number:011}" for number in range(10_000)]
    answers = {one: [FAILED] for one in ids[:500]} | {one: [RETRY, RELEASED] for one in ids[500:600]}
    wanted = {"kind": "spam", "since": "2026-11-25T00:00:00Z", "minScore": 5, "limit": 10_000}
    world = World(selector=wanted, answers=answers)
    world.chosen = ids
    assert await world.run() == 7.5
    assert world.asked[0]["selector"] == wanted
    assert "messages" not in world.asked[0]
    assert (world.status["phase"], world.status["progress"]) == ("Releasing", "9400/10000")
    assert await world.run() is None
    assert (world.status["phase"], world.status["progress"]) == ("PartiallyReleased", "9500/10000")
    assert world.status["counts"] == {"total": 10_000, "released": 9500, "failed": 500, "retrying": 0, "infected": 0}
    assert world.status["messages"] == []
    assert world.status["failures"] == [
        {"id": one, "result": "Failed", "reason": "NotFound", "reply": "no such mail"} for one in ids[:20]
    ]
    assert len(json.dumps(world.status)) < 5000
    assert [event["reason"] for event in world.events] == ["Retrying", "PartiallyReleased"]


@pytest.mark.parametrize(
    ("chosen", "changes", "phase", "part"),
    [
        ([], {}, "Failed", "no held mail to be released meets the conditions"),
        ([], {"infected": 2}, "Failed", "2 infected mails are left out"),
        ([FIRST], {"infected": 2}, "Released", "all of 1 released. 2 infected mails are left out"),
        ([FIRST], {"more": True}, "Released", "More than the selector's limit"),
    ],
)
async def test_what_a_selector_left_is_said(chosen: list[str], changes: dict[str, Any], phase: str, part: str) -> None:
    world = World(selector={"kind": "spam"})
    world.chosen = chosen
    for name, value in changes.items():
        setattr(world, name, value)
    assert await world.run() is None
    assert (world.status["phase"], world.complete()["status"]) == (phase, "True")
    assert part in world.complete()["message"]


async def test_what_has_ended_is_left_alone() -> None:
    world = World()
    await world.run()
    before = copy.deepcopy(world.body)
    assert await world.run() is None
    assert (world.body, len(world.asked), len(world.events)) == (before, 1, 1)


async def test_b01_what_is_refused_for_now_is_tried_again_until_it_works() -> None:
    world = World(answers={FIRST: [RETRY, RETRY, RELEASED]})
    assert await world.run() == 7.5, "when to ask again is the agent's to say"
    assert (world.status["phase"], world.status["progress"]) == ("Releasing", "0/1")
    assert world.status["failures"] == [{"id": FIRST, "result": "Retrying", "reply": "452 4.3.1 full"}]
    assert world.complete()["status"] == "False"
    assert "452" in world.complete()["message"]
    assert "completionTime" not in world.status
    assert await world.run() == 7.5
    assert await world.run() is None
    (message,) = world.status["messages"]
    assert (message["result"], message["attempts"]) == ("Released", 3)
    assert "452" not in message["reply"]
    assert {request["key"] for request in world.asked} == {"uid-7"}
    assert [event["reason"] for event in world.events] == ["Retrying", "Released"], "one event for all retries"


@pytest.mark.parametrize(
    "trouble", [AgentError("agent at 10.0.0.5: refused"), {}, {"counts": {"total": "many"}}, {"nextSeconds": None}]
)
async def test_an_agent_that_does_not_answer_is_asked_again(trouble: Any) -> None:
    world = World(FIRST, SECOND, answers={SECOND: [RETRY, RELEASED]})
    await world.run()
    before = copy.deepcopy(world.status)
    world.trouble = [trouble]
    assert await world.run() == module.RETRY_SECONDS
    assert world.complete()["reason"] == "AgentUnreachable"
    for field in ("phase", "progress", "messages", "counts"):
        assert world.status[field] == before[field], "what was done stays done"
    assert await world.run() is None
    assert world.status["phase"] == "Released"


async def test_b02_failed_is_final() -> None:
    world = World(answers={FIRST: [FAILED]})
    assert await world.run() is None
    assert await world.run() is None
    assert len(world.asked) == 1
    assert (world.status["phase"], world.status["progress"]) == ("Failed", "0/1")
    assert world.status["messages"][0]["reason"] == "NotFound"
    assert world.complete()["status"] == "True"
    assert "NotFound" in world.complete()["message"]
    assert world.events[0]["type"] == "Warning"


async def test_partially() -> None:
    world = World(FIRST, SECOND, answers={SECOND: [RETRY, FAILED]})
    assert await world.run() is not None
    assert (world.status["phase"], world.status["progress"]) == ("Releasing", "1/2")
    assert await world.run() is None
    assert (world.status["phase"], world.status["progress"]) == ("PartiallyReleased", "1/2")


@pytest.mark.parametrize(
    "pods",
    [
        [],
        [pod("10.0.0.5", ready=False)],
        [pod(None)],
        [pod("10.0.0.5", deletionTimestamp="2026-11-25T00:00:00Z")],
    ],
    ids=["none", "not ready", "no address", "ending"],
)
async def test_waits_for_an_agent(pods: list[Object]) -> None:
    world = World()
    world.pods = pods
    assert await world.run() == module.RETRY_SECONDS
    assert (world.complete()["status"], world.complete()["reason"]) == ("False", "NoAgent")
    assert world.status["phase"] == "Pending"
    assert not world.asked
    world.pods = [pod("10.0.0.5")]
    assert await world.run() is None
    assert world.status["phase"] == "Released"


async def test_waits_for_the_mailfilter() -> None:
    world = World()
    world.token = None
    assert await world.run() == module.RETRY_SECONDS
    assert "MailFilter mx" in world.complete()["message"]


@pytest.mark.parametrize("spec", [{"messages": ["../etc/passwd"]}, {"selector": {"kind": "spam"}}, {"messages": None}])
async def test_a_spec_that_no_longer_holds_is_reported(spec: Object) -> None:
    world = World()
    assert world.body
    world.body["spec"] |= spec
    assert await world.run() is None
    assert (world.complete()["status"], world.complete()["reason"]) == ("False", "InvalidSpec")
    assert not world.asked


@pytest.mark.parametrize("gone", [True, False])
async def test_gone_or_going(gone: bool) -> None:
    world = World()
    if gone:
        world.body = None
    else:
        assert world.body
        world.body["metadata"]["deletionTimestamp"] = "2026-11-25T00:00:00Z"
    assert await world.run() is None
    assert not world.asked


async def test_ttl() -> None:
    world = World(ttlSecondsAfterFinished=3600)
    wait = await world.run()
    assert wait is not None
    assert 3500 < wait <= 3600
    assert world.body
    world.status["completionTime"] = timestamp(datetime.now(UTC) - timedelta(hours=2))
    assert await world.run() is None
    assert world.body is None


async def test_ttl_of_zero_and_of_a_failure() -> None:
    world = World(ttlSecondsAfterFinished=0, answers={FIRST: [FAILED]})
    assert await world.run() is None
    assert world.body is None


async def test_no_ttl_before_the_end() -> None:
    world = World(ttlSecondsAfterFinished=0, answers={FIRST: [RETRY]})
    assert await world.run() is not None
    assert world.body


def outcome(world: World) -> Object:
    """Status without what depends on the number and time of tries."""
    status = copy.deepcopy(world.status)
    status.pop("completionTime", None)
    for condition in status["conditions"]:
        condition.pop("lastTransitionTime")
    for message in status["messages"]:
        message.pop("attempts")
    return status


def make_all() -> World:
    answers = {SECOND: [RETRY, RELEASED], "spam/c/cAbcDEfgh123": [FAILED]}
    world = World(FIRST, SECOND, "spam/c/cAbcDEfgh123", answers=answers, allowSender=True)
    world.senders = ["alice@client.test"]
    return world


async def settle(world: World, attend: Callable[[], None] = lambda: None) -> None:
    for _ in range(20):
        try:
            if await world.run() is None:
                return
        except CrashError:
            attend()
    raise AssertionError(f"never ends: {world.body}")


async def test_a_crash_at_any_call_sends_nothing_twice() -> None:
    """The process ends after the n-th call of API or agent, for every n; the next one goes on under the same key."""
    undisturbed = make_all()
    await settle(undisturbed)
    assert undisturbed.status["phase"] == "PartiallyReleased"
    assert undisturbed.calls == 14
    for crash_at in range(1, undisturbed.calls + 1):
        world = make_all()
        world.crash_at = crash_at
        crashes: list[int] = []
        await settle(world, lambda crashes=crashes: crashes.append(1))  # type: ignore[misc]
        assert crashes == [1], crash_at
        assert {request["key"] for request in world.asked} == {"uid-7"}
        assert world.deliveries == 2, crash_at
        assert outcome(world) == outcome(undisturbed), crash_at
        assert [one["sender"] for one in world.released_senders[-1]] == ["alice@client.test"]


async def test_senders_are_allowed_at_the_end_and_once() -> None:
    world = make_all()
    world.senders.append("boss@" + SMALL["domains"][0]["name"])
    assert await world.run() == 7.5
    assert world.released_senders == []
    await settle(world)
    allowed, refused = world.status["senders"]
    assert allowed == {"sender": "alice@client.test", "result": "Allowed"}
    assert refused["result"] == "Refused"
    assert "Senders allowed from now on: 1; refused: 1 (boss@" in world.complete()["message"]
    await settle(world)
    assert len(world.released_senders) == 1, "what the user has deleted since is not made again"


async def test_without_the_wish_the_mailfilter_is_not_touched() -> None:
    world = World()
    world.senders = ["alice@client.test"]
    await settle(world)
    assert world.released_senders == []
    assert world.status["senders"] == []


def interrupted(**more: Any) -> Object:
    counts = {"total": 1, "released": 0, "failed": 0, "retrying": 1, "infected": 0}
    failure = {"id": FIRST, "result": "Retrying", "reason": "Interrupted", "reply": "450 …"}
    progress = {"counts": counts, "failures": [failure], "messages": [failure], "nextSeconds": 0}
    return progress | {"receipts": ["ab"]} | more


async def test_postfix_is_asked_about_what_was_interrupted() -> None:
    world = World()
    world.trouble = [interrupted()]
    world.known = {"taken": {"ab": "4F1"}, "missing": []}
    assert await world.run() is None
    assert [one["receipts"] for one in world.asked] == [{}, {"ab": "4F1"}]
    assert world.status["phase"] == "Released"


async def test_what_postfix_does_not_have_is_told_the_agent() -> None:
    world = World()
    world.trouble = [interrupted()]
    world.known = {"taken": {}, "missing": ["ab"]}
    assert await world.run() is None
    assert [one["receipts"] for one in world.asked] == [{}, {"ab": None}]


async def test_what_is_not_known_yet_is_asked_again_soon() -> None:
    world = World()
    world.trouble = [interrupted(), interrupted()]
    assert await world.run() == module.LOOK_SECONDS
    assert len(world.asked) == 1
    assert world.status["phase"] == "Releasing"
    assert "Interrupted" in world.complete()["message"]
    world.known = {"taken": {}, "missing": ["ab"]}
    assert await world.run() is None
    assert [one["receipts"] for one in world.asked[1:]] == [{}, {"ab": None}]
