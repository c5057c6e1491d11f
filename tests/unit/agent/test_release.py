"""POST /v1/releases: every result that it can have."""

import fcntl
import json

import pytest
from prometheus_client import CollectorRegistry

from mailfilter.agent.release import LOOKED_UP, Reason, ReleaseRequest, Releases, Result

MESSAGE = "spam/h/hAbcDEfgh123.gz"
BOTH = "X-Envelope-To-Blocked: <bob@example.test>,\n <carol@example.test>\n"
INFECTED = "X-Amavis-Alert: INFECTED, message contains virus: Eicar\n"


def queued(name: str) -> str:
    return f"250 2.0.0 from%20MTA(smtp:[mx]:10025):%20250%202.0.0%20Ok:%20queued%20as%20{name}"


def done(*replies: tuple[str, str]) -> str:
    return json.dumps({"state": "done", "recipients": [a for a, _ in replies], "replies": [r for _, r in replies]})


TAKEN = "250 2.0.0 from MTA(smtp:[mx]:10025): 250 2.0.0 Ok: queued as 4F1"


@pytest.fixture
def releases(quarantine, amavis) -> Releases:
    return Releases(quarantine.root, amavis.socket, CollectorRegistry())


def request(message: str = MESSAGE, **fields) -> ReleaseRequest:
    return ReleaseRequest(key="key-1", message=message, **fields)


def lines(amavis) -> list[str]:
    return amavis.requests[-1].decode().split("\r\n")


async def test_b04_the_blocked_recipients_get_it_and_nobody_else(quarantine, amavis, releases):
    quarantine.hold()
    amavis.replies(queued("4F1"))
    answer = await releases.release(request())
    assert answer.model_dump(by_alias=True) == {
        "message": MESSAGE,
        "result": "Released",
        "reason": None,
        "reply": TAKEN,
        "sender": "alice@client.test",
        "recipients": ({"address": "bob@example.test", "released": True, "reply": TAKEN, "queueId": "4F1"},),
        "receipt": None,
    }
    assert [line for line in lines(amavis) if line.startswith("recipient")] == ["recipient=<bob@example.test>"]
    assert "policy_bank=RELEASE-key-1" in lines(amavis)
    assert f"mail_file={MESSAGE}" in lines(amavis)


async def test_b03_recipients_of_the_request_replace_those_of_the_file(quarantine, amavis, releases):
    quarantine.hold("banned/h/hAbcDEfgh123")
    amavis.replies(queued("4F1"))
    await releases.release(request("banned/h/hAbcDEfgh123", recipients=("dave@example.test", "dave@EXAMPLE.test")))
    recipients = [line for line in lines(amavis) if line.startswith("recipient")]
    assert len(recipients) == 1
    assert recipients[0].lower() == "recipient=<dave@example.test>"


@pytest.mark.parametrize(
    ("reply", "result", "reason"),
    [
        ("452 4.3.1 from%20MTA(x):%20452%204.3.1%20Insufficient%20system%20storage", Result.RETRY, None),
        ("451 4.5.0 From%20MTA()%20during%20fwd-connect%20(All%20attempts%20(1)%20failed", Result.RETRY, None),
        ("450 4.5.0 release%20in%20progress", Result.RETRY, None),
        ("550 5.7.1 from%20MTA(x):%20550%205.7.1%20no", Result.FAILED, None),
        ("250 2.5.0 No%20recipients,%20nothing%20to%20do", Result.FAILED, Reason.NOTHING_TO_DO),
        ("250 2.0.0 Ok", Result.FAILED, Reason.NOTHING_TO_DO),
        ("451 4.5.0 From%20MTA(x)%20during%20fwd-rcpt-pip%20(No%20response%20to%20RCPT", Result.RETRY, None),
    ],
)
async def test_b01_b02_only_a_queue_id_is_a_release(quarantine, amavis, releases, reply, result, reason):
    quarantine.hold()
    amavis.replies(reply)
    answer = await releases.release(request())
    assert (answer.result, answer.reason) == (result, reason)
    assert [recipient.released for recipient in answer.recipients] == [False]
    assert (quarantine.root / MESSAGE).exists()


@pytest.mark.parametrize(
    ("replies", "result", "released"),
    [
        ((queued("A1"), queued("B2")), Result.RELEASED, [True, True]),
        ((queued("A1"), "451 4.3.0 later"), Result.RETRY, [True, False]),
        ((queued("A1"), "550 5.1.1 no"), Result.FAILED, [True, False]),
        (("550 5.1.1 no", "451 4.3.0 later"), Result.RETRY, [False, False]),
        (("450 4.5.0 Failure:%20x",), Result.RETRY, [False, False]),
        ((queued("A1"),), Result.RETRY, [True, False]),
        ((), Result.RETRY, [False, False]),
    ],
)
async def test_each_recipient_has_his_own_reply(quarantine, amavis, releases, replies, result, released):
    quarantine.hold(blocked=BOTH)
    for reply in replies:
        amavis.replies(reply)
    answer = await releases.release(request())
    assert answer.result is result
    assert [recipient.released for recipient in answer.recipients] == released
    assert [recipient.address for recipient in answer.recipients] == ["bob@example.test", "carol@example.test"]


async def test_where_postfix_is_not_reached_the_others_are_not_tried(quarantine, amavis, releases):
    quarantine.hold(blocked=BOTH)
    amavis.replies("450 4.4.1 Can't%20connect,%20MTA(x)")
    answer = await releases.release(request())
    assert len(amavis.requests) == 1
    assert {one.reply for one in answer.recipients} == {"450 4.4.1 Can't connect, MTA(x)"}


async def test_what_postfix_answers_is_of_one_recipient(quarantine, amavis, releases):
    quarantine.hold(blocked=BOTH)
    amavis.replies("452 4.3.1 from%20MTA(x):%20452%204.3.1%20full")
    amavis.replies(queued("A1"))
    answer = await releases.release(request())
    assert [one.released for one in answer.recipients] == [False, True]


@pytest.mark.parametrize(
    "message",
    [
        "../../etc/passwd",
        "spam/../virus/v/vAbcDEfgh123",
        "/etc/passwd",
        "spam/h/hAbcDEfgh123.gz\n",
        "spam/hh/hAbcDEfgh123",
        "archive/h/hAbcDEfgh123",
        "spam/h/-AbcDEfgh123",
        "spam/h/hAbc%2e%2eDEf",
        ".releases/key-1.hAbcDEfgh123",
        "spam/h/",
        "",
    ],
)
async def test_ids_that_are_none_never_reach_the_disk_or_amavis(amavis, releases, message):
    answer = await releases.release(request(message))
    assert (answer.result, answer.reason) == (Result.FAILED, Reason.INVALID_ID)
    assert amavis.requests == []


async def test_b02_a_file_that_is_not_there_is_final(amavis, releases):
    answer = await releases.release(request("spam/DOESNOTEXIST.gz"))
    assert (answer.result, answer.reason) == (Result.FAILED, Reason.NOT_FOUND)
    assert amavis.requests == []


async def test_a_file_that_cannot_be_read_as_mail_is_final(quarantine, amavis, releases):
    quarantine.hold()
    (quarantine.root / MESSAGE).write_bytes(b"damaged")
    assert (await releases.release(request())).reason is Reason.NOT_FOUND
    assert amavis.requests == []


@pytest.mark.parametrize("stored", ["zAbcDEfgh123", "hAbcDEfgh12", ""])
async def test_b02_another_id_in_the_file_is_final(quarantine, amavis, releases, stored):
    path = quarantine.root / quarantine.hold("spam/h/hAbcDEfgh123", mail_id="@@")
    path.write_text(path.read_text().replace("<@@>", f"<{stored}>" if stored else ""))
    assert (await releases.release(request("spam/h/hAbcDEfgh123"))).reason is Reason.ID_MISMATCH
    assert amavis.requests == []


async def test_b02_a_file_that_owes_nobody_is_final(quarantine, amavis, releases):
    quarantine.hold(blocked="X-Envelope-To-Blocked:\n")
    answer = await releases.release(request())
    assert (answer.result, answer.reason) == (Result.FAILED, Reason.NOTHING_TO_DO)
    assert amavis.requests == []


@pytest.mark.parametrize(
    ("message", "alert"), [("virus/h/hAbcDEfgh123", ""), ("virus/h/hAbcDEfgh123", INFECTED), (MESSAGE, INFECTED)]
)
async def test_a_virus_goes_out_only_when_it_is_said_so(quarantine, amavis, releases, message, alert):
    quarantine.hold(message, alert=alert)
    answer = await releases.release(request(message))
    assert (answer.result, answer.reason) == (Result.FAILED, Reason.VIRUS_NOT_ALLOWED)
    assert amavis.requests == []
    amavis.replies(queued("4F1"))
    assert (await releases.release(request(message, allow_virus=True))).result is Result.RELEASED


async def test_a_release_that_is_done_is_not_sent_again(quarantine, amavis, releases):
    quarantine.hold()
    quarantine.record(done(("bob@example.test", TAKEN)))
    answer = await releases.release(request())
    assert (answer.result, answer.recipients[0].queue_id) == (Result.RELEASED, "4F1")
    assert amavis.requests == []


async def test_only_those_who_miss_it_are_sent_it(quarantine, amavis, releases):
    quarantine.hold(blocked=BOTH)
    quarantine.record(done(("bob@example.test", TAKEN), ("carol@example.test", "451 4.3.0 later")))
    amavis.replies(queued("4F2"))
    answer = await releases.release(request())
    assert answer.result is Result.RELEASED
    assert [recipient.queue_id for recipient in answer.recipients] == ["4F1", "4F2"]
    assert "recipient=<carol@example.test>" in lines(amavis)
    assert "recipient=<bob@example.test>" not in lines(amavis)
    assert "policy_bank=RELEASE-key-1" in lines(amavis)


async def test_b01_a_release_that_failed_is_sent_again(quarantine, amavis, releases):
    quarantine.hold()
    quarantine.record(done(("bob@example.test", "452 4.3.1 full")))
    amavis.replies(queued("4F1"))
    assert (await releases.release(request())).result is Result.RELEASED
    assert "policy_bank=RELEASE-key-1" in lines(amavis)


async def test_a_running_release_is_left_alone(quarantine, amavis, releases):
    quarantine.hold()
    with quarantine.record('{"state": "started"}').open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        answer = await releases.release(request())
    assert (answer.result, answer.reply) == (Result.RETRY, "450 4.5.0 release in progress")
    assert amavis.requests == []


RECEIPT = "6b077ca21acd4b19988d90ef442ef08b"


def interrupted(recipient: str | None = "bob@example.test", **more) -> str:
    return json.dumps({"state": "started", "receipt": RECEIPT, "recipient": recipient} | more)


@pytest.mark.parametrize("receipts", [None, {}, {RECEIPT: "4F1"}, {RECEIPT: None}])
async def test_an_interrupted_release_that_nobody_knows_of_is_not_repeated(quarantine, amavis, releases, receipts):
    quarantine.hold()
    quarantine.record('{"state": "started"}')
    answer = await releases.release(request(receipts=receipts))
    assert (answer.result, answer.reason, answer.receipt) == (Result.FAILED, Reason.INTERRUPTED, None)
    assert "new QuarantineRelease" in answer.reply
    assert amavis.requests == []


async def test_who_asks_nobody_about_an_interrupted_release_does_not_get_it_repeated(quarantine, amavis, releases):
    quarantine.hold()
    quarantine.record(interrupted())
    answer = await releases.release(request())
    assert (answer.result, answer.reason, answer.receipt) == (Result.FAILED, Reason.INTERRUPTED, None)
    assert amavis.requests == []


@pytest.mark.parametrize("receipts", [{}, {"00" * 16: "4F1"}])
async def test_an_interrupted_release_waits_until_postfix_was_asked(quarantine, amavis, releases, receipts):
    quarantine.hold(blocked=BOTH)
    quarantine.record(interrupted(recipients=["carol@example.test"], replies=[TAKEN]))
    answer = await releases.release(request(receipts=receipts))
    assert (answer.result, answer.reason, answer.receipt) == (Result.RETRY, Reason.INTERRUPTED, RECEIPT)
    assert [one.released for one in answer.recipients] == [False, True]
    assert amavis.requests == []


async def test_what_postfix_has_is_released(quarantine, amavis, releases):
    quarantine.hold(blocked=BOTH)
    record = quarantine.record(interrupted(recipients=["carol@example.test"], replies=[TAKEN]))
    answer = await releases.release(request(receipts={RECEIPT: "4F9"}))
    assert answer.result is Result.RELEASED
    assert [one.queue_id for one in answer.recipients] == ["4F9", "4F1"]
    assert amavis.requests == []
    assert json.loads(record.read_bytes())["state"] == "done"
    # And stays so, whatever is said later.
    assert (await releases.release(request(receipts={RECEIPT: None}))).result is Result.RELEASED
    assert amavis.requests == []


async def test_what_postfix_does_not_have_is_sent(quarantine, amavis, releases):
    quarantine.hold(blocked=BOTH)
    quarantine.record(interrupted(recipients=["carol@example.test"], replies=[TAKEN]))
    amavis.replies(queued("4F9"))
    answer = await releases.release(request(receipts={RECEIPT: None}))
    assert answer.result is Result.RELEASED
    assert [one.queue_id for one in answer.recipients] == ["4F9", "4F1"]
    (line,) = [line for line in lines(amavis) if line.startswith("recipient")]
    assert line == "recipient=<bob@example.test>"


async def test_a_record_that_somebody_works_on_is_not_settled(quarantine, amavis, releases):
    quarantine.hold()
    record = quarantine.record(interrupted())
    with record.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        answer = await releases.release(request(receipts={RECEIPT: None}))
    assert (answer.result, answer.reply) == (Result.RETRY, "450 4.5.0 release in progress")
    assert record.read_text() == interrupted()


async def test_amavis_that_dies_in_the_middle_is_noticed_at_once(quarantine, amavis, releases):
    quarantine.hold(blocked=BOTH)

    async def dies(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        quarantine.record(interrupted())
        writer.close()

    amavis.talks = dies
    answer = await releases.release(request(receipts={}))
    assert (answer.result, answer.receipt) == (Result.RETRY, RECEIPT)
    assert {one.reply for one in answer.recipients} == {LOOKED_UP}


async def test_an_interruption_takes_nothing_from_those_who_have_it(quarantine, releases):
    quarantine.hold(blocked=BOTH)
    quarantine.record(done(("bob@example.test", TAKEN)).replace("done", "started"))
    answer = await releases.release(request())
    assert (answer.result, answer.reason) == (Result.FAILED, Reason.INTERRUPTED)
    assert [recipient.released for recipient in answer.recipients] == [True, False]
    assert (await releases.release(request(recipients=("bob@example.test",)))).result is Result.RELEASED


async def test_who_was_released_stays_so_when_the_file_is_gone(quarantine, amavis, releases):
    quarantine.record(done(("bob@example.test", TAKEN)))
    assert (await releases.release(request())).result is Result.RELEASED
    answer = await releases.release(request(recipients=("bob@example.test", "carol@example.test")))
    assert answer.reason is Reason.NOT_FOUND
    quarantine.record(done(("bob@example.test", TAKEN), ("carol@example.test", "451 4.3.0 later")))
    assert (await releases.release(request())).reason is Reason.NOT_FOUND
    quarantine.record(done(("bob@example.test", TAKEN)).replace("done", "started"))
    assert (await releases.release(request())).reason is Reason.NOT_FOUND
    assert amavis.requests == []


async def test_without_amavis_it_is_tried_again(quarantine, tmp_path):
    quarantine.hold()
    releases = Releases(quarantine.root, tmp_path / "absent", CollectorRegistry())
    answer = await releases.release(request())
    assert answer.result is Result.RETRY
    assert answer.reply.startswith("451 4.5.0 amavis: ")


async def test_results_are_counted(quarantine, amavis):
    registry = CollectorRegistry()
    releases = Releases(quarantine.root, amavis.socket, registry)
    quarantine.hold()
    amavis.replies(queued("4F1"))
    await releases.release(request())
    await releases.release(request("nonsense"))
    assert registry.get_sample_value("mailfilter_releases_total", {"result": "Released"}) == 1
    assert registry.get_sample_value("mailfilter_releases_total", {"result": "Failed"}) == 1
