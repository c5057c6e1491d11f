"""Which policy is in force, and the push that makes amavis look."""

import hashlib
import json

import pytest
from prometheus_client import CollectorRegistry

from mailfilter.agent.policy import Policy


def sha(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


@pytest.fixture
def mounted(tmp_path):
    path = tmp_path / "policy.json"
    path.write_text("new")
    return path


@pytest.fixture
def policy(mounted, tmp_path) -> Policy:
    return Policy(mounted, tmp_path)


def test_the_state_is_that_of_the_files(policy, tmp_path):
    assert policy.state().status() == {"mounted": sha("new"), "inForce": None, "refused": None}
    (tmp_path / "policy.good").write_text("old")
    (tmp_path / "policy.refused").write_text(json.dumps({"hash": sha("new"), "reason": "unknown key"}))
    assert policy.state().status() == {
        "mounted": sha("new"),
        "inForce": sha("old"),
        "refused": {"hash": sha("new"), "reason": "unknown key"},
    }


def test_changes_are_seen_and_vanishing_files_too(policy, mounted, tmp_path):
    assert policy.state().mounted == sha("new")
    swapped = tmp_path / "next"
    swapped.write_text("nex")
    swapped.rename(mounted)
    assert policy.state().mounted == sha("nex")
    mounted.unlink()
    assert policy.state().mounted is None


async def test_amavis_is_made_to_look_at_a_new_policy(policy, amavis, tmp_path):
    amavis.answers.append(["action=DUNNO"])
    await policy.look()
    assert amavis.requests == [b"request=smtpd_access_policy\r\n\r\n"]


async def test_amavis_is_not_pressed_again_at_once_but_for_another_policy(policy, amavis, mounted):
    amavis.answers += [["action=DUNNO"], ["action=DUNNO"]]
    await policy.look()
    await policy.look()
    assert len(amavis.requests) == 1
    mounted.write_text("newer")
    await policy.look()
    assert len(amavis.requests) == 2


async def test_amavis_is_asked_again_after_a_pause(policy, amavis, monkeypatch):
    monkeypatch.setattr("mailfilter.agent.policy.AGAIN_SECONDS", 0.0)
    amavis.answers += [["action=DUNNO"], ["action=DUNNO"]]
    await policy.look()
    await policy.look()
    assert len(amavis.requests) == 2


@pytest.mark.parametrize(
    ("good", "refused"),
    [("new", None), ("old", {"hash": sha("new"), "reason": "x"}), ("new", {"hash": "", "reason": ""})],
)
async def test_a_policy_that_was_judged_is_left_alone(policy, amavis, tmp_path, good, refused):
    (tmp_path / "policy.good").write_text(good)
    if refused:
        (tmp_path / "policy.refused").write_text(json.dumps(refused))
    await policy.look()
    assert amavis.requests == []


async def test_amavis_looks_again_when_another_policy_was_refused(policy, amavis, tmp_path):
    (tmp_path / "policy.good").write_text("old")
    (tmp_path / "policy.refused").write_text(json.dumps({"hash": sha("older"), "reason": "x"}))
    amavis.answers.append(["action=DUNNO"])
    await policy.look()
    assert len(amavis.requests) == 1


async def test_an_amavis_that_is_not_there_is_waited_for(policy):
    await policy.look()


def test_metrics(policy, tmp_path):
    registry = CollectorRegistry()
    registry.register(policy)
    labels = {"wanted": sha("new"), "in_force": ""}
    assert registry.get_sample_value("mailfilter_policy_info", labels) == 1
    assert registry.get_sample_value("mailfilter_policy_refused") == 0
    (tmp_path / "policy.refused").write_text(json.dumps({"hash": sha("new"), "reason": "x"}))
    assert registry.get_sample_value("mailfilter_policy_refused") == 1
