"""Finding held mail: the list, its conditions, one mail, the keys."""

import re

import pytest
from playwright.async_api import expect

from support.page import TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")
INFECTED = "X-Amavis-Alert: INFECTED, message contains virus: Pest\n"


def subjects(tab):
    return tab.page.locator("#rows td.subject bdi")


async def reload(tab) -> None:
    await tab.page.keyboard.press("g")


@pytest.fixture
def mails(site) -> None:
    """Ten mails, the newest first, all different."""
    for number in range(10):
        site.hold(
            f"spam/h/hAbcDEfgh{number}",
            mail=f"From: One {number} <x@client.test>\nSubject: Letter {number}\n\nbody {number}\n",
            sender=f"sender{number}@client.test",
            blocked=f"X-Envelope-To-Blocked: <to{number % 2}@example.test>\n",
            score=5 + number,
            age=1000 + number * 86400,
        )
    site.hold("virus/v/vAbcDEfgh1", alert=INFECTED, score=0.5, mail="Subject: Invoice\n\nx\n", age=20)


async def test_the_list_says_what_is_known(site, mails, opened):
    await reload(opened)
    row = opened.page.locator("#rows tr").nth(1)
    await expect(row.locator("td")).to_have_text(
        [
            "",
            re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d$"),
            "spam",
            "5.0",
            "One 0 <x@client.test>",
            "Letter 0",
            "to0@example.test",
            re.compile(r"^\d+ B$"),
        ]
    )
    await expect(opened.page.locator("#rows tr").first.locator(".tag")).to_have_text("infected")
    await expect(opened.page.locator("#range")).to_have_text("1–11 of 11")
    await expect(opened.page.get_by_role("button", name=re.compile("^spam 10 "))).to_be_visible()
    await expect(opened.page.get_by_role("button", name=re.compile("^virus 1 "))).to_be_visible()


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("Subject", "LETTER 3", ["Letter 3"]),
        ("Sender", "sender4@client.test", ["Letter 4"]),
        ("Sender", "@elsewhere.test", []),
        ("Recipient", "to1@example.test", ["Letter 1", "Letter 3", "Letter 5", "Letter 7", "Letter 9"]),
        ("Score from", "13", ["Letter 8", "Letter 9"]),
        ("to", "5", ["Invoice", "Letter 0"]),
    ],
)
async def test_each_condition_of_words(site, mails, opened, field, value, found):
    await opened.page.get_by_label(field, exact=True).fill(value)
    await opened.page.keyboard.press("Enter")
    await expect(subjects(opened)).to_have_text(found)
    await expect(opened.page.get_by_role("status")).to_have_text(f"{len(found)} found")
    await opened.page.get_by_role("button", name="Clear").click()
    await expect(subjects(opened)).to_have_count(11)


async def test_conditions_of_choice(site, mails, opened):
    await opened.page.get_by_role("combobox", name="Kind").select_option("virus")
    await expect(subjects(opened)).to_have_text(["Invoice"])
    assert opened.page.url.endswith("#kind=virus")
    await opened.page.get_by_role("button", name=re.compile("^virus")).click()
    await expect(subjects(opened)).to_have_count(11)
    await opened.page.get_by_role("button", name=re.compile("^virus")).click()
    await expect(subjects(opened)).to_have_text(["Invoice"])
    await subjects(opened).first.click()
    await expect(opened.page.locator("#rows tr.unseen")).to_have_count(0)
    await opened.page.get_by_role("combobox", name="Kind").select_option("")
    await opened.page.get_by_role("combobox", name="Seen").select_option("true")
    await expect(subjects(opened)).to_have_text(["Invoice"])
    await opened.page.get_by_role("combobox", name="Seen").select_option("false")
    await expect(subjects(opened)).to_have_count(10)


async def test_times_are_those_of_the_reader(site, mails, tab):
    """What the list shows can be searched for."""
    await tab.page.goto(f"{site.url}#token={TOKEN}")
    stamp = await tab.page.locator("#rows tr").nth(3).locator("time").inner_text()
    await tab.page.get_by_label("Until").fill(stamp.replace(" ", "T"))
    await tab.page.get_by_label("Until").press("Enter")
    await expect(subjects(tab).first).to_have_text("Letter 3")
    await tab.page.get_by_label("Until").fill("")
    await tab.page.get_by_label("Since").fill(stamp.replace(" ", "T"))
    await tab.page.get_by_label("Since").press("Enter")
    await expect(subjects(tab)).to_have_text(["Invoice", "Letter 0", "Letter 1", "Letter 2"])


async def test_a_wrong_condition_is_told(site, opened):
    await opened.page.route("**/v1/held?*", lambda route: route.continue_(url=route.request.url + "&colour=red"))
    await reload(opened)
    await expect(opened.page.get_by_role("status")).to_have_text(re.compile("^colour: "))
    await expect(opened.page.locator("#said")).to_have_class("problem")


async def test_pages(site, opened):
    for number in range(120):
        site.quarantine.hold(f"spam/h/hAbcDEfgh{number:03}", mail=f"Subject: Letter {number}\n\nx\n", age=100 + number)
    site.know()
    await reload(opened)
    await expect(opened.page.locator("#range")).to_have_text("1–50 of 120")
    await opened.page.keyboard.press("n")
    await expect(subjects(opened).first).to_have_text("Letter 50")
    await opened.page.get_by_role("button", name="Older").click()
    await expect(opened.page.locator("#range")).to_have_text("101–120 of 120")
    await expect(opened.page.get_by_role("button", name="Older")).to_be_disabled()
    await opened.page.keyboard.press("p")
    await opened.page.keyboard.press("p")
    await expect(opened.page.locator("#range")).to_have_text("1–50 of 120")
    await expect(opened.page.get_by_role("button", name="Newer")).to_be_disabled()


async def test_one_mail_with_all_that_is_known(site, opened):
    name = site.hold(mail="From: a@b.test\nSubject: hello\nDate: today\nMessage-ID: <1@b.test>\n\nthe text\n")
    await reload(opened)
    await subjects(opened).first.click()
    pane = opened.page.get_by_role("complementary", name="The open mail")
    await expect(pane.get_by_role("heading")).to_have_text("hello")
    for text in ("alice@client.test", "bob@example.test", "today", "<1@b.test>", name, "the text"):
        await expect(pane.get_by_text(text, exact=True)).to_be_visible()
    await pane.get_by_text("Score 1000.0, 3 rules").click()
    await expect(pane.get_by_role("table", name="Score by rule").get_by_role("row").first).to_have_text("1000.00GTUBE")
    await expect(opened.page.locator("#rows tr.unseen")).to_have_count(0)
    assert (site.quarantine.root / ".seen" / "hAbcDEfgh123").exists()
    assert opened.page.url.endswith("#id=spam%2Fh%2FhAbcDEfgh123.gz")
    await opened.page.keyboard.press("Escape")
    await expect(pane).to_be_hidden()


async def test_a_mail_by_its_address(site, tab):
    name = site.hold()
    await tab.page.goto(f"{site.url}#token={TOKEN}&id={name}")
    await expect(tab.page.get_by_role("complementary").get_by_role("heading")).to_have_text("hello")


async def test_html_is_shown_with_its_layout(site, opened):
    page = "<h1>Offer</h1><table><tr><td>one</td><td>two</td></tr></table>"
    site.hold(mail=f"Subject: x\nContent-Type: text/html\n\n{page}\n")
    await reload(opened)
    await subjects(opened).first.click()
    await expect(opened.page.get_by_role("tab", name="Text")).to_have_attribute("aria-selected", "true")
    await opened.page.get_by_role("tab", name="Text").focus()
    await opened.page.keyboard.press("ArrowRight")
    await expect(opened.page.get_by_role("tab", name="HTML")).to_be_focused()
    frame = opened.page.frame_locator("iframe")
    await expect(frame.locator("h1")).to_have_text("Offer")
    # Its style sheet has come, though the frame is nobody's.
    assert "sans-serif" in await frame.locator("body").evaluate("one => getComputedStyle(one).fontFamily")


async def test_all_by_keyboard(site, mails, opened):
    page = opened.page
    await reload(opened)
    await expect(subjects(opened)).to_have_count(11)
    await page.keyboard.press("j")
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("#rows tr").nth(2)).to_be_focused()
    await page.keyboard.press("k")
    await page.keyboard.press("x")
    await page.keyboard.press("j")
    await page.keyboard.press("x")
    await expect(page.locator("#rows tr[aria-selected=true] bdi").nth(1)).to_have_text("Letter 0")
    await expect(page.get_by_role("status")).to_have_text("2 mails chosen")
    await page.keyboard.press("*")
    await expect(page.locator("#rows tr[aria-selected=true]")).to_have_count(11)
    await page.keyboard.press("*")
    await expect(page.locator("#rows tr[aria-selected=true]")).to_have_count(0)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("complementary").get_by_role("heading")).to_have_text("Letter 1")
    await page.keyboard.press("j")
    await page.keyboard.press("s")
    await expect(page.locator("#rows tr.unseen")).to_have_count(9)
    await page.keyboard.press("/")
    await expect(page.get_by_label("Subject")).to_be_focused()
    # Keys are letters there.
    await page.keyboard.type("jx#r")
    await expect(page.get_by_label("Subject")).to_have_value("jx#r")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.keyboard.press("Escape")
    await expect(page.locator("#rows tr").nth(3)).to_be_focused()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.locator("#rows tr").nth(3)).to_be_focused()


async def test_an_answer_that_comes_late_is_not_shown(site, mails, opened):
    waiting = []

    async def hold_up(route) -> None:
        waiting.append(route)

    await opened.page.route("**/v1/held?kind=spam*", hold_up)
    await opened.page.get_by_role("combobox", name="Kind").select_option("spam")
    await opened.page.get_by_role("combobox", name="Kind").select_option("virus")
    await expect(subjects(opened)).to_have_text(["Invoice"])
    async with opened.page.expect_response(re.compile("kind=spam")):
        await waiting[0].continue_()
    await opened.page.evaluate("() => fetch('page/icon.svg')")
    await expect(subjects(opened)).to_have_text(["Invoice"])


async def test_an_agent_that_is_away_is_told(site, opened):
    await opened.page.route("**/v1/**", lambda route: route.abort())
    await reload(opened)
    await expect(opened.page.get_by_role("status")).to_have_text("the agent does not answer")
