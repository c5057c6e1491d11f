"""Who gets in, and how: by the address, by hand, by a proxy."""

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import expect

from support.page import TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")
NAME = "spam/h/hAbcDEfgh123.gz"


async def test_the_token_leaves_the_address_at_once_and_stays_in_the_tab(site, tab):
    site.hold(NAME)
    await tab.page.goto(f"{site.url}#token={TOKEN}&kind=spam")
    await expect(tab.page.locator("#rows tr")).to_have_count(1)
    assert tab.page.url == f"{site.url}#kind=spam"
    assert TOKEN not in str(
        await tab.page.evaluate("[history.length, JSON.stringify(history.state), localStorage, document.cookie]")
    )
    assert TOKEN not in await tab.page.content()
    await tab.page.reload()
    await expect(tab.page.locator("#rows tr")).to_have_count(1)
    other = await tab.page.context.new_page()
    await other.goto(site.url)
    await expect(other.get_by_role("dialog", name="Token")).to_be_visible()
    assert all(TOKEN not in one for one in tab.requests)


async def test_without_a_token_it_is_asked_for(site, tab):
    site.hold(NAME)
    await tab.page.goto(site.url)
    dialog = tab.page.get_by_role("dialog", name="Token")
    await expect(dialog).to_be_visible()
    await expect(tab.page.locator("#token-why")).to_be_empty()
    await expect(dialog.get_by_label("Token", exact=True)).to_be_focused()
    for wrong, why in (("wrong", "The token is wrong, or no longer right."), ("ß ☃", "That is not a token.")):
        await dialog.get_by_label("Token", exact=True).fill(wrong)
        await tab.page.keyboard.press("Enter")
        await expect(tab.page.locator("#token-why")).to_have_text(why)
    await expect(tab.page.locator("#rows tr")).to_have_count(0)
    await dialog.get_by_label("Token", exact=True).fill(TOKEN)
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.locator("#rows tr")).to_have_count(1)
    await expect(dialog).to_be_hidden()


async def test_a_token_that_was_changed_is_asked_for_and_nothing_is_lost(site, opened):
    site.hold(NAME)
    site.token_file.write_text("another")
    await opened.page.keyboard.press("g")
    dialog = opened.page.get_by_role("dialog", name="Token")
    await expect(opened.page.locator("#token-why")).to_have_text("The token is wrong, or no longer right.")
    await dialog.get_by_label("Token", exact=True).fill("another")
    await opened.page.keyboard.press("Enter")
    await expect(opened.page.locator("#rows tr")).to_have_count(1)


async def test_who_leaves_the_question_is_told_nothing(site, tab):
    site.hold(NAME)
    await tab.page.goto(site.url)
    await expect(tab.page.get_by_role("dialog", name="Token")).to_be_visible()
    await tab.page.keyboard.press("Escape")
    await expect(tab.page.get_by_role("status")).to_have_text("without the token nothing is told")
    await expect(tab.page.locator("#rows tr")).to_have_count(0)


async def test_the_token_can_be_forgotten(site, opened):
    await opened.page.get_by_role("button", name="Forget token").click()
    await expect(opened.page.get_by_role("dialog", name="Token")).to_be_visible()
    assert await opened.page.evaluate("sessionStorage.length") == 0


def proxy(site, *, signed_in: bool = True) -> web.Application:
    """What an OIDC proxy does below a path: adds the token and a name, or sends to where one signs in."""

    async def forward(request: web.Request) -> web.Response:
        if not signed_in and "/v1/" in request.path:
            raise web.HTTPFound("http://login.test/")
        headers = {
            name: value
            for name, value in request.headers.items()
            if name in ("Content-Type", "Origin", "Sec-Fetch-Site")
        }
        headers |= {"Authorization": f"Bearer {TOKEN}", "X-Auth-Request-Email": "alice@example.com"}
        path = request.path_qs.removeprefix("/quarantine/")
        async with aiohttp.ClientSession() as session:
            answer = await session.request(request.method, site.url + path, headers=headers, data=await request.read())
            kept = {
                name: answer.headers[name]
                for name in ("Content-Type", "Content-Security-Policy")
                if name in answer.headers
            }
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    application = web.Application()
    application.router.add_route("*", "/quarantine/{path:.*}", forward)
    return application


async def test_behind_a_proxy_that_knows_the_token_nothing_is_asked(site, tab, caplog):
    """Below a path of another host, with the browser's own word for what is the page's request."""
    caplog.set_level("INFO")
    site.hold(NAME)
    async with TestServer(proxy(site)) as server:
        await tab.page.goto(f"http://127.0.0.1:{server.port}/quarantine/")
        await expect(tab.page.locator("#rows tr")).to_have_count(1)
        await expect(tab.page.get_by_role("button", name="Forget token")).to_be_hidden()
        await tab.page.keyboard.press("Delete")
        await tab.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(tab.page.locator("#rows tr")).to_have_count(0)
    assert not (site.quarantine.root / NAME).exists()
    assert f"deleted {NAME} by 'alice@example.com'" in caplog.messages
    assert tab.errors == []


async def test_who_is_signed_out_is_told_to_reload(site, tab):
    async with TestServer(proxy(site, signed_in=False)) as server:
        await tab.page.goto(f"http://127.0.0.1:{server.port}/quarantine/")
        await expect(tab.page.get_by_role("status")).to_have_text("you are signed out: reload the page")


SEND = """async ([url, method, body]) => {
  await fetch(url, {method, body, mode: 'no-cors', credentials: 'include'}).catch(() => {});
}"""


async def test_a_page_of_another_site_can_do_nothing_through_the_proxy(site, tab):
    """The proxy adds the token to what that page sends; the browser says whose request it is."""

    async def evil(_request: web.Request) -> web.Response:
        return web.Response(text="hello", content_type="text/html")

    site.hold(NAME)
    application = web.Application()
    application.add_routes([web.get("/", evil)])
    async with TestServer(proxy(site)) as server, TestServer(application) as elsewhere:
        await tab.page.goto(f"http://127.0.0.1:{elsewhere.port}/")
        for path, body in (("expiry", '{"maxBytes": 0}'), ("releases", f'{{"key": "x", "messages": ["{NAME}"]}}')):
            url = f"http://127.0.0.1:{server.port}/quarantine/v1/{path}"
            async with tab.page.expect_response(url) as answered:
                await tab.page.evaluate(SEND, [url, "POST", body])
            assert (await answered.value).status == 403
    assert (site.quarantine.root / NAME).exists()
    assert site.amavis.sent == []
