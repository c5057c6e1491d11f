"""reportTo: who learns that a mail was held by mistake."""

from support.releasing import ALL, INFECTED, by_id, mail_id, name, settled, wanted

LEARN = ["learn@example.test", "abuse@example.test"]


async def test_each_released_mail_is_reported_once(quarantine, amavis, agent):
    quarantine.hold(name(1))
    quarantine.hold(name(2))
    amavis.refusals[mail_id(2)] = ["550 5.7.1 no"]
    quarantine.hold(name(3), alert=INFECTED)
    request = by_id(name(1), name(2), name(3), report_to=LEARN)
    for one in (agent(), agent()):
        progress = await settled(one, request)
        assert (progress.counts.released, progress.counts.failed) == (1, 2)
        assert amavis.reported == [(mail_id(1), who) for who in LEARN]
    assert len(amavis.sent) == 1


async def test_infected_mail_that_may_leave_is_reported(quarantine, amavis, agent):
    quarantine.hold(name(3), alert=INFECTED)
    await settled(agent(), by_id(name(3), report_to=LEARN, allow_virus=True))
    assert amavis.reported == [(mail_id(3), who) for who in LEARN]


async def test_nobody_is_told_without_the_wish(quarantine, amavis, agent):
    quarantine.hold(name(1))
    await settled(agent(), by_id(name(1)))
    assert amavis.reported == []


async def test_a_report_that_is_refused_for_now_is_tried_again(quarantine, amavis, agent):
    quarantine.hold(name(1))
    amavis.report_refusals[mail_id(1)] = ["450 4.2.0 full"]
    request = by_id(name(1), report_to=LEARN[:1], delete_after=True)
    first = agent()
    (waiting,) = (await first.work(request)).messages
    assert (waiting.result, waiting.reply) == ("Retrying", "451 4.3.0 released, but not reported: 450 4.2.0 full")
    assert (quarantine.root / name(1)).exists()
    progress = await settled(agent(), request)
    assert progress.counts.released == 1
    assert (len(amavis.sent), amavis.reported) == (1, [(mail_id(1), LEARN[0])])
    assert not (quarantine.root / name(1)).exists()


async def test_a_report_that_is_refused_for_good_is_a_failure_and_the_mail_stays(quarantine, amavis, agent):
    quarantine.hold(name(1))
    amavis.report_refusals[mail_id(1)] = ["554 5.7.1 no such domain here"]
    (found,) = (await settled(agent(), by_id(name(1), report_to=LEARN[:1], delete_after=True))).messages
    assert (found.result, found.reason) == ("Failed", "NotReported")
    assert found.reply == "released, but not reported: 554 5.7.1 no such domain here"
    assert [one.released for one in found.recipients] == [True], "who was owed it has it"
    assert (quarantine.root / name(1)).exists()


async def test_who_got_a_report_is_still_owed_the_mail(quarantine, amavis, agent):
    quarantine.hold(name(1), blocked="X-Envelope-To-Blocked: <bob@example.test>,\n <carol@example.test>\n")
    await settled(agent(), by_id(name(1), recipients=["carol@example.test"], report_to=["bob@example.test"]))
    await settled(agent(), wanted(selector=ALL, key="key-2"))
    assert amavis.sent == [(mail_id(1), "carol@example.test"), (mail_id(1), "bob@example.test")]
    assert amavis.reported == [(mail_id(1), "bob@example.test")]
