"""What the tests of archives over HTTP have in common."""

from collections.abc import AsyncIterator

import pytest

from mailfilter.agent.amavis import AmavisAgent
from mailfilter.agent.settings import Settings
from mailfilter.agent.web import api
from support.backup import Gateway


@pytest.fixture
async def gateways(quarantine, tmp_path, aiohttp_client_for) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """An old one that holds something, and a new one."""
    (tmp_path / "token").write_text("s3cret")
    found = []
    for name in ("quarantine", "new"):
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        settings = Settings(
            policy_file=tmp_path / "policy.json",
            amavis_run=tmp_path,
            quarantine=root,
            index=tmp_path / f"{name}.sqlite",
            token_file=tmp_path / "token",
        )
        agent = AmavisAgent(settings)
        agent._held._volume.sync()
        client = await aiohttp_client_for(api(settings.token_file, agent.status, agent.routes()))
        client.session.headers["Authorization"] = "Bearer s3cret"
        found.append(Gateway(type(quarantine)(root), agent, client))
    return found[0], found[1]


@pytest.fixture
def old(gateways) -> Gateway:
    return gateways[0]


@pytest.fixture
def new(gateways) -> Gateway:
    return gateways[1]
