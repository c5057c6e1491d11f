"""Releasing and deleting from the page, with an amavis that refuses, waits or takes."""

import re

import pytest
from playwright.async_api import expect

from mailfilter.agent import bulk

pytestmark = pytest.mark.asyncio(loop_scope="session")
INFECTED = "X-Amavis-Alert: INFECTED, message contains virus: Pest\n"
BOB, CAROL = "bob@example.test", "carol@example.test"


def name(number: int, kind: str = "spam") -> str:
    return f"{kind}/h/hAbcDEfgh{number}"


def mail_id(number: int) -> str:
    return f"hAbcDEfgh{number}"


async def hold(site, tab, count: int, **mail) -> None:
    for number in range(count):
        site.hold(name(number), mail=f"Subject: Letter {number}\n\nx\n", age=100 + number, **mail)
    await tab.page.keyboard.press("g")
    await expect(tab.page.locator("#rows tr")).to_have_count(count)


def dialog(tab):
    return tab.page.get_by_role("dialog")


async def confirm(tab, text: str = "Release") -> None:
    await dialog(tab).get_by_role("button", name=text, exact=True).click()


async def test_one_mail_is_released_to_those_who_are_owed_it(site, opened):
    await hold(site, opened, 2)
    await opened.page.keyboard.press("r")
    await expect(dialog(opened)).to_contain_text("Release 1 mail")
    await expect(dialog(opened)).to_contain_text("Letter 0")
    await confirm(opened)
    await expect(opened.page.get_by_role("status")).to_have_text("1 of 1 released")
    assert site.amavis.sent == [(mail_id(0), BOB)]
    await expect(opened.page.locator("#rows tr").first.locator(".tag")).to_have_text("released")
    await opened.page.get_by_role("button", name="Dismiss").click()
    await expect(opened.page.locator("#jobs")).to_be_hidden()


async def test_who_leaves_the_question_releases_nothing(site, opened):
    await hold(site, opened, 1)
    for leave in ("Cancel", "Escape"):
        await opened.page.keyboard.press("r")
        await (confirm(opened, leave) if leave == "Cancel" else opened.page.keyboard.press(leave))
        await expect(dialog(opened)).to_have_count(0)
        await expect(opened.page.locator("#rows tr").first).to_be_focused()
    await opened.page.keyboard.press("#")
    await opened.page.keyboard.press("Escape")
    assert not any("releases" in one for one in opened.requests)
    assert (site.quarantine.root / name(0)).exists()


async def test_several_at_once_to_others_and_deleted_after(site, opened):
    await hold(site, opened, 5, blocked=f"X-Envelope-To-Blocked: <{BOB}>\n")
    for _ in range(3):
        await opened.page.keyboard.press("x")
        await opened.page.keyboard.press("j")
    await opened.page.get_by_role("button", name="Release…").click()
    await dialog(opened).get_by_label("To", exact=True).fill(f" {CAROL},\n{BOB} ")
    await dialog(opened).get_by_label("Delete from the quarantine").check()
    await confirm(opened)
    await expect(opened.page.get_by_role("status")).to_have_text("3 of 3 released")
    assert sorted(site.amavis.sent) == [(mail_id(one), who) for one in range(3) for who in (BOB, CAROL)]
    await expect(opened.page.locator("#rows tr")).to_have_count(2)
    assert not (site.quarantine.root / name(0)).exists()


async def test_a_wrong_recipient_is_told(site, opened):
    await hold(site, opened, 1)
    await opened.page.keyboard.press("r")
    await dialog(opened).get_by_label("To", exact=True).fill("nobody")
    await confirm(opened)
    await expect(opened.page.get_by_role("status")).to_contain_text("recipients.0: ")
    assert site.amavis.sent == []


async def test_a_final_refusal_is_shown_with_its_reply(site, opened):
    await hold(site, opened, 2)
    site.amavis.refusals[mail_id(1)] = ["550 5.1.1 from MTA: 550 5.1.1 <b>unknown</b>"]
    await opened.page.keyboard.press("*")
    await opened.page.keyboard.press("r")
    await confirm(opened)
    await expect(opened.page.locator(".job li")).to_have_text(
        "Letter 1 – failed: 550 5.1.1 from MTA: 550 5.1.1 <b>unknown</b>"
    )
    await expect(opened.page.get_by_role("status")).to_have_text("1 of 2 released, 1 failed")
    await expect(opened.page.locator("#said")).to_have_class("problem")


async def test_a_temporary_refusal_is_shown_and_tried_again(site, opened, monkeypatch):
    monkeypatch.setattr(bulk, "FIRST_PAUSE_SECONDS", 6)
    await hold(site, opened, 1)
    site.amavis.refusals[mail_id(0)] = ["451 4.3.0 from MTA: 452 full"]
    await opened.page.keyboard.press("r")
    await confirm(opened)
    await expect(opened.page.locator(".job li")).to_have_text(
        "Letter 0 – to be tried again: 451 4.3.0 from MTA: 452 full"
    )
    await expect(opened.page.locator(".job")).to_contain_text("0 of 1 released, 1 to be tried again, next try in")
    await expect(opened.page.get_by_role("status")).to_have_text("1 of 1 released")
    await expect(opened.page.locator(".job li")).to_have_count(0)
    assert site.amavis.sent == [(mail_id(0), BOB)]


async def test_a_release_can_be_stopped_and_a_page_in_work_is_not_left_unasked(site, opened):
    await hold(site, opened, 1)
    site.amavis.refusals[mail_id(0)] = ["451 4.3.0 later"] * 9
    await opened.page.keyboard.press("r")
    await confirm(opened)
    await expect(opened.page.locator(".job")).to_contain_text("next try in")
    await opened.page.reload()
    assert opened.dialogs == [""]
    await opened.page.locator("#rows tr").first.wait_for()
    await opened.page.keyboard.press("r")
    await confirm(opened)
    await expect(opened.page.locator(".job")).to_contain_text("next try in")
    await opened.page.get_by_role("button", name="Stop").click()
    await expect(opened.page.get_by_role("status")).to_contain_text("Stopped. 0 of 1 released")
    asked = len(site.amavis.asked)
    opened.dialogs.clear()
    await opened.page.reload()
    assert opened.dialogs == []
    assert len(site.amavis.asked) == asked


@pytest.mark.parametrize("proxy_says", [None, 504])
async def test_an_answer_that_was_lost_sends_nothing_twice(site, opened, proxy_says):
    """The same release goes on, by its key."""
    await hold(site, opened, 1)
    lost = []

    async def lose(route) -> None:
        if lost:
            await route.continue_()
        else:
            lost.append((await route.fetch()).status)
            await (route.fulfill(status=proxy_says, body="<html>") if proxy_says else route.abort())

    await opened.page.route("**/v1/releases", lose)
    await opened.page.evaluate("() => { const real = setTimeout; window.setTimeout = (act, ms) => real(act, ms / 20) }")
    await opened.page.keyboard.press("r")
    await confirm(opened)
    await expect(opened.page.get_by_role("status")).to_have_text("1 of 1 released")
    assert lost == [200]
    assert site.amavis.sent == [(mail_id(0), BOB)]


async def test_a_virus_is_released_only_by_a_tick(site, opened):
    await hold(site, opened, 1)
    site.hold(name(7, "virus"), alert=INFECTED, mail="Subject: Invoice\n\nx\n", age=10)
    await opened.page.keyboard.press("g")
    await expect(opened.page.locator("#rows tr")).to_have_count(2)
    await opened.page.keyboard.press("*")
    await opened.page.keyboard.press("r")
    await expect(dialog(opened)).to_contain_text("1 of 2: infected. Without the tick they stay here.")
    await confirm(opened)
    await expect(opened.page.get_by_role("status")).to_have_text("1 of 1 released")
    assert site.amavis.sent == [(mail_id(0), BOB)]
    await opened.page.locator("#rows tr").filter(has_text="Invoice").locator(".subject").click()
    pane = opened.page.get_by_role("complementary")
    await expect(pane).to_contain_text("INFECTED, message contains virus: Pest")
    await pane.get_by_role("button", name="Release…").click()
    await expect(dialog(opened).get_by_label("Release infected mail")).not_to_be_checked()
    await confirm(opened)
    await expect(dialog(opened).get_by_role("alert")).to_have_text("Nothing is left to release: see above.")
    await dialog(opened).get_by_label("Release infected mail").check()
    await confirm(opened)
    await expect(opened.page.locator("#rows .tag.released")).to_have_count(2)
    assert site.amavis.sent[1:] == [(mail_id(7), BOB)]


async def test_what_was_released_is_not_sent_again_unasked(site, opened):
    await hold(site, opened, 2)
    await opened.page.keyboard.press("r")
    await confirm(opened)
    await expect(opened.page.locator("#rows .tag.released")).to_have_count(1)
    await opened.page.keyboard.press("*")
    await opened.page.keyboard.press("r")
    await expect(dialog(opened)).to_contain_text("1 of 2: given out before. Without the tick they are left out.")
    await confirm(opened)
    await expect(opened.page.locator("#rows .tag.released")).to_have_count(2)
    assert site.amavis.sent == [(mail_id(0), BOB), (mail_id(1), BOB)]
    await opened.page.keyboard.press("r")
    await dialog(opened).get_by_label("Release these again").check()
    await confirm(opened)
    await expect(opened.page.locator(".job").filter(has_text="1 of 1 released")).to_have_count(3)
    assert site.amavis.sent[2:] == [(mail_id(0), BOB)]


async def test_all_that_is_found_is_released_on_all_pages(site, opened):
    for number in range(130):
        site.quarantine.hold(f"spam/h/hAbcDEfgh{number:03}", sender="a@good.test", score=6, age=100 + number)
    site.quarantine.hold("spam/h/hAbcDEfgh900", sender="a@good.test", score=6, alert=INFECTED, age=50)
    site.quarantine.hold("spam/h/hAbcDEfgh901", sender="a@bad.test", score=6, age=40)
    site.quarantine.hold("spam/h/hAbcDEfgh902", sender="a@good.test", score=9, age=40)
    site.know()
    site.amavis.refusals["hAbcDEfgh007"] = ["550 5.1.1 no"]
    await opened.page.keyboard.press("g")
    every = opened.page.get_by_role("button", name="Release all found…")
    await expect(opened.page.locator("#range")).to_have_text("1–50 of 133")
    # Without a condition it would be everything.
    await expect(every).to_be_disabled()
    await opened.page.get_by_label("Sender").fill("@good.test")
    await opened.page.get_by_label("to", exact=True).fill("7.5")
    await opened.page.keyboard.press("Enter")
    await expect(opened.page.locator("#range")).to_have_text("1–50 of 131")
    await every.click()
    await expect(dialog(opened)).to_contain_text("Release all 131 mails found")
    # What comes while the question stands was not seen, and is not meant.
    site.hold("spam/h/hAbcDEfgh903", sender="a@good.test", score=6, age=-60)
    await confirm(opened)
    said = "129 of 130 released, 1 failed, 1 infected left out"
    await expect(opened.page.get_by_role("status")).to_have_text(said)
    await expect(opened.page.locator(".job li")).to_have_text("spam/h/hAbcDEfgh007 – failed: 550 5.1.1 no")
    numbers = set(range(130)) - {7}
    assert sorted(site.amavis.sent) == [(f"hAbcDEfgh{number:03}", BOB) for number in sorted(numbers)]
    await opened.page.get_by_role("combobox", name="Seen").select_option("false")
    # A release knows no such condition.
    await expect(every).to_be_disabled()


DELETE = """name => fetch(`v1/held/${name}`,
  {method: 'DELETE', headers: {Authorization: `Bearer ${sessionStorage.getItem('mailfilter-token')}`}})"""


async def test_several_are_deleted_after_a_question(site, opened):
    await hold(site, opened, 7)
    await opened.page.locator("#rows tr").nth(1).locator(".subject").click()
    await opened.page.locator("#all").check()
    await opened.page.locator("#rows tr").first.locator("input").uncheck()
    # Somebody else was faster with one.
    await opened.page.evaluate(DELETE, name(3))
    await opened.page.get_by_role("button", name="Delete…").first.click()
    await expect(dialog(opened)).to_contain_text("Delete 6 mails")
    await expect(dialog(opened)).to_contain_text("and 1 more")
    await confirm(opened, "Delete")
    await expect(opened.page.get_by_role("status")).to_have_text("6 mails deleted")
    await expect(opened.page.locator("#rows tr")).to_have_count(1)
    await expect(opened.page.get_by_role("complementary")).to_be_hidden()
    assert [number for number in range(7) if (site.quarantine.root / name(number)).exists()] == [0]


async def test_what_could_not_be_deleted_is_told(site, opened):
    await hold(site, opened, 2)
    path = re.compile(r"/v1/held/.*" + mail_id(1))
    await opened.page.route(path, lambda route: route.fulfill(status=500, json={"error": "the file cannot be deleted"}))
    await opened.page.keyboard.press("*")
    await opened.page.keyboard.press("Delete")
    await confirm(opened, "Delete")
    await expect(opened.page.get_by_role("status")).to_have_text("1 mail deleted, 1 not: the file cannot be deleted")


async def test_a_damaged_mail_can_be_deleted(site, opened):
    (site.quarantine.root / "spam/h").mkdir(parents=True)
    (site.quarantine.root / f"{name(1)}.gz").write_bytes(b"no gzip")
    site.know()
    await opened.page.keyboard.press("g")
    await opened.page.locator("#rows tr .subject").click()
    pane = opened.page.get_by_role("complementary")
    await expect(pane).to_contain_text("damaged gzip file")
    await pane.get_by_role("button", name="Delete…").click()
    await confirm(opened, "Delete")
    await expect(opened.page.locator("#rows tr")).to_have_count(0)
