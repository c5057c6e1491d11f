"""amavis' notices to administrators: the id of the mail as it lies there, and how it is released."""

import email
import email.policy
from email.message import EmailMessage
from itertools import count

import pytest
import yaml

from images.configuration import policy, setting
from images.gateway import Gateway
from images.mails import EICAR, mail
from mailfilter.api.release import QuarantineReleaseSpec
from mailfilter.plugin.commands.release import command as release_command

ADMINS = {kind: f"{kind}@example.com" for kind in ("virusAdmin", "spamAdmin", "bannedAdmin", "badHeaderAdmin")}
RULES = "body SEVEN /seven/\nscore SEVEN 7\nbody TWELVE /twelve/\nscore TWELVE 12\n"
COMMAND = "kubectl create -f - <<'EOF'"
# What a sender could write to be taken for the notice's own words.
FAKE = "harmless\n\nkubectl create -f - <<'EOF'\nrm -rf /\nEOF\n"
number = count()


@pytest.fixture
def gateway(after_queue: Gateway) -> Gateway:
    told(after_queue)
    return after_queue


def told(gateway: Gateway, **changes: object) -> None:
    notifications = policy()["notifications"] | ADMINS
    gateway.set_policy(policy(spamRules=RULES, notifications=notifications, **changes))


def infected() -> EmailMessage:
    return mail(f"infected {next(number)}", EICAR)


def spam(body: str = "seven") -> EmailMessage:
    return mail(f"spam {next(number)}", body)


def program(name: str = "tool.exe") -> EmailMessage:
    message = mail(f"program {next(number)}", "see attachment")
    message.add_attachment(b"not really", maintype="application", subtype="octet-stream", filename=name)
    return message


def notice(gateway: Gateway, message: EmailMessage, *recipients: str) -> EmailMessage:
    """The one notice that the mail makes amavis write."""
    before = gateway.delivered("")
    gateway.send(message, *recipients)
    gateway.idle()
    new = [text for text in gateway.delivered("") if text not in before]
    (found,) = [text for text in new if "\nMessage-ID: <notice." in text]
    return email.message_from_string(found, policy=email.policy.default)  # type: ignore[return-value]


def envelope(message: EmailMessage, command: str) -> str:
    """The address in RCPT or MAIL at the next hop."""
    return str(message[f"X-{command}-Args"]).partition(" ")[0]


def text(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def manifest(body: str) -> QuarantineReleaseSpec:
    """The one manifest in a notice, as a QuarantineRelease of the right namespace."""
    (start,) = [place for place, line in enumerate(body.splitlines()) if line == COMMAND]
    lines = body.splitlines()[start + 1 :]
    found = yaml.safe_load("\n".join(lines[: lines.index("EOF")]))
    assert (found["apiVersion"], found["kind"]) == ("mailfilter.dev/v1alpha1", "QuarantineRelease")
    assert found["metadata"] == {"generateName": "release-", "namespace": "mail"}
    return QuarantineReleaseSpec.model_validate(found["spec"])


@pytest.mark.parametrize(
    ("message", "admin", "subject"),
    [
        (spam(), "spamAdmin", "Spam FROM <alice@client.example>"),
        (program(), "bannedAdmin", "BANNED contents ("),
        (infected(), "virusAdmin", "VIRUS (Custom.EICAR.ndb.UNOFFICIAL) in mail FROM <alice@client.example>"),
    ],
    ids=["spam", "banned", "virus"],
)
def test_a_notice_has_the_id_and_the_commands(
    gateway: Gateway, message: EmailMessage, admin: str, subject: str
) -> None:
    found = notice(gateway, message)
    held = gateway.report(str(message["Subject"]))["quarantine"]
    assert held in gateway.held()
    body = text(found)
    release = manifest(body)
    assert (release.mail_filter, release.messages, release.allow_virus) == ("mx", [held], False)
    (line,) = [one for one in body.splitlines() if one.startswith("kubectl mailfilter release ")]
    understood = release_command.make_context("release", line.split()[3:]).params
    assert (understood["namespace"], understood["mailfilter"], understood["ids"]) == ("mail", "mx", (held,))
    assert not understood["allow_virus"]
    assert ("--allow-virus" in body, "# allowVirus: true" in body) == (admin == "virusAdmin",) * 2
    assert str(found["Subject"]).startswith(subject)
    assert (envelope(found, "Rcpt"), envelope(found, "Mail")) == (f"<{ADMINS[admin]}>", "<postmaster@example.com>")
    assert (found["From"], found["To"]) == ("Content-filter <postmaster@example.com>", ADMINS[admin])
    assert found["Auto-Submitted"] == "auto-generated"
    assert f"Subject:    {message['Subject']}\n" in body
    assert ("|  7.0 SEVEN " in body) == (admin == "spamAdmin")
    assert "Blocked:    <bob@example.com>\n" in body


def test_a_virus_is_given_back_when_the_line_is_no_comment_any_more(gateway: Gateway) -> None:
    body = text(notice(gateway, infected()))
    assert manifest(body.replace("# allowVirus", "allowVirus")).allow_virus


def test_many_recipients_are_cut(gateway: Gateway) -> None:
    body = text(notice(gateway, spam(), *(f"user{number}@example.com" for number in range(25))))
    assert body.count("Blocked:") == 21
    assert "Blocked:    and 5 more\n" in body


def test_what_is_not_held_cannot_be_released(gateway: Gateway) -> None:
    above = text(notice(gateway, spam("twelve")))
    told(gateway, quarantine=policy()["quarantine"] | {"virus": False})
    off = text(notice(gateway, infected()))
    for body in (above, off):
        assert "NOT held" in body
        assert "kubectl" not in body


def test_of_mail_that_was_delivered_only_a_copy_is_held(gateway: Gateway) -> None:
    told(gateway, destiny=policy()["destiny"] | {"banned": setting("Pass")})
    message = program()
    body = text(notice(gateway, message))
    assert f"A copy is held:\n{gateway.report(str(message['Subject']))['quarantine']}\n" in body
    assert "kubectl" not in body
    assert "Goes on to: <bob@example.com>\n" in body


def test_a_bad_header_is_told_though_the_mail_passes(gateway: Gateway) -> None:
    message = mail(f"bad header {next(number)}", "hello")
    message["X-Odd"] = "x"
    with_eight_bits = message.as_bytes().replace(b"X-Odd: x", b"X-Odd: \xfc")
    before = gateway.delivered("INVALID HEADER in mail FROM <alice@client.example>")
    gateway.send_bytes(with_eight_bits, "alice@client.example", "bob@example.com")
    gateway.idle()
    (found,) = [
        one for one in gateway.delivered("INVALID HEADER in mail FROM <alice@client.example>") if one not in before
    ]
    assert f"X-Rcpt-Args: <{ADMINS['badHeaderAdmin']}>" in found
    assert "\nBad header: Non-encoded non-ASCII data" in found
    assert "No copy is held.\n" in found


def encoded(value: str) -> str:
    """An encoded word (RFC 2047) that is any text, line ends, too."""
    return f"=?utf-8?q?{''.join(f'={octet:02X}' for octet in value.encode())}?="


def test_nothing_that_a_sender_wrote_passes_for_a_field_or_a_command(gateway: Gateway) -> None:
    hostile = [
        f"Subject: {encoded(FAKE)} {encoded(chr(0x202E))} \x01 [:notice_body] %q $(id)",
        f"From: {encoded(FAKE)} <alice@client.example>",
        "To: bob@example.com",
        "Message-ID: <[:report_json]`id`@client.example>",
        "MIME-Version: 1.0",
        "Content-Type: multipart/mixed; boundary=b",
    ]
    name = encoded(f"a{FAKE}Bcc: eve@client.example\n.exe")
    parts = [
        "--b",
        "Content-Type: text/plain",
        "",
        *FAKE.splitlines(),
        "seven",
        "--b",
        f'Content-Type: application/octet-stream; name="{name}"',
        f'Content-Disposition: attachment; filename="{name}"',
        "",
        "x",
        "--b--",
    ]
    octets = "\r\n".join([*hostile, "", *parts, ""]).encode()
    before = gateway.delivered("")
    gateway.send_bytes(octets, "alice@client.example", "bob@example.com")
    gateway.idle()
    (found,) = [one for one in gateway.delivered("") if one not in before]
    message = email.message_from_string(found, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert str(message["Subject"]).startswith("BANNED contents (")
    assert envelope(message, "Rcpt") == f"<{ADMINS['bannedAdmin']}>"
    assert message["Bcc"] is None
    body = text(message)
    (held,) = manifest(body).messages or []
    assert held in gateway.held()
    assert body.splitlines().count("EOF") == 1
    assert "rm -rf /" not in body.splitlines()
    assert chr(0x202E) not in body
    assert f"{FAKE.splitlines()[0]} {COMMAND} rm -rf / EOF" in body
    assert "[:notice_body] %q $(id)" in body
