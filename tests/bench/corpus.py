"""The mails of the benchmark: one for the load, and some thirty whose verdicts are compared."""

import io
import random
import re
import tarfile
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formatdate

from bench.systems import RECIPIENT, SENDER
from support.mail import EICAR, GTUBE, zipped

# The headers of a Windows program (PE32, i386, console), which are all that its type shows by.
PROGRAM = (
    b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0"
    + bytes.fromhex("4c010100 00000000 00000000 00000000 e000 0201 0b01") + bytes(66) + b"\3\0" + bytes(400)
)  # fmt: skip
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)

_VOCABULARY = """
    about above after again agenda agreed already although annual archive around arrange autumn because before below
    between bridge budget building careful centre change clear colleague comment compare complete contract copy corner
    country course decide delay deliver detail different document draft during early enough estimate evening example
    explain figure final follow forward friday further general group harbour history hotel however idea improve index
    inside journey keep kitchen large later letter library likely local machine maintenance manager market measure
    meeting member minute monday monthly morning network never next notes number office often order other paper
    perhaps plan please point possible prepare present previous project proposal quarter question rather reason
    receive record region remark repair report request result return review room schedule school second section
    several short since station still summary sunday support system table team thank these thursday together towards
    train travel under until update usual version village visit water weather wednesday week which while window winter
    without work write year yesterday
"""
_WORDS = _VOCABULARY.split()


@dataclass(frozen=True)
class Mail:
    """A mail and, where the gateway is meant to judge it differently, why."""

    name: str
    content: bytes
    intended: str = ""

    @property
    def message_id(self) -> str:
        return re.sub("[^a-z0-9]+", "-", f"corpus {self.name.lower()}") + "@client.example"


def load_mail() -> bytes:
    """Ordinary mail of 5 kB: the same text as plain text and as HTML, always the same."""
    paragraphs = _paragraphs(random.Random(5), 4)
    html = "\n".join(f"<p>{textwrap.fill(paragraph, 72)}</p>" for paragraph in paragraphs)
    mail = _headers("load", "Notes of the meeting on Monday")
    mail.set_content("\n\n".join(textwrap.fill(paragraph, 72) for paragraph in paragraphs) + "\n")
    mail.add_alternative(
        f"<html><body>\n{html}\n<p><a href='http://www.client.example/notes'>All notes</a></p>\n</body></html>\n",
        subtype="html",
    )
    return mail.as_bytes()


def corpus() -> list[Mail]:
    """Mails of all kinds: each verdict and each way of unpacking is there, scores are from stock rules."""
    text = _paragraphs(random.Random(1), 2)
    plain = f"Dear Bob,\n\n{textwrap.fill(text[0], 72)}\n\nBest regards\nAlice\n"

    def mail(name: str, subject: str = "The report of this week", body: str = plain, **headers: str) -> EmailMessage:
        made = _headers(name, subject, **headers)
        made.set_content(body)
        return made

    def attached(name: str, file: str, content: bytes, kind: str = "application/octet-stream") -> Mail:
        made = mail(name)
        maintype, subtype = kind.split("/")
        made.add_attachment(content, maintype=maintype, subtype=subtype, filename=file)
        return Mail(name, made.as_bytes())

    def edited(name: str, edit: Callable[[bytes], bytes], intended: str = "") -> Mail:
        return Mail(name, edit(mail(name).as_bytes()), intended)

    def written(name: str, subject: str, body: str, **headers: str) -> Mail:
        return Mail(name, mail(name, subject, textwrap.dedent(body), **headers).as_bytes())

    def page(name: str, subject: str, html: str, **headers: str) -> Mail:
        made = _headers(name, subject, **headers)
        made.set_content(html, subtype="html")
        return Mail(name, made.as_bytes())

    def long(name: str, paragraphs: int, intended: str = "") -> Mail:
        lines = textwrap.wrap(" ".join(_paragraphs(random.Random(3), paragraphs)))
        return Mail(name, mail(name, body="\n".join(lines)).as_bytes(), intended)

    return [
        Mail("load", load_mail()),
        Mail("plain text", mail("plain text").as_bytes()),
        written("one line", "Lunch?", "At noon?\n"),
        written("empty body", "Nothing to say", ""),
        written("quoted-printable", "Grüße aus Köln", "Schöne Grüße — bis nächste Woche, Ærøskøbing € 20.\n" * 5),
        page("html only", "News from the team", f"<html><body><h1>News</h1><p>{text[1]}</p></body></html>\n"),
        attached("text attached", "notes.txt", text[1].encode(), "text/plain"),
        attached("image attached", "dot.png", PNG, "image/png"),
        attached("zip", "notes.zip", zipped({"notes.txt": text[0].encode()})),
        attached("zip in a zip", "notes.zip", zipped({"inner.zip": zipped({"notes.txt": text[0].encode()})})),
        attached("tar.gz", "notes.tar.gz", _tar({"notes.txt": text[0].encode()}, "gz"), "application/gzip"),
        Mail("forwarded", _forwarded("forwarded", mail("inner", "An earlier mail"))),
        attached("large attachment", "figures.bin", random.Random(2).randbytes(1 << 20)),
        long("long text", 300),
        long("longer text", 900),
        edited("raw 8 bit", lambda raw: raw.replace(b"Best regards", b"Viele Gr\xfc\xdfe")),
        edited("8 bit in the header", lambda raw: raw.replace(b"Subject: The", b"Subject: Caf\xe9 The")),
        edited("two subjects", lambda raw: raw.replace(b"Subject: ", b"Subject: Another one\nSubject: ", 1)),
        edited("no subject, no date", lambda raw: b"\n".join(
            line for line in raw.split(b"\n") if not line.startswith((b"Subject:", b"Date:")))),
        edited("control character", lambda raw: raw.replace(b"Subject: The", b"Subject: The\x01")),
        edited("broken multipart", lambda raw: raw.replace(
            b'Content-Type: text/plain; charset="utf-8"', b"Content-Type: multipart/mixed")),
        edited("two content types", lambda raw: raw.replace(
            b"Content-Type: ", b'Content-Type: multipart/mixed; boundary="x"\nContent-Type: ', 1),
            "a mail that can be read in two ways is held, not passed unchecked"),
        written("GTUBE", "Buy", f"{GTUBE}\n"),
        attached("EICAR", "invoice.txt", EICAR),
        attached("EICAR in a zip", "invoice.zip", zipped({"invoice.com": EICAR})),
        attached("EICAR in a zip in a tar", "invoice.tar", _tar({"invoice.zip": zipped({"invoice.com": EICAR})})),
        attached("exe", "pictures.exe", PROGRAM),
        attached("program named dat", "pictures.dat", PROGRAM),
        attached("text named exe", "pictures.exe", text[0].encode()),
        attached("screen saver in a zip", "pictures.zip", zipped({"picture.jpg.scr": text[0].encode()})),
        attached("vbs in a tar", "scripts.tar", _tar({"a.vbs": b"MsgBox 1\n"}), "application/x-tar"),
        attached("declared a program", "setup", text[0].encode(), "application/x-msdownload"),
        written("in capitals", "READ THIS IMPORTANT MESSAGE NOW", "PLEASE READ ALL OF THIS AT ONCE. THANK YOU.\n" * 4),
        written("from the future", "Tomorrow", plain, Date=formatdate(1_900_000_000)),
        written("pharmacy", "Cheap V1AGRA and C1ALIS, no prescription needed!!!", """\
            Buy Viagra, Cialis, Xanax and Valium online without prescription. Lowest price guaranteed!
            100% satisfaction or your money back guarantee. Order now: http://203.0.113.9/order?id=1234
            Lose weight fast. This is not spam. Click here to be removed from our list.
            """),
        written("advance fee", "CONFIDENTIAL BUSINESS PROPOSAL", """\
            DEAR FRIEND,

            I am Barrister John Smith, the attorney to the late Engineer Peter Brown, a foreigner who died with his
            next of kin in a plane crash. He deposited the sum of twenty five million United States dollars
            (US$25,000,000.00) with a bank here in Lagos, Nigeria. I seek your consent to present you as the
            beneficiary and next of kin of the deceased, so that the fund can be transferred to your foreign account.
            You will get 40% of the total sum. Please reply with your full name, bank account number and telephone
            number. This transaction is confidential and 100% risk free.

            Yours faithfully, Barrister John Smith
            """, Reply_To="barrister.smith@mail.example"),
        written("lottery", "YOU HAVE WON!!! Claim your prize of $1,000,000 now", """\
            Congratulations! You are a winner of the international online lottery. Your e-mail address has won the sum
            of ONE MILLION US DOLLARS. To claim your prize contact our claims agent with your name, age, occupation
            and phone number. Act now, this offer expires in 24 hours! You have nothing to lose.
            """),
        page("image only", "Special offer, limited time", """\
            <html><body bgcolor="#ffffff"><a href="http://203.0.113.9/x"><img src="http://203.0.113.9/a.gif"></a>
            <font size="1" color="#fffffe">hidden</font></body></html>
            """),
        page("phishing", "Your account will be suspended", """\
            <html><body><p>Dear customer, we detected unusual activity. Verify your account within 24 hours:</p>
            <p><a href="http://203.0.113.9/login">https://www.bank.example/login</a></p></body></html>
            """, From='"support@bank.example" <123456789@client.example>'),
    ]  # fmt: skip


def _headers(name: str, subject: str, **headers: str) -> EmailMessage:
    mail = EmailMessage()
    found = {"From": f"Alice <{SENDER}>", "To": f"Bob <{RECIPIENT}>", "Date": formatdate(), "Subject": subject}
    found |= {key.replace("_", "-"): value for key, value in headers.items()}
    for key, value in found.items():
        mail[key] = value
    mail["Message-ID"] = f"<{Mail(name, b'').message_id}>"
    return mail


def _paragraphs(source: random.Random, count: int) -> list[str]:
    """Sentences of ordinary words, about 500 letters a paragraph."""

    def sentence() -> str:
        words = source.choices(_WORDS, k=source.randint(8, 16))
        return " ".join(words).capitalize() + "."

    return [" ".join(sentence() for _ in range(6)) for _ in range(count)]


def _tar(files: dict[str, bytes], packer: str = "") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=f"w:{packer}") as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _forwarded(name: str, inner: EmailMessage) -> bytes:
    outer = MIMEMultipart()
    for key, value in _headers(name, "Fwd: An earlier mail").items():
        outer[key] = value
    outer.attach(MIMEText("See below.\n"))
    outer.attach(MIMEMessage(inner))
    return outer.as_bytes()
