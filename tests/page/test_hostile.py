"""Mail that was made to break the page, to run in it or to call home does nothing of that."""

import base64
import re

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import expect

from mailfilter.agent import preview
from mailfilter.agent.preview import Preview
from support.page import TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")

RUN = "top.canary=1;window.canary=1;document.title='ran';new Image().src='http://outside.test/ran'"
OUTSIDE = "http://outside.test"
IN_WORDS = f'<script>{RUN}</script><img src=x onerror="{RUN}"><b>bold</b>'
PAGES = {
    "script": f"<script>{RUN}</script>",
    "script from elsewhere": f"<script src={OUTSIDE}/x.js></script>",
    "event": f'<img src="data:," onerror="{RUN}"><body onload="{RUN}">',
    "picture": f"<img src={OUTSIDE}/pixel.gif><table background={OUTSIDE}/x.gif><td>x</table>",
    "style": f"<style>@import url({OUTSIDE}/i.css);body{{background:url({OUTSIDE}/b.png)}}"
    f"@font-face{{font-family:f;src:url({OUTSIDE}/f.woff2)}}body{{font-family:f}}</style><p>text",
    "style of an element": f"<p style='background:url({OUTSIDE}/s.png);position:fixed;inset:0'>over all</p>",
    "link": f"<link rel=stylesheet href={OUTSIDE}/l.css><link rel=prefetch href={OUTSIDE}/p><base href={OUTSIDE}/>",
    "refresh": f"<meta http-equiv=refresh content='0;url={OUTSIDE}/refresh'>",
    "form": f'<form id=f action={OUTSIDE}/form><input name=password autofocus onfocus="{RUN}"></form>'
    "<script>f.submit()</script>",
    "address that is a script": f'<a id=a href="javascript:{RUN}">x</a><iframe src="javascript:{RUN}"></iframe>',
    "svg": f'<svg onload="{RUN}"><script>{RUN}</script><image href={OUTSIDE}/svg.png /></svg>',
    "data": f'<iframe src="data:text/html,<script>{RUN}</script>"></iframe><object data={OUTSIDE}/o></object>',
    "frame": f'<iframe srcdoc="<script>parent.parent.canary=1</script>"></iframe><embed src={OUTSIDE}/e>',
    "media": f"<video src={OUTSIDE}/v poster={OUTSIDE}/p autoplay></video><audio src={OUTSIDE}/a autoplay></audio>",
    "torn tags": f"<scr\0ipt>{RUN}</scr\0ipt><p title='</p><script>{RUN}</script>'>",
    "end of the frame": f"</body></html>\"'></iframe><script>{RUN}</script>",
    "template": f"<template shadowrootmode=open><script>{RUN}</script></template><math><mi//xlink:href='data:x'>",
}
HOME = "spam/h/hAbcDEfgh123"


def html(subject: str, page: str) -> str:
    content = base64.encodebytes(page.encode()).decode()
    return f"Subject: {subject}\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\n{content}"


async def look_at_all(tab, site, count: int = 1, *, tries_to_leave: bool = False) -> list[str]:
    """Opens each mail of the list, and each view of it, and sees that it did nothing. What was in the frames.

    tries_to_leave: a frame may be on its way to another page, as long as it does not ask for it."""
    framed = []
    await tab.page.keyboard.press("g")
    rows = tab.page.locator("#rows tr")
    await expect(rows).to_have_count(count)
    for number in range(count):
        await rows.nth(number).locator(".subject").click()
        await expect(rows.nth(number)).to_have_class(re.compile("open"))
        await expect(tab.page.locator("#mail")).to_have_attribute("aria-busy", "false")
        for view in await tab.page.get_by_role("tab").all():
            await view.click()
            if await tab.page.locator("iframe").count() and not tries_to_leave:
                await tab.page.frames[1].wait_for_load_state()
                assert tab.page.frames[1].url == "about:srcdoc"
                framed.append(await tab.page.frames[1].content())
        await assert_harmless(tab, site, await rows.nth(number).locator(".subject").get_attribute("title"))
    return framed


async def assert_harmless(tab, site, subject: str) -> None:
    """Nothing ran, and nothing was asked of others."""
    # Whatever was started has had its chance when a later answer has come.
    await tab.page.evaluate(
        "async () => { for (let n = 0; n < 5; n++) await fetch('page/icon.svg', {cache: 'no-store'}) }"
    )
    assert tab.outside(site) == [], subject
    assert await tab.page.evaluate("window.canary") is None, subject
    assert (await tab.page.title()).startswith("Quarantine"), subject
    assert tab.dialogs == [], subject
    assert len(tab.page.context.pages) == 1, subject


async def without_policy(route) -> None:
    """The page, but with nothing forbidden."""
    response = await route.fetch()
    headers = {name: value for name, value in response.headers.items() if name != "content-security-policy"}
    assert len(headers) == len(response.headers) - 1
    await route.fulfill(response=response, headers=headers)


async def without_frame(route) -> None:
    """The script of the page, but with a frame of all rights and no policy of its own."""
    response = await route.fetch()
    whole = await response.text()
    bare = whole.replace('sandbox: "", ', "").replace('content="${policy}"', 'content=""')
    assert len(bare) == len(whole) - len('sandbox: "", ${policy}')
    await route.fulfill(response=response, body=bare)


@pytest.mark.parametrize("alone", [False, True], ids=["all walls", "the agent's alone"])
async def test_b12_hostile_html_does_nothing(site, tab, monkeypatch, alone):
    async def look(path) -> Preview:
        return preview.preview(path.read_bytes())

    # In this process, to save the time of starting one for each mail.
    monkeypatch.setattr(preview, "look", look)
    for number, (name, page) in enumerate(PAGES.items()):
        site.hold(f"{HOME}{number:02}", mail=html(name, page))
    if alone:
        await tab.page.route(site.url, without_policy)
        await tab.page.route(f"{site.url}page/mail.js", without_frame)
    await tab.page.goto(f"{site.url}#token={TOKEN}")
    framed = await look_at_all(tab, site, len(PAGES))
    assert len(framed) == len(PAGES)
    # Tags without attributes; an address or a script may be left as words.
    assert [one for one in framed if re.search(r"<[a-z0-9]+\s|<script|<style|<svg", one.partition("<body>")[2])] == []
    # The agent had left out all that the page's policy would have had to forbid.
    assert (tab.errors, tab.forbidden) == ([], [])


@pytest.mark.parametrize("missing", ["nothing", "policy", "frame"])
async def test_b12_each_wall_alone_holds_what_the_agent_should_have_left_out(site, tab, monkeypatch, missing):
    async def unclean(path) -> Preview:
        return Preview(text="", html=list(PAGES.values())[int(path.name[-2:])], parts=(), truncated=False)

    monkeypatch.setattr(preview, "look", unclean)
    for number, name in enumerate(PAGES):
        site.hold(f"{HOME}{number:02}", mail=html(name, ""))
    if missing == "policy":
        await tab.page.route(site.url, without_policy)
    if missing == "frame":
        await tab.page.route(f"{site.url}page/mail.js", without_frame)
    await tab.page.goto(f"{site.url}#token={TOKEN}")
    free = missing == "frame"
    framed = await look_at_all(tab, site, len(PAGES), tries_to_leave=free)
    # All but the one that has no address.
    assert len([one for one in framed if OUTSIDE in one or RUN in one]) == (0 if free else len(PAGES) - 1)


async def test_without_all_walls_a_mail_would_take_the_page_over(site, tab, monkeypatch):
    async def unclean(_path) -> Preview:
        return Preview(text="", html=PAGES["script"], parts=(), truncated=False)

    monkeypatch.setattr(preview, "look", unclean)
    site.hold(HOME)
    await tab.page.route(site.url, without_policy)
    await tab.page.route(f"{site.url}page/mail.js", without_frame)
    await tab.page.goto(f"{site.url}#token={TOKEN}")
    await tab.page.locator("#rows .subject").click()
    async with tab.page.expect_request(f"{OUTSIDE}/ran"):
        await tab.page.get_by_role("tab", name="HTML").click()
    await tab.page.wait_for_function("window.canary === 1")


CONTROLS = ["script", "event", "svg", "picture", "style", "link", "address that is a script", "media", "refresh"]


async def test_without_these_walls_the_same_html_does_it(site, tab):
    """What the other tests wait for would be seen: here nothing cleans, nothing frames, nothing forbids."""

    async def show(request: web.Request) -> web.Response:
        name = CONTROLS[int(request.path[1:])]
        return web.Response(text=PAGES[name].replace(OUTSIDE, OUTSIDE + request.path), content_type="text/html")

    application = web.Application()
    application.add_routes([web.get(r"/{number:\d+}", show)])
    async with TestServer(application) as server:
        for number, name in enumerate(CONTROLS):
            await tab.page.goto(f"http://127.0.0.1:{server.port}/{number}", wait_until="commit")
            if RUN in PAGES[name]:
                await tab.page.wait_for_function("window.canary === 1")
            else:
                await tab.arrived(f"{OUTSIDE}/{number}/")


def parts(count: int) -> str:
    one = f'--x\nContent-Type: text/plain; name="../../etc/p{IN_WORDS.replace(chr(34), "")}"\n\nx\n'
    return f"Subject: parts\nContent-Type: multipart/mixed; boundary=x\n\n{one * count}--x--\n"


MAILS = {
    "script in the subject": f"Subject: {IN_WORDS}\nFrom: {IN_WORDS} <x@client.test>\n\n{IN_WORDS}\n",
    "encoded script": f"Subject: =?utf-8?B?{base64.b64encode(IN_WORDS.encode()).decode()}?=\n\nx\n",
    "names of attachments": parts(3),
    "ten thousand parts": parts(10_000),
    "header of a megabyte": f"Subject: {'<b>' * 350_000}\nX-Long: {'x' * 1_000_000}\nFrom: {'y' * 1_000_000}\n\nx\n",
    "NULs": "Subject: a\0b\nFrom: \0\n\n\0\0\0<script>\0\n",
    "broken MIME": "Subject: =?utf-8?Q?=FF=?=\nContent-Type: multipart/mixed; boundary=\n\n--\n\n--x--\n",
    "direction": "Subject: gpj.\u202eexe.\u2066bill\nFrom: \u200fadmin\u202e <a@b.test>\n\n\u202eolleh\n",
    "deep": "".join(f'Content-Type: multipart/mixed; boundary="b{one}"\n\n--b{one}\n' for one in range(3000)),
    "no mail": "\x01\x02\x03",
}


async def test_b12_hostile_mail_breaks_neither_the_list_nor_a_view(site, opened):
    """All of them in one list, with one that cannot be read at all and a harmless one."""
    for number, (name, mail) in enumerate(MAILS.items()):
        evil = name == "direction"
        sender = '"<script>top.canary=1</script>\u202e"@client.test' if evil else "alice@client.test"
        site.hold(f"spam/h/hAbcDEfgh{number:03}", mail=mail, sender=sender, age=100 + number)
    site.hold("spam/z/zAbcDEfgh123.gz", mail="Subject: harmless\n\nfine\n", age=10)
    (site.quarantine.root / "spam/h/hBroken12345.gz").write_bytes(b"no gzip")
    site.know()
    await look_at_all(opened, site, len(MAILS) + 2)
    assert opened.errors == []
    text = await opened.page.locator("#rows").inner_text()
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200f\0]", text)
    assert "harmless" in text
    # As its sender wrote it: as words.
    assert IN_WORDS in text
    assert await opened.page.locator("#rows b, #rows img, #rows script, #mail script, #mail b").count() == 0


async def test_names_of_attachments_are_words(site, opened):
    site.hold(HOME, mail=parts(2))
    await look_at_all(opened, site)
    table = opened.page.get_by_role("table", name="Parts")
    await expect(table.get_by_role("row")).to_have_count(3)
    assert "../../etc/p<script>" in await table.inner_text()


async def test_a_raw_mail_is_saved_and_not_shown(site, opened):
    site.hold(HOME, mail=html("script", PAGES["script"]))
    await look_at_all(opened, site)
    async with opened.page.expect_download() as saving:
        await opened.page.get_by_role("button", name="Raw").click()
    saved = await saving.value
    assert saved.suggested_filename == "hAbcDEfgh123.eml"
    assert (await saved.path()).read_bytes() == (site.quarantine.root / HOME).read_bytes()
    await assert_harmless(opened, site, "script")


async def test_a_string_cannot_become_html(site, opened):
    """The browser itself refuses what the page's own code never does."""
    for attempt in (
        "document.body.innerHTML = '<b>x</b>'",
        "document.body.insertAdjacentHTML('beforeend', '<b>x</b>')",
        "document.write('<b>x</b>')",
        "trustedTypes.createPolicy('mail', {createHTML: one => one})",
    ):
        refused = await opened.page.evaluate(
            "code => new Promise(done => { const one = document.createElement('button'); one.onclick = () => {"
            " try { Function; " + attempt + "; done(null) } catch (error) { done(error.name) } }; one.click() })",
            attempt,
        )
        assert refused == "TypeError", attempt
