"""Each condition with each of its reasons, from facts."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mailfilter.control import observe
from mailfilter.control.conditions import Observation
from mailfilter.control.facts import Facts
from mailfilter.control.policy import policy_active
from support.samples import spec
from support.situations import (
    OLD,
    REFUSED,
    WELL,
    Case,
    amavis,
    check,
    child,
    mirror,
    postfix,
    silent,
    with_child,
    with_pods,
)

NOW = datetime(2026, 11, 25, tzinfo=UTC)
BEFORE_QUEUE = {"mode": "BeforeQueue"}
BOUNCE = {"destiny": "Bounce"}


def is_ready(facts: Facts) -> Observation:
    found = observe.observations(facts)[0]
    assert found.type == "Ready"
    return found


CASES: list[Case] = [
    ("rolled out", observe.progressing, WELL, "False", "RolledOut", "all pods"),
    ("not created", observe.progressing, with_child("amavis", None), "True", "RollingOut", "amavis 0/0"),
    ("not seen", observe.progressing, with_child("amavis", child("amavis", 2)), "True", "RollingOut", "amavis 1/1"),
    (
        "not ready",
        observe.progressing,
        with_child("clamd", child("clamd", readyReplicas=0)),
        "True",
        "RollingOut",
        "clamd 0/1",
    ),
    (
        "old pods",
        observe.progressing,
        with_child("postfix", child("postfix", updatedReplicas=0)),
        "True",
        "RollingOut",
        "postfix",
    ),
    (
        "one too many",
        observe.progressing,
        with_child("clamd", child("clamd", surplus=1)),
        "True",
        "RollingOut",
        "clamd",
    ),
    ("conflict", observe.progressing, replace(WELL, conflict="no quota"), "False", "ApplyFailed", "no quota"),
    ("filters", is_ready, WELL, "True", "Filtering", "domains: 1"),
    ("conflict, too", is_ready, replace(WELL, conflict="no quota"), "False", "ApplyFailed", "no quota"),
    (
        "b36 postfix down",
        is_ready,
        with_child("postfix", child("postfix", readyReplicas=0)),
        "False",
        "PostfixNotReady",
        "postfix",
    ),
    (
        "amavis down",
        is_ready,
        with_child("amavis", child("amavis", readyReplicas=0)),
        "False",
        "AmavisNotReady",
        "amavis",
    ),
    (
        "no scanner",
        is_ready,
        with_child("clamd", child("clamd", readyReplicas=0)),
        "False",
        "VirusScannerDown",
        "ScannerAvailable: ",
    ),
    (
        "no scan needed",
        is_ready,
        replace(with_child("clamd", child("clamd", readyReplicas=0)), spec=spec(virus={"enabled": False})),
        "True",
        "Filtering",
        "Not checked, as the spec wants it: virus.enabled is false",
    ),
    (
        "little is checked",
        is_ready,
        replace(WELL, spec=spec(spam={"enabled": False}, banned={"enabled": False}, decoding={"enabled": False})),
        "True",
        "Filtering",
        ": spam.enabled, banned.enabled, decoding.enabled is false",
    ),
    (
        "before the queue without a scanner",
        is_ready,
        replace(with_child("clamd", child("clamd", readyReplicas=0)), spec=spec(filtering=BEFORE_QUEUE)),
        "False",
        "VirusScannerDown",
        "clients are told to try later (451), and 6 mails wait",
    ),
    (
        "before the queue without amavis",
        is_ready,
        replace(with_child("amavis", child("amavis", readyReplicas=0)), spec=spec(filtering=BEFORE_QUEUE)),
        "False",
        "AmavisNotReady",
        "Meanwhile clients are told to try later (451)",
    ),
    (
        "amavis down, mail waits",
        is_ready,
        with_child("amavis", child("amavis", readyReplicas=0)),
        "False",
        "AmavisNotReady",
        "Meanwhile 6 mails wait in Postfix' queue.",
    ),
    ("no bounces", observe.backscatter_risk, WELL, "False", "NoBounce", "no sender is sent a notice"),
    (
        "bounces of all",
        observe.backscatter_risk,
        replace(WELL, spec=spec(banned=BOUNCE, recipients=[{"address": "bob@example.com", "policy": {}}])),
        "True",
        "BounceDestiny",
        "spec.banned.destiny: Bounce. Notices go to senders that may be forged",
    ),
    (
        "bounces of some",
        observe.backscatter_risk,
        replace(
            WELL,
            spec=spec(
                domains=[{"name": "example.com", "relay": {"host": "x"}, "policy": {"badHeader": BOUNCE}}],
                recipients=[{"address": f"{name}@example.com", "policy": {"banned": BOUNCE}} for name in "abc"],
            ),
        ),
        "True",
        "BounceDestiny",
        "badHeader.destiny of domain example.com, banned.destiny of recipient a@example.com, "
        "banned.destiny of recipient b@example.com and 1 more: Bounce",
    ),
    ("no quarantine", is_ready, with_pods(amavis(writable=False)), "False", "NotWritable", "QuarantineWritable: "),
    ("old policy", is_ready, with_pods(amavis(inForce=OLD)), "False", "Waiting", "PolicyActive: "),
    (
        "an older policy filters, too",
        is_ready,
        with_pods(amavis(inForce=OLD), settled_generation=3),
        "True",
        "Filtering",
        "filtered",
    ),
    (
        "a refused policy is no wait",
        is_ready,
        with_pods(amavis(inForce=OLD, refused=REFUSED), settled_generation=3),
        "False",
        "Refused",
        "PolicyActive: ",
    ),
    ("nobody knows", is_ready, with_pods(silent(amavis())), "Unknown", "AgentsUnreachable", "QuarantineWritable: "),
    (
        "old signatures do not stop mail",
        is_ready,
        with_pods(mirror("2026-01-01T00:00:00Z")),
        "True",
        "Filtering",
        "filtered",
    ),
    ("suspended is not ready", is_ready, with_pods(postfix(suspended="Hold")), "False", "Suspended", "6 mails wait"),
    (
        "b16 without amavis mail waits",
        is_ready,
        with_child("amavis", child("amavis", readyReplicas=0)),
        "False",
        "AmavisNotReady",
        "6 mails wait in Postfix' queue",
    ),
    ("rolling does not stop mail", is_ready, with_child("amavis", child("amavis", 2)), "True", "Filtering", "filtered"),
]


@pytest.mark.parametrize(
    ("judge", "facts", "status", "reason", "part"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_conditions(judge: Callable[[Facts], Observation], facts: Facts, status: str, reason: str, part: str) -> None:
    check(judge, facts, status, reason, part)


def test_all_conditions_are_said_each_time() -> None:
    for facts in (WELL, replace(WELL, children={}, pods=[], conflict="x", bad_rules=["y"])):
        assert [each.type for each in observe.observations(facts)] == [
            "Ready",
            "Progressing",
            "PolicyActive",
            "ListsValid",
            "ScannerAvailable",
            "SignaturesFresh",
            "QuarantineWritable",
            "QuarantineSpace",
            "BackscatterRisk",
            "Suspended",
            "DNSListsUsable",
            "DNSReady",
        ]


def test_ready_is_of_the_generation_that_filters() -> None:
    """So that waiting for Ready of the newest generation means waiting for its policy and its pods."""
    waiting = with_pods(amavis(inForce=OLD), settled_generation=3)
    assert is_ready(waiting).generation == 3
    assert policy_active(waiting).generation is None
    rolling = replace(with_child("postfix", child("postfix", 2)), settled_generation=3)
    assert (is_ready(rolling).status, is_ready(rolling).generation) == ("True", 3)
    assert is_ready(replace(WELL, settled_generation=3)).generation is None


def test_ready_quotes_a_pod_that_cannot_start() -> None:
    pod = replace(amavis(), held_up="container amavis: ErrImageNeverPull")
    facts = replace(with_child("amavis", child("amavis", readyReplicas=0)), pods=[pod])
    assert "mx-amavis-0: container amavis: ErrImageNeverPull" in is_ready(facts).message


def test_components_are_counted() -> None:
    assert observe.components(with_child("clamd", None))["clamd"] == {"ready": 0, "desired": 0}
    assert observe.components(WELL)["postfix"] == {"ready": 1, "desired": 1}


@pytest.mark.parametrize(
    ("status", "since", "expected"),
    [
        ("True", "2026-11-25T00:00:00Z", True),
        ("True", "2026-11-24T23:59:01Z", True),
        ("True", "2026-11-24T23:59:00Z", False),
        ("False", "2026-11-25T00:00:00Z", False),
        ("Unknown", "2026-11-25T00:00:00Z", False),
    ],
)
@pytest.mark.parametrize("kind", ["Ready", "PolicyActive"])
def test_waiting_mail_is_tried_in_the_first_minute_of_a_change_for_the_better(
    kind: str, status: str, since: str, expected: bool
) -> None:
    conditions = [
        {"type": "Progressing", "status": "True", "lastTransitionTime": "2026-11-25T00:00:00Z"},
        {"type": kind, "status": status, "lastTransitionTime": since},
    ]
    assert observe.recovered(conditions, NOW) is expected
