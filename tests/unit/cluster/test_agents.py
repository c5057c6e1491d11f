"""The agents' client: what is not an answer as agreed is an AgentError, never another exception."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mailfilter.cluster import agents as module
from mailfilter.cluster.agents import AgentError, Agents


@pytest.fixture
async def agents() -> AsyncIterator[Agents]:
    found = Agents()
    yield found
    await found.close()


async def answer(request: web.Request) -> web.Response:
    if request.headers.get("Authorization") != "Bearer token":
        return web.Response(status=401)
    if request.method == "POST":
        return web.json_response({"asked": await request.json()})
    return web.json_response({"amavis": {}})


async def flushed(request: web.Request) -> web.Response:
    allowed = (request.method, request.headers.get("Authorization")) == ("POST", "Bearer token")
    return web.json_response({}, status=200 if allowed else 401)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestServer]:
    application = web.Application()
    application.router.add_route("*", "/v1/status", answer)
    application.router.add_route("*", "/v1/releases", answer)
    application.router.add_route("*", "/v1/flush", flushed)
    async with TestServer(application, host="127.0.0.1") as found:
        monkeypatch.setattr(module, "AGENT_PORT", found.port)
        yield found


async def test_answers(agents: Agents, server: TestServer) -> None:
    assert await agents.status("127.0.0.1", "token") == {"amavis": {}}
    assert await agents.release("127.0.0.1", "token", {"key": "k"}) == {"asked": {"key": "k"}}


async def test_flush(agents: Agents, server: TestServer) -> None:
    await agents.flush("127.0.0.1", "token")
    with pytest.raises(AgentError, match="401"):
        await agents.flush("127.0.0.1", "other")


async def test_wrong_token(agents: Agents, server: TestServer) -> None:
    with pytest.raises(AgentError, match="401"):
        await agents.status("127.0.0.1", "other")


async def test_nobody_listens(agents: Agents, server: TestServer) -> None:
    await server.close()
    with pytest.raises(AgentError, match=r"127\.0\.0\.1"):
        await agents.status("127.0.0.1", "token")


@pytest.mark.parametrize("body", ["", "not json", '{"cut'])
async def test_no_json(agents: Agents, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    async def broken(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    application = web.Application()
    application.router.add_get("/v1/status", broken)
    async with TestServer(application, host="127.0.0.1") as found:
        monkeypatch.setattr(module, "AGENT_PORT", found.port)
        with pytest.raises(AgentError):
            await agents.status("127.0.0.1", "token")


async def test_no_answer_in_time(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    application = web.Application()
    application.router.add_get("/v1/status", silent)
    async with TestServer(application, host="127.0.0.1") as found:
        monkeypatch.setattr(module, "AGENT_PORT", found.port)
        monkeypatch.setattr(module, "STATUS_SECONDS", 0.2)
        with pytest.raises(AgentError):
            await agents.status("127.0.0.1", "token")
