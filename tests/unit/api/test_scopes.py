"""What does not fit together, in words that name the domain or the recipient."""

from typing import Any

import pytest
from pydantic import ValidationError

from support.samples import spec

BOB = "bob@example.com"


def domain(**policy: Any) -> dict[str, Any]:
    return {"name": "example.com", "relay": {"host": "mail"}, "policy": policy}


def recipient(address: str = BOB, **policy: Any) -> dict[str, Any]:
    return {"address": address, "policy": policy}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"domains": [domain(spam={"killLevel": 11})]},
            "domain example.com: killLevel 11 must not be above cutoffLevel 10",
        ),
        (
            {"domains": [domain(spam={"cutoffLevel": 4.5})]},
            "domain example.com: killLevel 5 must not be above cutoffLevel 4.5",
        ),
        (
            {"recipients": [recipient(spam={"tagLevel": 6})]},
            f"recipient {BOB}: tagLevel 6 must not be above tag2Level 5",
        ),
        (
            {"domains": [domain(spam={"tag2Level": 3})], "recipients": [recipient(spam={"tagLevel": 4})]},
            f"recipient {BOB}: tagLevel 4 must not be above tag2Level 3",
        ),
        ({"recipients": [recipient("bob@elsewhere.example")]}, "bob@elsewhere.example is in none of the domains"),
        ({"recipients": [recipient("bob@notexample.com")]}, "bob@notexample.com is in none of the domains"),
        ({"recipients": [recipient(), recipient("BOB@Example.com")]}, "is there twice"),
        (
            {"domains": [domain() | {"subdomains": False}], "recipients": [recipient("bob@sub.example.com")]},
            "bob@sub.example.com is in none of the domains",
        ),
    ],
)
def test_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("+", r"\+")):
        spec(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"domains": [domain(spam={"killLevel": 11, "cutoffLevel": 11})]},
        {"domains": [domain(spam={"cutoffLevel": 20})], "recipients": [recipient(spam={"killLevel": 15})]},
        {"recipients": [recipient("bob@deep.sub.example.com")]},
        {"recipients": [recipient(), recipient("bob+tag@example.com")]},
    ],
)
def test_taken(change: dict[str, Any]) -> None:
    spec(**change)
