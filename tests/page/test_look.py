"""How it looks, and to whom: light and dark, narrow, to screen readers."""

import json

import pytest
from playwright.async_api import expect

from support import page
from support.page import TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")
INFECTED = "X-Amavis-Alert: INFECTED, message contains virus: Pest\n"
# Of each visible text: its colour, and the nearest background behind it; both as sRGB.
COLOURS = """() => {
  const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = colour => {
    paint.clearRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const own = node.parentElement;
    if (!node.data.trim() || !own.checkVisibility() || own.closest(':disabled, option, script, noscript')) continue;
    let behind = own;
    while (behind && rgb(getComputedStyle(behind).backgroundColor)[3] < 255) behind = behind.parentElement;
    const back = behind ? rgb(getComputedStyle(behind).backgroundColor) : rgb('Canvas');
    found.push([node.data.trim().slice(0, 40), rgb(getComputedStyle(own).color), back]);
  }
  return found;
}"""
# Fields and buttons without a name, and names that two have.
NAMELESS = """() => {
  const wrong = [];
  for (const one of document.querySelectorAll('button, input, select, textarea, a, iframe, table, dialog, [role]')) {
    const ids = (one.getAttribute('aria-labelledby') ?? '').split(' ').filter(Boolean);
    const labelled = ids.map(id => document.getElementById(id));
    const name = one.getAttribute('aria-label') || labelled.map(one => one?.id ?? '').join('') || one.title
      || [...(one.labels ?? [])].map(label => label.textContent).join('') || one.textContent;
    if (labelled.includes(null)) wrong.push(`aria-labelledby of ${one.outerHTML.slice(0, 80)}`);
    if (!name.trim() && one.getAttribute('role') !== 'status' && one.getAttribute('role') !== 'alert')
      wrong.push(one.outerHTML.slice(0, 80));
  }
  const ids = [...document.querySelectorAll('[id]')].map(one => one.id);
  return [...wrong, ...ids.filter((id, number) => ids.indexOf(id) !== number)];
}"""


def luminance(colour: list[int]) -> float:
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (part / 255 for part in colour[:3])
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: list[int], other: list[int]) -> float:
    """WCAG 2: from 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def fill(site) -> None:
    for number, kind in enumerate(("spam", "virus", "banned", "bad-header")):
        site.quarantine.hold(f"{kind}/h/hAbcDEfgh{number}", alert=INFECTED if kind == "virus" else "", age=number)
    site.quarantine.hold("spam/h/hBroken12345", mail="x: y\n" * 400_000)
    reply = "250 2.0.0 from MTA: 250 2.0.0 Ok: queued as Q1"
    record = {"state": "done", "recipients": ["bob@example.test"], "replies": [reply]}
    site.quarantine.record(json.dumps(record), "key.hAbcDEfgh0")
    site.know()


async def show_all(site, tab) -> None:
    """Everything that the page can show at once: rows of all kinds, chosen ones, a mail, a release, a question."""
    fill(site)
    site.amavis.refusals["hAbcDEfgh0"] = ["550 5.1.1 no"]
    await tab.page.goto(f"{site.url}#token={TOKEN}")
    await tab.page.locator("#rows tr").nth(1).locator(".subject").click()
    await expect(tab.page.get_by_role("tab").first).to_be_visible()
    await tab.page.locator("#mail summary").click()
    await tab.page.locator("#rows input").first.check()
    await tab.page.keyboard.press("r")
    await tab.page.get_by_role("dialog").get_by_role("button", name="Release").click()
    await tab.page.get_by_role("button", name="Dismiss").wait_for()
    await tab.page.locator("#all").check()
    await tab.page.keyboard.press("r")
    await expect(tab.page.get_by_role("dialog")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_can_be_read_in_light_and_in_the_dark(chromium, site, scheme):
    async with page.tab(chromium, color_scheme=scheme) as tab:
        await show_all(site, tab)
        found = await tab.page.evaluate(COLOURS)
        assert len(found) > 80
        faint = [(text, round(contrast(ink, back), 2)) for text, ink, back in found if contrast(ink, back) < 4.5]
        assert faint == []
        body = await tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert body == {"light": "rgb(244, 245, 247)", "dark": "rgb(22, 24, 28)"}[scheme]
        assert tab.errors == []


async def test_contrast_knows_faint_from_clear() -> None:
    assert round(contrast([0, 0, 0], [255, 255, 255])) == 21
    assert contrast([150, 150, 150], [255, 255, 255]) < 4.5


async def test_everything_has_a_name(site, tab):
    await show_all(site, tab)
    assert await tab.page.evaluate(NAMELESS) == []
    assert await tab.page.evaluate("document.documentElement.lang") == "en"
    assert await tab.page.evaluate("document.querySelectorAll('[style], style, script:not([src])').length") == 0
    # The check can fail.
    await tab.page.evaluate("document.body.append(document.createElement('button'))")
    assert await tab.page.evaluate(NAMELESS) == ["<button></button>"]


async def test_the_focus_is_seen_and_goes_everywhere(site, opened):
    fill(site)
    await opened.page.keyboard.press("g")
    await expect(opened.page.locator("#rows tr")).to_have_count(5)
    await opened.page.locator("#kinds button").first.focus()
    reached, outlines = set(), set()
    for _ in range(40):
        await opened.page.keyboard.press("Tab")
        name, outline = await opened.page.evaluate(
            "(one => [one.id || one.name || one.tagName, getComputedStyle(one).outlineStyle])(document.activeElement)"
        )
        reached.add(name)
        outlines.add((name, outline))
    assert reached >= {"reload", "help-open", "subject", "sender", "kind", "minScore", "release", "delete", "all", "TR"}
    assert {name for name, outline in outlines if outline == "none"} <= {"BODY"}


@pytest.mark.parametrize("width", [320, 390, 700, 1000])
async def test_nothing_is_cut_off_on_a_narrow_screen(chromium, site, width):
    fill(site)
    async with page.tab(chromium, viewport={"width": width, "height": 700}) as tab:
        await tab.page.goto(f"{site.url}#token={TOKEN}")
        await expect(tab.page.locator("#rows tr")).to_have_count(5)
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= width
        await tab.page.locator("#rows tr").nth(1).locator(".subject").click()
        await expect(tab.page.get_by_role("tab").first).to_be_visible()
        assert await tab.page.evaluate("document.documentElement.scrollWidth") <= width
        await tab.page.get_by_role("button", name="Close").click()
        if width < 960:
            await expect(tab.page.get_by_role("combobox", name="Kind")).to_be_hidden()
            await tab.page.get_by_role("button", name="More conditions").click()
        await tab.page.get_by_role("combobox", name="Kind").select_option("virus")
        await expect(tab.page.locator("#rows tr")).to_have_count(1)
