"""The condition DigestsSent."""

from dataclasses import replace
from typing import Any

import pytest

from mailfilter.control.digests import digests_sent
from mailfilter.control.facts import Facts, Pod
from mailfilter.control.observe import observations
from mailfilter.policy.longlists import Reading
from mailfilter.policy.names import Names
from support.samples import spec

NONE = {"sent": 0, "refused": 0, "interrupted": 0, "waiting": 0, "trouble": None}
ON = {"digest": {"enabled": True}}


def pod(number: int = 0, **digests: Any) -> Pod:
    status = {"amavis": {"digests": NONE | digests}}
    return Pod(f"mx-amavis-{number}", "amavis", "10.0.0.1", True, status)


def facts(*pods: Pod, **changes: Any) -> Facts:
    wanted = spec(**({"quarantine": ON} | changes))
    return Facts(wanted, Names("mx", "mail"), policy_hash="", tables_hash="", children={}, pods=list(pods))


@pytest.mark.parametrize(
    ("given", "status", "reason", "words"),
    [
        (facts(), "Unknown", "AgentsUnreachable", ""),
        (facts(pod(sent=3)), "True", "Sent", "digests of the last day: 3"),
        (facts(pod(sent=3), pod(1, sent=4)), "True", "Sent", ": 4"),
        (facts(pod(waiting=2, trouble="450 4.2.0 later")), "False", "Retrying", "2 digests wait and are tried again"),
        (
            facts(pod(sent=1), pod(1, refused=2, trouble="550 no")),
            "False",
            "Refused",
            "refused 2 digests of this day: 550",
        ),
        (facts(pod(interrupted=1, trouble="died")), "False", "Interrupted", "in those of the next day, too"),
        (facts(pod(sent=1), filtering={"suspended": "Hold"}), "False", "Suspended", "digests wait"),
        (
            replace(
                facts(pod(sent=1)), reading=Reading(template_trouble="ConfigMap w key k line 4: $nobody is not known")
            ),
            "False",
            "TemplateRefused",
            "ConfigMap w key k line 4: $nobody is not known. The last good template",
        ),
    ],
)
def test_what_became_of_the_digests(given: Facts, status: str, reason: str, words: str) -> None:
    found = digests_sent(given)
    assert (found.status, found.reason) == (status, reason)
    assert words in found.message


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"quarantine": {}}, False),
        ({"quarantine": ON}, True),
        (
            {
                "quarantine": {},
                "recipients": [{"address": "bob@example.com", "policy": {"digest": {"enabled": True}}}],
            },
            True,
        ),
    ],
)
def test_it_is_there_when_anybody_gets_digests(changes: dict[str, Any], told: bool) -> None:
    assert ("DigestsSent" in {one.type for one in observations(facts(pod(), **changes))}) == told
