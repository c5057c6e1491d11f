"""Mail that waits."""

from collections.abc import Callable

import pytest

from mailfilter.control.conditions import Observation
from mailfilter.control.facts import Facts
from mailfilter.control.waiting import queue, suspended
from support.situations import (
    WELL,
    Case,
    check,
    postfix,
    silent,
    with_pods,
    without,
)

CASES: list[Case] = [
    ("not suspended", suspended, WELL, "False", "NotSuspended", "goes to the filter"),
    ("held", suspended, with_pods(postfix(suspended="Hold")), "True", "Hold", "6 mails wait"),
    ("passed", suspended, with_pods(postfix(suspended="PassThrough")), "True", "PassThrough", "viruses too"),
    (
        "the worst pod counts",
        suspended,
        with_pods(postfix("a", "None"), postfix("b", "PassThrough"), postfix("c", "Hold")),
        "True",
        "PassThrough",
        "through b,",
    ),
    ("nobody to ask", suspended, with_pods(silent(postfix())), "Unknown", "AgentsUnreachable", "asked"),
]


@pytest.mark.parametrize(
    ("judge", "facts", "status", "reason", "part"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_conditions(judge: Callable[[Facts], Observation], facts: Facts, status: str, reason: str, part: str) -> None:
    check(judge, facts, status, reason, part)


def test_waiting_mail_of_all_pods_is_counted() -> None:
    assert queue(with_pods(postfix("a"), postfix("b"), silent(postfix("c")))) == {
        "active": 6,
        "deferred": 6,
        "oldestSeconds": 60,
    }
    assert queue(without("postfix")) == {"active": 0, "deferred": 0, "oldestSeconds": 0}
