"""What becomes of a released mail that Postfix has taken, when the next hop does not want it; and of one that Postfix
itself does not take."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from images.configuration import DOMAINS, TABLES, main_cf, policy
from images.docker import Container, Lab, eventually
from images.gateway import am_pdp, amavis_ready, started_amavis, started_postfix, started_tables
from images.nexthop import NextHop, started_next_hop

HELD = """\
X-Envelope-From: <alice@example.org>
X-Envelope-To: <bob@example.com>
X-Quarantine-ID: <{mail_id}>
From: alice@example.org
Subject: held
Received: from far away

secret content
"""


@dataclass
class Way:
    """amavis, Postfix and the next hop: all that a released mail sees."""

    amavis: Container
    postfix: Container
    hop: NextHop
    count: int = 0

    def release(self, *more: str, size: int = 0) -> str:
        """Holds a mail, so many bytes larger than it need be, and releases it; the reply."""
        self.count += 1
        mail_id = f"hAbcDEfgh{self.count:03}"
        path = f"/var/lib/amavis/quarantine/spam/{mail_id}"
        held = HELD.format(mail_id=mail_id) + ("x" * 70 + "\n") * (size // 71)
        self.amavis.run("sh", "-c", f"cat > {path}", stdin=held.encode())
        request = ["request=release", f"mail_id={mail_id}", f"mail_file=spam/{mail_id}", "quar_type=F"]
        request += ["recipient=%3Cbob@example.com%3E", f"policy_bank=RELEASE-k{self.count}", *more]
        (reply,) = am_pdp(self.amavis, request)
        assert self.amavis.read(path), "the mail is still held"
        return reply

    def queue(self) -> dict[str, dict[str, Any]]:
        """Postfix' queue by queue id."""
        lines = self.postfix.run("postqueue", "-j").stdout.decode().splitlines()
        return {one["queue_id"]: one for one in map(json.loads, lines)}


@contextmanager
def started_way(lab: Lab, tables: dict[str, str] | None = None, **parameters: str) -> Iterator[Way]:
    """With these tables and parameters of Postfix in place of the usual ones."""
    with started_next_hop(lab, "alice@example.org", "bob@example.com", extensions=("8BITMIME", "DSN")) as hop:
        transport = "".join(f"{domain}\tnexthop:{hop.address}\n" for domain in DOMAINS)
        wanted = TABLES | {"transport": transport} | (tables or {})
        config = lab.config_map({"main.cf": main_cf(**parameters), **wanted})
        compiled, policy_map = lab.volume(), lab.config_map({"policy.json": json.dumps(policy())})
        with (
            started_tables(lab, config, compiled),
            started_postfix(lab, config, compiled, lab.volume()) as postfix,
            # Another Postfix of the tests may have the same name.
            started_amavis(
                lab, policy_map, lab.volume(), lab.volume(), AMAVIS_RELEASE_TO=f"{postfix.address}:10025"
            ) as amavis,
        ):
            amavis_ready(amavis)
            yield Way(amavis, postfix, hop)


@pytest.fixture(scope="module")
def started(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    with started_way(Lab(images, network, tmp_path_factory.mktemp("way"))) as way:
        yield way


@pytest.fixture
def way(started: Way) -> Way:
    """With a next hop that is well and knows of no mail."""
    started.hop.trouble = ""
    started.hop.well.clear()
    started.hop.mails.clear()
    started.hop.senders.clear()
    return started


def queue_id(reply: str) -> str:
    found = re.fullmatch(r"250 2\.0\.0 from MTA.*queued as (\w+)", reply)
    assert found, reply
    return found[1]


@pytest.mark.parametrize("trouble", ["452 4.3.1 no room", "451 4.3.0 busy", "close", "hang"])
def test_what_the_next_hop_does_not_take_now_waits_and_comes_later_once(way: Way, trouble: str) -> None:
    way.hop.trouble = trouble
    queued = queue_id(way.release())
    if trouble == "hang":
        assert way.hop.hanging.wait(30)
        assert way.queue().keys() == {queued}
    else:
        eventually(lambda: way.queue().get(queued, {}).get("queue_name") == "deferred", "it waits")
        assert trouble.partition(" ")[0].replace("close", "lost connection") in str(way.queue()[queued]["recipients"])
    assert way.hop.mails == []
    way.hop.trouble = ""
    way.hop.well.set()

    def arrived() -> bool:
        way.postfix.run("postqueue", "-f")
        return bool(way.hop.mails) and not way.queue()

    eventually(arrived, "it has come")
    (mail,) = way.hop.mails
    assert (way.hop.senders, b"secret content" in mail) == (["alice@example.org"], True)


@pytest.mark.parametrize("where", ["recipient", "content"])
def test_what_the_next_hop_refuses_for_good_is_not_sent_to_the_sender_who_may_be_forged(way: Way, where: str) -> None:
    if where == "content":
        way.hop.trouble = "550 5.7.1 looks like spam"
    else:
        way.hop.known.discard("bob@example.com")
    queued = queue_id(way.release("notify=NEVER"))
    eventually(lambda: not way.queue(), "the queue is empty")
    way.hop.known.add("bob@example.com")
    assert re.search(rf"{queued}: to=<bob@example.com>.*status=bounced", way.postfix.log)
    assert f"{queued}: sender non-delivery notification" not in way.postfix.log
    assert way.hop.mails == []


def test_the_sender_of_a_last_copy_is_told_without_its_content(way: Way) -> None:
    """Nobody else would have it any more."""
    way.hop.known.discard("bob@example.com")
    queue_id(way.release("notify=FAILURE"))
    eventually(lambda: not way.queue(), "the queue is empty")
    way.hop.known.add("bob@example.com")
    (notice,) = way.hop.mails
    assert way.hop.senders == [""]
    assert b"Subject: held" in notice
    assert b"secret content" not in notice


DOOR = {
    "tables": {
        "client_deny_networks": "0.0.0.0/0\treject\n::/0\treject\n",
        "recipients": "example.com\treject\nbob@example.com\treject\n.example.com\treject\n",
        "ehlo_networks": "0.0.0.0/0\tsmtputf8\n",
    },
    "parameters": {
        "message_size_limit": "70000",
        "mailfilter_upstream_proxy": "haproxy",
        "postscreen_dnsbl_sites": "nowhere.example=127.0.0.[2..11]*1",
        "smtpd_client_connection_rate_limit": "1",
        "smtpd_client_connection_count_limit": "1",
        "smtpd_client_message_rate_limit": "1",
        "smtpd_client_recipient_rate_limit": "1",
    },
}


def test_b06_nothing_that_guards_the_door_refuses_a_release(lab: Lab) -> None:
    """Everybody is denied there, nobody is known, and the limits are the least that there are."""
    with started_way(lab, DOOR["tables"], **DOOR["parameters"]) as way:
        for size in (0, 100_000, 0):
            queue_id(way.release(size=size))
        eventually(lambda: len(way.hop.mails) == 3, "all come")
        assert {*way.hop.senders} == {"alice@example.org"}
        assert max(map(len, way.hop.mails)) > 100_000


@pytest.fixture(scope="module")
def refusing(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """amavis whose Postfix is the next hop of the tests."""
    lab = Lab(images, network, tmp_path_factory.mktemp("refusing"))
    policy_map = lab.config_map({"policy.json": json.dumps(policy())})
    with started_next_hop(lab, "bob@example.com") as hop:
        address = hop.address.replace("[", "").replace("]", "")
        with started_amavis(lab, policy_map, lab.volume(), lab.volume(), AMAVIS_RELEASE_TO=address) as amavis:
            amavis_ready(amavis)
            yield Way(amavis, amavis, hop)


@pytest.mark.parametrize(
    ("trouble", "reply"),
    [
        ("452 4.3.1 no room", "452 4.3.1 "),
        ("451 4.3.0 write error", "451 4.3.0 "),
        ("550 5.7.1 no", "550 5.7.1 "),
        ("close", "450 4."),
    ],
)
def test_b01_what_postfix_itself_does_not_take_is_said(refusing: Way, trouble: str, reply: str) -> None:
    refusing.hop.trouble = trouble
    found = refusing.release()
    assert found.startswith(reply), found
    assert not found.endswith("data-dot)"), "it is known that Postfix does not have it"
    assert refusing.hop.mails == []
