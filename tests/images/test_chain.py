"""One gateway of real containers: what becomes of a mail, by its score, its addresses and the policy."""

import json
import smtplib
from collections.abc import Iterator

import pytest

from images.configuration import BANNED, TABLES, main_cf, policy, senders, setting
from images.docker import Container, Lab, docker, eventually
from images.gateway import LOADED, Gateway, clamd_ready, started_dns, started_gateway
from images.mails import EICAR, GTUBE, exe, mail


@pytest.fixture(scope="module")
def module_lab(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(images, network, tmp_path_factory.mktemp("chain"))


@pytest.fixture(scope="module")
def dns(module_lab: Lab) -> Iterator[Container]:
    """The DNS server that the filter could ask."""
    with started_dns(module_lab) as server:
        yield server


@pytest.fixture(scope="module")
def chain(module_lab: Lab, dns: Container) -> Iterator[Gateway]:
    with started_gateway(module_lab, {"AMAVIS_DNS_SERVERS": dns.address}) as gateway:
        yield gateway


@pytest.fixture
def gateway(chain: Gateway) -> Iterator[Gateway]:
    """The gateway with the policy and tables that it started with, its queue empty."""
    chain.set_policy(policy())
    yield chain
    chain.idle()


def established(container: Container, port: int) -> bool:
    """Whether a process inside is connected to that port of another host."""
    lines = container.run("cat", "/proc/net/tcp", "/proc/net/tcp6").stdout.decode().splitlines()
    sockets = [line.split() for line in lines]
    return any(fields[2].endswith(f":{port:04X}") and fields[3] == "01" for fields in sockets)


def listening(container: Container) -> set[int]:
    """Ports where it takes connections."""
    lines = container.run("cat", "/proc/net/tcp", "/proc/net/tcp6").stdout.decode().splitlines()
    sockets = [line.split() for line in lines]
    return {int(fields[1].rpartition(":")[2], 16) for fields in sockets if fields[3] == "0A"}


def test_clean_mail_is_delivered_once(gateway: Gateway) -> None:
    gateway.send(mail("clean", "How are you?"))
    gateway.idle()
    (delivered,) = gateway.delivered("clean")
    assert "X-Rcpt-Args: <bob@example.com>" in delivered
    assert "X-Mail-Args: <alice@client.example>" in delivered
    assert "X-Virus-Scanned" in delivered
    assert "X-Spam-" not in delivered
    report = gateway.report("clean")
    assert report["content_type"] == "Clean"
    assert report["policy_banks"][0].startswith("P-")
    assert {"SpamCheck", "VirusCheck", "Total"} <= report["elapsed"].keys()


def test_local_tests_ask_nobody_and_forged_results_go(gateway: Gateway, dns: Container) -> None:
    message = mail("unasked", "Look at http://www.example.net/ now.")
    message["DKIM-Signature"] = "v=1; a=rsa-sha256; c=simple/simple; d=client.example; s=x; h=from; bh=eA==; b=eA=="
    for result in ("filter.example.net; dkim=pass", "other.example; dkim=pass"):
        message["Authentication-Results"] = result
    gateway.send(message)
    gateway.idle()
    (delivered,) = gateway.delivered("unasked")
    assert [line for line in delivered.splitlines() if line.startswith("Authentication-Results")] == [
        "Authentication-Results: other.example; dkim=pass"
    ]
    assert "asked" not in dns.log


def test_b21_there_is_no_way_out_unless_it_is_declared(gateway: Gateway) -> None:
    assert {2525, 10025} <= listening(gateway.postfix)
    assert not {2587, 10029} & listening(gateway.postfix)
    assert {10024, 10026} <= listening(gateway.amavis)
    assert 10028 not in listening(gateway.amavis)


def test_mail_to_a_subdomain_is_local(gateway: Gateway) -> None:
    gateway.set_policy(policy(spamRules="body MODERATE /moderate/\nscore MODERATE 3.5\n"))
    gateway.send(mail("subdomain", "moderate", to="bob@deep.sub.example.com"))
    gateway.idle()
    (delivered,) = gateway.delivered("subdomain")
    assert "X-Spam-Status: No, score=3.5" in delivered


def test_b50_spam_levels_decide(gateway: Gateway) -> None:
    rules = "".join(f"body S{n} /points{n}\\b/\nscore S{n} {n / 10}\n" for n in (15, 35, 70, 120))
    gateway.set_policy(policy(spamRules=rules))
    for points in (15, 35, 70, 120):
        gateway.send(mail(f"level {points}", f"points{points}"))
    gateway.idle()
    assert "X-Spam" not in gateway.delivered("level 15")[0]
    tagged = gateway.delivered("level 35")[0]
    assert "X-Spam-Status: No, score=3.5" in tagged
    assert "X-Spam-Flag: YES" not in tagged
    assert not gateway.delivered("level 70")
    assert gateway.held_after("level 70").startswith("spam/")
    assert not gateway.delivered("level 120")
    assert "quarantine" not in gateway.report("level 120")


def test_spam_between_tag2_and_kill_is_marked(gateway: Gateway) -> None:
    levels = policy()["levels"] | {"kill": setting(9.0)}
    gateway.set_policy(policy(levels=levels, spamRules="body SEVEN /seven/\nscore SEVEN 7\n"))
    gateway.send(mail("marked", "seven"))
    gateway.idle()
    (delivered,) = gateway.delivered("***SPAM*** marked")
    assert "X-Spam-Flag: YES" in delivered


def test_b11_spam_is_held_on_a_fresh_volume(gateway: Gateway) -> None:
    levels = policy()["levels"] | {"cutoff": setting(2000.0)}
    gateway.set_policy(policy(levels=levels))
    gateway.send(mail("gtube held", GTUBE))
    gateway.idle()
    identity = gateway.held_after("gtube held")
    directory, letter, name = identity.split("/")
    assert (directory, letter) == ("spam", name[0])
    assert identity in gateway.held()
    assert not gateway.delivered("gtube held")


def test_spam_above_the_cutoff_is_not_kept(gateway: Gateway) -> None:
    before = gateway.held()
    gateway.send(mail("gtube gone", GTUBE))
    gateway.idle()
    assert gateway.report("gtube gone")["content_type"] == "Spam"
    assert gateway.held() == before
    assert not gateway.delivered("gtube gone")


def test_the_log_level_changes_with_the_policy(gateway: Gateway) -> None:
    gateway.set_policy(policy(logLevel=3))
    gateway.send(mail("told at length", "hello"))
    identity = gateway.report("told at length")["log_id"]
    assert f"({identity}) Checking: " in gateway.amavis.log
    gateway.set_policy(policy(logLevel=0))
    gateway.send(mail("told briefly", "hello"))
    identity = gateway.report("told briefly")["log_id"]
    assert f"({identity}) Checking: " not in gateway.amavis.log


def test_b34_without_a_scanner_mail_waits_and_is_then_delivered_once(gateway: Gateway) -> None:
    gateway.clamd.stop()
    gateway.send(mail("waits", "clean"))
    gateway.send(mail("waits infected", EICAR))
    eventually(lambda: len([m for m in gateway.queue() if "ALL VIRUS SCANNERS FAILED" in str(m)]) == 2, "both deferred")
    assert not gateway.delivered("waits")
    gateway.clamd.start()
    clamd_ready(gateway.clamd)
    gateway.idle()
    assert len(gateway.delivered("waits")) == 1
    assert not gateway.delivered("waits infected")


def test_mail_in_the_hands_of_a_dying_clamd_waits_no_longer_than_that(gateway: Gateway) -> None:
    """amavis asks the closed connection for the next line again and again by itself, 36 s long with these settings."""
    docker("kill", "--signal", "STOP", gateway.clamd.name)
    gateway.send(mail("orphaned", "clean"))
    eventually(lambda: established(gateway.amavis, 3310), "amavis waits for clamd")
    docker("kill", gateway.clamd.name)
    eventually(lambda: "ALL VIRUS SCANNERS FAILED" in str(gateway.queue()), "amavis gives up", 20)
    gateway.clamd.start()
    clamd_ready(gateway.clamd)
    gateway.idle()
    assert len(gateway.delivered("orphaned")) == 1


def test_policy_change_is_obeyed_by_the_next_mail(gateway: Gateway) -> None:
    pids = gateway.amavis.run("sh", "-c", "echo /proc/[0-9]*").stdout
    gateway.set_policy(policy(senders=senders(deny=["alice@client.example"])))
    gateway.send(mail("denied", "hello"))
    assert gateway.report("denied")["content_type"] == "Spam"
    gateway.set_policy(policy(senders=senders(allow=["alice@client.example"])))
    gateway.send(mail("allowed", GTUBE))
    assert gateway.report("allowed")["content_type"] == "Clean"
    gateway.set_policy(policy(banned=setting(BANNED | {"enabled": False})))
    gateway.send(exe("not banned"))
    assert gateway.report("not banned")["content_type"] == "Clean"
    banks = [r["policy_banks"][0] for r in gateway.reports()[-3:]]
    assert len(set(banks)) == 3
    assert pids.split()[0] in gateway.amavis.run("sh", "-c", "echo /proc/[0-9]*").stdout
    assert "no policy" not in gateway.amavis.log


def test_a_refused_policy_leaves_the_last_good_one_in_force(gateway: Gateway) -> None:
    gateway.set_policy(policy(senders=senders(deny=["alice@client.example"])))
    gateway.send(mail("before", "hello"))
    judged = gateway.report("before")["policy_banks"]
    gateway.policy.write({"policy.json": '{"version": 1'})
    for number in range(4):
        gateway.send(mail(f"after {number}", "hello"))
    gateway.idle()
    assert [gateway.report(f"after {number}")["policy_banks"] for number in range(4)] == [judged] * 4
    refused = json.loads(gateway.amavis.read("/run/amavis/policy.refused") or b"")
    assert refused["reason"] == "not a JSON document"
    gateway.set_policy(policy())
    gateway.send(mail("healed", "hello"))
    gateway.report("healed")
    assert gateway.amavis.read("/run/amavis/policy.refused") is None


def test_b14_an_alias_is_expanded_once(gateway: Gateway) -> None:
    aliases = {"virtual_alias": "junior@example.com\tjunior@example.com, team@example.com\n"}
    before = gateway.postfix.read(LOADED)
    gateway.config.write({"main.cf": main_cf(), **TABLES, **aliases})
    eventually(lambda: gateway.postfix.read(LOADED) != before, "Postfix with the alias")
    gateway.send(mail("alias", "hello", to="junior@example.com"))
    gateway.idle()
    recipients = [
        line.split()[1] for m in gateway.delivered("alias") for line in m.splitlines() if line.startswith("X-Rcpt-Args")
    ]
    assert sorted(recipients) == ["<junior@example.com>", "<team@example.com>"]


def test_mail_to_postmaster_without_a_domain_arrives(gateway: Gateway) -> None:
    before = gateway.postfix.read(LOADED)
    taken = {"reinjection_recipients": "postmaster@mx.filter.example\tOK\n"}
    aliases = {"virtual_alias": "postmaster@mx.filter.example\tadmin@example.com\n"}
    gateway.config.write({"main.cf": main_cf(), **TABLES, **taken, **aliases})
    eventually(lambda: gateway.postfix.read(LOADED) != before, "Postfix with the alias")
    gateway.send(mail("to the postmaster", "hello"), "postmaster")
    gateway.idle()
    (delivered,) = gateway.delivered("to the postmaster")
    assert "X-Rcpt-Args: <admin@example.com>" in delivered


def test_b60_8bit_mail_arrives_unchanged(gateway: Gateway) -> None:
    body = (
        "From: alice@client.example\r\nTo: bob@example.com\r\nSubject: 8bit\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        "Grüße, привет\r\n"
    )
    with smtplib.SMTP(gateway.postfix.address, 2525) as client:
        client.sendmail("alice@client.example", ["bob@example.com"], body.encode(), ["BODY=8BITMIME"])
    gateway.idle()
    (delivered,) = gateway.delivered("8bit")
    assert delivered.rstrip().endswith("Content-Transfer-Encoding: 8bit\n\nGrüße, привет")


def test_b61_a_header_with_raw_bytes_passes(gateway: Gateway) -> None:
    name = "你好".encode("gbk")
    raw = b"From: " + name + b" <alice@client.example>\r\nTo: bob@example.com\r\nSubject: raw header\r\n\r\nhello\r\n"
    with smtplib.SMTP(gateway.postfix.address, 2525) as client:
        client.sendmail("alice@client.example", ["bob@example.com"], raw)
    gateway.idle()
    assert gateway.delivered("raw header")
    dump = gateway.sink.run("sh", "-c", "cat /tmp/mail.*").stdout
    assert b"From: " + name + b" <alice@client.example>" in dump


def test_b61_an_internationalised_address_passes_every_hop_of_ours(gateway: Gateway) -> None:
    message = mail("smtputf8", "hello", sender="пример@client.example")
    with smtplib.SMTP(gateway.postfix.address, 2525) as client:
        client.ehlo("client.example")
        client.mail("пример@client.example", ["SMTPUTF8", "BODY=8BITMIME"])
        client.rcpt("bob@example.com")
        assert client.data(message.as_bytes())[0] == 250
    report = gateway.report("smtputf8")
    assert report["mail_from"] == "пример@client.example"
    assert report["queued_as"]
