"""What becomes of viruses, banned attachments and archives on the real chain, and which kinds are stored."""

import secrets
import smtplib
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from images.configuration import policy, setting
from images.gateway import Gateway, clamd_ready
from images.mails import EICAR, GTUBE, attached, exe, mail
from support.mail import zipped


@pytest.fixture
def gateway(after_queue: Gateway) -> Iterator[Gateway]:
    """The gateway with the policy and tables that it started with, its queue empty."""
    after_queue.set_policy(policy())
    yield after_queue
    after_queue.idle()


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
    assert gateway.held_after(subject).startswith("banned/")
    assert not gateway.delivered(subject)


def encrypted(name: str) -> bytes:
    """A zip file that says of its one file that it is encrypted."""
    octets = bytearray(zipped({name: b"0123456789" * 20}))
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        octets[octets.index(header) + flags] |= 1
    return bytes(octets)


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
        assert gateway.held_after(subject).startswith("banned/")
        assert not gateway.delivered("***UNCHECKED*** " + subject)
        assert not gateway.delivered(subject)
    else:
        assert len(gateway.delivered(tag + subject)) == 1
        assert "quarantine" not in report


def test_names_in_an_encrypted_archive_are_checked(gateway: Gateway) -> None:
    gateway.set_policy(policy(encryptedArchives="Pass"))
    gateway.send(attached("locked program", "a.zip", encrypted("tool.exe")))
    assert gateway.held_after("locked program").startswith("banned/")


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
    assert gateway.held_after("not scanned, but banned").startswith("banned/")


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
    assert gateway.held_after(subject).startswith("banned/")
    gateway.idle()
    assert not gateway.delivered(subject)


def test_without_decoding_clamd_still_sees_the_mail(gateway: Gateway) -> None:
    gateway.set_policy(policy(decoding=policy()["decoding"] | {"enabled": False}))
    gateway.send(exe("not unpacked"))
    gateway.send(attached("not unpacked infected", "a.zip", zipped({"a.txt": EICAR.encode()})))
    assert gateway.report("not unpacked")["content_type"] == "Clean"
    assert gateway.held_after("not unpacked infected").startswith("virus/")


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


def test_b51_spamassassin_sees_the_beginning_of_large_mail(gateway: Gateway) -> None:
    levels = policy()["levels"] | {"cutoff": {"default": 2000.0, "by": {}}}
    gateway.set_policy(policy(levels=levels))
    large = attached("large", "a.bin", secrets.token_bytes(450_000))
    gateway.send(large)
    assert gateway.report("large")["spam_truncated"] is True
    message = mail("large spam", GTUBE)
    message.add_attachment(secrets.token_bytes(450_000), maintype="application", subtype="x", filename="a.bin")
    gateway.send(message)
    assert gateway.held_after("large spam").startswith("spam/")
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
    assert gateway.held_after("ambiguous").startswith("banned/")
    assert not gateway.delivered("ambiguous")


def test_two_verdicts_in_one_mail(gateway: Gateway) -> None:
    levels = policy()["levels"] | {"kill": setting(5.0, {"eager@example.com": 5000})}
    levels["cutoff"] = setting(2000.0)
    gateway.set_policy(policy(levels=levels))
    gateway.send(mail("two verdicts", GTUBE), "bob@example.com", "eager@example.com")
    gateway.idle()
    (delivered,) = gateway.delivered("***SPAM*** two verdicts")
    assert "<eager@example.com>" in delivered
    assert "<bob@example.com>" not in delivered.partition("\n\n")[0].partition("Received:")[0]
    identity = gateway.held_after("two verdicts")
    (reply,) = gateway.release(identity, "bob@example.com", key="two-verdicts")
    assert reply.startswith("250 2.0.0 ")
    gateway.idle()
    assert any("X-Rcpt-Args: <bob@example.com>" in m for m in gateway.delivered("two verdicts"))
