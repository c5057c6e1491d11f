"""`python -m support.screenshots DIRECTORY`: the page with invented mail, as the documentation shows it."""

import asyncio
import base64
import random
import sys
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path

from PIL import Image

from support.page import TOKEN, Chromium, Site, Tab, chromium, site, tab

SENDERS = (
    ("Lotto Direct", "win@lotto-direct.example", "You have been selected: claim your prize", 8.7),
    ("Pharma Discount", "offers@pills4u.example", "-80% only today, no prescription", 9.4),
    ("Anna Berger", "anna.berger@partner.example", "Angebot Nr. 2026-1187 für die Lagerhalle", 5.6),
    ("Crypto Insider", "news@coin-wave.example", "Your wallet has been credited with 0.48 BTC", 7.9),
    ("IT Helpdesk", "helpdesk@secure-login.example", "Your mailbox is almost full: confirm your password", 9.1),
    ("Sport & Mode", "newsletter@sport-mode.example", "Letzte Chance: Winterschlussverkauf", 5.2),
    ("Dr. Okafor", "okafor@transfer-office.example", "Confidential business proposal", 9.8),
    ("Parcel Service", "noreply@parcel-track.example", "Ihr Paket wartet auf die Zustellung", 6.8),
    ("Beratung Nord", "kontakt@beratung-nord.example", "Fördermittel 2027: jetzt Antrag stellen", 5.9),
)
RULES = "BAYES_60=1.5, HTML_MESSAGE=0.001, MIME_HTML_MOSTLY=0.7, SPF_PASS=-0.001, TO_UNDISC=1.5,\n LONG_SUBJECT=1.65"
PEOPLE = ("erika@example.com", "bob@example.com", "info@example.com", "sales@example.org", "carol@example.com")
OFFER = """<h2>Angebot Nr. 2026-1187</h2><p>Sehr geehrte Frau Muster,</p>
<p>vielen Dank für Ihre Anfrage. Wir bieten Ihnen an:</p>
<table><tr><th>Menge</th><th>Artikel</th><th>Preis</th></tr>
<tr><td>12</td><td>Regalfeld, 2,40 m</td><td>1 188,00 €</td></tr>
<tr><td>4</td><td>Eckstütze</td><td>212,00 €</td></tr>
<tr><td>1</td><td>Lieferung und Aufbau</td><td>640,00 €</td></tr></table>
<p><b>Das Angebot gilt bis 11. Dezember.</b> Fragen beantworte ich gern.</p>
<blockquote>Anna Berger, Partner Lagertechnik</blockquote>"""


def mail(author: str, address: str, subject: str, page: str = "", name: str = "") -> str:
    """A mail with its own header, as its sender wrote it."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = f'"{author}" <{address}>', "outsider@example.net", subject
    made["Date"], made["Message-ID"] = "Wed, 25 Nov 2026 09:12:44 +0100", "<20261125081244.4F1A@mail.partner.example>"
    made.set_content("Hello,\n\nplease read this at once.\n")
    if page:
        made.add_alternative(page, subtype="html")
    if name:
        made.add_attachment(base64.b64decode("UEsDBA==") * 9000, maintype="application", subtype="zip", filename=name)
    return made.as_string()


def fill(one: Site) -> str:
    """Some weeks of a small office. Returns the id of the mail that is looked at."""
    dice = random.Random(7)
    offer = ""
    for number in range(63):
        author, address, subject, score = SENDERS[number % len(SENDERS)]
        to = dice.choice(PEOPLE)
        name = f"spam/{'abcdefgh'[number % 8]}/{'abcdefgh'[number % 8]}{dice.randrange(16**10):010x}"
        page = OFFER if number == 2 else "<p>Hello</p>"
        found = one.quarantine.hold(
            f"{name}.gz",
            blocked=f"X-Envelope-To-Blocked: <{to}>\n",
            sender=address,
            tests=RULES,
            score=round(score + dice.uniform(-0.25, 0.25), 1) if number != 2 else 5.4,
            mail=mail(author, address, subject, page, "Angebot-2026-1187.pdf" if number == 2 else ""),
            age=300 + number * 2300 + dice.randrange(2000),
        )
        offer = found if number == 2 else offer
        if number % 4 == 1 or number > 8:
            (one.quarantine.root / ".seen").mkdir(exist_ok=True)
            (one.quarantine.root / ".seen" / name.rpartition("/")[2]).touch()
    for number, (kind, alert, author, address, subject) in enumerate(
        [
            ("virus", "INFECTED, message contains virus: Eicar-Test", "Scanner", "scan@copy-shop.example", "Scan 0417"),
            ("banned", "BANNED, message contains part: rechnung.pdf.exe", "Buchhaltung", "b@fibu.example", "Mahnung"),
            ("bad-header", "BAD HEADER SECTION, Non-encoded 8-bit data", "Drucker", "mfp3@office.example", "Störung"),
            ("virus", "INFECTED, message contains virus: Heuristics.Phishing", "Bank", "bank@x.example", "Konto"),
            ("banned", "BANNED, message contains part: setup.js", "Support", "s@tools.example", "Update"),
        ]
    ):
        one.quarantine.hold(
            f"{kind}/{kind[0]}{dice.randrange(16**10):010x}",
            alert=f"X-Amavis-Alert: {alert}\n",
            blocked=f"X-Envelope-To-Blocked: <{dice.choice(PEOPLE)}>\n",
            sender=address,
            score=round(dice.uniform(0, 4), 1),
            mail=mail(author, address, subject),
            age=1500 + number * 7000,
        )
    one.know()
    return offer


async def take(one: Site, browser: Chromium, directory: Path) -> None:
    """All pictures."""
    offer = fill(one)
    async with tab(browser, viewport={"width": 1180, "height": 640}, color_scheme="light") as shown:
        await _open(shown, one)
        await shown.page.keyboard.press("j")
        for _ in range(3):
            await shown.page.keyboard.press("j")
            await shown.page.keyboard.press("x")
        await _shoot(shown, directory / "quarantine-list.png")
    for scheme, name in (("light", "quarantine-preview"), ("dark", "quarantine-dark")):
        async with tab(browser, viewport={"width": 1180, "height": 760}, color_scheme=scheme) as shown:
            await _open(shown, one, f"&id={offer}")
            await shown.page.get_by_role("tab", name="HTML").click()
            await shown.page.get_by_text("Score", exact=False).last.click()
            await shown.page.frame_locator("iframe").get_by_text("Anna Berger").wait_for()
            await _shoot(shown, directory / f"{name}.png")


async def _open(shown: Tab, one: Site, more: str = "") -> None:
    await shown.page.goto(f"{one.url}#token={TOKEN}{more}")
    await shown.page.locator("#rows tr").first.wait_for()


async def _shoot(shown: Tab, path: Path) -> None:
    picture = Image.open(BytesIO(await shown.page.screenshot())).convert("RGB")
    # A page has few colours: a third of the bytes.
    picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE).save(path, optimize=True)


async def main(directory: Path) -> None:
    """Writes the pictures into a directory that exists."""
    async with site() as one, chromium() as browser:
        await take(one, browser, directory)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
