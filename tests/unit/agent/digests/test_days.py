"""Digests: once a day, whenever the agents run."""

import fcntl
import os

from support.digests import DAY, DUE, LATER, World


def test_once_a_day_whichever_agent_and_however_often(world: World) -> None:
    world.hold("spam/one")
    first, second = world.agent(), world.agent()
    first.round(DUE - 1)
    first.round(DUE)
    assert not world.sink.mails, "what other pods have just stored is waited for"
    for moment in (LATER, LATER + 10, LATER + 3600):
        for agent in (first, second, world.agent()):
            agent.round(moment)
    assert len(world.sink.mails) == 1
    world.set(at="10:00")
    world.agent().round(LATER + 3600)
    assert len(world.sink.mails) == 1, "another time on the same day is no second digest"
    assert second.status() == {"sent": 1, "refused": 0, "interrupted": 0, "waiting": 0, "trouble": None}


def test_a_digest_tells_of_what_is_new_since_the_last_one(world: World) -> None:
    old, early, late = (
        world.hold("spam/old", before=DAY + 60),
        world.hold("spam/early"),
        world.hold("spam/late", before=-60),
    )
    world.agent().round(LATER)
    world.agent().round(LATER + DAY)
    first, second = world.got["bob@example.test"]
    assert (old in first, early in first, late in first) == (False, True, False)
    assert (old in second, early in second, late in second) == (False, False, True)
    assert "in all: 2" in first
    assert "in all: 3" in second
    world.agent().round(LATER + 2 * DAY)
    assert len(world.sink.mails) == 2, "of nothing new nobody is told"


def test_what_was_missed_is_made_up_for_on_the_same_day(world: World) -> None:
    early, late = world.hold("spam/early"), world.hold("spam/late", before=-3600)
    world.agent().round(DUE + 14 * 3600)
    ((text,),) = world.got.values()
    assert early in text
    assert late not in text, "the next day's"


def test_a_day_that_was_missed_is_in_the_next_digest(world: World) -> None:
    world.hold("spam/first")
    world.agent().round(LATER)
    missed = world.hold("spam/missed", before=-DAY / 2)
    world.agent().round(LATER + 3 * DAY)
    assert missed in world.got["bob@example.test"][1]


def test_while_filtering_is_suspended_digests_wait(world: World) -> None:
    world.hold("spam/one")
    world.set(suspended="Hold")
    agent = world.agent()
    agent.round(LATER)
    assert not world.sink.mails
    world.set()
    agent.round(LATER + 3600)
    assert len(world.sink.mails) == 1


def test_without_a_policy_or_with_a_strange_one_nothing_is_sent(world: World) -> None:
    world.hold("spam/one")
    for content in ("{", "[]", '{"digest": {}}', '{"digest": null}'):
        (world.directory / "policy.good").write_text(content)
        world.agent().round(LATER)
    (world.directory / "policy.good").unlink()
    world.agent().round(LATER)
    assert not world.sink.mails


def test_records_that_say_nothing_any_more_are_deleted(world: World) -> None:
    world.hold("spam/one")
    world.agent().round(LATER)
    records = world.quarantine.root / ".digests"
    (mine,) = records.iterdir()
    old, busy = records / "old", records / "busy"
    for one in (old, busy):
        one.touch()
        os.utime(one, (LATER - 31 * DAY,) * 2)
    with busy.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        world.agent().round(LATER + 60)
        assert set(records.iterdir()) == {mine, busy}
