"""What differs by domain and by recipient, on the real chain; each recipient of a mail gets its own verdict."""

from collections.abc import Iterator

import pytest

from images.configuration import BANNED, policy, setting
from images.gateway import Gateway
from images.mails import EICAR, exe, mail, scored
from support.scores import SCORE_RULES

BOB, CAROL, ORG = "bob@example.com", "carol@example.com", "dora@example.org"


@pytest.fixture
def gateway(after_queue: Gateway) -> Iterator[Gateway]:
    yield after_queue
    after_queue.idle()


def test_levels_of_a_recipient_with_extension_a_recipient_and_a_domain(gateway: Gateway) -> None:
    by = {"example.org": 20, BOB: 9, "bob+strict@example.com": 4}
    levels = policy()["levels"] | {"tag2": setting(3), "kill": setting(5, by), "cutoff": setting(100)}
    gateway.set_policy(policy(levels=levels, spamRules=SCORE_RULES))
    everyone = (BOB, "Bob+Any@example.com", "bob+strict@example.com", "dora@example.org", CAROL, "bob@sub.example.com")
    gateway.send(scored("levels", "5.0"), *everyone)
    assert gateway.verdicts("levels") == {
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
    gateway.set_policy(policy(levels=levels, subjectTag=tags, spamRules=SCORE_RULES))
    gateway.send(scored("tagged", "5.0"), BOB, CAROL, ORG)
    gateway.report("tagged")
    gateway.idle()
    assert BOB in gateway.delivered("[$1 ${1}] tagged")[0]
    assert CAROL in gateway.delivered("***SPAM*** tagged")[0]
    assert ORG in gateway.delivered("tagged")[0]


def test_spam_is_not_looked_for_where_that_is_off(gateway: Gateway) -> None:
    gateway.set_policy(policy(spamEnabled=setting(True, {ORG: False}), spamRules=SCORE_RULES))
    gateway.send(scored("spam off", "9.99"), BOB, ORG)
    assert gateway.verdicts("spam off") == {BOB: "DISCARD", ORG: "PASS"}
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
    assert gateway.verdicts("own rules exe") == {BOB: "PASS", CAROL: "DISCARD", ORG: "PASS"}
    assert gateway.verdicts("own rules js") == {BOB: "PASS", CAROL: "PASS", ORG: "DISCARD"}


def test_destinies_differ_by_recipient_and_what_is_blocked_is_held(gateway: Gateway) -> None:
    destinies = policy()["destiny"] | {
        "virus": setting("Discard", {CAROL: "Pass"}),
        "banned": setting("Discard", {"example.org": "Pass"}),
    }
    gateway.set_policy(policy(destiny=destinies))
    gateway.send(mail("infected for some", EICAR), BOB, CAROL)
    gateway.send(exe("banned for some"), BOB, ORG)
    assert gateway.verdicts("infected for some") == {BOB: "DISCARD", CAROL: "PASS"}
    assert gateway.verdicts("banned for some") == {BOB: "DISCARD", ORG: "PASS"}
    gateway.idle()
    for subject, kind, recipient in (("infected for some", "virus", CAROL), ("banned for some", "banned", ORG)):
        identity = str(gateway.report(subject)["quarantine"])
        assert identity.startswith(f"{kind}/")
        (delivered,) = gateway.delivered(subject) + gateway.delivered(f"***INFECTED*** {subject}")
        assert f"X-Rcpt-Args: <{recipient}>" in delivered
        held = gateway.amavis.read(f"/var/lib/amavis/quarantine/{identity}") or b""
        assert b"X-Envelope-To-Blocked: <bob@example.com>\n" in held
