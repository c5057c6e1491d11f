"""The loop of a release against an API and an agent in memory: every outcome."""

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailfilter.cluster.agents import AgentError
from mailfilter.control import release as module
from mailfilter.control.conditions import timestamp
from support.releaseloop import BOB, FAILED, FIRST, RELEASED, RETRY, SECOND, Object, World, make_all, pod, settle
from support.samples import SMALL


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
