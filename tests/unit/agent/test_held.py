"""`/v1/held` over HTTP."""

import asyncio
import gzip

import aiohttp
import pytest
from aiohttp.test_utils import TestClient

from mailfilter.agent import held as module
from mailfilter.agent.held import HeldMails
from mailfilter.agent.index import Index
from mailfilter.agent.volume import Volume
from mailfilter.agent.web import api

TOKEN = {"Authorization": "Bearer s3cret"}
NAME = "spam/h/hAbcDEfgh123.gz"


@pytest.fixture
def volume(quarantine, tmp_path) -> Volume:
    return Volume(quarantine.root, Index(tmp_path / "held.sqlite"))


@pytest.fixture
def mails(volume) -> HeldMails:
    return HeldMails(volume)


@pytest.fixture
async def client(aiohttp_client_for, mails, tmp_path) -> TestClient:
    async def status():
        return {}

    (tmp_path / "token").write_text("s3cret")
    client: TestClient = await aiohttp_client_for(api(tmp_path / "token", status, mails.routes()))
    client.session.headers.update(TOKEN)
    return client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/held"),
        ("GET", f"/v1/held/{NAME}"),
        ("GET", f"/v1/held/{NAME}/raw"),
        ("PUT", f"/v1/held/{NAME}/seen"),
        ("DELETE", f"/v1/held/{NAME}"),
    ],
)
async def test_nothing_is_told_or_done_without_the_token(quarantine, volume, client, method, path):
    quarantine.hold(NAME)
    volume.sync()
    response = await client.request(method, path, headers={"Authorization": "Bearer other"})
    assert response.status == 401
    assert volume.index.get(NAME) is not None
    assert not volume.index.get(NAME).seen


async def test_pages_show_all_once(quarantine, volume, client):
    expected = [
        quarantine.hold(f"spam/h/hAbcDEfgh{number}.gz", age=100 * (1000 - number)) for number in range(100, 125)
    ]
    volume.sync()
    seen, after = [], None
    while True:
        params = {"limit": "10"} | ({"after": after} if after else {})
        page = await (await client.get("/v1/held", params=params)).json()
        assert (page["total"], page["complete"]) == (25, True)
        seen += [one["id"] for one in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == expected[::-1]


async def test_a_list_says_what_is_known_of_a_mail(quarantine, volume, client):
    quarantine.hold("virus/h/hAbcDEfgh123", alert="X-Amavis-Alert: INFECTED, message contains virus: Pest\n")
    quarantine.hold("spam/h/hAbcDEfgh124.gz")
    volume.sync()
    (item,) = (await (await client.get("/v1/held", params={"kind": "virus"})).json())["items"]
    assert item.pop("time")
    assert item.pop("size") > 0
    assert item == {
        "id": "virus/h/hAbcDEfgh123",
        "kind": "virus",
        "sender": "alice@client.test",
        "recipients": ["bob@example.test"],
        "author": "alice@client.test",
        "subject": "hello",
        "score": 999.998,
        "alerts": ["INFECTED, message contains virus: Pest"],
        "infected": True,
        "released": [],
        "seen": False,
        "problem": None,
    }


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("kind=junk", "kind: "),
        ("limit=0", "limit: "),
        ("limit=1001", "limit: "),
        ("after=x", "after: not the `next` of an answer"),
        ("colour=red", "colour: "),
        ("since=yesterday", "since: "),
        ("minScore=x", "minScore: "),
    ],
)
async def test_a_wrong_question_is_told_what_is_wrong(client, query, said):
    response = await client.get(f"/v1/held?{query}")
    assert response.status == 400
    assert (await response.json())["error"].startswith(said)


async def test_details_have_the_score_of_each_test(quarantine, volume, client):
    quarantine.hold(NAME)
    volume.sync()
    found = await (await client.get(f"/v1/held/{NAME}")).json()
    assert list(found["tests"].items()) == [("GTUBE", 1000), ("BAYES_00", -1.9), ("LOCAL_NO_ADDRESS", 0.001)]
    assert found["allRecipients"] == ["bob@example.test", "carol@example.test"]
    assert (found["id"], found["mailId"], found["subject"]) == (NAME, "hAbcDEfgh123", "hello")


async def test_the_raw_mail_is_the_file_unpacked(quarantine, volume, client):
    quarantine.hold(NAME, mail="Subject: long\n\n" + "body\n" * 100_000)
    volume.sync()
    response = await client.get(f"/v1/held/{NAME}/raw")
    assert await response.read() == gzip.decompress((quarantine.root / NAME).read_bytes())
    assert response.headers["Content-Type"] == "message/rfc822"
    assert response.headers["Content-Disposition"] == 'attachment; filename="hAbcDEfgh123.eml"'


async def test_a_damaged_file_is_never_taken_for_a_whole_mail(quarantine, volume, client):
    quarantine.hold(NAME, mail="Subject: long\n\n" + "".join(f"line {number}\n" for number in range(100_000)))
    path = quarantine.root / NAME
    path.write_bytes(path.read_bytes()[:-4000])
    volume.sync()
    response = await client.get(f"/v1/held/{NAME}/raw")
    with pytest.raises(aiohttp.ClientPayloadError):
        await response.read()
    path.write_bytes(b"no gzip")
    for end in ("", "/raw"):
        response = await client.get(f"/v1/held/{NAME}{end}")
        assert response.status == 422
        assert "damaged gzip file" in (await response.json())["error"]


async def test_a_mail_can_be_deleted_once(quarantine, volume, client):
    quarantine.hold(NAME)
    volume.sync()
    assert (await client.delete(f"/v1/held/{NAME}")).status == 204
    assert not (quarantine.root / NAME).exists()
    for method, path in (("DELETE", NAME), ("GET", NAME), ("GET", f"{NAME}/raw"), ("PUT", f"{NAME}/seen")):
        response = await client.request(method, f"/v1/held/{path}")
        assert response.status == 404
        assert await response.json() == {"error": "no such held mail"}
    assert (await (await client.get("/v1/held")).json())["total"] == 0


async def test_who_looked_is_remembered(quarantine, volume, client):
    quarantine.hold(NAME)
    volume.sync()
    assert (await client.put(f"/v1/held/{NAME}/seen")).status == 204
    assert (await (await client.get("/v1/held?seen=true")).json())["total"] == 1
    assert (await (await client.get(f"/v1/held/{NAME}")).json())["seen"]


@pytest.mark.parametrize("path", ["..%2F..%2Fetc%2Fpasswd", "spam/..%2Fx/hAbcDEfgh123", "spam", "spam/h/.hidden12345"])
async def test_no_path_leads_out_of_the_quarantine(client, path):
    for end in ("", "/raw"):
        assert (await client.get(f"/v1/held/{path}{end}")).status == 404


async def test_news_and_what_was_there_are_both_taken_up(quarantine, volume, mails, monkeypatch):
    old = quarantine.hold("spam/o/oAbcDEfgh123.gz")
    looked, added = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def then(call, event):
        def called(*arguments):
            call(*arguments)
            loop.call_soon_threadsafe(event.set)

        return called

    monkeypatch.setattr(volume, "sync", then(volume.sync, looked))
    monkeypatch.setattr(volume, "add", then(volume.add, added))
    # The next look is far off: what comes now is known by its report.
    monkeypatch.setattr(module, "SYNC_SECONDS", 3600)
    task = asyncio.create_task(mails.follow())
    await asyncio.wait_for(looked.wait(), 10)
    assert volume.index.get(old) is not None
    name = quarantine.hold(NAME)
    for _ in range(module.ANNOUNCED + 5):
        mails.announce(name)
    await asyncio.wait_for(added.wait(), 10)
    assert volume.index.get(name) is not None
    task.cancel()
