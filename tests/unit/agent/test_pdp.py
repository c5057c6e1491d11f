"""AM.PDP, byte for byte as amavis 2.13 spoke it."""

import asyncio
from pathlib import Path

import pytest

from mailfilter.agent import pdp

REPLY = "250 2.0.0 from MTA(smtp:[research-sink]:10025): 250 2.0.0 Ok: queued as SINK0002"


async def test_a_release_request_is_what_amavis_reads(amavis):
    amavis.answers.append(
        ["setreply=250 2.0.0 from%20MTA(smtp:[research-sink]:10025):%20250%202.0.0%20Ok:%20queued%20as%20SINK0002"]
    )
    reply = await pdp.release(
        amavis.socket,
        key="7b-1",
        mail_id="eV1lJVlIrMwQ",
        mail_file="spam/eV1lJVlIrMwQ.gz",
        recipient="bob@example.test",
        seconds=5,
    )
    assert reply == REPLY
    assert amavis.requests == [
        b"request=release\r\nmail_id=eV1lJVlIrMwQ\r\nquar_type=Z\r\nmail_file=spam/eV1lJVlIrMwQ.gz\r\n"
        b"recipient=<bob@example.test>\r\npolicy_bank=RELEASE-7b-1\r\nnotify=NEVER\r\n\r\n"
    ]


async def test_a_plain_file_is_announced_as_one(amavis):
    amavis.replies("250 2.5.0 x")
    await pdp.release(amavis.socket, key="k", mail_id="i", mail_file="virus/i", recipient="a@b", seconds=5)
    assert b"quar_type=F\r\n" in amavis.requests[0]


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ("100% sure", b"100%25%20sure"),
        ("a\r\nrequest=release", b"a%0d%0arequest=release"),
        ('"a b"@x', b'"a%20b"@x'),
        ("пример@x", b"%d0%bf%d1%80%d0%b8%d0%bc%d0%b5%d1%80@x"),
        ("~!\x7f", b"~!%7f"),
    ],
)
def test_values_are_encoded_as_amavis_does_and_come_back(value, wire):
    assert pdp.encode([("recipient", value)]) == b"recipient=" + wire + b"\r\n\r\n"
    assert pdp.decode(b"recipient=" + wire + b"\r\n") == ("recipient", value)


async def test_a_failure_answers_in_several_attributes(amavis):
    amavis.answers.append(
        [
            "setreply=450 4.5.0 Failure:%20File%20/q/AAAAAAAAAAAA.gz%20does%20not%20exist",
            "return_value=tempfail",
            "exit_code=75",
        ]
    )
    assert await pdp.request(amavis.socket, [("request", "x")], 5) == [
        ("setreply", "450 4.5.0 Failure: File /q/AAAAAAAAAAAA.gz does not exist"),
        ("return_value", "tempfail"),
        ("exit_code", "75"),
    ]


async def test_the_reply_to_a_release(amavis):
    amavis.replies("250 2.0.0 one")
    asked = {"key": "k", "mail_id": "i", "mail_file": "i", "recipient": "a@b", "seconds": 5}
    assert await pdp.release(amavis.socket, **asked) == "250 2.0.0 one"
    amavis.replies()
    assert await pdp.release(amavis.socket, **asked) == ""


async def test_a_child_that_dies_before_the_end_of_its_answer_is_an_error(amavis):
    with pytest.raises(pdp.PdpError, match="closed"):
        await pdp.touch(amavis.socket, 5)


async def test_an_answer_cut_off_after_its_first_line_is_no_answer(tmp_path: Path):
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"setreply=250 2.0.0 queued%20as%20AB\r\n")
        writer.close()

    async with await asyncio.start_unix_server(cut, tmp_path / "s"):
        with pytest.raises(pdp.PdpError, match="closed"):
            await pdp.touch(tmp_path / "s", 5)


async def test_amavis_that_never_answers_is_given_up(tmp_path: Path):
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(hang, tmp_path / "s"):
        with pytest.raises(pdp.PdpError, match="no answer within"):
            await pdp.touch(tmp_path / "s", 0.05)


async def test_no_amavis_is_an_error_of_the_protocol(tmp_path: Path):
    with pytest.raises(pdp.PdpError):
        await pdp.touch(tmp_path / "absent", 5)


async def test_an_endless_line_is_refused(amavis):
    amavis.answers.append(["x=" + "y" * (pdp.LINE_LIMIT + 10)])
    with pytest.raises(pdp.PdpError):
        await pdp.touch(amavis.socket, 5)
