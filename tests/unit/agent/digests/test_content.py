"""Digests: to each of his own mail, and of nobody else's."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from mailfilter.agent.submission import Outcome, Postfix
from support.digests import LATER, Sink, World
from support.heldmail import Quarantine


def test_each_gets_his_own_and_nobody_elses(world: World) -> None:
    shared = world.hold("spam/shared", "bob@example.test", "carol@example.test", before=7200)
    bobs, carols = world.hold("spam/bobs"), world.hold("banned/carols", "Carol@Example.test")
    outside = world.hold("spam/outside", "eve@elsewhere.test", "dave@sub.other.test")
    world.agent().round(LATER)
    assert world.got.keys() == {"bob@example.test", "Carol@Example.test", "dave@sub.other.test"}
    for who, ids in (
        ("bob@example.test", {shared, bobs}),
        ("Carol@Example.test", {shared, carols}),
        ("dave@sub.other.test", {outside}),
    ):
        (text,) = world.got[who]
        assert {one for one in (shared, bobs, carols, outside) if one in text} == ids
        assert not any(other in text for other in ("bob@", "arol@", "dave@", "eve@") if other[:3] not in who)
    assert all(sender == "<>" for sender, _, _ in world.sink.mails)
    assert "postmaster@other.test" in world.got["dave@sub.other.test"][0]


WHO = ("bob@example.test", "BOB+x@example.test", '"b b"@example.test', "carol@example.test", "eve@elsewhere.test")


@given(st.lists(st.sets(st.sampled_from(WHO), min_size=1), max_size=12))
def test_whatever_is_held_for_whom_nobody_learns_of_anothers(mails: list[set[str]]) -> None:
    with TemporaryDirectory() as directory:
        root = Path(directory)
        quarantine = Quarantine(root / "quarantine")
        quarantine.root.mkdir()
        world = World(quarantine, Sink(), root)
        world.set()
        held = {world.hold(f"spam/n{number}", *sorted(who)): who for number, who in enumerate(mails)}
        told: dict[str, str] = {}

        def submit(recipient: str, octets: bytes, begins: Callable[[], None]) -> Outcome:
            assert recipient not in told
            told[recipient] = octets.decode()
            return Outcome("sent", "250 2.0.0 Ok")

        world.agent(submit).round(LATER)
        mine = {who: {one for one, whose in held.items() if who in whose} for who in WHO if not who.startswith("eve")}
        assert {who: {one for one in held if one in text} for who, text in told.items()} == {
            who: ids for who, ids in mine.items() if ids
        }
        others = [who for who in WHO if who not in told]
        assert not [who for who in others for text in told.values() if who in text]


def test_what_is_infected_released_or_of_another_kind_is_left_out(world: World) -> None:
    held = world.hold("spam/told")
    left = [
        world.hold("virus/virus", alert="X-Amavis-Alert: INFECTED, message contains virus: Eicar\n"),
        world.hold("spam/infected", alert="X-Amavis-Alert: INFECTED, message contains virus: Eicar\n"),
        world.hold("bad-header/badheader"),
        world.hold("spam/released"),
    ]
    name = left[-1].rpartition("/")[2].removesuffix(".gz")
    record = {"state": "done", "replies": ["250 2.0.0 Ok: queued as 4F1"], "recipients": ["Bob@example.test"]}
    world.quarantine.record(json.dumps(record), f"key-1.{name}")
    world.agent().round(LATER)
    ((text,),) = world.got.values()
    assert held in text
    assert not [one for one in left if one in text]
    assert "in all: 1" in text


def test_settings_of_the_recipient_hold(world: World) -> None:
    world.set(
        enabled=False,
        recipients=[
            {"address": "bob@example.test", "policy": {"digest": {"enabled": True, "kinds": ["banned"]}}},
            {"address": "carol@example.test", "policy": {"digest": {"enabled": True, "at": "11:00"}}},
        ],
    )
    world.hold("spam/a", "bob@example.test", "carol@example.test", "dave@example.test")
    banned = world.hold("banned/b", "bob@example.test", "dave@example.test")
    agent = world.agent()
    agent.round(LATER)
    assert world.got.keys() == {"bob@example.test"}
    assert banned in world.got["bob@example.test"][0]
    agent.round(LATER + 7200)
    assert world.got.keys() == {"bob@example.test", "carol@example.test"}


def test_lines_that_begin_with_a_dot_arrive(sink: Sink) -> None:
    found = Postfix(sink.address, 2).submit("bob@example.test", b"Subject: x\r\n\r\n.\r\n..a\r\n", lambda: None)
    assert found == Outcome("sent", "250 2.0.0 Ok: queued as 4F1")
    assert sink.mails == [("<>", "<bob@example.test>", b"Subject: x\r\n\r\n.\r\n..a\r\n")]


def test_a_foreign_local_part_needs_smtputf8(sink: Sink) -> None:
    refused = Postfix(sink.address, 2).submit("jürgen@example.test", b"x\r\n", lambda: None)
    assert refused.result == "refused"
    sink.offers = "250-sink\r\n250 SMTPUTF8"
    assert Postfix(sink.address, 2).submit("jürgen@example.test", b"x\r\n", lambda: None).result == "sent"
    assert "MAIL FROM:<> SMTPUTF8" in sink.commands
