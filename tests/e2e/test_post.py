"""The pods that send and take the tests' mail do what the other tests trust them to do."""

import pytest

from support.mail import Post, message


def test_a_mail_arrives_as_sent(post: Post) -> None:
    mail = message(body=".\n.dot\nnaïve\n")
    assert [reply.code for reply in post.send(mail, to=["bob@a.example", "eve@b.example"], host="sink")] == [250]
    copy = post.expect(mail)
    assert (copy.sender, copy.recipients) == ("alice@sender.example", ["bob@a.example", "eve@b.example"])
    assert copy.header("message-id") == mail["Message-ID"]
    assert copy.body == ".\r\n.dot\r\nnaïve\r\n"


def test_a_recipient_is_refused_as_asked(post: Post) -> None:
    (reply,) = post.send(message(), to=["bob@a.example", "bob+452@a.example", "bob+550@a.example"], host="sink")
    assert reply.code == 250
    assert {who: code for who, (code, _) in reply.refused.items()} == {
        "bob+452@a.example": 452,
        "bob+550@a.example": 550,
    }


@pytest.mark.parametrize(("mode", "code"), [("452", 452), ("550", 550), ("hang", 0)])
def test_all_mail_is_refused_as_asked(post: Post, mode: str, code: int) -> None:
    mail = message()
    post.sink_mode(mode)
    try:
        assert [reply.code for reply in post.send(mail, host="sink", timeout=60 if code else 3)] == [code]
    finally:
        post.sink_mode("")
    assert not post.copies(mail)
    assert [reply.code for reply in post.send(mail, host="sink")] == [250]
