"""What is true of clamd and its signatures."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mailfilter.control.conditions import Observation
from mailfilter.control.facts import Facts
from mailfilter.control.scanner import scanner_available, signatures, signatures_fresh
from support.samples import spec
from support.situations import (
    WELL,
    Case,
    check,
    child,
    mirror,
    silent,
    with_child,
    with_pods,
    without,
)

NOW = datetime(2026, 11, 25, tzinfo=UTC)
OWN = spec(freshclam={"officialDatabases": False, "customURLs": ["http://s/x.ndb"]})


def fresh(facts: Facts) -> Observation:
    return signatures_fresh(facts, NOW)


CASES: list[Case] = [
    ("answers", scanner_available, WELL, "True", "Answering", "1 of 1"),
    (
        "half",
        scanner_available,
        with_child("clamd", child("clamd", replicas=2, readyReplicas=1)),
        "True",
        "Answering",
        "1 of 2",
    ),
    ("no clamd yet", scanner_available, with_child("clamd", None), "Unknown", "NoPods", "clamd"),
    (
        "switched off",
        scanner_available,
        with_child("clamd", child("clamd", replicas=0), spec=spec(clamd={"replicas": 0})),
        "False",
        "VirusScannerDown",
        "6 mails wait in Postfix' queue",
    ),
    (
        "no signatures",
        scanner_available,
        replace(with_child("clamd", child("clamd", readyReplicas=0)), pods=[mirror(None)]),
        "False",
        "WaitingForSignatures",
        "SignaturesFresh",
    ),
    (
        "b36 down",
        scanner_available,
        with_child("clamd", child("clamd", readyReplicas=0)),
        "False",
        "VirusScannerDown",
        "mx-clamd",
    ),
    ("fetched", fresh, WELL, "True", "Fetched", "2026-11-24"),
    ("no mirror", fresh, without("freshclam"), "Unknown", "MirrorUnreachable", "not there yet"),
    ("silent mirror", fresh, with_pods(silent(mirror())), "Unknown", "MirrorUnreachable", "refused"),
    ("nothing fetched", fresh, with_pods(mirror(None)), "False", "NoSignatures", "kubectl logs mx-freshclam-0"),
    ("stale", fresh, with_pods(mirror("2026-11-10T00:00:00Z")), "False", "Stale", "15 days"),
    ("own ones keep", fresh, with_pods(mirror("2026-01-01T00:00:00Z"), spec=OWN), "True", "Fetched", "2026-01-01"),
    (
        "no scan wanted",
        scanner_available,
        replace(with_child("clamd", child("clamd", readyReplicas=0)), spec=spec(virus={"enabled": False})),
        "False",
        "ScanningOff",
        "virus.enabled is false: mail is passed on without a virus scan",
    ),
]


@pytest.mark.parametrize(
    ("judge", "facts", "status", "reason", "part"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_conditions(judge: Callable[[Facts], Observation], facts: Facts, status: str, reason: str, part: str) -> None:
    check(judge, facts, status, reason, part)


def test_status_names_the_version() -> None:
    assert signatures(WELL) == {"version": "27000", "updated": "2026-11-24T00:00:00Z"}
