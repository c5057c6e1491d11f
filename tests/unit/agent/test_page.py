"""The page's files and who may ask what: without a browser."""

import logging
import re
from importlib.resources import files

import pytest
from aiohttp.test_utils import TestClient

from mailfilter.agent.amavis import AmavisAgent
from mailfilter.agent.settings import Settings

NAME = "spam/h/hAbcDEfgh123.gz"
TOKEN = {"Authorization": "Bearer s3cret"}
FILES = sorted(one.name for one in files("mailfilter.agent").joinpath("page").iterdir())
PATHS = ["/" if name == "index.html" else f"/page/{name}" for name in FILES]


@pytest.fixture
async def client(quarantine, aiohttp_client_for, tmp_path) -> TestClient:
    (tmp_path / "token").write_text("s3cret")
    settings = Settings(
        policy_file=tmp_path / "policy.json",
        amavis_run=tmp_path,
        quarantine=quarantine.root,
        index=tmp_path / "held.sqlite",
        token_file=tmp_path / "token",
    )
    agent = AmavisAgent(settings)
    quarantine.hold(NAME)
    agent.volume.sync()
    return await aiohttp_client_for(agent.application())


@pytest.mark.parametrize("path", PATHS)
async def test_the_files_are_for_everybody_and_strict(client, path):
    # By a link of another site, too.
    response = await client.get(path, headers={"Sec-Fetch-Site": "cross-site"})
    assert response.status == 200
    rules = dict(rule.split(" ", 1) for rule in response.headers["Content-Security-Policy"].split("; "))
    assert rules == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self'",
        "frame-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "mail",
    }
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    kind = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    assert response.content_type == kind[path.rpartition(".")[2] if "." in path else "html"]


@pytest.mark.parametrize("path", ["/page/", "/page/index.html", "/page/..%2Fweb.py", "/page/page.py", "/index.html"])
async def test_nothing_else_is_a_file(client, path):
    assert (await client.get(path)).status == 401
    assert (await client.get(path, headers=TOKEN)).status == 404


@pytest.mark.parametrize("name", FILES)
def test_the_files_need_no_network_and_have_nothing_inline(name):
    text = files("mailfilter.agent").joinpath("page", name).read_text()
    if not name.endswith(".svg"):
        assert not re.search(r"https?://|//[a-z]+\.", text)
    assert not re.search(
        r"\.(innerHTML|outerHTML)\b|insertAdjacentHTML|document\.write|\beval\b|new Function|\.style\b", text
    )
    if name.endswith(".html"):
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\bsrc=)", text)


@pytest.mark.parametrize("path", ["/v1/held", f"/v1/held/{NAME}", f"/v1/held/{NAME}/raw", "/v1/absent"])
async def test_what_is_told_of_mail_stays_where_it_was_asked(client, path):
    for headers in (TOKEN, {}):
        response = await client.get(path, headers=headers)
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert response.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
        assert "Access-Control-Allow-Origin" not in response.headers


OWN = [{}, {"Sec-Fetch-Site": "same-origin", "Origin": "https://filter.example"}, {"Sec-Fetch-Site": "none"}]
FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://{host}"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://{host}.evil.example"},
    {"Origin": "http://evil.example/{host}"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://["},
]


def at(client: TestClient, headers: dict[str, str]) -> dict[str, str]:
    host = f"{client.host}:{client.port}"
    return {name: value.format(host=host) for name, value in headers.items()}


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", f"/v1/held/{NAME}"),
        ("PUT", f"/v1/held/{NAME}/seen"),
        ("POST", "/v1/releases"),
        ("POST", "/v1/expiry"),
        ("POST", "/v1/import"),
        ("GET", f"/v1/held/{NAME}/raw"),
    ],
)
async def test_another_site_can_do_nothing_even_with_the_token(client, quarantine, method, path, headers):
    """A proxy adds it to whatever a browser sends."""
    response = await client.request(method, path, headers=TOKEN | at(client, headers))
    assert response.status == 403
    assert await response.json() == {"error": "the request comes from a page of another site"}
    assert (quarantine.root / NAME).exists()
    assert not (quarantine.root / ".seen").exists()


@pytest.mark.parametrize("headers", [*OWN, {"Origin": "http://{host}"}, {"Origin": "https://{host}"}], ids=str)
async def test_the_own_page_and_programs_may(client, quarantine, headers):
    response = await client.delete(f"/v1/held/{NAME}", headers=TOKEN | at(client, headers))
    assert response.status == 204
    assert not (quarantine.root / NAME).exists()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_body_that_a_form_could_send_is_refused(client, kind):
    for path in ("/v1/releases", "/v1/expiry"):
        response = await client.post(path, data=b'{"maxBytes": 0}', headers=TOKEN | {"Content-Type": kind})
        assert response.status == 415
    assert (await client.get(f"/v1/held/{NAME}", headers=TOKEN)).status == 200


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, ""),
        ({"X-Forwarded-User": "alice"}, " by 'alice'"),
        ({"X-Forwarded-User": "u1", "X-Auth-Request-Email": "alice@example.com"}, " by 'alice@example.com'"),
        ({"X-Forwarded-Email": "a\u202e'b"}, ' by "a\ufffd\'b"'),
        ({"X-Forwarded-User": "x" * 1000}, f" by '{'x' * 100}'"),
    ],
    ids=["none", "user", "email first", "marks of direction", "long"],
)
async def test_the_log_says_who_did_it_as_the_proxy_says(client, caplog, headers, said):
    caplog.set_level(logging.INFO)
    headers = TOKEN | headers
    await client.get(f"/v1/held/{NAME}/raw", headers=headers)
    release = {"key": "page-1", "messages": ["spam/a/aAbcDEfgh123"]}
    await client.post("/v1/releases", json=release, headers=headers)
    await client.post("/v1/releases", json=release, headers=headers)
    await client.delete(f"/v1/held/{NAME}", headers=headers)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("mailfilter.agent")]
    assert f"given out raw: {NAME}{said}" in lines
    assert lines.count(f"release page-1{said}: 1 mails chosen, 0 infected left out") == 1
    assert f"deleted {NAME}{said}" in lines


async def test_a_name_lets_nobody_in(client):
    assert (await client.get("/v1/held", headers={"X-Forwarded-User": "alice"})).status == 401
