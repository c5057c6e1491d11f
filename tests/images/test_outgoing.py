"""Outgoing mail: who may send it, that it is filtered, and signed by its author's domain alone."""

import json
import smtplib
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest

from images.configuration import BEFORE_QUEUE, OUTGOING, TABLES, main_cf, policy, senders, setting
from images.docker import Lab, eventually
from images.gateway import LOADED, Gateway, am_pdp, amavis_ready, started_gateway
from images.mails import EICAR, GTUBE, mail
from images.nexthop import NextHop, started_next_hop
from images.pod import Pod, started_pod, tables_hash

PORT = 2587
FAR = "friend@far.example"
OWN = TABLES | {
    "outgoing_networks": "10.0.0.0/8\tpermit\n172.16.0.0/12\tpermit\n192.168.0.0/16\tpermit\n",
    "outgoing_senders": "<>\tpermit\nexample.com\tpermit\n.example.com\tpermit\nexample.org\tpermit\n",
}
STRANGERS = OWN | {"outgoing_networks": "198.51.100.0/24\tpermit\n"}
COM = [{"domain": "example.com", "selector": "s1"}, {"domain": "example.com", "selector": "e1"}]
ORG = [{"domain": "example.org", "selector": "late"}]
SIGNING = {"example.com": COM, ".example.com": COM, "quiet.example.com": [], "example.org": ORG}


def new_key(path: Path, *kind: str) -> None:
    path.parent.mkdir(exist_ok=True)
    subprocess.run(("openssl", "genpkey", *kind, "-out", path), check=True, capture_output=True)
    path.chmod(0o644)


@dataclass
class World:
    """A gateway with a way out, the server that takes what goes out, and the keys."""

    gateway: Gateway
    hop: NextHop
    keys: Path

    def send(self, message: EmailMessage | bytes, *recipients: str, sender: str = "alice@example.com") -> None:
        with smtplib.SMTP(self.gateway.postfix.address, PORT, timeout=30) as client:
            if isinstance(message, bytes):
                client.sendmail(sender, recipients or [FAR], message, ["BODY=8BITMIME"])
            else:
                client.send_message(message, sender, recipients or [FAR])

    def taken(self, subject: str) -> list[bytes]:
        """What the server out there took, as it came."""
        lines = f"\nSubject: {subject}\r\n".encode()
        return [plain(one) for one in self.hop.mails if lines in one.partition(b"\r\n\r\n")[0] + b"\r\n"]

    def arrived(self, subject: str) -> bytes:
        """The one mail of that subject, waited for."""
        eventually(lambda: self.taken(subject), f"{subject} goes out")
        self.gateway.idle()
        (found,) = self.taken(subject)
        return found

    def report(self) -> dict[str, dict[str, str | None]]:
        """What the agent reads of the keys."""
        am_pdp(self.gateway.amavis, ["request=smtpd_access_policy"])
        found: dict[str, dict[str, str | None]] = json.loads(self.gateway.amavis.read("/run/amavis/dkim.json") or b"")
        return found

    def verified(self, message: bytes) -> list[str]:
        """Result, domain, identity and algorithm of each signature, checked with the records that amavis told."""
        records = [
            f"{name.split('/')[1]}._domainkey.{name.split('/')[0]}={state['record']}"
            for name, state in self.report().items()
            if state["record"]
        ]
        done = self.gateway.amavis.run("perl", "/verify.pl", *records, stdin=message)
        return sorted(done.stdout.decode().splitlines())

    def set_tables(self, tables: dict[str, str]) -> None:
        self.gateway.config.write({"main.cf": main_cf(), **tables})
        wanted = tables_hash(tables)
        eventually(lambda: (self.gateway.postfix.read(LOADED) or b"").decode().strip() == wanted, "in force")

    def waiting(self, count: int) -> list[str]:
        """Why mails wait, when so many do."""

        def reasons() -> list[str]:
            waits = [one for one in self.gateway.queue() if one["queue_name"] == "deferred"]
            return [str(one["recipients"][0]["delay_reason"]) for one in waits] if len(waits) == count else []

        return eventually(reasons, f"{count} mails wait")


def plain(mail: bytes) -> bytes:
    """Without the dots that SMTP puts before dots."""
    return b"".join(line[1:] if line.startswith(b".") else line for line in mail.splitlines(keepends=True))


BOTH = [
    "pass example.com @example.com ed25519-sha256",
    "pass example.com @example.com rsa-sha256",
]


@pytest.fixture(scope="module")
def started(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    lab = Lab(images, network, tmp_path_factory.mktemp("outgoing"))
    keys = lab.volume()
    new_key(keys / "example.com/s1.pem", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    new_key(keys / "example.com/e1.pem", "-algorithm", "ED25519")
    volumes = {"/etc/mailfilter/dkim": keys, "/verify.pl": Path(__file__).with_name("verify.pl")}
    with ExitStack() as stack:
        # It takes no 8-bit mail: Postfix converts what it gives to such a server.
        hop = stack.enter_context(started_next_hop(lab, FAR, extensions=()))
        parameters = OUTGOING | BEFORE_QUEUE | {"default_transport": f"smarthost:{hop.address}"}
        gateway = stack.enter_context(started_gateway(lab, {"AMAVIS_OUTGOING": "1"}, volumes, OWN, **parameters))
        yield World(gateway, hop, keys)


@pytest.fixture
def world(started: World) -> Iterator[World]:
    started.gateway.set_policy(policy(signing=SIGNING))
    yield started
    started.set_tables(OWN)
    started.gateway.idle()


def test_a_mail_goes_out_once_with_a_signature_of_each_key(world: World) -> None:
    world.send(mail("out", "How are you?", sender="alice@example.com"))
    assert world.verified(world.arrived("out")) == BOTH


def test_authors_in_a_subdomain_are_signed_for_by_the_domain_above_unless_it_is_declared_by_itself(
    world: World,
) -> None:
    world.send(mail("sub", "How are you?", sender="alice@Sub.Example.com"))
    world.send(mail("quiet", "How are you?", sender="alice@quiet.example.com"))
    found = world.verified(world.arrived("sub"))
    assert [one.split()[:2] for one in found] == [["pass", "example.com"]] * 2
    assert all(one.split()[2].lower() == "@sub.example.com" for one in found)
    assert world.verified(world.arrived("quiet")) == []


LINE = "ü" * 30 + " " + "x" * 1500
HEADER = (
    "From: alice@example.com\r\nSubject: {0}\r\nDate: {1}\r\nMessage-ID: <{0}@example.com>\r\nMIME-Version: 1.0\r\n"
)


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("eight", f"Grüße\r\n.\r\n..dots\r\n{LINE}\r\ntrailing \t \r\n\r\n\r\n"),
        ("bare", "one\ntwo\r\nthree"),
        ("long", "y" * 5000 + "\r\n"),
        ("empty", ""),
    ],
)
def test_b60_nothing_is_converted_after_the_signature(world: World, subject: str, body: str) -> None:
    header = HEADER.format(subject, mail("x", "")["Date"])
    header += "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    world.send((header + body).encode())
    found = world.arrived(subject)
    assert found.isascii()
    assert max(map(len, found.splitlines())) <= 998
    assert world.verified(found) == BOTH


def test_no_domain_signs_for_an_author_who_is_not_its_own(world: World) -> None:
    world.send(mail("forged", "hello", sender="ceo@bank.example"))
    with_sender = mail("with sender", "hello", sender="ceo@bank.example")
    with_sender["Sender"] = with_sender["Resent-From"] = "alice@example.com"
    world.send(with_sender)
    two = mail("two authors", "hello", sender="alice@example.com").as_bytes()
    world.send(b"From: ceo@bank.example\r\n" + two.replace(b"\n", b"\r\n"))
    both = mail("both authors", "hello", sender="alice@example.com, ceo@bank.example")
    world.send(both)
    for subject in ("forged", "with sender", "two authors", "both authors"):
        assert b"DKIM-Signature" not in world.arrived(subject), subject


def test_while_the_key_is_missing_or_broken_mail_waits_and_then_is_signed(world: World) -> None:
    world.send(mail("early", "hello", sender="alice@example.org"), sender="alice@example.org")
    assert "no DKIM key of example.org can be used" in world.waiting(1)[0]
    assert world.report()["example.org/late"] == {"record": None, "error": "missing"}
    late = world.keys / "example.org/late.pem"
    late.parent.mkdir(exist_ok=True)
    late.write_text("-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n")
    assert world.report()["example.org/late"]["error"] == "neither an RSA nor an Ed25519 private key"
    world.gateway.flush()
    assert "no DKIM key of example.org can be used" in world.waiting(1)[0]
    assert not world.taken("early")
    new_key(late, "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")
    world.gateway.idle()
    assert world.verified(world.arrived("early")) == ["pass example.org @example.org rsa-sha256"]


def test_a_renewed_key_signs_at_once_and_one_that_is_left_is_enough(world: World) -> None:
    e1 = world.keys / "example.com/e1.pem"
    before = world.report()["example.com/e1"]["record"]
    new_key(e1.with_suffix(".new"), "-algorithm", "ED25519")
    e1.with_suffix(".new").rename(e1)
    world.send(mail("renewed", "hello", sender="alice@example.com"))
    assert world.verified(world.arrived("renewed")) == BOTH
    assert world.report()["example.com/e1"]["record"] != before
    e1.rename(e1.with_suffix(".away"))
    world.send(mail("one left", "hello", sender="alice@example.com"))
    assert world.verified(world.arrived("one left")) == BOTH[1:]
    e1.with_suffix(".away").rename(e1)


def test_viruses_and_spam_of_insiders_are_held_and_nobody_is_told(world: World) -> None:
    before = world.gateway.held()
    world.send(mail("infected out", EICAR, sender="alice@example.com"))
    world.send(mail("gtube out", GTUBE, sender="alice@example.com"))
    world.gateway.idle()
    assert sorted(name.split("/")[0] for name in world.gateway.held() if name not in before) == ["spam", "virus"]
    assert world.gateway.report("gtube out")["actions_performed"].startswith("DiscardedOutbound Quarantined")
    assert not world.taken("infected out") + world.taken("gtube out")
    assert not [text for text in world.gateway.delivered("") if "infected out" in text or "gtube out" in text]


def test_held_outgoing_mail_is_released_to_the_world_and_signed(world: World) -> None:
    world.send(mail("gtube released", GTUBE, sender="alice@example.com"))
    held = str(world.gateway.report("gtube released")["quarantine"])
    replies = world.gateway.release(held, FAR, key="release-out")
    assert [reply[:10] for reply in replies] == ["250 2.0.0 "]
    assert world.verified(world.arrived("gtube released")) == BOTH
    (world.keys / "example.com").rename(world.keys / "away")
    replies = world.gateway.release(held, FAR, key="release-again")
    (world.keys / "away").rename(world.keys / "example.com")
    assert replies[0].startswith("450 4.5.0 ERROR: no DKIM key of example.com can be used")
    assert len(world.taken("gtube released")) == 1


def test_b21_held_mail_that_came_from_outside_is_never_released_to_the_world(world: World) -> None:
    forged = mail("gtube forged", GTUBE, sender="alice@example.com")
    forged["Received"] = (
        "from mx.filter.example ([192.0.2.1]) by localhost (filter.example.net [192.0.2.2]) (amavis, port 10028) "
        "with ESMTP id x; Wed, 25 Nov 2026 00:00:00 +0000 (UTC)"
    )
    levels = policy()["levels"] | {"cutoff": setting(2000.0)}
    world.gateway.set_policy(policy(signing=SIGNING, levels=levels))
    world.gateway.send(forged)
    held = str(world.gateway.report("gtube forged")["quarantine"])
    assert world.gateway.release(held, FAR)[0].startswith("554 5.7.1 ")
    assert world.gateway.release(held, "bob@example.com")[0].startswith("250 2.0.0 ")
    world.gateway.idle()
    (delivered,) = world.gateway.delivered("gtube forged")
    assert "DKIM-Signature" not in delivered
    assert not world.taken("gtube forged")


def test_denied_senders_are_those_who_forge_a_domain_outside(world: World) -> None:
    world.gateway.set_policy(policy(signing=SIGNING, senders=senders(deny=["example.com"])))
    world.send(mail("denied outside", "hello", sender="alice@example.com"))
    assert world.verified(world.arrived("denied outside")) == BOTH


def test_mail_between_own_domains_and_bounces_go_to_the_next_hops(world: World) -> None:
    world.send(mail("inside", "hello", sender="alice@example.com"), "bob@example.org", FAR)
    assert world.verified(world.arrived("inside")) == BOTH
    (delivered,) = world.gateway.delivered("inside")
    assert "X-Rcpt-Args: <bob@example.org>" in delivered
    assert "DKIM-Signature: " in delivered
    world.send(mail("to nobody", "hello", sender="alice@example.com"), "nobody@far.example")
    world.gateway.idle()
    (bounce,) = [text for text in world.gateway.delivered("Undelivered") if "to nobody" in text]
    assert "X-Mail-Args: <>" in bounce
    assert "X-Rcpt-Args: <alice@example.com>" in bounce


def test_suspended_filtering_lets_nothing_out(world: World) -> None:
    world.set_tables(OWN | {"filtering": "suspended\tHold\n"})
    world.send(mail("held out", "hello", sender="alice@example.com"))
    assert world.waiting(1) == ["deferred transport"]
    world.gateway.flush()
    eventually(lambda: "filtering is suspended" in world.waiting(1)[0], "a flush changes nothing")
    world.set_tables(OWN | {"filtering": "suspended\tPassThrough\n"})
    world.gateway.flush()
    assert world.verified(world.arrived("held out")) == BOTH
    world.gateway.amavis.stop()
    world.send(mail("not unsigned", "hello", sender="alice@example.com"))
    world.waiting(1)
    assert not world.taken("not unsigned")
    world.gateway.amavis.start()
    amavis_ready(world.gateway.amavis)
    world.gateway.idle()
    assert world.verified(world.arrived("not unsigned")) == BOTH


# --- the door of the way out, without a filter behind it


@pytest.fixture(scope="module")
def pod(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    with started_pod(Lab(images, network, tmp_path_factory.mktemp("door")), OWN, **OUTGOING) as pod:
        yield pod


def answer(pod: Pod, port: int, sender: str, recipient: str = FAR) -> str:
    """The first refusal of a sender and recipient; empty when there is none."""
    with smtplib.SMTP(pod.postfix.address, port, timeout=30) as client:
        client.ehlo()
        for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>"):
            code, text = client.docmd(command)
            if code != 250:
                return f"{code} {text.decode()}"
    return ""


@pytest.mark.parametrize("port", [PORT, 10029])
def test_only_own_senders_send(pod: Pod, port: int) -> None:
    for sender in ("alice@example.com", "alice@a.b.Example.COM", "alice@example.org", ""):
        assert answer(pod, port, sender) == "", sender
    for sender in (
        "ceo@bank.example",
        "alice@sub.example.org",
        "alice@notexample.com",
        "alice@example.com.bank.example",
        "alice%example.com@bank.example",
        '"alice@example.com"@bank.example',
        "alice",
        "@example.com:ceo@bank.example",
    ):
        assert answer(pod, port, sender).startswith(("554 5.7.1 ", "504 5.5.2 ")), sender


def test_configuration_with_a_way_out_is_clean(pod: Pod) -> None:
    for command in (("postfix", "check"), ("postconf", "-n"), ("postconf", "-M"), ("postconf", "-P")):
        assert pod.postfix.run(*command).stderr == b"", command
    assert "warning" not in pod.postfix.log


def test_dns_lists_are_asked_about_strangers_alone(lab: Lab) -> None:
    with started_pod(lab, OWN, **OUTGOING, postscreen_dnsbl_sites="bl.example.net") as pod:
        services = {
            line.split()[0]: line.split()[7] for line in pod.postfix.run("postconf", "-M").stdout.decode().splitlines()
        }
        assert (services["2525"], services["2587"], services["10029"]) == ("postscreen", "smtpd", "smtpd")
        assert answer(pod, PORT, "alice@example.com") == ""


def test_b21_other_ports_relay_for_nobody(pod: Pod) -> None:
    for port in (2525, 10025):
        assert answer(pod, port, "alice@example.com").startswith("554 5.7.1 ")


def test_internationalised_addresses_are_not_taken(pod: Pod) -> None:
    with smtplib.SMTP(pod.postfix.address, PORT, timeout=30) as client:
        client.ehlo()
        assert client.has_extn("8bitmime")
        assert not client.has_extn("smtputf8")
        assert client.docmd("MAIL FROM:<alice@example.com> SMTPUTF8")[0] >= 500


def test_b21_who_is_no_client_sends_nothing(pod: Pod) -> None:
    pod.set_tables(STRANGERS, main_cf(**OUTGOING))
    assert answer(pod, PORT, "alice@example.com").startswith("554 5.7.1 ")
    assert answer(pod, PORT, "alice@example.com", "bob@example.com").startswith("554 5.7.1 ")
    assert answer(pod, PORT, "").startswith("554 5.7.1 ")
    pod.set_tables(OWN | {"outgoing_networks": ""}, main_cf(**OUTGOING))
    assert answer(pod, PORT, "alice@example.com").startswith("554 5.7.1 ")
    pod.set_tables(OWN, main_cf(**OUTGOING))
    assert answer(pod, PORT, "alice@example.com") == ""


def test_b21_what_comes_back_from_the_filter_comes_from_private_addresses(lab: Lab) -> None:
    parameters = OUTGOING | {"reinjection_networks": "192.0.2.0/24"}
    with started_pod(lab, OWN, **parameters) as pod:
        assert answer(pod, 10029, "alice@example.com").startswith("554 5.7.1 ")
        assert answer(pod, 10029, "").startswith("554 5.7.1 ")
