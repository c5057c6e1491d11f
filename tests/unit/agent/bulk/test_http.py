"""POST /v1/releases, as the operator asks it."""

import os

import pytest
from aiohttp import web

from support.releasing import ALL, name


@pytest.fixture
async def client(aiohttp_client_for, agent, amavis):
    application = web.Application()
    one = agent()
    application.add_routes([web.post("/v1/releases", one.handle)])
    found = await aiohttp_client_for(application)
    found.agent = one
    return found


async def test_over_http(quarantine, client):
    quarantine.hold(name(1))
    response = await client.post("/v1/releases", json={"key": "key-1", "messages": [name(1)]})
    assert response.status == 200
    body = await response.json()
    assert (body["nextSeconds"], body["counts"]["released"]) == (None, 1)
    assert body["messages"][0]["recipients"][0]["queueId"] == "Q1"


async def test_a_selector_waits_until_all_files_are_known(quarantine, client):
    client.agent._volume.complete = False
    response = await client.post("/v1/releases", json={"key": "key-1", "selector": ALL})
    assert response.status == 503
    assert "looked through" in (await response.json())["error"]
    client.agent._volume.complete = True
    quarantine.hold(name(1))
    body = {"key": "key-1", "selector": ALL, "recipients": []}
    assert (await (await client.post("/v1/releases", json=body)).json())["counts"]["released"] == 1
    client.agent._volume.complete = False
    assert (await client.post("/v1/releases", json=body)).status == 200, "what was chosen is known"


async def test_a_full_volume_is_said_and_what_was_sent_is_not_sent_again(quarantine, amavis, client, monkeypatch):
    quarantine.hold(name(1))
    body = {"key": "key-1", "messages": [name(1)]}
    first = os.write
    with monkeypatch.context() as patch:
        patch.setattr("mailfilter.agent.jobs.os.write", lambda fd, data: first(fd, data) if b"mails" in data else 3)
        response = await client.post("/v1/releases", json=body)
    assert response.status == 503
    assert "full" in (await response.json())["error"]
    assert (await (await client.post("/v1/releases", json=body)).json())["counts"]["released"] == 1
    assert len(amavis.sent) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"messages": None},
        {"selector": ALL},
        {"messages": []},
        {"messages": ["spam/../virus/v/vAbcDEfgh123"]},
        {"key": "a/b"},
        {"key": ".."},
        {"key": "k,RETRY"},
        {"allowVirus": "yes"},
        {"recipients": ["no address"]},
        {"recipients": ["a@b.test\r\nsender=<x@y>"]},
        {"messages": None, "selector": ALL | {"limit": 10_001}},
        {"messages": None, "selector": ALL | {"since": "2026-01-01T00:00:00"}},
        {"messages": None, "selector": {"kind": "ham"}},
        {"typo": 1},
    ],
    ids=str,
)
async def test_a_malformed_request_is_refused_with_the_reason(quarantine, amavis, client, change):
    body = {"key": "key-1", "messages": [name(1)]} | change
    response = await client.post(
        "/v1/releases", json={field: value for field, value in body.items() if value is not None}
    )
    assert response.status == 400
    assert (await response.json())["error"]
    assert amavis.asked == []
    assert not (quarantine.root / ".jobs").exists()
