"""Which mails a release gives back, to whom, and what it says of them."""

import asyncio
from collections import Counter

import pytest

from mailfilter.agent import bulk as module
from support.releasing import ALL, BOTH, INFECTED, by_id, mail_id, name, settled, wanted


async def test_a_selector_gives_each_mail_to_those_who_are_owed_it(quarantine, amavis, agent):
    for number in range(50):
        quarantine.hold(name(number))
    quarantine.hold(name(99), sender="mallory@client.test")
    progress = await settled(agent(), wanted())
    assert sorted(amavis.sent) == [(mail_id(number), "bob@example.test") for number in range(50)]
    assert (progress.counts.total, progress.counts.released, progress.failures) == (50, 50, ())
    assert progress.messages == ()
    assert quarantine.root.joinpath(name(0)).exists()


@pytest.mark.parametrize("parallel", [1, 3])
async def test_so_many_at_a_time_whatever_the_number_of_requests(quarantine, amavis, agent, no_pause, parallel):
    for number in range(20):
        quarantine.hold(name(number))
    amavis.hold = asyncio.Event()
    one = agent(parallel)
    tasks = [asyncio.create_task(settled(one, wanted(f"key-{number}"))) for number in range(2)]
    for _ in range(parallel):
        await amavis.arrived.acquire()
    for _ in range(1000):
        await asyncio.sleep(0)
    amavis.hold.set()
    await asyncio.gather(*tasks)
    assert amavis.most_running == parallel
    assert Counter(amavis.sent) == {(mail_id(number), "bob@example.test"): 1 for number in range(20)}


async def test_of_two_selectors_at_the_same_time_each_mail_is_given_back_by_one(quarantine, amavis, agent, no_pause):
    for number in range(10):
        quarantine.hold(name(number), blocked=BOTH)
    amavis.refusals[mail_id(3)] = ["451 4.3.0 later"]
    one = agent(2)
    requests = [
        wanted(),
        wanted("key-2", selector={"kind": "spam"}),
        wanted("key-3", recipients=["audit@example.test"]),
    ]
    first = await asyncio.gather(*(one.work(request) for request in requests))
    assert [found.counts.total for found in first] == [10, 10, 10]
    ends = await asyncio.gather(*(settled(one, request) for request in requests))
    assert [(found.counts.released, found.counts.failed) for found in ends] == [(10, 0)] * 3
    everybody = ("bob@example.test", "carol@example.test", "audit@example.test")
    assert Counter(amavis.sent) == {(mail_id(number), who): 1 for number in range(10) for who in everybody}


async def test_a_mail_that_is_named_is_sent_again_whoever_was_given_it(quarantine, amavis, agent):
    quarantine.hold(name(1))
    one = agent()
    await settled(one, wanted())
    await settled(one, by_id(name(1)).model_copy(update={"key": "key-2"}))
    assert len(amavis.sent) == 2


async def test_what_comes_later_is_not_released(quarantine, amavis, agent, no_pause):
    quarantine.hold(name(1))
    amavis.refusals[mail_id(1)] = ["451 4.3.0 later"]
    assert (await agent().work(wanted())).next_seconds is not None
    quarantine.hold(name(2))
    progress = await settled(agent(), wanted())
    assert progress.counts.total == 1
    assert amavis.sent == [(mail_id(1), "bob@example.test")]


@pytest.mark.parametrize("kind", ["spam", "virus"])
async def test_infected_mail_is_left_out_and_counted(quarantine, amavis, agent, kind):
    quarantine.hold(name(1))
    quarantine.hold(name(2, kind), alert=INFECTED if kind == "spam" else "")
    progress = await settled(agent(), wanted())
    assert (progress.counts.total, progress.counts.released, progress.counts.infected) == (1, 1, 1)
    assert {one for one, _ in amavis.sent} == {mail_id(1)}
    assert (await settled(agent(), wanted("key-2", allowVirus=True))).counts.released == 1
    assert {one for one, _ in amavis.sent} == {mail_id(1), mail_id(2)}


async def test_the_newest_up_to_the_limit_then_the_next(quarantine, amavis, agent):
    for number in range(5):
        quarantine.hold(name(number), age=1000 + number)
    first = await settled(agent(), wanted(selector=ALL | {"limit": 2}))
    assert (first.counts.released, first.more) == (2, True)
    assert sorted({one for one, _ in amavis.sent}) == [mail_id(0), mail_id(1)]
    second = await settled(agent(), wanted("key-2", selector=ALL | {"limit": 3}))
    assert (second.counts.released, second.more) == (3, False)
    assert len(amavis.sent) == len(set(amavis.sent)) == 5


async def test_who_has_a_mail_already_is_not_given_it_by_a_selector(quarantine, amavis, agent):
    quarantine.hold(name(1), blocked=BOTH)
    await settled(agent(), by_id(name(1), recipients=["carol@example.test"]))
    await settled(agent(), wanted("key-2"))
    assert amavis.sent == [(mail_id(1), "carol@example.test"), (mail_id(1), "bob@example.test")]
    assert (await settled(agent(), wanted("key-3"))).counts.total == 0
    other = await settled(agent(), wanted("key-4", recipients=["audit@example.test"]))
    assert other.counts.released == 1
    assert amavis.sent[2:] == [(mail_id(1), "audit@example.test")]


async def test_mail_that_is_owed_to_nobody_is_not_selected(quarantine, amavis, agent):
    quarantine.hold(name(1), blocked="X-Envelope-To-Blocked:\n")
    assert (await settled(agent(), wanted())).counts.total == 0


async def test_by_id_each_message_is_reported_in_its_order(quarantine, amavis, agent):
    quarantine.hold(name(1))
    quarantine.hold(name(2), alert=INFECTED)
    progress = await settled(agent(), by_id(name(2), name(3), name(1)))
    assert [(one.id, one.result, one.reason) for one in progress.messages] == [
        (name(2), "Failed", "VirusNotAllowed"),
        (name(3), "Failed", "NotFound"),
        (name(1), "Released", None),
    ]
    released = progress.messages[2]
    assert (released.queue_id, released.attempts, released.recipients[0].address) == ("Q1", 1, "bob@example.test")
    assert {one.id for one in progress.failures} == {name(2), name(3)}
    # Another agent answers the same from the file.
    assert await agent().work(by_id(name(2), name(3), name(1))) == progress


async def test_b01_refusals_are_tried_again_or_are_final_with_the_reply(quarantine, amavis, agent, no_pause):
    for number in range(30):
        quarantine.hold(name(number), age=100 + number)
    amavis.refusals = {mail_id(number): ["550 5.7.1 no"] for number in range(25)}
    amavis.refusals[mail_id(29)] = ["451 4.3.0 later"] * 2
    one = agent()
    first = await one.work(wanted())
    assert (first.counts.released, first.counts.failed, first.counts.retrying) == (4, 25, 1)
    assert len(first.failures) == 20
    assert {failure.reply for failure in first.failures} == {"550 5.7.1 no"}
    second = await settled(one, wanted())
    assert (second.counts.released, second.counts.failed, second.counts.retrying) == (5, 25, 0)
    assert len(amavis.sent) == 5
    assert sum(asked == mail_id(0) for asked in amavis.asked) == 1


async def test_pauses_grow_and_are_kept(quarantine, amavis, agent, monkeypatch):
    quarantine.hold(name(1))
    amavis.refusals[mail_id(1)] = ["451 4.3.0 later"] * 9
    one = agent()
    for attempt, pause in enumerate([5, 10, 20, 40], 1):
        progress = await one.work(by_id(name(1)))
        assert progress.next_seconds is not None
        assert pause - 2 <= progress.next_seconds <= pause
        assert (await one.work(by_id(name(1)))).messages[0].attempts == attempt, "not due yet"
        waiting = one._pauses["key-1"][name(1)]
        long_ago = waiting.model_copy(update={"time": waiting.time.replace(year=2000)})
        one._pauses["key-1"][name(1)] = long_ago
    assert len(amavis.asked) == 4
    last = long_ago.model_copy(update={"attempts": 5000})
    assert (module._due(last) - last.time).total_seconds() == module.LAST_PAUSE_SECONDS


async def test_when_all_is_refused_the_others_wait(quarantine, tmp_path, agent):
    for number in range(100):
        quarantine.hold(name(number))
    # Nobody listens on amavis' socket.
    progress = await agent(parallel=1).work(wanted())
    assert progress.counts.retrying == module.REFUSALS
    assert progress.counts.total == 100
    assert progress.next_seconds == module.FIRST_PAUSE_SECONDS
    assert "amavis: " in progress.failures[0].reply


async def test_a_stretch_ends_in_time(quarantine, amavis, agent, monkeypatch):
    for number in range(3):
        quarantine.hold(name(number))
    monkeypatch.setattr(module, "STRETCH_SECONDS", 0)
    one = agent()
    assert (await one.work(wanted())).next_seconds == 0
    assert amavis.sent == []
    monkeypatch.undo()
    assert (await one.work(wanted())).counts.released == 3


async def test_deleted_when_all_have_it_and_the_record_answers_from_then_on(quarantine, amavis, agent):
    quarantine.hold(name(1), blocked=BOTH)
    await settled(agent(), by_id(name(1), recipients=["carol@example.test"], delete_after=True))
    assert (quarantine.root / name(1)).exists(), "bob is still owed it"
    await settled(agent(), wanted("key-2", deleteAfter=True))
    assert not (quarantine.root / name(1)).exists()
    assert sorted(path.name for path in (quarantine.root / ".releases").iterdir()) == [
        f"key-1.{mail_id(1)}",
        f"key-2.{mail_id(1)}",
    ]
    assert len(amavis.sent) == 2


@pytest.mark.parametrize("ending", ["", ".gz"])
async def test_a_file_that_was_damaged_after_its_release_stays(quarantine, amavis, agent, ending):
    held, recipients = quarantine.hold(name(1) + ending), ["bob@example.test"]
    await settled(agent(), by_id(held, recipients=recipients))
    (quarantine.root / held).write_bytes(b"damaged")
    (quarantine.root / ".jobs/key-1").unlink()
    progress = await settled(agent(), by_id(held, recipients=recipients, delete_after=True))
    assert progress.counts.released == 1
    assert (quarantine.root / held).exists()


async def test_what_failed_is_not_deleted(quarantine, amavis, agent):
    quarantine.hold(name(1))
    amavis.refusals[mail_id(1)] = ["550 5.7.1 no"]
    assert (await settled(agent(), wanted(deleteAfter=True))).counts.failed == 1
    assert (quarantine.root / name(1)).exists()


async def test_ten_thousand_mails_are_chosen_and_their_answer_is_small(quarantine, amavis, agent, monkeypatch):
    monkeypatch.setattr(module, "STRETCH_SECONDS", 0)
    quarantine.hold(name(0))
    content = (quarantine.root / name(0)).read_text()
    for number in range(1, 10_050):
        (quarantine.root / name(number)).write_text(content.replace(mail_id(0), mail_id(number)))
    progress = await agent().work(wanted(selector=ALL | {"limit": 10_000}))
    assert (progress.counts.total, progress.more) == (10_000, True)
    assert len(progress.model_dump_json()) < 1000
