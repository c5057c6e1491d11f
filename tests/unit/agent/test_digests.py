"""Digests: once a day for each recipient, of nobody else's mail, whoever dies meanwhile."""

import email
import email.policy
import fcntl
import json
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from mailfilter.agent.digestrecords import Records
from mailfilter.agent.digests import AGAIN_SECONDS, PATIENCE_SECONDS, Digests
from mailfilter.agent.index import Index
from mailfilter.agent.submission import Outcome, Postfix
from mailfilter.agent.volume import Volume
from mailfilter.policy.amavis import policy_json
from support.samples import spec
from unit.agent.conftest import Quarantine

DAY = 86400.0
# Not long ago: what the tests hold is as old as they say by the real clock.
NINE = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) - timedelta(days=1)
DUE = NINE.timestamp()
FOR = "X-Envelope-To-Blocked: {}\n"


class Killed(BaseException):
    """The agent is no more."""


@dataclass
class Sink:
    """Takes mails as Postfix does; `said` overrides the answer to a command, or to the content, once a connection."""

    said: dict[str, list[str]] = field(default_factory=dict)
    mails: list[tuple[str, str, bytes]] = field(default_factory=list)
    """Sender, recipient and content as given in commands."""
    commands: list[str] = field(default_factory=list)
    offers: str = "250-sink\r\n250 8BITMIME"
    address: str = ""

    def answer(self, word: str, usual: str) -> str:
        return self.said[word].pop(0) if self.said.get(word) else usual

    def talk(self, file: Any, out: Any) -> None:
        def say(line: str) -> bool:
            out.write(f"{line}\r\n".encode() if line else b"")
            return line[:3] not in ("", "421")

        if not say(self.answer("connect", "220 sink")):
            return
        sender = recipient = ""
        for raw in file:
            line = raw.decode().strip()
            self.commands.append(line)
            word = line.split(":")[0].split()[0].upper()
            if word == "MAIL":
                sender = line.partition(":")[2]
            if word == "RCPT":
                recipient = line.partition(":")[2]
            if word != "DATA":
                said = self.answer(word, self.offers if word == "EHLO" else "250 2.1.0 Ok")
            elif (said := self.answer("DATA", "354 go")).startswith("354"):
                say(said)
                content = b""
                while (one := file.readline()) != b".\r\n":
                    if not one:
                        return
                    content += one.removeprefix(b".") if one.startswith(b"..") else one
                said = self.answer("content", "250 2.0.0 Ok: queued as 4F1")
                if said.startswith("250"):
                    self.mails.append((sender, recipient, content))
            if not say(said):
                return


@pytest.fixture
def sink() -> Iterator[Sink]:
    found = Sink()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            found.talk(self.rfile, self.wfile)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found.address = f"127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        server.shutdown()


@dataclass
class World:
    """A quarantine with the agents that are on its volume."""

    quarantine: Quarantine
    sink: Sink
    directory: Path
    numbers: int = 0

    def set(self, *, at: str = "09:00", recipients: list[dict[str, Any]] | None = None, **more: Any) -> None:
        changes: dict[str, Any] = {"recipients": recipients} if recipients else {}
        if "suspended" in more:
            changes["filtering"] = {"suspended": more.pop("suspended")}
        digest = {"enabled": True, "at": at, **more}
        domains = [{"name": name, "relay": {"host": "mail"}} for name in ("example.test", "other.test")]
        made = spec(domains=domains, quarantine={"digest": digest}, **changes)
        (self.directory / "policy.good").write_text(policy_json(made))

    def agent(self, submit: Any = None) -> Digests:
        """One that has just been started."""
        self.numbers += 1
        volume = Volume(self.quarantine.root, Index(self.directory / f"{self.numbers}.sqlite"))
        volume.sync()
        wanted = submit or Postfix(self.sink.address, 2).submit
        return Digests(volume, self.directory / "policy.good", wanted, CollectorRegistry())

    def hold(self, name: str, *recipients: str, before: float = 3600.0, **how: Any) -> str:
        """A mail that was stored so many seconds before the digest."""
        kind = name.partition("/")[0]
        full = f"{kind}/h/h{name.partition('/')[2]:_<11}" + (".gz" if kind == "spam" else "")
        blocked = FOR.format(", ".join(f"<{one}>" for one in recipients or ("bob@example.test",)))
        mail = f"From: a@client.test\nSubject: {name}\n\nx\n"
        return self.quarantine.hold(full, blocked=blocked, mail=mail, age=time.time() - DUE + before, **how)

    @property
    def got(self) -> dict[str, list[str]]:
        """Recipient → the texts of the digests."""
        found: dict[str, list[str]] = {}
        for _, recipient, content in self.sink.mails:
            parsed = email.message_from_bytes(content, policy=email.policy.default)
            assert isinstance(parsed, EmailMessage)
            found.setdefault(recipient.strip("<>"), []).append(str(parsed.get_content()))
        return found


@pytest.fixture
def world(quarantine: Quarantine, sink: Sink, tmp_path: Path) -> World:
    found = World(quarantine, sink, tmp_path)
    found.set()
    return found


LATER = DUE + PATIENCE_SECONDS


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
