"""A release goes on where it was, whoever dies meanwhile."""

import asyncio
import contextlib
import os
from collections import Counter

import pytest

from mailfilter.agent import bulk as module
from mailfilter.agent.volume import Volume
from support.amavis import DIES_AFTER, DIES_BEFORE
from support.releasing import BOTH, mail_id, name, settled, wanted


async def test_while_one_works_another_one_only_looks(quarantine, amavis, agent):
    for number in range(3):
        quarantine.hold(name(number))
    amavis.hold = asyncio.Event()
    first = asyncio.create_task(agent().work(wanted()))
    await amavis.arrived.acquire()
    for one in (agent(), agent()):
        progress = await one.work(wanted())
        assert (progress.counts.total, progress.counts.released) == (3, 0)
        assert progress.next_seconds == module.FIRST_PAUSE_SECONDS
    amavis.hold.set()
    assert (await first).counts.released == 3
    assert len(amavis.asked) == 3


class DeadError(Exception):
    """The agent's process ends here."""


@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize("crash", range(1, 16))
async def test_an_agent_that_dies_anywhere_sends_nothing_twice_and_loses_nothing(
    quarantine, amavis, agent, monkeypatch, no_pause, crash, delete
):
    """The process ends half through its n-th write, or before its n-th deletion, for every n."""
    for number in range(6):
        quarantine.hold(name(number))
    amavis.refusals = {mail_id(3): ["451 4.3.0 later"], mail_id(4): ["550 5.7.1 no"]}
    steps = 0

    def dies() -> bool:
        nonlocal steps
        steps += 1
        return steps == crash

    def torn(descriptor, data, write=os.write):
        if dies():
            write(descriptor, data[: len(data) // 2])
            raise DeadError
        return write(descriptor, data)

    def undeleted(volume, quarantine_id, delete=Volume.delete):
        if dies():
            raise DeadError
        delete(volume, quarantine_id)

    request = wanted(deleteAfter=delete, allowSender=True)
    with monkeypatch.context() as patch, contextlib.suppress(DeadError, ExceptionGroup):
        patch.setattr("mailfilter.agent.jobs.os.write", torn)
        patch.setattr(Volume, "delete", undeleted)
        await settled(agent(1), request)
    # A line with what was chosen, a sender, six mails, five deletions.
    assert steps == min(crash, 13 if delete else 8)
    progress = await settled(agent(1), request)
    assert (progress.counts.total, progress.counts.released, progress.counts.failed) == (6, 5, 1)
    assert progress.senders == ("alice@client.test",)
    assert Counter(amavis.sent) == {(mail_id(number), "bob@example.test"): 1 for number in range(6) if number != 4}
    left = {path.name for path in (quarantine.root / "spam/a").iterdir()}
    assert left == ({mail_id(4)} if delete else {mail_id(number) for number in range(6)})


async def test_what_was_interrupted_is_asked_about_and_comes_once(quarantine, amavis, agent, no_pause):
    for number in range(6):
        quarantine.hold(name(number), blocked=BOTH)
    amavis.refusals = {
        mail_id(1): [DIES_BEFORE],
        mail_id(2): [DIES_AFTER],
        mail_id(3): [DIES_BEFORE, "451 4.3.0 later", DIES_AFTER],
    }
    progress = await agent(1).work(wanted(receipts={}))
    assert set(progress.receipts) == amavis.receipts.keys()
    assert {(one.result, one.reason) for one in progress.failures} == {("Retrying", "Interrupted")}
    assert (progress.counts.released, progress.counts.failed, progress.counts.retrying) == (3, 0, 3)
    progress = await settled(agent(1), wanted(receipts={}), amavis)
    assert (progress.counts.released, progress.receipts) == (6, ())
    both = ("bob@example.test", "carol@example.test")
    assert Counter(amavis.sent) == {(mail_id(number), who): 1 for number in range(6) for who in both}


async def test_who_asks_nobody_is_told_at_once_that_it_is_not_known(quarantine, amavis, agent):
    quarantine.hold(name(1))
    amavis.refusals = {mail_id(1): [DIES_BEFORE]}
    progress = await agent().work(wanted())
    assert (progress.counts.failed, progress.failures[0].reason, progress.receipts) == (1, "Interrupted", ())


async def test_a_report_that_was_interrupted_is_sent_once(quarantine, amavis, agent, no_pause):
    for number in range(2):
        quarantine.hold(name(number))
    amavis.report_refusals = {mail_id(0): [DIES_BEFORE], mail_id(1): [DIES_AFTER]}
    release = wanted(receipts={}, reportTo=["learn@example.test"], deleteAfter=True)
    progress = await agent(1).work(release)
    assert (len(progress.receipts), progress.counts.retrying) == (2, 2)
    assert (quarantine.root / name(1)).exists()
    progress = await settled(agent(1), release, amavis)
    assert progress.counts.released == 2
    assert Counter(amavis.reported) == {(mail_id(number), "learn@example.test"): 1 for number in range(2)}
    assert len(amavis.sent) == 2
    assert not (quarantine.root / name(1)).exists()


async def test_a_file_that_cannot_be_deleted_is_tried_again_and_not_sent_again(
    quarantine, amavis, agent, monkeypatch, no_pause
):
    quarantine.hold(name(1))
    one = agent()
    with monkeypatch.context() as patch:
        patch.setattr(one._volume, "delete", lambda _: (_ for _ in ()).throw(PermissionError("read-only")))
        progress = await one.work(wanted(deleteAfter=True))
    assert "released, but not deleted: read-only" in progress.failures[0].reply
    assert (await settled(one, wanted(deleteAfter=True))).counts.released == 1
    assert not (quarantine.root / name(1)).exists()
    assert len(amavis.sent) == 1
