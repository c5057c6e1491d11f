"""What the agent beside Postfix knows of interrupted releases, from a queue directory."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from mailfilter.agent.queue import QUEUES, files
from mailfilter.agent.receipts import MOST_RECEIPTS, Receipts, ReceiptsAnswer

NOW = int(time.time())
FIRST, SECOND = f"{NOW:08x}{'a' * 24}", f"{NOW:08x}{'b' * 24}"
NOTHING = ReceiptsAnswer(taken={}, missing=[])


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    for name in (*QUEUES, "receipts"):
        (tmp_path / name).mkdir()
    (tmp_path / "started").touch()
    return tmp_path


@pytest.fixture
def receipts(spool) -> Receipts:
    return Receipts(spool)


def queued(spool: Path, name: str, receipt: str, mode: int = 0o700) -> Path:
    path = spool / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"C  1335 N" + f"X-Release-Receipt: {receipt}".encode() + b"\0X")
    path.chmod(mode)
    return path


def missing(*names: str) -> ReceiptsAnswer:
    return ReceiptsAnswer(taken={}, missing=list(names))


def test_what_is_nowhere_is_missing_at_the_second_look(receipts):
    assert receipts.look([FIRST]) == NOTHING
    assert receipts.look([FIRST, SECOND]) == missing(FIRST)
    assert receipts.look([FIRST, SECOND]) == missing(FIRST, SECOND)


def test_a_link_tells_the_queue_id(spool, receipts):
    (spool / "receipts" / FIRST).symlink_to("4jZcp463mgz1XQG9")
    assert receipts.look([FIRST, SECOND]) == ReceiptsAnswer(taken={FIRST: "4jZcp463mgz1XQG9"}, missing=[])


@pytest.mark.parametrize("name", ["incoming/4F1", "active/4F1", "deferred/4F1", "deferred/4/4F1", "hold/4F1"])
def test_a_mail_in_the_queue_was_taken(spool, receipts, name):
    queued(spool, name, FIRST)
    queued(spool, "active/4F2", SECOND[:-1] + "c")
    assert receipts.look([FIRST, SECOND]) == ReceiptsAnswer(taken={FIRST: "4F1"}, missing=[])


def test_a_mail_that_is_tried_again_meanwhile_was_taken(spool, receipts, monkeypatch):
    mail = queued(spool, "deferred/4F1", FIRST)

    def listed(directory: Path) -> Iterator[Path]:
        if directory.name == "deferred":
            mail.rename(spool / "active/4F1")
        return files(directory)

    monkeypatch.setattr("mailfilter.agent.receipts.files", listed)
    assert receipts.look([FIRST]) == ReceiptsAnswer(taken={FIRST: "4F1"}, missing=[])


def test_a_mail_that_is_not_whole_is_neither(spool, receipts):
    path = queued(spool, "incoming/4F1", FIRST, 0o600)
    for _ in range(3):
        assert receipts.look([FIRST]) == NOTHING
    path.chmod(0o700)
    assert receipts.look([FIRST]) == ReceiptsAnswer(taken={FIRST: "4F1"}, missing=[])


def test_another_mail_may_be_the_one_until_it_is_whole(spool, receipts):
    """Its header may not have been written yet."""
    path = spool / "incoming/4F1"
    path.touch(0o600)
    for _ in range(3):
        assert receipts.look([FIRST]) == NOTHING
    # What comes later is not the mail of a sender who is dead.
    (spool / "incoming/4F2").touch(0o600)
    path.unlink()
    assert receipts.look([FIRST]) == missing(FIRST)


def test_what_a_killed_postfix_left_is_no_mail_that_still_comes(spool, receipts):
    left = queued(spool, "incoming/4F1", FIRST, 0o600)
    os.utime(left, (NOW - 60, NOW - 60))
    assert receipts.look([FIRST]) == NOTHING
    assert receipts.look([FIRST]) == missing(FIRST)


def test_mail_that_came_long_before_the_release_is_not_read(spool, receipts):
    queued(spool, "deferred/3Pt2mN2VXxznjll", FIRST)
    receipts.look([FIRST])
    assert receipts.look([FIRST]) == missing(FIRST)


def test_an_agent_that_is_new_begins_anew(spool, receipts):
    receipts.look([FIRST])
    assert Receipts(spool).look([FIRST]) == NOTHING


def test_without_a_postfix_nothing_is_known(spool, receipts):
    (spool / "started").unlink()
    with pytest.raises(FileNotFoundError):
        receipts.look([FIRST])


def test_what_is_remembered_is_bounded(receipts):
    for number in range(3):
        receipts.look([f"{number}{one:031x}" for one in range(MOST_RECEIPTS)])
    assert len(receipts._under_way) == MOST_RECEIPTS


@pytest.fixture
async def client(receipts, aiohttp_client_for):
    application = web.Application()
    application.add_routes([web.post("/v1/receipts", receipts.handle)])
    return await aiohttp_client_for(application)


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"receipts": ["../x"]}', '{"receipts": ["ab"]}', json.dumps({"receipts": [FIRST] * 1001})]
)
async def test_what_is_no_receipt_never_reaches_the_disk(client, body):
    response = await client.post("/v1/receipts", data=body, headers={"Content-Type": "application/json"})
    assert response.status == 400


async def test_the_answer(spool, client):
    (spool / "receipts" / FIRST).symlink_to("4F1")
    response = await client.post("/v1/receipts", json={"receipts": [FIRST, SECOND]})
    assert await response.json() == {"taken": {FIRST: "4F1"}, "missing": []}
    response = await client.post("/v1/receipts", json={"receipts": [SECOND]})
    assert await response.json() == {"taken": {}, "missing": [SECOND]}


async def test_a_queue_that_cannot_be_read_is_told(spool, client):
    (spool / "started").unlink()
    response = await client.post("/v1/receipts", json={"receipts": [FIRST]})
    assert response.status == 503
    assert "started" in (await response.json())["error"]
