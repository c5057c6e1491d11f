"""The text of a digest, and when it is due."""

import email
import email.policy
from datetime import UTC, date, datetime
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter.agent import digestdays, digestmail
from mailfilter.agent.digestmail import Occasion, message
from mailfilter.agent.search import Entry
from mailfilter.api.digest import Digest
from mailfilter.api.template import DEFAULT_TEMPLATE, parse

TEMPLATE = parse(DEFAULT_TEMPLATE)
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SETTING = Digest(enabled=True, time_zone="Asia/Kolkata", from_name="Held mail", contact="the help desk, 123")


def entry(**changes: object) -> Entry:
    plain = Entry(
        id="spam/h/hAbcDEfgh123.gz",
        kind="spam",
        time=NOON,
        size=1,
        sender="alice@client.test",
        recipients=("bob@example.com",),
        author="Alice <alice@client.test>",
        subject="Offer",
        score=7.25,
        alerts=(),
        infected=False,
        released=(),
        seen=False,
        problem=None,
    )
    return plain.model_copy(update=changes)


def occasion(*mails: Entry, count: int | None = None, recipient: str = "bob@example.com") -> Occasion:
    return Occasion(
        recipient=recipient,
        domain="example.com",
        day=date(2026, 11, 25),
        since=NOON.timestamp() - 86400,
        until=NOON.timestamp(),
        mails=mails,
        count=len(mails) if count is None else count,
        total=count or len(mails),
    )


def sent(of: Occasion, setting: Digest = SETTING) -> EmailMessage:
    """The digest as its reader parses it."""
    octets = bytes(message(of, setting, TEMPLATE, "mx.example.com"))
    assert octets.isascii()
    assert max(len(line) for line in octets.split(b"\r\n")) <= 998
    assert b"\n" not in octets.replace(b"\r\n", b"")
    return email.message_from_bytes(octets, policy=email.policy.default)  # type: ignore[return-value]


def text_of(found: EmailMessage) -> str:
    return str(found.get_content()).replace("\r\n", "\n")


def test_a_digest_has_all_that_is_needed_to_ask_for_a_mail() -> None:
    found = sent(occasion(entry(), entry(kind="banned", score=None, id="banned/x/xAbcDEfgh123")))
    assert (found["From"], found["To"]) == ("Held mail <postmaster@example.com>", "bob@example.com")
    assert found["Subject"] == "Mail held for you: 2"
    assert (found["Auto-Submitted"], found["Precedence"]) == ("auto-generated", "bulk")
    assert found["Message-ID"].endswith("@mx.example.com>")
    text = text_of(found)
    for words in (
        "2026-11-25 17:30   spam, score 7.25\n    from     Alice <alice@client.test>\n    subject  Offer\n"
        "    id       spam/h/hAbcDEfgh123.gz\n",
        "banned, score -",
        "since 2026-11-24 17:30 and",
        "ask for it by its id: the help desk, 123\n",
    ):
        assert words in text
    assert "more" not in text


def test_a_long_list_is_cut() -> None:
    text = text_of(sent(occasion(entry(), count=512)))
    assert "... and 511 more.\n" in text
    assert "in all: 512\n" in text


def test_a_message_id_is_of_the_recipient_and_the_day() -> None:
    first, again = sent(occasion(entry())), sent(occasion(entry(subject="other")))
    other = sent(occasion(entry(), recipient="carol@example.com"))
    assert first["Message-ID"] == again["Message-ID"] != other["Message-ID"]


@given(*[st.text(max_size=300)] * 3, st.text(min_size=1, max_size=100))
def test_nothing_that_a_sender_wrote_makes_a_field_or_a_line(sender: str, author: str, subject: str, name: str) -> None:
    setting = SETTING.model_copy(update={"from_name": name, "contact": subject or "x"})
    plain = sent(occasion(entry(sender="", author="", subject="")), setting.model_copy(update={"contact": "x"}))
    hostile = sent(occasion(entry(sender=sender, author=author, subject=subject)), setting)
    assert hostile.keys() == plain.keys()
    text = text_of(hostile)
    assert len(text.splitlines()) == len(text_of(plain).splitlines())
    assert all(one.isprintable() or one == "\n" for one in text)


@pytest.mark.parametrize(
    "recipient", ['"a b"@example.com', '"a\\"b"@example.com', "bob+x@example.com", "jürgen@example.com", "@", "a@b@c"]
)
def test_any_recipient_can_be_written_to(recipient: str) -> None:
    assert sent(occasion(entry(), recipient=recipient))["To"] in (recipient, "undisclosed-recipients:;")


BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("zone", "at", "day", "moment"),
    [
        ("UTC", "07:00", "2026-11-25", "2026-11-25T07:00"),
        (BERLIN, "07:00", "2026-11-25", "2026-11-25T06:00"),
        (BERLIN, "07:00", "2026-07-01", "2026-07-01T05:00"),
        ("Asia/Kolkata", "00:15", "2026-11-25", "2026-11-24T18:45"),
        ("Pacific/Kiritimati", "07:00", "2026-11-25", "2026-11-24T17:00"),
        ("America/Adak", "23:59", "2026-11-25", "2026-11-26T09:59"),
        # 02:30 is not there: an hour later by the clock.
        (BERLIN, "02:30", "2026-03-29", "2026-03-29T01:30"),
        # 02:30 is there twice: the first.
        (BERLIN, "02:30", "2026-10-25", "2026-10-25T00:30"),
        # The day begins at 01:00.
        ("America/Santiago", "00:30", "2026-09-06", "2026-09-06T04:30"),
    ],
)
def test_it_is_due_once_a_day_at_the_time_of_the_zone(zone: str, at: str, day: str, moment: str) -> None:
    setting = Digest(enabled=True, time_zone=zone, at=at)
    wanted = date.fromisoformat(day)
    expected = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
    assert digestdays.on(setting, wanted) == expected
    assert digestdays.due(setting, expected) == (wanted, expected)
    before = digestdays.due(setting, expected - 1)
    assert before is None or before[0] != wanted
    # Whatever the clocks do, all minutes of two days say at most one time a day.
    found = {
        late for minute in range(-60, 1440) if (late := digestdays.due(setting, expected + 60 * minute)) is not None
    }
    assert len({one for one, _ in found}) == len(found)
    assert (wanted, expected) in found
    assert digestdays.before(setting, wanted) < expected


def test_what_is_shown_is_one_harmless_line() -> None:
    assert digestmail.line("a\r\nb\x1b[31m\u202ec") == "a  b\ufffd[31m\ufffdc"
