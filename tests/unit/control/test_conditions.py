"""Conditions keep the time of their last transition, and only transitions are reported."""

from dataclasses import replace

import pytest

from mailfilter.control.conditions import Observation, before, merged, no, unknown, yes

OLD = {
    "type": "Ready",
    "status": "True",
    "reason": "Filtering",
    "message": "all well",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("seen", "kept", "reported"),
    [
        (yes("Ready", "Filtering", "all well"), True, False),
        (yes("Ready", "Filtering", "other words"), True, False),
        (yes("Ready", "Another", "all well"), True, True),
        (no("Ready", "Filtering", "all well"), False, True),
        (unknown("Ready", "Filtering", "all well"), False, True),
    ],
)
def test_transitions(seen: Observation, kept: bool, reported: bool) -> None:
    (found,), changed = merged([OLD], [seen], 2)
    assert (found["lastTransitionTime"] == OLD["lastTransitionTime"]) == kept
    assert changed == ([seen] if reported else [])
    assert found["observedGeneration"] == 2
    assert (found["status"], found["reason"], found["message"]) == (seen.status, seen.reason, seen.message)


def test_a_condition_may_hold_for_an_older_generation() -> None:
    (found,), changed = merged([OLD], [replace(yes("Ready", "Filtering", "all well"), generation=1)], 2)
    assert (found, changed) == (OLD, [])


def test_new_and_dropped_types() -> None:
    (found,), changed = merged([OLD], [yes("Other", "New", "x")], 1)
    assert found["type"] == "Other"
    assert [each.type for each in changed] == ["Other"]


def test_merging_again_changes_nothing() -> None:
    seen = [yes("A", "X", "x"), no("B", "Y", "y"), unknown("C", "Z", "z")]
    first, _ = merged([], seen, 3)
    second, changed = merged(first, seen, 3)
    assert (second, changed) == (first, [])


def test_what_the_status_says_of_this_generation() -> None:
    condition = {"type": "DNSReady", "status": "True", "reason": "R", "message": "m", "observedGeneration": 2}
    body = {"metadata": {"generation": 2}, "status": {"conditions": [condition]}}
    assert before(body, "DNSReady") == Observation("DNSReady", "True", "R", "m")
    assert before(body, "Ready") is None
    assert before(body | {"metadata": {"generation": 3}}, "DNSReady") is None
    assert before({"metadata": {"generation": 1}}, "DNSReady") is None


def test_true_is_the_bad_news_of_alarms() -> None:
    assert [one.good for one in (yes("Ready", "a", ""), no("Ready", "a", ""), unknown("Ready", "a", ""))] == [1, 0, 0]
    assert [one.good for one in (yes("Suspended", "a", ""), no("Suspended", "a", ""))] == [0, 1]
