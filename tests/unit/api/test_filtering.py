"""Destinies and the mode of filtering that they need."""

from typing import Any

import pytest
from pydantic import ValidationError

from mailfilter.api.filtering import BOUNCE_BEFORE_QUEUE, REJECT_AFTER_QUEUE
from support.samples import spec

REJECT, BOUNCE = {"destiny": "Reject"}, {"destiny": "Bounce"}
DOMAIN = {"name": "example.com", "relay": {"host": "mail"}}
BOB = "bob@example.com"
BEFORE = {"filtering": {"mode": "BeforeQueue"}}


@pytest.mark.parametrize(
    ("change", "who"),
    [
        *(({part: REJECT}, f"{part}.destiny: ") for part in ("virus", "spam", "banned", "badHeader")),
        ({"spam": {"aboveCutoff": "Reject"}}, "spam.aboveCutoff: "),
        ({"domains": [DOMAIN | {"policy": {"virus": REJECT}}]}, "domain example.com: virus.destiny: "),
        ({"recipients": [{"address": BOB, "policy": {"spam": REJECT}}]}, f"recipient {BOB}: spam.destiny: "),
    ],
)
def test_reject_needs_a_client_that_waits(change: dict[str, Any], who: str) -> None:
    with pytest.raises(ValidationError, match=who + REJECT_AFTER_QUEUE.partition(". After")[0]):
        spec(**change)
    spec(**change, **BEFORE)


@pytest.mark.parametrize("part", ["banned", "badHeader"])
def test_bounce_is_taken_after_the_queue_alone(part: str) -> None:
    spec(**{part: BOUNCE})
    with pytest.raises(ValidationError, match=BOUNCE_BEFORE_QUEUE.partition(". In")[0]):
        spec(**{part: BOUNCE}, **BEFORE)


@pytest.mark.parametrize("part", ["virus", "spam"])
def test_b52_no_notice_about_spam_and_viruses(part: str) -> None:
    for change in ({part: BOUNCE}, {"domains": [DOMAIN | {"policy": {part: BOUNCE}}]}):
        with pytest.raises(ValidationError, match="'Pass', 'Discard' or 'Reject'"):
            spec(**change)


def test_b52_by_default_nothing_is_refused_and_nobody_is_sent_a_notice() -> None:
    for change in ({}, BEFORE):
        assert set(spec(**change).verdicts.destinies.values()) == {"Pass", "Discard"}
