"""Header fields that people are shown."""

import time

import pytest

from mailfilter.agent.headers import LONGEST, readable


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b" hello\r\n", "hello"),
        (b" =?utf-8?q?Gr=C3=BC=C3=9Fe?= aus\n =?utf-8?b?S8O2bG4=?=", "Grüße aus Köln"),
        ("Grüße".encode(), "Grüße"),
        (b"=?no-such-charset?q?abc?=", "=?no-such-charset?q?abc?="),
        (b"=?utf-8?b?!!!?= x", " x"),
        (b"a\x00b\x1b[31mc", "a\ufffdb\ufffd[31mc"),
        ("innocent \u202etxt.exe".encode(), "innocent \ufffdtxt.exe"),
        (b"=?utf-8?q?two=0D=0Alines?=", "two  lines"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
def test_fields_become_one_line_of_plain_text(raw, text):
    assert readable(raw) == text


@pytest.mark.parametrize("unit", [b"x", b"=?utf-8?q?=41?= ", b"=?", b"=?utf-8?b?", b"\n ", b"\x00"])
def test_a_field_of_a_megabyte_takes_no_time(unit):
    began = time.process_time()
    assert len(readable(unit * (1_000_000 // len(unit)))) <= LONGEST
    assert time.process_time() - began < 1
