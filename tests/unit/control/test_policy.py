"""What is in force of the policy and of the lists."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from mailfilter.control.conditions import Observation
from mailfilter.control.facts import Facts
from mailfilter.control.policy import lists_valid, policy_active
from mailfilter.policy.longlists import Files, Reading
from support.samples import spec
from support.situations import (
    NEW,
    OLD,
    REFUSED,
    WELL,
    Case,
    amavis,
    check,
    postfix,
    silent,
    with_pods,
    without,
)

CASES: list[Case] = [
    ("in force", policy_active, WELL, "True", "InForce", NEW[:12]),
    (
        "bad rules",
        policy_active,
        replace(WELL, bad_rules=["line 1", "line 2"]),
        "False",
        "InvalidRules",
        "line 1",
    ),
    ("no amavis", policy_active, without("amavis"), "Unknown", "NoPods", "amavis"),
    ("no postfix", policy_active, without("postfix"), "Unknown", "NoPods", "Postfix"),
    (
        "refused",
        policy_active,
        with_pods(amavis(inForce=OLD, refused=REFUSED)),
        "False",
        "Refused",
        "levels.kill",
    ),
    (
        "a rule was refused",
        policy_active,
        with_pods(amavis(inForce=OLD, refused=REFUSED | {"reason": "spec.spam.rules line 3: Unmatched ( in regex"})),
        "False",
        "InvalidRules",
        "line 3",
    ),
    (
        "an older one was refused",
        policy_active,
        with_pods(amavis(inForce=OLD, refused=REFUSED | {"hash": OLD})),
        "False",
        "Waiting",
        "mx-amavis-0",
    ),
    (
        "not mounted",
        policy_active,
        with_pods(amavis(mounted=OLD, inForce=OLD)),
        "False",
        "Waiting",
        "mx-amavis-0",
    ),
    ("mounted only", policy_active, with_pods(amavis(inForce=OLD)), "False", "Waiting", "mx-amavis-0"),
    ("nothing in force", policy_active, with_pods(amavis(inForce=None)), "False", "Waiting", "mx-amavis-0"),
    ("one of two", policy_active, with_pods(amavis(), amavis("b", inForce=OLD)), "False", "Waiting", "b "),
    ("b19 old tables", policy_active, with_pods(postfix(inForce=OLD)), "False", "Waiting", "mx-postfix-0"),
    ("broken tables", policy_active, with_pods(postfix(error="line 3")), "False", "TablesRefused", "line 3"),
    ("silent", policy_active, with_pods(silent(amavis())), "Unknown", "AgentsUnreachable", "refused"),
    (
        "no address",
        policy_active,
        with_pods(silent(postfix(), None)),
        "Unknown",
        "AgentsUnreachable",
        "no address",
    ),
    ("no lists", lists_valid, WELL, "True", "Valid", "allow: 0, deny: 0, scores: 0"),
    (
        "lists as they are read",
        lists_valid,
        replace(WELL, spec=spec(lists={"deny": ["*@Example.COM", "<>"]})),
        "True",
        "Valid",
        "deny: 2, scores: 0; read as: *@Example.COM is example.com",
    ),
    (
        "a pattern that is no domain",
        lists_valid,
        replace(WELL, spec=spec(lists={"allow": ["☃.example", "a@b.example"]})),
        "False",
        "Refused",
        "spec.lists.allow[0]: ☃.example is not an internationalised domain name",
    ),
    (
        "a bad line of a long list",
        lists_valid,
        replace(WELL, reading=Reading(Files(allow=7, deny=5), 9, ("ConfigMap x key y line 17: com: no",))),
        "False",
        "Refused",
        "ConfigMap x key y line 17: com: no (and 8 more). All other entries",
    ),
    (
        "a list that is not there",
        lists_valid,
        replace(WELL, reading=Reading(Files(), 1, ("line 1",), "ConfigMap x key y is missing")),
        "False",
        "NotRead",
        "ConfigMap x key y is missing. The last good lists",
    ),
    (
        "long lists",
        lists_valid,
        replace(WELL, spec=spec(lists={"deny": ["a@b.example"]}), reading=Reading(Files(allow=7, deny=5))),
        "True",
        "Valid",
        "allow: 7, deny: 6, scores: 0",
    ),
    (
        "lists that nobody asks",
        lists_valid,
        replace(WELL, spec=spec(lists={"allow": ["a@b.example"]}, spam={"enabled": False})),
        "False",
        "NotAsked",
        "spam.enabled is false",
    ),
]


@pytest.mark.parametrize(
    ("judge", "facts", "status", "reason", "part"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_conditions(judge: Callable[[Facts], Observation], facts: Facts, status: str, reason: str, part: str) -> None:
    check(judge, facts, status, reason, part)
