"""The agent's HTTP: token, health, metrics, start and stop."""

import asyncio
import os
import signal
import socket

import aiohttp
import pytest
from aiohttp import web

from mailfilter.agent.amavis import AmavisAgent
from mailfilter.agent.postfix import PostfixAgent
from mailfilter.agent.probes import ProbeError, SilentError
from mailfilter.agent.service import Service, serve, until_signalled
from mailfilter.agent.settings import Settings
from mailfilter.agent.web import api, monitoring


@pytest.fixture
async def guarded(aiohttp_client_for, tmp_path):
    async def status():
        return {"amavis": {}}

    (tmp_path / "token").write_text("s3cret\n")
    return await aiohttp_client_for(api(tmp_path / "token", status))


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crett", "s3cret", "Basic s3cret", "bearer s3cret"],
)
async def test_without_the_token_nothing_is_told(guarded, header):
    headers = {} if header is None else {"Authorization": header}
    for path in ("/v1/status", "/v1/absent"):
        response = await guarded.get(path, headers=headers)
        assert response.status == 401
        assert await response.json() == {"error": "wrong token"}


async def test_a_new_token_counts_at_once(guarded, tmp_path):
    async def code(token: str) -> int:
        return (await guarded.get("/v1/status", headers={"Authorization": f"Bearer {token}"})).status

    assert await code("s3cret") == 200
    (tmp_path / "token").write_text("other")
    assert (await code("s3cret"), await code("other")) == (401, 200)


@pytest.mark.parametrize("content", [None, "", "\n"])
async def test_without_a_token_in_the_file_nobody_is_let_in(guarded, tmp_path, content):
    (tmp_path / "token").unlink()
    if content is not None:
        (tmp_path / "token").write_text(content)
    assert (await guarded.get("/v1/status", headers={"Authorization": "Bearer "})).status == 401


class Amavis:
    """Takes the place of the probe of amavis."""

    def __init__(self, monkeypatch) -> None:
        self.trouble: ProbeError | None = None
        monkeypatch.setattr("mailfilter.agent.probes.greeting", self)

    async def __call__(self, _port: int, *, seconds: float) -> None:
        if self.trouble:
            raise self.trouble


@pytest.fixture
def probed(monkeypatch) -> Amavis:
    return Amavis(monkeypatch)


@pytest.fixture
def agent(tmp_path) -> AmavisAgent:
    settings = Settings(
        policy_file=tmp_path / "policy.json", amavis_run=tmp_path, quarantine=tmp_path, index=tmp_path / "held.sqlite"
    )
    return AmavisAgent(settings)


async def test_readiness_is_the_daemons_and_health_the_agents(agent, probed, aiohttp_client_for):
    client = await aiohttp_client_for(monitoring(agent.ready, agent.registry, agent.before_scrape))
    assert (await client.get("/readyz")).status == 200
    probed.trouble = ProbeError("port 10024: refused")
    answer = await client.get("/readyz")
    assert (answer.status, await answer.text()) == (503, "port 10024: refused\n")
    assert (await client.get("/healthz")).status == 200


async def test_metrics_tell_whether_amavis_serves(agent, probed, aiohttp_client_for):
    client = await aiohttp_client_for(monitoring(agent.ready, agent.registry, agent.before_scrape))
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    text = await answer.text()
    assert "\nmailfilter_amavis_up 1.0\n" in text
    assert "\nmailfilter_quarantine_free_bytes " in text
    probed.trouble = ProbeError("refused")
    assert "\nmailfilter_amavis_up 0.0\n" in await (await client.get("/metrics")).text()


async def test_a_busy_amavis_is_ready_a_silent_one_is_not(agent, probed):
    probed.trouble = SilentError("no answer")
    with pytest.raises(SilentError):
        await agent.ready()
    agent._reports.datagram_received(b'{"content_type": "Clean"}', None)
    await agent.ready()
    probed.trouble = ProbeError("refused")
    with pytest.raises(ProbeError):
        await agent.ready()


async def test_the_status_of_amavis_is_that_of_the_contract(agent):
    answer = (await agent.status())["amavis"]
    assert answer["policy"] == {"mounted": None, "inForce": None, "refused": None}
    assert set(answer["quarantine"]) == {"writable", "messages", "bytes", "capacityBytes", "freeBytes"}


async def test_the_status_of_postfix_is_that_of_the_contract(tmp_path):
    agent = PostfixAgent(Settings(table_sources=tmp_path / "absent", tables=tmp_path, spool=tmp_path))
    assert await agent.status() == {
        "postfix": {
            "tables": {"mounted": None, "inForce": None, "error": None},
            "suspended": None,
            "tls": {"error": None, "expires": None},
            "dnsbl": {},
            "queue": {"incoming": 0, "active": 0, "deferred": 0, "hold": 0, "oldestSeconds": 0},
        }
    }


def test_the_environment_sets_what_differs(monkeypatch):
    assert not Settings().upstream_proxy
    monkeypatch.setenv("AGENT_UPSTREAM_PROXY", "1")
    monkeypatch.setenv("AGENT_TOKEN_FILE", "/elsewhere")
    assert Settings().upstream_proxy
    assert str(Settings().token_file) == "/elsewhere"


@pytest.fixture
def port() -> int:
    with socket.socket() as unused:
        unused.bind(("", 0))
        return int(unused.getsockname()[1])


async def test_it_serves_until_sigterm(port):
    application = web.Application()

    async def stop_all(_request: web.Request) -> web.Response:
        os.kill(os.getpid(), signal.SIGTERM)
        return web.Response(text="bye")

    application.add_routes([web.get("/", stop_all)])
    ran = asyncio.Event()

    async def background() -> None:
        ran.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(until_signalled(Service({port: application}, [background()])))
    await ran.wait()
    async with asyncio.timeout(10), aiohttp.ClientSession() as session:
        while True:
            try:
                assert await (await session.get(f"http://localhost:{port}/")).text() == "bye"
                break
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await running


async def test_a_background_task_that_fails_ends_the_agent(port):
    async def broken() -> None:
        raise OSError("report.sock")

    async with asyncio.timeout(10):
        with pytest.raises(ExceptionGroup) as error:
            await serve(Service({port: web.Application()}, [broken()]), asyncio.Event())
    assert error.group_contains(OSError, match="report.sock")
