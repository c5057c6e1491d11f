"""What differs by domain and by recipient, on the real chain; each recipient of a mail gets its own verdict."""

from collections.abc import Iterator
from typing import Any

import pytest

from images.docker import Lab
from images.gateway import BANNED, EICAR, Gateway, mail, policy, setting, started_gateway

# A rule for each score: the header says which one a mail gets.
SCORES = ("1.99", "2.0", "4.99", "5.0", "9.99", "10.0", "10.01")
RULES = "".join(
    f"header SCORE_{number} X-Test-Score =~ /^{score.replace('.', '[.]')}$/\nscore SCORE_{number} {score}\n"
    for number, score in enumerate(SCORES)
)
BOB, CAROL, ORG = "bob@example.com", "carol@example.com", "dora@example.org"


def scored(subject: str, score: str) -> Any:
    message = mail(subject, "hello")
    message["X-Test-Score"] = score
    return message


def exe(subject: str, name: str = "tool.exe") -> Any:
    message = mail(subject, "see attachment")
    message.add_attachment(b"MZ\x90\x00not really", maintype="application", subtype="octet-stream", filename=name)
    return message


@pytest.fixture(scope="module")
def chain(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with started_gateway(Lab(images, network, tmp_path_factory.mktemp("overrides"))) as gateway:
        yield gateway


@pytest.fixture
def gateway(chain: Gateway) -> Iterator[Gateway]:
    yield chain
    chain.idle()


def verdicts(gateway: Gateway, subject: str) -> dict[str, str]:
    """What became of a mail for each recipient: PASS, DISCARD, REJECT…"""
    return {str(one["rcpt_to"]): str(one["action"]) for one in gateway.report(subject)["recipients"]}


def test_levels_of_a_recipient_with_extension_a_recipient_and_a_domain(gateway: Gateway) -> None:
    by = {"example.org": 20, BOB: 9, "bob+strict@example.com": 4}
    levels = policy()["levels"] | {"tag2": setting(3), "kill": setting(5, by), "cutoff": setting(100)}
    gateway.set_policy(policy(levels=levels, spamRules=RULES))
    everyone = (BOB, "Bob+Any@example.com", "bob+strict@example.com", "dora@example.org", CAROL, "bob@sub.example.com")
    gateway.send(scored("levels", "5.0"), *everyone)
    assert verdicts(gateway, "levels") == {
        BOB: "PASS",
        "Bob+Any@example.com": "PASS",
        "bob+strict@example.com": "DISCARD",
        "dora@example.org": "PASS",
        CAROL: "DISCARD",
        "bob@sub.example.com": "DISCARD",
    }
    gateway.idle()
    assert len(gateway.delivered("***SPAM*** levels")) == 1


def test_the_subject_tag_of_each_is_itself(gateway: Gateway) -> None:
    """A `$1` that amavis finds in a lookup table it would replace by the recipient's address."""
    levels = policy()["levels"] | {"kill": setting(8)}
    tags = setting("***SPAM*** ", {BOB: "[$1 ${1}] ", "example.org": ""})
    gateway.set_policy(policy(levels=levels, subjectTag=tags, spamRules=RULES))
    gateway.send(scored("tagged", "5.0"), BOB, CAROL, ORG)
    gateway.report("tagged")
    gateway.idle()
    assert BOB in gateway.delivered("[$1 ${1}] tagged")[0]
    assert CAROL in gateway.delivered("***SPAM*** tagged")[0]
    assert ORG in gateway.delivered("tagged")[0]


def test_spam_is_not_looked_for_where_that_is_off(gateway: Gateway) -> None:
    gateway.set_policy(policy(spamEnabled=setting(True, {ORG: False}), spamRules=RULES))
    gateway.send(scored("spam off", "9.99"), BOB, ORG)
    assert verdicts(gateway, "spam off") == {BOB: "DISCARD", ORG: "PASS"}
    gateway.idle()
    (delivered,) = gateway.delivered("spam off")
    assert "X-Spam" not in delivered


def test_banned_rules_of_a_domain_replace_the_others(gateway: Gateway) -> None:
    rules = setting(
        BANNED | {"types": []},
        {"example.org": BANNED | {"types": [], "names": ["*.js"]}, BOB: BANNED | {"enabled": False}},
    )
    gateway.set_policy(policy(banned=rules))
    gateway.send(exe("own rules exe"), BOB, CAROL, ORG)
    gateway.send(exe("own rules js", "tool.js"), BOB, CAROL, ORG)
    assert verdicts(gateway, "own rules exe") == {BOB: "PASS", CAROL: "DISCARD", ORG: "PASS"}
    assert verdicts(gateway, "own rules js") == {BOB: "PASS", CAROL: "PASS", ORG: "DISCARD"}


def test_destinies_differ_by_recipient_and_what_is_blocked_is_held(gateway: Gateway) -> None:
    destinies = policy()["destiny"] | {
        "virus": setting("Discard", {CAROL: "Pass"}),
        "banned": setting("Discard", {"example.org": "Pass"}),
    }
    gateway.set_policy(policy(destiny=destinies))
    gateway.send(mail("infected for some", EICAR), BOB, CAROL)
    gateway.send(exe("banned for some"), BOB, ORG)
    assert verdicts(gateway, "infected for some") == {BOB: "DISCARD", CAROL: "PASS"}
    assert verdicts(gateway, "banned for some") == {BOB: "DISCARD", ORG: "PASS"}
    gateway.idle()
    for subject, kind, recipient in (("infected for some", "virus", CAROL), ("banned for some", "banned", ORG)):
        identity = str(gateway.report(subject)["quarantine"])
        assert identity.startswith(f"{kind}/")
        (delivered,) = gateway.delivered(subject) + gateway.delivered(f"***INFECTED*** {subject}")
        assert f"X-Rcpt-Args: <{recipient}>" in delivered
        held = gateway.amavis.read(f"/var/lib/amavis/quarantine/{identity}") or b""
        assert b"X-Envelope-To-Blocked: <bob@example.com>\n" in held
