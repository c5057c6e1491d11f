"""The header of amavis at the top of a quarantine file, and senders who imitate it."""

import gzip
import io
import os
import time

import pytest

from mailfilter.agent import heldmail
from mailfilter.agent.heldmail import HeldMailError, addresses, parse, plain, read


def parsed(text: str) -> heldmail.HeldMail:
    return parse(io.BytesIO(text.encode()))


@pytest.mark.parametrize("name", ["spam/h/hAbcDEfgh123.gz", "spam/h/hAbcDEfgh123"])
def test_all_of_the_header_is_read_plain_or_gzip(quarantine, name):
    mail = read(quarantine.root / quarantine.hold(name))
    assert mail == heldmail.HeldMail(
        mail_id="hAbcDEfgh123",
        sender="alice@client.test",
        recipients=("bob@example.test", "carol@example.test"),
        blocked=("bob@example.test",),
        score=999.998,
        alerts=(),
        tests={"BAYES_00": -1.9, "GTUBE": 1000, "LOCAL_NO_ADDRESS": 0.001},
        letter={"from": "alice@client.test", "subject": "hello"},
    )
    assert mail.held_for == ("bob@example.test",)


def test_b04_fields_of_the_sender_do_not_count(quarantine):
    hostile = (
        "X-Envelope-To-Blocked: <victim@example.net>\nX-Envelope-To: <victim@example.net>\n"
        "X-Quarantine-ID: <another>\nX-Amavis-Alert: INFECTED, message contains virus: x\n"
    )
    mail = read(quarantine.root / quarantine.hold(mail=hostile + "\nbody\n"))
    assert mail.held_for == ("bob@example.test",)
    assert mail.mail_id == "hAbcDEfgh123"
    assert not mail.infected


def test_of_a_field_that_stands_twice_the_first_counts():
    mail = parsed("X-Quarantine-ID: <a1>\nX-Envelope-To: <a@x>\nX-Quarantine-ID: <b2>\nX-Envelope-To: <b@x>\n\n")
    assert (mail.mail_id, mail.recipients) == ("a1", ("a@x",))


def test_without_a_list_of_the_blocked_all_are_owed_the_mail():
    assert parsed("X-Envelope-To: <a@x>,\n <b@x>\n\n").held_for == ("a@x", "b@x")


def test_b02_an_empty_list_of_the_blocked_owes_nobody():
    assert parsed("X-Envelope-To: <a@x>\nX-Envelope-To-Blocked:\n\n").held_for == ()


def test_a_virus_found_is_known_in_any_directory(quarantine):
    alert = "X-Amavis-Alert: INFECTED, message contains virus:\n Custom.EICAR.ndb.UNOFFICIAL\n"
    mail = read(quarantine.root / quarantine.hold("banned/h/hAbcDEfgh123", alert=alert))
    assert mail.infected
    assert mail.alerts == ("INFECTED, message contains virus: Custom.EICAR.ndb.UNOFFICIAL",)


@pytest.mark.parametrize(
    "text",
    ["", "\n", "body without header", "X-Quarantine-ID", "From: x\nX-Quarantine-ID: <a1>\n\n", " folded\nX-Y: z\n\n"],
)
def test_what_has_no_header_of_amavis_has_no_id(text):
    assert parsed(text).mail_id == ""


def test_undecodable_bytes_do_no_harm():
    mail = parse(io.BytesIO(b"X-Envelope-To: <\xff\xfe@x>\nX-Quarantine-ID: <a1>\n\xff: y\n\n"))
    assert mail.recipients == ("\\xff\\xfe@x",)
    assert mail.mail_id == "a1"


@pytest.mark.parametrize(
    "filler",
    ["X-Spam-Report: " + "x" * (heldmail.BLOCK_LIMIT + 1) + "\n", "X-Spam-Report: x\n" * 100_000, " y\n" * 500_000],
)
def test_a_header_without_end_is_given_up_at_once(filler):
    began = time.process_time()
    source = io.BytesIO(("X-Quarantine-ID: <a1>\n" + filler).encode())
    with pytest.raises(HeldMailError, match="longer than"):
        parse(source)
    assert source.tell() <= heldmail.BLOCK_LIMIT
    assert time.process_time() - began < 2


def test_a_gzip_bomb_is_not_unpacked(quarantine):
    path = quarantine.root / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"X-Spam-Report: ")
        for _ in range(64):
            file.write(b"x" * (1 << 20))
    with pytest.raises(HeldMailError, match="longer than"):
        read(path)


@pytest.mark.parametrize("damage", [lambda c: c[:20], lambda c: b"no gzip", lambda c: c[:15] + b"\0\0\0\0" + c[19:]])
def test_a_damaged_file_is_no_held_mail(quarantine, damage):
    path = quarantine.root / quarantine.hold()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(HeldMailError):
        read(path)


def test_neither_links_nor_pipes_are_opened(quarantine):
    (quarantine.root / "link").symlink_to(quarantine.root / quarantine.hold())
    with pytest.raises(OSError, match="symbolic links"):
        read(quarantine.root / "link")
    os.mkfifo(quarantine.root / "pipe")
    with pytest.raises(HeldMailError, match="plain file"):
        read(quarantine.root / "pipe")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("", ()),
        ("<>", ()),
        ("<a@x>, <b@x>,\t<a@x>", ("a@x", "b@x")),
        (r'<"b, <c> \" d"@x>, <e@x>', (r'"b, <c> \" d"@x', "e@x")),
    ],
)
def test_lists_of_addresses(value, found):
    assert addresses(value) == found


@pytest.mark.parametrize("value", ["a@x", "<a@x", "<a@x> junk", '<"a@x>', "<a<b>@x>"])
def test_a_list_that_is_not_understood_releases_nobody(value):
    with pytest.raises(HeldMailError):
        addresses(value)


@pytest.mark.parametrize("unit", ['<"<\\', '<"', "<", '<"a"', "\\", ",", '"'])
def test_hostile_lists_take_no_time(unit):
    began = time.process_time()
    with pytest.raises(HeldMailError):
        addresses(unit * 200_000 + "x")
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("one", "other"),
    [("<Bob@EXAMPLE.test>", "Bob@example.test"), (r'"a \"b"@x', 'a "b@x'), ("пример@x", "пример@X")],
)
def test_the_same_address_in_another_form(one, other):
    assert plain(one) == plain(other)


def test_local_parts_keep_their_case():
    assert plain("Bob@x") != plain("bob@x")


def test_an_odd_sender_does_not_keep_the_mail_back():
    assert parsed("X-Envelope-From: =?x?= odd\nX-Envelope-To: <a@x>\n\n").held_for == ("a@x",)


def test_a_long_header_of_the_sender_hides_nothing_of_amavis(quarantine):
    mail = "Subject: first\nSubject: second\nX-Long: " + "x" * (1 << 20) + "\nFrom: late@x\n\nbody\n"
    found = read(quarantine.root / quarantine.hold(mail=mail))
    assert found.held_for == ("bob@example.test",)
    assert found.letter == {"subject": "first"}


@pytest.mark.parametrize("status", ["", "Yes, score=5", "tests=[A=1e400, B=x, =1, C=-.5, D=1.2.3]", "tests=[" * 99])
def test_odd_lists_of_tests_are_read_as_far_as_they_go(status):
    assert parsed(f"X-Spam-Status: {status}\n\n").tests.keys() <= {"A", "C", "D"}
