"""The loop of a release against an API and an agent in memory: every outcome, and a crash at every await."""

import copy
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailfilter.cluster.agents import AgentError
from mailfilter.control import release as module
from mailfilter.control.cache import Cache
from mailfilter.control.conditions import timestamp
from mailfilter.control.release import ReleaseLoop

Object = dict[str, Any]
KEY = ("mail", "let-it-go")
FIRST, SECOND = "spam/a/aAbcDEfgh123.gz", "virus/b/bAbcDEfgh123"
RELEASED = {
    "result": "Released",
    "reason": None,
    "reply": "250 2.0.0 Ok: queued as 4F1",
    "recipients": [{"address": "bob@example.com", "released": True, "reply": "250 …", "queueId": "4F1"}],
}
RETRY = {"result": "Retry", "reason": None, "reply": "452 4.3.1 full", "recipients": []}
FAILED = {"result": "Failed", "reason": "NotFound", "reply": "no such mail", "recipients": []}


class CrashError(Exception):
    """The operator's process ends here."""


class World:
    """The API server and the agents. `crash_at` ends the process after so many calls."""

    def __init__(self, *messages: str, answers: dict[str, list[Object]] | None = None, **spec: Any) -> None:
        self.body: Object | None = {
            "apiVersion": "mailfilter.dev/v1alpha1",
            "kind": "QuarantineRelease",
            "metadata": {"name": KEY[1], "namespace": KEY[0], "uid": "uid-7", "generation": 1},
            "spec": {"mailFilter": "mx", "messages": list(messages) or [FIRST], **spec},
        }
        self.answers = answers or {}
        self.pods = [pod("10.0.0.5")]
        self.token: str | None = "secret"  # noqa: S105 - not one
        self.asked: list[Object] = []
        self.delivered: dict[tuple[str, str], Object] = {}
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
        else:
            assert (kind, namespace, name) == ("QuarantineRelease", *KEY)
            found = copy.deepcopy(self.body)
        self._step()
        return found

    async def list(self, api_version: str, kind: str, namespace: str, labels: dict[str, str]) -> list[Object]:
        assert labels["app.kubernetes.io/component"] == "amavis"
        assert labels["app.kubernetes.io/instance"] == "mx"
        self._step()
        return self.pods

    async def apply_status(self, kind: str, namespace: str, name: str, status: Object) -> Object:
        assert self.body
        self.body["status"] = copy.deepcopy(status)
        self._step()
        return copy.deepcopy(self.body)

    async def create(self, body: Object) -> Object:
        self.events.append(body)
        self._step()
        return body

    async def delete(self, api_version: str, kind: str, namespace: str, name: str, uid: str) -> None:
        assert uid == "uid-7"
        self.body = None
        self._step()

    async def release(self, pod_ip: str, token: str, request: Object) -> Object:
        """As the agent: what was delivered under a key is answered from the record."""
        assert (pod_ip, token) == ("10.0.0.5", "secret")
        self.asked.append(request)
        record = (request["key"], request["message"])
        if record not in self.delivered:
            script = self.answers.get(request["message"], [RELEASED])
            answer = script.pop(0) if len(script) > 1 else script[0]
            if isinstance(answer, Exception):
                raise answer
            if answer.get("result") == "Released":
                self.deliveries += 1
                self.delivered[record] = answer
            self._step()
            return copy.deepcopy(answer)
        self._step()
        return copy.deepcopy(self.delivered[record])

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


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries are due at once."""
    monkeypatch.setattr(module, "LAST_RETRY_SECONDS", 0)


async def test_released() -> None:
    world = World(recipients=["bob@example.com"], allowVirus=True)
    assert await world.run() is None
    assert world.asked == [
        {"key": "uid-7", "message": FIRST, "recipients": ["bob@example.com"], "allowVirus": True},
    ]
    assert (world.status["phase"], world.status["progress"]) == ("Released", "1/1")
    (message,) = world.status["messages"]
    assert (message["result"], message["queueId"], message["attempts"]) == ("Released", "4F1", 1)
    assert message["recipients"] == RELEASED["recipients"]
    assert "reason" not in message
    assert (world.complete()["status"], world.complete()["reason"]) == ("True", "Released")
    assert [event["reason"] for event in world.events] == ["Released"]


async def test_what_has_ended_is_left_alone() -> None:
    world = World()
    await world.run()
    before = copy.deepcopy(world.body)
    assert await world.run() is None
    assert (world.body, len(world.asked), len(world.events)) == (before, 1, 1)


@pytest.mark.parametrize(
    ("answer", "reason", "part"),
    [
        (RETRY, None, "452"),
        (AgentError("agent at 10.0.0.5: refused"), "AgentUnreachable", "refused"),
        ({"result": "NewWord"}, None, ""),
        ({}, None, ""),
    ],
)
async def test_b01_what_did_not_work_is_tried_again(answer: Any, reason: str | None, part: str) -> None:
    world = World(answers={FIRST: [answer]})
    wait = await world.run()
    assert wait is not None
    assert 1 <= wait <= module.FIRST_RETRY_SECONDS
    assert (world.status["phase"], world.status["progress"]) == ("Releasing", "0/1")
    (message,) = world.status["messages"]
    assert (message["result"], message.get("reason")) == ("Retrying", reason)
    assert part in message.get("reply", "")
    assert world.complete()["status"] == "False"
    assert "completionTime" not in world.status
    again = await world.run()
    assert again is not None
    assert len(world.asked) == 1, "the pause is kept by an operator that has just started, too"


@pytest.mark.parametrize(("attempts", "pause"), [(1, 5), (2, 10), (3, 20), (7, 300), (50, 300)])
def test_pauses_grow_up_to_a_limit(attempts: int, pause: int) -> None:
    moment = datetime.now(UTC) + timedelta(days=1)
    message = {"result": "Retrying", "attempts": attempts, "time": timestamp(moment)}
    assert round((module._wait(message) - 86400) / 5) == pause / 5
    assert module._wait(message | {"result": "Pending"}) == 0


async def test_b01_works_after_all(no_pause: None) -> None:
    world = World(answers={FIRST: [RETRY, RETRY, RELEASED]})
    while await world.run() is not None:
        pass
    (message,) = world.status["messages"]
    assert (message["result"], message["attempts"]) == ("Released", 3)
    assert "452" not in message["reply"]
    assert {request["key"] for request in world.asked} == {"uid-7"}
    assert [event["reason"] for event in world.events] == ["Retrying", "Released"], "one event for all retries"


async def test_the_trouble_of_an_earlier_try_is_forgotten(no_pause: None) -> None:
    world = World(answers={FIRST: [AgentError("refused"), RELEASED]})
    assert await world.run() is not None
    assert await world.run() is None
    assert "reason" not in world.status["messages"][0]


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


async def test_partially(no_pause: None) -> None:
    world = World(FIRST, SECOND, answers={SECOND: [RETRY, FAILED]})
    assert await world.run() is not None
    assert (world.status["phase"], world.status["progress"]) == ("Releasing", "1/2")
    assert await world.run() is None
    assert (world.status["phase"], world.status["progress"]) == ("PartiallyReleased", "1/2")
    assert [each["message"] for each in world.asked] == [FIRST, SECOND, SECOND]


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
    assert await world.run() == module.FIRST_RETRY_SECONDS
    assert (world.complete()["status"], world.complete()["reason"]) == ("False", "NoAgent")
    assert world.status["phase"] == "Pending"
    assert not world.asked
    world.pods = [pod("10.0.0.5")]
    assert await world.run() is None
    assert world.status["phase"] == "Released"


async def test_waits_for_the_mailfilter() -> None:
    world = World()
    world.token = None
    assert await world.run() == module.FIRST_RETRY_SECONDS
    assert "MailFilter mx" in world.complete()["message"]


async def test_a_spec_that_no_longer_holds_is_reported() -> None:
    world = World()
    assert world.body
    world.body["spec"]["messages"] = ["../etc/passwd"]
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
        message.pop("time")
    return status


def make_all() -> World:
    return World(
        FIRST, SECOND, "spam/c/cAbcDEfgh123", answers={SECOND: [RETRY, RELEASED], "spam/c/cAbcDEfgh123": [FAILED]}
    )


async def settle(world: World, attend: Callable[[], None] = lambda: None) -> None:
    for _ in range(20):
        try:
            if await world.run() is None:
                return
        except CrashError:
            attend()
    raise AssertionError(f"never ends: {world.body}")


async def test_a_crash_at_any_call_sends_nothing_twice(no_pause: None) -> None:
    """The process ends after the n-th call of API or agent, for every n; the next one goes on under the same key."""
    undisturbed = make_all()
    await settle(undisturbed)
    assert undisturbed.status["phase"] == "PartiallyReleased"
    assert undisturbed.calls > 15
    for crash_at in range(1, undisturbed.calls + 1):
        world = make_all()
        world.crash_at = crash_at
        crashes: list[int] = []
        await settle(world, lambda crashes=crashes: crashes.append(1))  # type: ignore[misc]
        assert crashes == [1], crash_at
        assert {request["key"] for request in world.asked} == {"uid-7"}
        assert world.deliveries == 2, crash_at
        assert outcome(world) == outcome(undisturbed), crash_at
