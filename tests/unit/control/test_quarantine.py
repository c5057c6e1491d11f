"""What is true of the quarantine."""

from typing import Any

import pytest

from mailfilter.control import quarantine
from mailfilter.control.facts import Facts, Pod
from support.samples import NAMES, spec

MIB = 2**20
HELD = {
    "messages": {"spam": 2, "virus": 1, "banned": 0, "bad-header": 0},
    "bytes": {"spam": 200, "virus": 10, "banned": 0, "bad-header": 0},
}


def facts(*agents: dict[str, Any] | None) -> Facts:
    """One amavis pod for each agent, of which None cannot be asked."""
    pods = [
        Pod(
            f"mx-amavis-{number}",
            "amavis",
            "10.0.0.1",
            ready=True,
            status=None if said is None else {"amavis": {"quarantine": {"writable": True} | said}},
        )
        for number, said in enumerate(agents)
    ]
    wanted = spec(messageSizeLimit=10 * MIB)
    return Facts(spec=wanted, names=NAMES, policy_hash="", tables_hash="", children={}, pods=pods)


def free(mib: int, capacity: int = 10_000) -> dict[str, Any]:
    return {"freeBytes": mib * MIB, "capacityBytes": capacity * MIB}


def test_what_is_held_is_what_an_agent_says_that_knows_it() -> None:
    found = {"messages": 3, "bytes": 210, "byKind": HELD["messages"]}
    assert quarantine.held(facts(HELD)) == found
    assert quarantine.held(facts(None, {"messages": None, "bytes": None}, HELD)) == found
    for unknown in ((), (None,), ({"messages": None, "bytes": None},)):
        assert quarantine.held(facts(*unknown)) is None


@pytest.mark.parametrize(
    ("agents", "status", "reason", "part"),
    [
        ([{}], "True", "Writable", "held"),
        ([{}, {"writable": False}], "False", "NotWritable", "mx-amavis-1 "),
        ([None], "Unknown", "AgentsUnreachable", "amavis"),
        ([], "Unknown", "AgentsUnreachable", "amavis"),
    ],
)
def test_writable(agents: list[Any], status: str, reason: str, part: str) -> None:
    found = quarantine.writable(facts(*agents))
    assert (found.status, found.reason) == (status, reason)
    assert part in found.message


@pytest.mark.parametrize(
    ("agents", "status", "reason"),
    [
        ([free(1000)], "True", "Room"),
        ([free(999)], "False", "NearlyFull"),
        ([free(5000), free(500)], "False", "NearlyFull"),
        # A tenth of a small volume is not room for ten mails of 10 MiB.
        ([free(99, 200)], "False", "NearlyFull"),
        ([free(101, 200)], "True", "Room"),
        ([None, {}], "Unknown", "AgentsUnreachable"),
    ],
)
def test_space(agents: list[Any], status: str, reason: str) -> None:
    found = quarantine.space(facts(*agents))
    assert (found.status, found.reason) == (status, reason)
    assert ("quarantine.retention" in found.message) == (reason == "NearlyFull")
