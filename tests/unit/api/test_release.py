"""What a QuarantineRelease may say."""

from typing import Any

import pytest
from pydantic import ValidationError

from mailfilter.api.crd import structural
from mailfilter.api.fields import VALIDATIONS
from mailfilter.api.release import QuarantineReleaseSpec
from mailfilter.plan.cel import objection

MESSAGES = ["spam/h/hAbcDEfgh123.gz"]
CONDITIONS: dict[str, Any] = {
    "kind": "spam",
    "sender": "@client.example",
    "recipient": "bob@example.com",
    "subject": "offer",
    "since": "2026-11-25T00:00:00Z",
    "until": "2026-11-25T00:00:00Z",
    "minScore": 5,
    "maxScore": 5.5,
}
SCHEMA = structural(QuarantineReleaseSpec)


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({"messages": MESSAGES}, True),
        ({"selector": {"kind": "spam"}}, True),
        ({"messages": MESSAGES, "selector": {"kind": "spam"}}, False),
        ({}, False),
    ],
)
def test_either_messages_or_a_selector(given: dict[str, Any], right: bool) -> None:
    spec = {"mailFilter": "mx"} | given
    (rule,) = [one for one in SCHEMA[VALIDATIONS] if "either" in one["message"]]
    assert (objection(rule, spec) is None) is right
    if right:
        QuarantineReleaseSpec.model_validate(spec)
    else:
        with pytest.raises(ValidationError, match="give either messages or selector"):
            QuarantineReleaseSpec.model_validate(spec)


def test_a_selector_has_a_condition() -> None:
    """An empty one would give back all that is held."""
    selector = SCHEMA["properties"]["selector"]
    (rule,) = selector[VALIDATIONS]
    assert objection(rule, {"limit": 5}) == rule["message"]
    assert set(CONDITIONS) == set(selector["properties"]) - {"limit"}
    for name, value in CONDITIONS.items():
        assert objection(rule, {name: value, "limit": 5}) is None
