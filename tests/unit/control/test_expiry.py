"""When held mail is deleted."""

from typing import Any

import pytest

from mailfilter.cluster.agents import AgentError
from mailfilter.control import expiry as module
from mailfilter.control.expiry import DAY_SECONDS, Expiry, request
from mailfilter.control.facts import Facts, Pod
from support.samples import NAMES, spec

KEY = (NAMES.namespace, NAMES.name)
KEPT = {"retention": {"spam": 7, "badHeader": 1}, "maxSize": "1Gi"}


def release(name: str = "r", phase: str | None = None, *, of: tuple[str, str] = KEY, **wanted: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": of[0], "name": name, "uid": f"uid-{name}"},
        "spec": {"mailFilter": of[1], "messages": [f"spam/a/{name}AbcDEfgh123"], **wanted},
        "status": {"phase": phase} if phase else {},
    }


def facts(*, ready: bool = True, **quarantine: Any) -> Facts:
    pods = [Pod("mx-amavis-0", "amavis", "10.0.0.1", ready=ready)]
    return Facts(spec=spec(quarantine=quarantine), names=NAMES, policy_hash="", tables_hash="", children={}, pods=pods)


class Agents:
    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.trouble: str | None = None

    async def expire(self, pod_ip: str, token: str, wanted: dict[str, Any]) -> None:
        assert (pod_ip, token) == ("10.0.0.1", "token")
        self.asked.append(wanted)
        if self.trouble:
            raise AgentError(self.trouble)


def test_without_bounds_no_mail_is_deleted() -> None:
    assert request(spec(), [release("r")]) == {
        "seconds": {},
        "keep": ["spam/a/rAbcDEfgh123"],
        "releases": ["uid-r"],
    }


def test_bounds_become_seconds_and_bytes() -> None:
    assert request(spec(quarantine=KEPT), []) == {
        "seconds": {"spam": 7 * DAY_SECONDS, "bad-header": DAY_SECONDS},
        "maxBytes": 2**30,
        "keep": [],
        "releases": [],
    }
    assert request(spec(quarantine={"maxSize": "500M"}), []) == {
        "seconds": {},
        "maxBytes": 500_000_000,
        "keep": [],
        "releases": [],
    }


@pytest.mark.parametrize(
    ("phase", "kept"),
    [(None, True), ("Pending", True), ("Releasing", True), ("Released", False), ("PartiallyReleased", False)],
)
def test_b64_what_is_to_be_released_is_kept(phase: str | None, kept: bool) -> None:
    wanted = request(spec(quarantine=KEPT), [release("r", phase)])
    assert (wanted["keep"], wanted["releases"]) == ((["spam/a/rAbcDEfgh123"], ["uid-r"]) if kept else ([], []))


async def test_releases_of_others_keep_nothing_here() -> None:
    agents = Agents()
    others = [release("a", of=("other", "mx")), release("b", of=(KEY[0], "my")), release("c")]
    await Expiry(agents).run(KEY, facts(**KEPT), "token", others)
    assert agents.asked[0]["releases"] == ["uid-c"]


async def test_once_a_minute_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = Agents()
    expiry = Expiry(agents)
    agents.trouble = "refused"
    for _ in range(3):
        await expiry.run(KEY, facts(**KEPT), "token", [])
    assert len(agents.asked) == 1
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.0)
    await expiry.run(KEY, facts(**KEPT), "token", [])
    assert len(agents.asked) == 2


async def test_without_bounds_records_are_tidied_once_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = Agents()
    expiry = Expiry(agents)
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.0)
    for _ in range(3):
        await expiry.run(KEY, facts(), "token", [])
    assert [one["seconds"] for one in agents.asked] == [{}]
    await expiry.run(KEY, facts(**KEPT), "token", [])
    assert len(agents.asked) == 2, "a bound that is set is in force at once"


async def test_nobody_is_asked_who_is_not_ready() -> None:
    agents = Agents()
    await Expiry(agents).run(KEY, facts(ready=False, **KEPT), "token", [])
    assert agents.asked == []
