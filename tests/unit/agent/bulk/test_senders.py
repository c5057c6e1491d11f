"""allowSender: the agent tells whose mail was released."""

import pytest

from support.releasing import ALL, INFECTED, by_id, mail_id, name, settled, wanted


@pytest.fixture
def all_kinds(quarantine, amavis):
    """Of each sender one mail, and what became of it."""
    quarantine.hold(name(1), sender="released@client.test")
    quarantine.hold(name(2), sender="refused@client.test")
    amavis.refusals[mail_id(2)] = ["550 5.7.1 no"]
    quarantine.hold(name(3), sender="infected@client.test", alert=INFECTED)
    quarantine.hold(name(4, "virus"), sender="virus@client.test")
    quarantine.hold(name(5), sender="")
    quarantine.hold(name(6), sender="released@client.test")
    return [name(1), name(2), name(3), name(4, "virus"), name(5), name(6)]


async def test_the_senders_of_clean_mail_that_was_released(all_kinds, agent):
    progress = await settled(agent(), by_id(*all_kinds, allow_sender=True, allow_virus=True))
    assert (progress.counts.released, progress.counts.failed) == (5, 1)
    assert (progress.senders, progress.more_senders) == (("released@client.test",), False)
    assert (await agent().work(by_id(*all_kinds, allow_sender=True))).senders == progress.senders, "from the file"


async def test_nobody_without_the_wish(all_kinds, agent):
    assert (await settled(agent(), by_id(*all_kinds))).senders == ()


async def test_who_has_only_some_of_the_recipients_is_not_released(quarantine, amavis, agent):
    quarantine.hold(name(1), blocked="X-Envelope-To-Blocked: <bob@example.test>,\n <carol@example.test>\n")
    amavis.refusals[mail_id(1)] = ["550 5.7.1 no"]
    assert (await settled(agent(), by_id(name(1), allow_sender=True))).senders == ()


async def test_a_hundred_and_no_more(quarantine, amavis, agent):
    for number in range(103):
        quarantine.hold(name(number), sender=f"s{number}@client.test")
    request = wanted(selector={"since": "1970-01-01T00:00:00Z"}, allowSender=True)
    for one in (agent(), agent()):
        progress = await settled(one, request)
        assert (progress.counts.released, len(set(progress.senders)), progress.more_senders) == (103, 100, True)
    lines = (quarantine.root / ".jobs/key-1").read_text().splitlines()
    assert sum(line.startswith('{"sender"') for line in lines) == 101


async def test_the_senders_of_mail_that_is_deleted_at_once(quarantine, amavis, agent):
    for number in range(3):
        quarantine.hold(name(number))
    progress = await settled(agent(), wanted(selector=ALL, deleteAfter=True, allowSender=True))
    assert progress.senders == ("alice@client.test",)
    assert not (quarantine.root / name(0)).exists()
