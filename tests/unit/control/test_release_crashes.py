"""A release whose operator, agent or amavis dies: a crash at every await, and what Postfix is asked then."""

import copy
from typing import Any

from mailfilter.control import release as module
from support.releaseloop import FIRST, Object, World, make_all, settle


def outcome(world: World) -> Object:
    """Status without what depends on the number and time of tries."""
    status = copy.deepcopy(world.status)
    status.pop("completionTime", None)
    for condition in status["conditions"]:
        condition.pop("lastTransitionTime")
    for message in status["messages"]:
        message.pop("attempts")
    return status


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
