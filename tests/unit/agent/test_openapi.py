"""The OpenAPI document says what the agent does."""

import re

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator

from mailfilter.agent import openapi
from mailfilter.agent.amavis import AmavisAgent
from mailfilter.agent.settings import Settings
from mailfilter.agent.web import api

NAME = "spam/h/hAbcDEfgh123.gz"


@pytest.fixture
def agent(quarantine, tmp_path) -> AmavisAgent:
    (tmp_path / "token").write_text("s3cret")
    settings = Settings(
        policy_file=tmp_path / "policy.json",
        amavis_run=tmp_path,
        quarantine=quarantine.root,
        index=tmp_path / "held.sqlite",
        token_file=tmp_path / "token",
    )
    return AmavisAgent(settings)


@pytest.fixture
def application(agent, tmp_path) -> web.Application:
    return api(tmp_path / "token", agent.status, agent.routes())


def documented() -> set[tuple[str, str]]:
    return {(method, path) for path, methods in openapi.document()["paths"].items() for method in methods}


def test_each_route_is_documented_and_nothing_else(application):
    routes = {
        (route.method.lower(), re.sub(r"\{(\w+)[^}]*\}", r"{\1}", route.resource.canonical))
        for route in application.router.routes()
        if route.method != "HEAD"
    }
    assert routes == documented()


def test_all_references_lead_somewhere():
    document = openapi.document()
    schemas = document["components"]["schemas"]
    references = set(re.findall(r"'#/components/schemas/(\w+)'", str(document)))
    assert references
    assert references <= schemas.keys()
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/v1/quarantine", "/v1/quarantine"),
        ("/v1/held", "/v1/held?limit=1"),
        ("/v1/held/{id}", f"/v1/held/{NAME}"),
        ("/v1/held/{id}/preview", f"/v1/held/{NAME}/preview"),
    ],
)
async def test_answers_are_as_documented(quarantine, agent, application, aiohttp_client_for, path, url):
    quarantine.hold(NAME)
    quarantine.hold("spam/h/hAbcDEfgh124.gz")
    agent.volume.sync()
    client = await aiohttp_client_for(application)
    headers = {"Authorization": "Bearer s3cret"}
    document = await (await client.get(openapi.PATH, headers=headers)).json()
    (content,) = document["paths"][path]["get"]["responses"]["200"]["content"].values()
    validator = Draft202012Validator(content["schema"] | {"components": document["components"]})
    validator.validate(await (await client.get(url, headers=headers)).json())
    refused = await client.get(url)
    assert refused.status == 401
    assert str(refused.status) in document["paths"][path]["get"]["responses"]


async def test_conditions_of_a_search_are_parameters():
    names = {one["name"] for one in openapi.document()["paths"]["/v1/held"]["get"]["parameters"]}
    assert names >= {
        "kind",
        "sender",
        "recipient",
        "subject",
        "since",
        "until",
        "minScore",
        "maxScore",
        "limit",
        "after",
    }
