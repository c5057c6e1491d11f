"""Looking at hostile mail."""

import re
from email.message import EmailMessage

import pytest

from mailfilter.agent import preview as module
from mailfilter.agent.preview import PreviewError, harmless, look, preview, printable, text_of


def mail(text: str | None = None, page: str | None = None, **attachments: bytes) -> bytes:
    made = EmailMessage()
    made["Subject"] = "hello"
    if text is not None:
        made.set_content(text)
    if page is not None and text is None:
        made.set_content(page, subtype="html")
    elif page is not None:
        made.add_alternative(page, subtype="html")
    for name, content in attachments.items():
        made.add_attachment(content, maintype="application", subtype="zip", filename=f"{name}.zip")
    return made.as_bytes()


def test_text_html_and_parts():
    found = preview(mail("Grüße\n", "<p>Grüße</p>", invoice=b"x" * 1000))
    assert found.text == "Grüße\n"
    assert found.html.strip() == "<p>Grüße</p>"
    assert [(part.type, part.name) for part in found.parts] == [
        ("text/plain", ""),
        ("text/html", ""),
        ("application/zip", "invoice.zip"),
    ]
    assert found.parts[2].size == 1000
    assert not found.truncated


def test_html_alone_gives_text_too():
    found = preview(mail(page="<h1>Win</h1><p>one &lt; two<br>three</p><style>p {}</style><script>x()</script>"))
    assert found.text == "Win\none < two\nthree\n\n"
    assert "x()" not in found.text


@pytest.mark.parametrize(
    "page",
    [
        "<script>alert(1)</script>",
        "<img src=http://tracker.example/pixel.gif onerror=alert(1)>",
        "<svg onload=alert(1)><script>alert(1)</script></svg>",
        "<a href=javascript:alert(1)>x</a>",
        "<a href=https://phish.example/>x</a>",
        "<b style='background:url(http://tracker.example/)'>x</b>",
        "<style>@import url(http://tracker.example/);</style>",
        "<link rel=stylesheet href=http://tracker.example/><base href=http://x.example/>",
        "<iframe srcdoc='<script>alert(1)</script>'></iframe><object data=x></object><embed src=x>",
        "<form action=http://phish.example/><input name=password></form>",
        "<meta http-equiv=refresh content='0;url=http://phish.example/'>",
        "<math><mi//xlink:href='data:x,<script>alert(4)</script>'>",
        "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
        "<b onclick=alert(1) id=a name=b class=c title=d lang=e dir=rtl data-x=f>x</b>",
        "<table background=http://tracker.example/x.gif><td>x</td></table>",
        "<!--[if IE]><script>alert(1)</script><![endif]-->",
        "<p>unclosed <b <script>alert(1)//",
        "\x00<scr\x00ipt>alert(1)</scr\x00ipt>",
    ],
)
def test_nothing_acts_or_loads(page):
    left = harmless(page)
    # Tags without attributes, and text in which nothing is a tag.
    assert set(re.findall("<[^>]*>?", left)) <= {f"<{end}{tag}>" for tag in module._TAGS for end in ("", "/")}
    assert "<" not in re.sub("</?[a-z0-9]+>", "", left)


def test_text_of_a_page_is_not_a_page():
    assert text_of("<p>1 &lt;b&gt; 2</p>") == "1 <b> 2\n"


def test_marks_that_deceive_are_shown():
    assert printable("a\u202eb\x1b[2Jc\r\nd\te") == "a\ufffdb\ufffd[2Jc\nd\te"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00" * 1000,
        b"Content-Type: text/plain; charset=no-such\n\n\xff\xfe",
        b"Content-Type: multipart/mixed\n\nno boundary",
        b"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Disposition: x; filename*=x'y'%zz\n\n--x--",
        b"Content-Transfer-Encoding: base64\n\n!!!!",
        b"Content-Type: text/html\n\n" + b"<div>" * 10_000,
        b"Content-Type: message/rfc822\n\n" * 5 + b"Subject: inner\n\nhello",
    ],
)
def test_broken_mail_is_shown_as_far_as_it_goes(raw):
    assert preview(raw).text is not None


async def test_a_look_at_a_held_mail(quarantine):
    name = quarantine.hold(mail="Subject: x\n\nhello\n")
    found = await look(quarantine.root / name)
    assert found.text == "hello\n"
    assert [part.type for part in found.parts] == ["text/plain"]


async def test_a_large_mail_is_shown_in_part(quarantine):
    name = quarantine.hold(mail="Subject: x\n\n" + "hello\n" * 1_000_000)
    found = await look(quarantine.root / name)
    assert found.truncated
    assert found.text.startswith("hello\n")
    assert len(found.text) == module.TEXT_LIMIT


@pytest.mark.parametrize("limit", ["CPU", "memory", "depth"])
async def test_a_mail_made_to_break_its_reader_breaks_nothing_else(quarantine, limit):
    nested = "".join(
        f'Content-Type: multipart/mixed; boundary="b{number}"\n\n--b{number}\n' for number in range(20_000)
    )
    hostile = {
        "CPU": "Content-Type: text/html\n\n" + "<table><b>" * 300_000,
        "memory": "Content-Type: multipart/mixed; boundary=x\n\n" + "--x\n\n" * 800_000,
        "depth": nested,
    }[limit]
    name = quarantine.hold(mail=hostile)
    try:
        found = await look(quarantine.root / name)
    except PreviewError:
        return
    assert len(found.parts) <= module.PARTS_LIMIT
