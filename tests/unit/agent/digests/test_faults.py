"""Digests: what Postfix refuses, and agents that die."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from mailfilter.agent.digestrecords import Records
from mailfilter.agent.digests import AGAIN_SECONDS
from mailfilter.agent.submission import Outcome, Postfix
from support.digests import DAY, LATER, Killed, World

TEMPORARY = [
    {"connect": ["421 4.3.2 later"]},
    {"MAIL": ["451 4.3.0 later"]},
    {"RCPT": ["450 4.2.0 later"]},
    {"RCPT": ["421 4.3.2 closing"]},
    {"DATA": ["451 4.3.0 later"]},
    {"content": ["452 4.3.1 no room"]},
]


@pytest.mark.parametrize("said", TEMPORARY, ids=lambda said: "-".join([*said, *next(iter(said.values()))]))
def test_a_temporary_refusal_is_tried_again(world: World, said: dict[str, list[str]]) -> None:
    world.hold("spam/one")
    world.sink.said = {word: list(lines) for word, lines in said.items()}
    agent = world.agent()
    agent.round(LATER)
    assert agent.status()["waiting"] == 1
    assert "4." in str(agent.status()["trouble"])
    agent.round(LATER + AGAIN_SECONDS - 1)
    assert not world.sink.mails
    agent.round(LATER + AGAIN_SECONDS)
    assert len(world.sink.mails) == 1
    assert agent.status() == {"sent": 1, "refused": 0, "interrupted": 0, "waiting": 0, "trouble": None}


def test_where_nobody_listens_it_is_tried_again(world: World) -> None:
    world.hold("spam/one")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = Postfix(f"127.0.0.1:{nobody.getsockname()[1]}", 2)
        agent = world.agent(closed.submit)
        agent.round(LATER)
    assert agent.status()["waiting"] == 1
    world.agent().round(LATER + 60)
    assert len(world.sink.mails) == 1


def test_after_three_refusals_in_a_row_the_others_wait(world: World) -> None:
    for number in range(9):
        world.hold(f"spam/n{number}", f"user{number}@example.test")
    world.sink.said = {"RCPT": ["450 4.2.0 later"] * 3}
    agent = world.agent()
    for moment in (LATER, LATER + 10, LATER + AGAIN_SECONDS - 1):
        agent.round(moment)
    assert len([one for one in world.sink.commands if one.startswith("RCPT")]) == 3
    agent.round(LATER + AGAIN_SECONDS)
    assert len(world.got) == 9


@pytest.mark.parametrize("said", [{"RCPT": ["550 5.1.1 unknown"]}, {"content": ["554 5.7.1 no"]}])
def test_a_final_refusal_is_final_for_the_day(world: World, said: dict[str, list[str]]) -> None:
    told = world.hold("spam/one")
    world.sink.said = said
    agent = world.agent()
    agent.round(LATER)
    for other in (agent, world.agent()):
        other.round(LATER + 2 * AGAIN_SECONDS)
        assert (other.status()["refused"], str(other.status()["trouble"])[:2]) == (1, "55")
    assert not world.sink.mails
    world.agent().round(LATER + DAY)
    assert told in world.got["bob@example.test"][0]


@pytest.mark.parametrize("last", ["", "what?"], ids=["closed", "nonsense"])
def test_without_an_answer_to_the_content_it_is_not_repeated(world: World, last: str) -> None:
    told = world.hold("spam/one")
    world.sink.said = {"content": [last]}
    agent = world.agent()
    agent.round(LATER)
    for other in (agent, world.agent()):
        other.round(LATER + 2 * AGAIN_SECONDS)
        assert other.status()["interrupted"] == 1
    assert not world.sink.mails
    world.agent().round(LATER + DAY)
    assert told in world.got["bob@example.test"][0], "and told of on the next day, for nobody knows"


def dies_before(world: World) -> Callable[..., Outcome]:
    def submit(recipient: str, octets: bytes, begins: Callable[[], None]) -> Outcome:
        raise Killed

    return submit


def dies_with_the_content_on_its_way(world: World) -> Callable[..., Outcome]:
    def submit(recipient: str, octets: bytes, begins: Callable[[], None]) -> Outcome:
        begins()
        raise Killed

    return submit


def dies_with_the_mail_sent(world: World) -> Callable[..., Outcome]:
    def submit(recipient: str, octets: bytes, begins: Callable[[], None]) -> Outcome:
        Postfix(world.sink.address, 2).submit(recipient, octets, begins)
        raise Killed

    return submit


@pytest.mark.parametrize(
    ("dies", "on_this_day", "on_the_next"),
    [(dies_before, 1, False), (dies_with_the_content_on_its_way, 0, True), (dies_with_the_mail_sent, 1, True)],
)
def test_nobody_gets_two_for_a_day_though_the_agent_dies(
    world: World, dies: Callable[[World], Any], on_this_day: int, on_the_next: bool
) -> None:
    told = world.hold("spam/one")
    world.hold("spam/two", "carol@example.test")
    with pytest.raises(Killed):
        world.agent(dies(world)).round(LATER)
    for moment in (LATER + 60, LATER + 2 * AGAIN_SECONDS):
        world.agent().round(moment)
    assert len(world.got.get("bob@example.test", [])) == on_this_day
    assert len(world.got["carol@example.test"]) == 1, "of others nothing is lost"
    world.agent().round(LATER + DAY)
    assert any(told in text for text in world.got["bob@example.test"]), "he is told at last"
    assert (len(world.got["bob@example.test"]) > on_this_day) == on_the_next


def test_who_is_being_told_by_another_agent_is_left_to_it(world: World) -> None:
    world.hold("spam/one")
    agent = world.agent()
    with Records(world.quarantine.root).taken("bob@example.test") as record:
        assert record
        agent.round(LATER)
        assert not world.sink.mails
    agent.round(LATER + 10)
    assert len(world.sink.mails) == 1


def test_a_damaged_record_sends_nothing_on_that_day(world: World) -> None:
    told = world.hold("spam/one")
    with Records(world.quarantine.root).taken("bob@example.test"):
        pass
    (path,) = (world.quarantine.root / ".digests").iterdir()
    path.write_bytes(b'{"day": "20')
    world.agent().round(LATER)
    assert not world.sink.mails
    world.agent().round(LATER + DAY)
    assert told in world.got["bob@example.test"][0]


def test_a_volume_that_cannot_be_written_sends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.hold("spam/one")
    monkeypatch.setattr("os.pwrite", lambda *_: 0)
    with pytest.raises(OSError, match="full"):
        world.agent().round(LATER)
    assert not world.sink.mails
    monkeypatch.undo()
    world.agent().round(LATER + 60)
    assert len(world.sink.mails) == 1
