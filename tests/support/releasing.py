"""Releases of held mail by number, through an agent in this process."""

from typing import Any

from mailfilter.agent.bulk import BulkReleases, BulkRequest
from mailfilter.api.release import ReleaseProgress
from support.amavis import Amavis

BOTH = "X-Envelope-To-Blocked: <bob@example.test>,\n <carol@example.test>\n"
INFECTED = "X-Amavis-Alert: INFECTED, message contains virus: Eicar\n"
ALL = {"sender": "alice@client.test"}


def name(number: int, kind: str = "spam") -> str:
    return f"{kind}/a/a{number:011}"


def mail_id(number: int) -> str:
    return name(number).rpartition("/")[2]


def wanted(key: str = "key-1", **release: object) -> BulkRequest:
    return BulkRequest.model_validate({"key": key, "selector": ALL} | release)


def by_id(*names: str, **release: Any) -> BulkRequest:
    return BulkRequest(key="key-1", messages=list(names), **release)


async def settled(agent: BulkReleases, request: BulkRequest, amavis: Amavis | None = None) -> ReleaseProgress:
    """With amavis' Postfix asked as the operator asks it, else nobody is."""
    for _ in range(50):
        progress = await agent.work(request)
        if progress.next_seconds is None:
            return progress
        if amavis:
            known = {one: amavis.receipts[one] for one in progress.receipts}
            request = request.model_copy(update={"receipts": known})
    raise AssertionError(f"never ends: {progress}")
