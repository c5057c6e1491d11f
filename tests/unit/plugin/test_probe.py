"""`kubectl mailfilter probe`: what it says to Postfix, and what it makes of the logs."""

import json
import socketserver
import threading
from dataclasses import dataclass, field
from email import message_from_bytes, policy

import pytest

from mailfilter.plugin import testmail
from support.fakekubectl import mailfilter, pod
from support.mail import EICAR, GTUBE


@dataclass
class Server:
    """An SMTP server that answers as it is told, and keeps what it hears."""

    replies: dict[str, str] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    mail: bytes = b""

    def answer(self, verb):
        usual = {
            "EHLO": "250-mx.example.com\r\n250 SIZE 1000000",
            "DATA": "354 go on",
            ".": "250 2.0.0 Ok: queued as 4A1",
        }
        return self.replies.get(verb, usual.get(verb, "250 2.0.0 Ok"))


@pytest.fixture
def server(world):
    told = Server()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            first = self.rfile.readline().decode().strip() if told.replies.get("proxy") else ""
            told.heard += [first] if first else []
            self.wfile.write(b"220 mx.example.com ESMTP\r\n")
            while line := self.rfile.readline().decode().strip():
                told.heard.append(line)
                reply = told.answer(line.split(" ")[0].upper())
                if reply == "hang up":
                    return
                self.wfile.write(f"{reply}\r\n".encode())
                if reply.startswith("354"):
                    while (line := self.rfile.readline()) != b".\r\n":
                        told.mail += line
                    self.wfile.write(f"{told.answer('.')}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as tcp:
        thread = threading.Thread(target=tcp.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        body = mailfilter()
        body["spec"] = {"hostname": "mx.example.com"}
        objects = {"mailfilters.mailfilter.dev": [body], "pods": [pod("mx-postfix-0", "postfix")]}
        world.save(smtp=tcp.server_address[1], objects=objects, logs={"amavis": "", "postfix": ""})
        yield told
        tcp.shutdown()
        thread.join()


@pytest.fixture
def message_id(monkeypatch):
    """The next mail's."""
    monkeypatch.setattr("mailfilter.plugin.testmail.uuid.uuid4", lambda: type("Id", (), {"hex": "f00"}))
    return "<f00@mx.example.com>"


def report(message_id, **more):
    found = {"message_id": message_id, "content_type": "Clean", "spam_score": 0.12, "recipients": [{}], **more}
    return f"amavis starts\n<5>(00010-01) {json.dumps(found)}\n"


def sent(queue_id, status="sent", reply="250 2.0.0 Ok"):
    start = "Nov 25 20:00:00 mx-postfix-0 postfix/nexthop/smtp[42]:"
    return f"{start} {queue_id}: to=<bob@example.com>, relay=sink:25, delay=1, dsn=2.0.0, status={status} ({reply})\n"


def lines(result):
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_without_send_nothing_is_sent(world, server, run):
    result = run("probe", "bob@example.com")
    assert result.exit_code == 0
    assert server.heard == [
        "ehlo kubectl-mailfilter.invalid",
        "mail FROM:<>",
        "rcpt TO:<bob@example.com>",
        "rset",
        "quit",
    ]
    assert server.mail == b""
    assert lines(result) == [
        "mx-postfix-0 220 mx.example.com ESMTP",
        "EHLO 250 mx.example.com SIZE 1000000",
        "MAIL FROM:<> 250 2.0.0 Ok",
        "RCPT TO:<bob@example.com> 250 2.0.0 Ok",
        "RSET 250 2.0.0 Ok",
    ]
    assert "Nothing was sent" in result.stderr
    assert world.calls("port-forward")[0][-2:] == ["pod/mx-postfix-0", ":2525"]


@pytest.mark.parametrize(
    ("replies", "well", "said"),
    [
        ({"RCPT": "550 5.1.1 the mailbox is not confirmed"}, False, "mx does not take mail to bob@example.com now"),
        ({"RCPT": "450 4.1.1 try again"}, False, "mx does not take mail to bob@example.com now"),
        ({"MAIL": "452 4.3.1 no space"}, False, "mx does not take mail to bob@example.com now"),
        ({"EHLO": "421 4.3.2 closing"}, False, "mx does not take mail to bob@example.com now"),
        ({"RCPT": "hang up"}, False, "the connection to pod mx-postfix-0 broke"),
        ({".": "554 5.7.0 Reject"}, True, "the spam mail was refused, as it has to be"),
        ({".": "451 4.5.0 virus scanner down"}, False, "the spam mail was refused, and should not be"),
    ],
)
def test_a_refusal_is_told(server, run, replies, well, said):
    server.replies.update(replies)
    result = run("probe", "bob@example.com", "--send", "spam")
    assert result.exit_code == (0 if well else 1)
    assert said in result.stderr
    assert ("rset" in server.heard) == (not replies.keys() & {".", "EHLO"} and "hang up" not in replies.values())
    for reply in replies.values():
        assert reply == "hang up" or reply in " ".join(result.stdout.split())


def test_behind_the_proxy_protocol_it_says_who_it_is(world, server, run):
    server.replies["proxy"] = "yes"
    world.state["objects"]["mailfilters.mailfilter.dev"][0]["spec"]["postfix"] = {"proxyProtocol": True}
    world.save()
    assert run("probe", "bob@example.com").exit_code == 0
    assert server.heard[:2] == ["PROXY TCP4 127.0.0.1 127.0.0.1 1 25", "ehlo kubectl-mailfilter.invalid"]


@pytest.mark.parametrize("kind", testmail.KINDS)
def test_mails_are_what_they_are_called(server, run, kind):
    server.replies["."] = "554 5.7.0 no"
    run("probe", "bob@example.com", "--send", kind, "--from", "alice@example.org")
    assert "mail FROM:<alice@example.org>" in " ".join(server.heard)
    mail = message_from_bytes(server.mail, policy=policy.default)
    assert (mail["To"], mail["From"], mail["Auto-Submitted"]) == (
        "bob@example.com",
        "alice@example.org",
        "auto-generated",
    )
    attached = [part.get_content() for part in mail.iter_attachments()]
    assert (GTUBE in server.mail.decode(), attached) == (kind == "spam", [EICAR] if kind == "virus" else [])


PASSED = {"recipients": [{"rcpt_to": "bob@example.com", "queued_as": "4B2"}]}
SPAM = {"content_type": "Spam", "spam_score": 999.99}


@pytest.mark.parametrize(
    ("kind", "seen", "postfix", "well", "told"),
    [
        ("clean", PASSED, sent("4B2"), True, ["amavis Clean, score 0.1: passed on", "next hop sent: 250 2.0.0 Ok"]),
        ("clean", PASSED, sent("4B2", "bounced", "550 no"), False, ["next hop bounced: 550 no"]),
        ("clean", SPAM | {"quarantine": "spam/h/hAbcDEfgh123.gz"}, "", False, ["held as spam/h/hAbcDEfgh123.gz"]),
        ("spam", SPAM | {"quarantine": "spam/h/hAbcDEfgh123.gz"}, "", True, ["held as spam/h/hAbcDEfgh123.gz"]),
        ("spam", SPAM, "", True, ["amavis Spam, score 1000.0: discarded"]),
        ("virus", {"content_type": "Virus", "spam_score": None}, "", True, ["amavis Virus: discarded"]),
        ("virus", PASSED, sent("4B2"), False, ["next hop sent: 250 2.0.0 Ok"]),
    ],
)
def test_a_mail_is_followed_to_its_end(world, server, run, message_id, kind, seen, postfix, well, told):
    # A try before, another mail, and the way to the filter are not its end.
    postfix = sent("4B2", "deferred", "451 later") + sent("4A1", reply="250 from amavis") + postfix + sent("4C3")
    world.save(logs={"amavis": report("<other@x>") + report(message_id, **seen), "postfix": postfix})
    result = run("probe", "bob@example.com", "--send", kind)
    assert result.exit_code == (0 if well else 1)
    assert "as it has to be" in result.stderr or "the clean mail arrived" in result.stderr or not well
    for text in told:
        assert text in " ".join(result.stdout.split())
    # Each pod's log is asked of the container that writes it.
    assert {call[-4] for call in world.calls("logs")} <= {"--container=amavis", "--container=postfix"}


def test_a_mail_that_waits_is_told_with_the_reason(world, server, run, message_id, monkeypatch):
    monkeypatch.setattr("mailfilter.plugin.commands.probe.LOOK_SECONDS", 0)
    clock = iter([0, 0])
    monkeypatch.setattr("mailfilter.plugin.commands.probe.time.monotonic", lambda: next(clock, 100))
    world.save(logs={"amavis": "", "postfix": sent("4A1", "deferred", "connect to mx-amavis: refused")})
    result = run("probe", "bob@example.com", "--send", "clean", "--timeout", "50")
    assert result.exit_code == 1
    assert "filter deferred: connect to mx-amavis: refused" in lines(result)
    assert "has not come to its end within 50 s" in result.stderr


def test_who_may_not_read_logs_is_told(world, server, run):
    world.save(forbidden=[["get", "pods/log"]])
    result = run("probe", "bob@example.com", "--send", "clean")
    assert result.exit_code == 1
    assert 'cannot get resource "pods/log"' in result.stderr


def test_the_recipient_has_to_be_named(server, run):
    assert run("probe").exit_code == 2
    assert "must be one mail address" in run("probe", "bob").stderr
    assert server.heard == []
