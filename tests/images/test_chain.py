"""One gateway of real containers: what becomes of each kind of mail, and of a release."""

import io
import json
import secrets
import smtplib
import threading
import zipfile
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from images.docker import Container, Lab, docker, eventually
from images.gateway import (
    BANNED,
    EICAR,
    GTUBE,
    LOADED,
    TABLES,
    Gateway,
    clamd_ready,
    mail,
    main_cf,
    policy,
    senders,
    setting,
    started_dns,
    started_gateway,
)


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


def exe(subject: str, name: str = "tool.exe") -> EmailMessage:
    return attached(subject, name, b"MZ\x90\x00not really")


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


def held_after(gateway: Gateway, subject: str) -> str:
    """The quarantine id of the mail with that subject."""
    return str(gateway.report(subject)["quarantine"])


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
    assert held_after(gateway, "level 70").startswith("spam/")
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
    identity = held_after(gateway, "gtube held")
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


def test_virus_is_held_and_the_administrator_told(gateway: Gateway) -> None:
    notices = policy()["notifications"] | {"virusAdmin": "admin@example.com"}
    gateway.set_policy(policy(notifications=notices))
    gateway.send(mail("infected", EICAR))
    gateway.idle()
    report = gateway.report("infected")
    assert report["content_type"] == "Virus"
    assert report["quarantine"].startswith("virus/")
    assert not gateway.delivered("infected")
    (notice,) = gateway.delivered("VIRUS (Custom.EICAR.ndb.UNOFFICIAL) in mail FROM")
    assert "X-Rcpt-Args: <admin@example.com>" in notice
    assert "X-Mail-Args: <postmaster@example.com>" in notice
    assert "From: Content-filter <postmaster@example.com>" in notice


@pytest.mark.parametrize("name", ["tool.exe", "TOOL.EXE", "tool.exe. "])
def test_banned_attachment_is_held(gateway: Gateway, name: str) -> None:
    subject = f"attached {name!r}"
    gateway.send(exe(subject, name))
    gateway.idle()
    assert held_after(gateway, subject).startswith("banned/")
    assert not gateway.delivered(subject)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def encrypted(name: str) -> bytes:
    """A zip file that says of its one file that it is encrypted."""
    octets = bytearray(zipped({name: b"0123456789" * 20}))
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        octets[octets.index(header) + flags] |= 1
    return bytes(octets)


def attached(subject: str, name: str, content: bytes) -> EmailMessage:
    message = mail(subject, "see attachment")
    message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return message


@pytest.mark.parametrize(("choice", "tag"), [("Tag", "***UNCHECKED*** "), ("Pass", ""), ("Quarantine", None)])
def test_an_encrypted_archive_becomes_what_the_policy_says(gateway: Gateway, choice: str, tag: str | None) -> None:
    subject = f"locked for {choice}"
    gateway.set_policy(policy(encryptedArchives=choice))
    gateway.send(attached(subject, "a.zip", encrypted("a.txt")))
    gateway.idle()
    report = gateway.report(subject)
    assert report["content_type"] == "UncheckedEncrypted"
    assert "V" in report["checks_performed"].split()
    if tag is None:
        assert held_after(gateway, subject).startswith("banned/")
        assert not gateway.delivered("***UNCHECKED*** " + subject)
        assert not gateway.delivered(subject)
    else:
        assert len(gateway.delivered(tag + subject)) == 1
        assert "quarantine" not in report


def test_names_in_an_encrypted_archive_are_checked(gateway: Gateway) -> None:
    gateway.set_policy(policy(encryptedArchives="Pass"))
    gateway.send(attached("locked program", "a.zip", encrypted("tool.exe")))
    assert held_after(gateway, "locked program").startswith("banned/")


def test_without_virus_checks_nothing_waits_for_clamd(gateway: Gateway) -> None:
    gateway.set_policy(policy(virusEnabled=False))
    gateway.clamd.stop()
    gateway.send(mail("not scanned", EICAR))
    gateway.idle()
    gateway.clamd.start()
    clamd_ready(gateway.clamd)
    (delivered,) = gateway.delivered("not scanned")
    assert "X-Virus-Scanned" not in delivered
    assert "V" not in gateway.report("not scanned")["checks_performed"].split()
    gateway.send(exe("not scanned, but banned"))
    assert held_after(gateway, "not scanned, but banned").startswith("banned/")


@pytest.mark.parametrize("virus", [True, False])
@pytest.mark.parametrize(
    "limit", [{"maxLevels": 3}, {"maxFiles": 12}, {"maxExpandedBytes": 102400}], ids=lambda one: next(iter(one))
)
def test_mail_beyond_a_limit_of_decoding_is_held(gateway: Gateway, limit: dict[str, int], virus: bool) -> None:
    subject = f"beyond {next(iter(limit))} {virus}"
    archive = zipped({f"{number}.txt": b"0" * 20_000 for number in range(20)})
    for _ in range(3):
        archive = zipped({"inner.zip": archive})
    kinds = policy()["quarantine"] | {"banned": False}
    gateway.set_policy(policy(virusEnabled=virus, quarantine=kinds))
    gateway.send(attached(f"within {subject}", "a.zip", archive))
    assert gateway.report(f"within {subject}")["content_type"] == "Clean"
    wanted = policy()["decoding"] | limit
    gateway.set_policy(policy(virusEnabled=virus, quarantine=kinds, decoding=wanted))
    gateway.send(attached(subject, "a.zip", archive))
    assert held_after(gateway, subject).startswith("banned/")
    gateway.idle()
    assert not gateway.delivered(subject)


def test_without_decoding_clamd_still_sees_the_mail(gateway: Gateway) -> None:
    gateway.set_policy(policy(decoding=policy()["decoding"] | {"enabled": False}))
    gateway.send(exe("not unpacked"))
    gateway.send(attached("not unpacked infected", "a.zip", zipped({"a.txt": EICAR.encode()})))
    assert gateway.report("not unpacked")["content_type"] == "Clean"
    assert held_after(gateway, "not unpacked infected").startswith("virus/")


KINDS: dict[str, tuple[str, EmailMessage]] = {
    "virus": ("virus", mail("kind virus", EICAR)),
    "spam": ("spam", mail("kind spam", "moderate")),
    "banned": ("banned", attached("kind banned", "a.exe", b"x")),
    "badHeader": ("bad-header", mail("kind badHeader", "hello")),
}
del KINDS["badHeader"][1]["Date"]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_stored_or_not(gateway: Gateway, kind: str, stored: bool) -> None:
    directory, message = KINDS[kind]
    destiny = dict.fromkeys(policy()["destiny"], setting("Discard"))
    gateway.set_policy(
        policy(
            destiny=destiny,
            quarantine=dict.fromkeys(KINDS, not stored) | {kind: stored},
            spamRules="body SEVEN /moderate/\nscore SEVEN 7\n",
        )
    )
    before = gateway.held()
    gateway.send(message)
    gateway.idle()
    report = gateway.report(str(message["Subject"]))
    assert report["action"] == ["DISCARD"]
    new = [one for one in gateway.held() if one not in before]
    assert [one.split("/")[0] for one in new] == ([directory] if stored else [])
    assert not gateway.delivered(str(message["Subject"]))


def test_the_log_level_changes_with_the_policy(gateway: Gateway) -> None:
    gateway.set_policy(policy(logLevel=3))
    gateway.send(mail("told at length", "hello"))
    identity = gateway.report("told at length")["log_id"]
    assert f"({identity}) Checking: " in gateway.amavis.log
    gateway.set_policy(policy(logLevel=0))
    gateway.send(mail("told briefly", "hello"))
    identity = gateway.report("told briefly")["log_id"]
    assert f"({identity}) Checking: " not in gateway.amavis.log


def test_b51_spamassassin_sees_the_beginning_of_large_mail(gateway: Gateway) -> None:
    levels = policy()["levels"] | {"cutoff": {"default": 2000.0, "by": {}}}
    gateway.set_policy(policy(levels=levels))
    large = attached("large", "a.bin", secrets.token_bytes(450_000))
    gateway.send(large)
    assert gateway.report("large")["spam_truncated"] is True
    message = mail("large spam", GTUBE)
    message.add_attachment(secrets.token_bytes(450_000), maintype="application", subtype="x", filename="a.bin")
    gateway.send(message)
    assert held_after(gateway, "large spam").startswith("spam/")
    gateway.send(mail("small", "hello"))
    assert "spam_truncated" not in gateway.report("small")


def test_mail_that_can_be_read_in_two_ways_is_held(gateway: Gateway) -> None:
    """b54."""
    message = (
        "From: alice@client.example\r\nTo: bob@example.com\r\nSubject: ambiguous\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="a"; boundary="b"\r\n\r\n'
        f"--a\r\n\r\n{EICAR[:20]}\r\n--a--\r\n--b\r\n\r\nharmless\r\n--b--\r\n"
    )
    with smtplib.SMTP(gateway.postfix.address, 2525) as client:
        client.sendmail("alice@client.example", ["bob@example.com"], message)
    gateway.idle()
    assert held_after(gateway, "ambiguous").startswith("banned/")
    assert not gateway.delivered("ambiguous")


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


def test_two_verdicts_in_one_mail(gateway: Gateway) -> None:
    levels = policy()["levels"] | {"kill": setting(5.0, {"eager@example.com": 5000})}
    levels["cutoff"] = setting(2000.0)
    gateway.set_policy(policy(levels=levels))
    gateway.send(mail("two verdicts", GTUBE), "bob@example.com", "eager@example.com")
    gateway.idle()
    (delivered,) = gateway.delivered("***SPAM*** two verdicts")
    assert "<eager@example.com>" in delivered
    assert "<bob@example.com>" not in delivered.partition("\n\n")[0].partition("Received:")[0]
    identity = held_after(gateway, "two verdicts")
    (reply,) = gateway.release(identity, "bob@example.com", key="two-verdicts")
    assert reply.startswith("250 2.0.0 ")
    gateway.idle()
    assert any("X-Rcpt-Args: <bob@example.com>" in m for m in gateway.delivered("two verdicts"))


@pytest.fixture
def held(gateway: Gateway, request: pytest.FixtureRequest) -> tuple[str, str]:
    """A held spam: its subject and id."""
    subject = f"held for {request.node.name}"
    levels = policy()["levels"] | {"cutoff": setting(2000.0)}
    gateway.set_policy(policy(levels=levels))
    gateway.send(mail(subject, GTUBE), "bob@example.com", "carol@example.com")
    return subject, held_after(gateway, subject)


def record(gateway: Gateway, key: str, identity: str) -> dict[str, object]:
    mail_id = identity.rpartition("/")[2].removesuffix(".gz")
    content: dict[str, object] = json.loads(
        gateway.amavis.read(f"/var/lib/amavis/quarantine/.releases/{key}.{mail_id}") or b"{}"
    )
    return content


def test_b09_release_keeps_the_sender_and_happens_once(gateway: Gateway, held: tuple[str, str]) -> None:
    subject, identity = held
    both = ("bob@example.com", "carol@example.com")
    replies = [reply for who in both for reply in gateway.release(identity, who, key="k1")]
    assert [reply[:10] for reply in replies] == ["250 2.0.0 ", "250 2.0.0 "]
    assert "queued as" in replies[0]
    assert record(gateway, "k1", identity) == {
        "state": "done",
        "recipients": [*both],
        "replies": replies,
    }
    assert [gateway.release(identity, who, key="k1") for who in both] == [[reply] for reply in replies]
    gateway.idle()
    copies = gateway.delivered(subject)
    assert len(copies) == 2
    for who in both:
        (delivered,) = [copy for copy in copies if f"X-Rcpt-Args: <{who}>" in copy]
        assert "X-Mail-Args: <alice@client.example>" in delivered
        assert f"Resent-To: <{who}>" in delivered
        assert "X-Quarantine-ID" not in delivered
    assert identity in gateway.held()


def test_b01_release_that_postfix_refuses_is_not_a_success(gateway: Gateway, held: tuple[str, str]) -> None:
    subject, identity = held
    for _ in range(2):
        (reply,) = gateway.release(identity, "bob@elsewhere.example", key="k2")
        assert reply.startswith("554 5.7.1 ")
        (other,) = gateway.release(identity, "carol@example.com", key="k2")
        assert other.startswith("250 2.0.0 ")
    gateway.idle()
    assert len(gateway.delivered(subject)) == 1


def test_release_that_another_process_works_at(gateway: Gateway, held: tuple[str, str]) -> None:
    _, identity = held
    path = f"/var/lib/amavis/quarantine/.releases/k3.{identity.rpartition('/')[2].removesuffix('.gz')}"
    lock = "use Fcntl ':flock'; open my $f, '>>', $ARGV[0]; flock $f, LOCK_EX; $| = 1; sleep 5"
    holder = threading.Thread(target=gateway.amavis.run, args=("perl", "-e", lock, path))
    holder.start()
    eventually(lambda: gateway.amavis.read(path) is not None, "the lock's file")
    assert gateway.release(identity, "bob@example.com", key="k3") == ["450 4.5.0 release in progress"]
    holder.join()
    assert gateway.release(identity, "bob@example.com", key="k3")[0].startswith("250 2.0.0 ")


def test_release_that_broke_off_is_not_repeated(gateway: Gateway, held: tuple[str, str]) -> None:
    subject, identity = held
    path = f"/var/lib/amavis/quarantine/.releases/k4.{identity.rpartition('/')[2].removesuffix('.gz')}"
    gateway.amavis.run("sh", "-c", f'echo \'{{"state": "started"}}\' > {path}')
    assert gateway.release(identity, "bob@example.com", key="k4") == ["450 4.5.0 release interrupted"]
    assert not gateway.delivered(subject)


def test_b02_release_of_nothing_is_not_a_success(gateway: Gateway, held: tuple[str, str]) -> None:
    _, identity = held
    assert gateway.release("spam/A/AAAAAAAAAAAA.gz", "bob@example.com", key="k5")[0].startswith(
        "450 4.5.0 Failure: File"
    )
    assert gateway.release("spam/../virus/x", "bob@example.com", key="k5")[0].startswith("450 4.5.0 Failure:")
    assert gateway.release(identity, key="k5")[0].startswith("450 4.5.0 Failure: a release with a key has one")
    assert gateway.release(identity, "bob@example.com", "carol@example.com", key="k5")[0].startswith(
        "450 4.5.0 Failure:"
    )
    assert gateway.release(identity, "bob@example.com", key="k/../5")[0].startswith("450 4.5.0 Failure: malformed")


def test_b03_banned_mail_is_released_as_it_came(gateway: Gateway) -> None:
    gateway.send(exe("banned and released"))
    identity = held_after(gateway, "banned and released")
    assert gateway.release(identity, "bob@example.com", key="k6")[0].startswith("250 2.0.0 ")
    gateway.idle()
    assert 'filename="tool.exe"' in gateway.delivered("banned and released")[0]


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
