"""What becomes of each kind of mail, and what a policy makes of it."""

import re
import struct
from email.message import EmailMessage

import pytest

from support.cluster import Cluster, Object
from support.gateway import SMALL, Gateway, mailfilter
from support.mail import EICAR, Post, Received, message, spam, virus, zipped
from support.run import CommandError, wait_for
from support.scores import OUTCOMES, SCORE_RULES, SCORES

# The beginning of a Windows program, which is all that its type shows by.
PROGRAM = b"MZ".ljust(60, b"\0") + struct.pack("<I4s", 64, b"PE")
PROGRAM += struct.pack("<HHIIIHHH66xH300x", 0x14C, 1, 0, 0, 0, 224, 0x102, 0x10B, 2)
RULES = """\
body E2E_NEWS /you have won the lottery of tests/
score E2E_NEWS 3.5
body E2E_OFFER /cheap pills for tests/
score E2E_OFFER 7
"""
# Of example.org.
OWN_LEVELS = {"tagLevel": 0, "tag2Level": 2, "killLevel": 9.99, "cutoffLevel": 10.01}
NEWS, OFFER = "Yes, you have won the lottery of tests.\n", "Buy our cheap pills for tests.\n"
TAG = '***SPAM*** $1 @x "q" \\ '
ODD = ("o'brien@x.example", "a$b@x.example", "a|b&c@x.example")
SPAM_HEADERS = ("X-Spam-Flag", "X-Spam-Score", "X-Spam-Level", "X-Spam-Status")


@pytest.fixture(scope="module")
def mx(cluster: Cluster, operator: str, post: Post) -> Gateway:
    basis = {
        "hostname": "mx.filter.example",
        "spam": {"localTestsOnly": True, "rules": RULES},
    }
    gateway = Gateway(cluster, post, basis)
    gateway.apply()
    return gateway


@pytest.fixture
def gateway(mx: Gateway) -> Gateway:
    """The module's gateway with the policy that it started with."""
    mx.apply()
    return mx


def attached(name: str, content: bytes) -> EmailMessage:
    return message("pictures", attachments={name: content})


HELD_UNTIL = """
import sys
from pathlib import Path
from urllib.request import Request, urlopen
token = Path("/etc/mailfilter/agent/token").read_text()
url = "http://localhost:8081/v1/held?limit=1000&until=" + sys.argv[1]
print(urlopen(Request(url, headers={"Authorization": "Bearer " + token})).read().decode())
"""


def notice_about(gateway: Gateway, held: str) -> Received:
    """The one notice about a held mail."""
    (notice,) = wait_for(lambda: [one for one in gateway.post.received() if held in one.body], f"notice of {held}")
    return notice


def test_b18_b31_b33_clean_mail_is_inbound_and_delivered_without_marks(gateway: Gateway) -> None:
    # No list of senders is there, the volumes are fresh, and the gateway's own name is in none of the domains.
    mail = message()
    report = gateway.verdict(mail)
    assert report["content_type"] == "Clean"
    assert "RelayedInbound" in report["actions_performed"]
    copy = gateway.post.expect(mail)
    assert (copy.sender, copy.recipients) == ("alice@sender.example", ["bob@example.com"])
    assert [copy.header(name) for name in SPAM_HEADERS] == [None] * 4
    assert any("by mx.filter.example" in value for name, value in copy.headers if name == "Received")


def test_b11_b18_spam_is_held_on_a_fresh_volume(gateway: Gateway) -> None:
    mail = message("offer", OFFER)
    report = gateway.verdict(mail)
    assert re.fullmatch(r"spam/(\w)/\1[\w-]{11}\.gz", report["quarantine"], re.ASCII)
    assert "DiscardedInbound" in report["actions_performed"]
    assert 5 <= report["spam_score"] < 10
    assert report["quarantine"] in gateway.quarantined()
    assert not gateway.post.copies(mail)


def test_from_tag_level_on_mail_is_delivered_with_its_score_and_no_flag(gateway: Gateway) -> None:
    mail = message("news", NEWS)
    report = gateway.verdict(mail)
    assert 2 <= report["spam_score"] < 5
    copy = gateway.post.expect(mail)
    assert str(copy.header("X-Spam-Status")).startswith("No, score=")
    assert str(copy.header("X-Spam-Level")) == "***"
    assert copy.header("X-Spam-Flag") is None
    assert copy.subject == mail["Subject"]


def domains_with_levels(gateway: Gateway) -> list[Object]:
    """example.com, and example.org with levels of its own."""
    relay = {"host": gateway.post.sink_host}
    own = {"name": "example.org", "relay": relay, "policy": {"spam": OWN_LEVELS}}
    return [{"name": "example.com", "relay": relay}, own]


def outcomes(gateway: Gateway, to: str) -> list[str]:
    """What becomes of a mail of each score."""
    mails = [message(f"score {score}", to=to, headers={"X-Test-Score": score}) for score in SCORES]
    found = []
    for mail, reply in zip(mails, gateway.post.send(*mails, to=to), strict=True):
        report = gateway.report(mail)
        assert report["spam_score"] == pytest.approx(float(mail["X-Test-Score"]))
        if reply.code != 250:
            assert reply.text.startswith("5.7.0 Reject"), reply
            found.append("refused")
        elif report["action"] == ["PASS"]:
            copy = gateway.post.expect(mail)
            flag, status = copy.header("X-Spam-Flag"), copy.header("X-Spam-Status") or ""
            found.append("marked" if flag == "YES" else "tagged" if status.startswith("No, ") else "clean")
        else:
            assert not gateway.post.copies(mail)
            found.append("held" if report.get("quarantine", "").startswith("spam/") else "gone")
    return found


def test_b50_what_becomes_of_each_score(gateway: Gateway) -> None:
    gateway.apply(domains=domains_with_levels(gateway), spam={"localTestsOnly": True, "rules": SCORE_RULES})
    for to, wanted in OUTCOMES.items():
        assert outcomes(gateway, to) == [one.replace("over", "gone") for one in wanted], to


def test_spam_above_the_cutoff_is_neither_delivered_nor_stored(gateway: Gateway) -> None:
    before = gateway.quarantined()
    mail = spam()
    report = gateway.verdict(mail)
    assert report["spam_score"] > 10
    assert "quarantine" not in report
    assert gateway.quarantined() == before
    assert not gateway.post.copies(mail)


@pytest.mark.parametrize(
    "mail",
    [virus(), attached("eicar.zip", zipped({"eicar.com": EICAR})), message("text", EICAR.decode())],
    ids=["attached", "zipped", "text"],
)
def test_a_virus_is_held(gateway: Gateway, mail: EmailMessage) -> None:
    report = gateway.verdict(mail)
    assert report["content_type"] == "Virus"
    assert report["quarantine"].startswith("virus/")
    assert report["quarantine"] in gateway.quarantined()
    assert not gateway.post.copies(mail)


@pytest.mark.parametrize(
    "mail",
    [
        attached("holiday.EXE", b"harmless text"),
        attached("holiday.dat", PROGRAM),
        attached("holiday.dat", b"MZ".ljust(512, b"\0")),
        attached("holiday.zip", zipped({"holiday.exe": b"harmless text"})),
    ],
    ids=["by-name", "by-type", "dos", "zipped"],
)
def test_a_banned_attachment_is_held(gateway: Gateway, mail: EmailMessage) -> None:
    report = gateway.verdict(mail)
    assert report["content_type"] == "Banned"
    assert report["quarantine"].startswith("banned/")
    assert report["quarantine"] in gateway.quarantined()
    assert not gateway.post.copies(mail)


def test_lists_decide_whatever_the_score(gateway: Gateway) -> None:
    lists = {"allow": ["*@Partner.example", "*.partner.example", "<>"], "deny": ["pest@client.example"]}
    gateway.apply(lists=lists)
    partner, bounce, infected = spam(sender="carol@mail.partner.example"), spam(), virus()
    denied, neighbour = message(sender="pest@client.example"), message(sender="eve@client.example")
    gateway.send(partner, sender="carol@mail.partner.example")
    gateway.send(bounce, sender="")
    gateway.send(neighbour, sender="eve@client.example")
    for mail in (partner, bounce, neighbour):
        assert gateway.report(mail)["content_type"] == "Clean"
        assert gateway.post.expect(mail).header("X-Spam-Flag") is None
    assert gateway.verdict(denied, sender="Pest@Client.example")["content_type"] == "Spam"
    assert gateway.verdict(infected, sender="carol@mail.partner.example")["content_type"] == "Virus"
    assert not gateway.post.copies(denied)
    assert not gateway.post.copies(infected)


def test_b32_special_characters_go_through_verbatim(gateway: Gateway) -> None:
    admin, header_from = "o'brien+a$b|c&d@example.com", "Filter 1 <o'brien{$x}@example.com>"
    gateway.apply(
        spam=gateway.basis["spam"] | {"destiny": "Pass", "subjectTag": TAG},
        lists={"allow": list(ODD)},
        notifications={"virusAdmin": admin, "mailFrom": "a$b@example.com", "headerFrom": header_from},
    )
    tagged, infected = message("offer", OFFER), virus()
    gateway.send(tagged, infected)
    copy = gateway.post.expect(tagged)
    assert copy.subject == f"{TAG}{tagged['Subject']}"
    assert copy.header("X-Spam-Flag") == "YES"
    notice = notice_about(gateway, gateway.report(infected)["quarantine"])
    assert notice.recipients == [admin]
    assert (notice.sender, notice.header("From")) == ("a$b@example.com", header_from)
    for sender in ODD:
        allowed = spam(sender=sender)
        assert gateway.verdict(allowed, sender=sender)["content_type"] == "Clean"
        assert gateway.post.expect(allowed).sender == sender
    assert gateway.verdict(spam(sender="aXb@x.example"), sender="aXb@x.example")["content_type"] != "Clean"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"lists": {"allow": ['"a\\\\b"@x.example']}}, "must be user@example.com"),
        ({"lists": {"deny": ["a*@x.example"]}}, "must be user@example.com"),
        ({"spam": {"subjectTag": "SPAM\nBcc: eve@x.example"}}, "must be printable ASCII"),
        ({"notifications": {"headerFrom": 'Filter "A" <x@y.example>'}}, "must be an address such as"),
        ({"notifications": {"virusAdmin": "admin@example.com, eve@x.example"}}, "must be one mail address"),
        ({"admin": "root@example.com\n"}, "must be one mail address"),
    ],
    ids=["quoted", "star", "line-break", "quotes", "two", "trailing-line-break"],
)
def test_b32_what_cannot_be_taken_verbatim_is_refused(
    cluster: Cluster, operator: str, post: Post, spec: dict[str, object], reason: str
) -> None:
    with pytest.raises(CommandError, match=reason):
        cluster.apply(mailfilter(post, "odd", **spec), post.namespace)


def test_b10_notices_go_through_the_gateway(gateway: Gateway) -> None:
    gateway.apply(notifications={"virusAdmin": "virus@example.com", "bannedAdmin": "banned@example.com"})
    for mail, admin in ((virus(), "virus@example.com"), (attached("tool.exe", PROGRAM), "banned@example.com")):
        (held,) = gateway.held(mail)
        notice = notice_about(gateway, held)
        assert (notice.sender, notice.recipients) == ("postmaster@example.com", [admin])
        assert any("by mx.filter.example" in value for name, value in notice.headers if name == "Received")
    # Of the last one: what stands there for a shell releases it, whatever namespace kubectl is in.
    body = notice.body.replace("\r\n", "\n")
    gateway.cluster.kubectl("create", "-f", "-", stdin=body.partition("<<'EOF'\n")[2].partition("EOF\n")[0])
    assert gateway.post.expect(mail).recipients == ["bob@example.com"]


def test_each_recipient_is_told_of_his_own_held_mail(gateway: Gateway) -> None:
    held = {who: gateway.held(message("offer", OFFER), to=f"{who}@example.com")[0] for who in ("bob", "carol", "dave")}
    (amavis,) = gateway.pods("amavis")
    run = ("exec", amavis["metadata"]["name"], "-n", gateway.namespace, "-c")
    # As if stored a while ago, and the time of the digest is the minute that has just begun.
    files = " ".join(f"/var/lib/amavis/quarantine/{one}" for one in held.values())
    script = f'for file in {files}; do touch -d "-5 minutes" $file; touch $file.x; rm $file.x; done; date -u +%FT%H:%M'
    minute = gateway.cluster.kubectl(*run, "amavis", "--", "sh", "-c", script).strip()

    def known() -> bool:
        answer = gateway.cluster.kubectl(*run, "agent", "--", "python3", "-c", HELD_UNTIL, f"{minute}:00Z")
        return all(one in answer for one in held.values())

    wait_for(known, "the agent knows when they were stored")
    digest = {"enabled": True, "at": minute[-5:], "contact": "the help desk"}
    silent = {"address": "dave@example.com", "policy": {"digest": {"enabled": False}}}
    gateway.apply(quarantine=SMALL["quarantine"] | {"digest": digest}, recipients=[silent])

    def digests() -> dict[str, Received]:
        found = [one for one in gateway.post.received() if one.subject.startswith("Mail held for you")]
        return {one.recipients[0]: one for one in found if held["bob"] in one.body or held["carol"] in one.body}

    told = wait_for(lambda: found if len(found := digests()) == 2 else None, "a digest for each")
    gateway.cluster.wait_condition("mailfilter", "mx", gateway.namespace, "DigestsSent")
    for who in ("bob", "carol"):
        one = told[f"{who}@example.com"]
        assert (one.sender, one.header("To")) == ("", f"{who}@example.com")
        assert [other for other in held if held[other] in one.body] == [who]
    assert not [one for one in gateway.post.received() if held["dave"] in one.body]


def test_spam_with_destiny_pass_is_delivered_marked(gateway: Gateway) -> None:
    gateway.apply(spam=gateway.basis["spam"] | {"destiny": "Pass", "subjectTag": "***SPAM*** "})
    offer, buy, hello = message("offer", OFFER), spam(), message()
    gateway.send(offer, buy, hello)
    for mail in (offer, buy):
        copy = gateway.post.expect(mail)
        assert copy.header("X-Spam-Flag") == "YES"
        assert str(copy.header("X-Spam-Status")).startswith("Yes, score=")
        assert copy.subject == f"***SPAM*** {mail['Subject']}"
    assert gateway.post.expect(hello).subject == hello["Subject"]


def test_what_is_switched_off_is_not_checked(gateway: Gateway) -> None:
    gateway.apply(spam={"enabled": False, "localTestsOnly": True}, banned={"enabled": False})
    buy, tool, infected = spam(), attached("tool.exe", PROGRAM), virus()
    gateway.send(buy, tool, infected)
    assert gateway.post.expect(buy).header("X-Spam-Flag") is None
    assert gateway.post.expect(tool).recipients == ["bob@example.com"]
    assert gateway.report(infected)["content_type"] == "Virus"


def test_levels_rules_and_banned_names_are_as_the_policy_says(gateway: Gateway) -> None:
    levels = {"tagLevel": -100, "tag2Level": 3, "killLevel": 6, "cutoffLevel": 5000}
    gateway.apply(
        spam=gateway.basis["spam"] | levels,
        banned={"names": ["secret-?.*"], "types": [], "mimeTypes": []},
    )
    hello, news, buy = message(), message("news", NEWS), spam()
    secret, tool = attached("Secret-1.txt", b"text"), attached("tool.exe", PROGRAM)
    gateway.send(hello, news, buy, secret, tool)
    assert str(gateway.post.expect(hello).header("X-Spam-Status")).startswith("No, ")
    assert gateway.post.expect(news).header("X-Spam-Flag") == "YES"
    assert gateway.report(buy)["quarantine"].startswith("spam/")
    assert gateway.report(secret)["quarantine"].startswith("banned/")
    assert gateway.post.expect(tool).recipients == ["bob@example.com"]


def test_status_counts_what_is_held(gateway: Gateway) -> None:
    gateway.held(message("offer", OFFER), virus(), attached("tool.exe", PROGRAM))
    kinds = [held.partition("/")[0] for held in gateway.quarantined()]
    wanted = {kind: kinds.count(kind) for kind in ("spam", "virus", "banned", "bad-header")}

    def counted() -> bool:
        status = gateway.cluster.get("mailfilter", gateway.name, gateway.namespace)["status"]
        assert status["quarantine"]["byKind"] == wanted
        return bool(status["quarantine"]["messages"] == len(kinds) and status["quarantine"]["bytes"] > 0)

    wait_for(counted, "status.quarantine")
    row = gateway.cluster.kubectl("-n", gateway.namespace, "get", "mf", gateway.name)
    columns = dict(zip(row.split("\n")[0].split(), row.split("\n")[1].split(), strict=True))
    assert columns["HELD"] == str(len(kinds))


def test_before_the_queue_the_client_hears_what_no_recipient_may_have(gateway: Gateway) -> None:
    """The last test here: Postfix and amavis start again for it."""
    gateway.apply(
        filtering={"mode": "BeforeQueue"},
        domains=domains_with_levels(gateway),
        spam={"localTestsOnly": True, "rules": RULES + SCORE_RULES, "aboveCutoff": "Reject"},
        virus={"destiny": "Reject"},
        recipients=[{"address": "lenient@example.com", "policy": {"virus": {"destiny": "Pass"}}}],
    )
    hello, offer, shared = message(), message("offer", OFFER), virus()
    gateway.send(hello, offer)
    assert gateway.post.expect(hello).recipients == ["bob@example.com"]
    assert gateway.report(offer)["quarantine"].startswith("spam/")
    for mail in (spam(), virus()):
        assert gateway.refusal(mail).text.startswith("5.7.0 Reject")
        assert gateway.report(mail)["action"] == ["REJECT"]
        assert not gateway.post.copies(mail)
    gateway.send(shared, to=["bob@example.com", "lenient@example.com"])
    assert gateway.post.expect(shared).recipients == ["lenient@example.com"]
    assert gateway.report(shared)["quarantine"].startswith("virus/")
    for to, wanted in OUTCOMES.items():
        assert outcomes(gateway, to) == [one.replace("over", "refused") for one in wanted], to
    queued = ("exec", f"{gateway.name}-postfix-0", "-c", "postfix", "--", "postqueue", "-j")
    assert not gateway.cluster.kubectl("-n", gateway.namespace, *queued).strip(), "a bounce to the sender"
