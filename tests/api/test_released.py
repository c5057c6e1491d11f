"""Senders that releases have allowed, and everybody else who writes to a MailFilter."""

import json
from typing import Any

import pytest
import yaml

from mailfilter.api import API_VERSION
from mailfilter.api.status import SenderResult
from mailfilter.control.allow import allow
from support.cluster import Cluster
from support.loop import Process, World
from support.plan import Plan
from support.samples import SMALL, with_changes

pytestmark = pytest.mark.asyncio(loop_scope="module")

Object = dict[str, Any]
FIRST, SECOND, THIRD = "first@client.test", "second@client.test", "third@client.test"


def manifest(name: str, **changes: Any) -> Object:
    metadata = {"name": name}
    return {
        "apiVersion": API_VERSION,
        "kind": "MailFilter",
        "metadata": metadata,
        "spec": with_changes(SMALL, **changes),
    }


async def release(world: World, name: str, uid: str, *senders: str) -> list[SenderResult]:
    """What a release named by its uid does at its end."""
    metadata = {"namespace": world.namespace, "name": f"release-{uid}", "uid": uid}
    return await allow(world, {"metadata": metadata, "spec": {"mailFilter": name}}, senders)


async def allowed(world: World, name: str) -> dict[str, str]:
    """Sender → the release that allowed it."""
    body = await world.object("MailFilter", name)
    assert body
    return {one["sender"]: one["release"] for one in body["spec"]["releasedSenders"]}


# How a user writes a manifest, first and again.
WAYS = [
    ("apply",),
    ("apply", "--server-side"),
    ("apply", "--server-side", "--field-manager=flux", "--force-conflicts"),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: " ".join(way))
async def test_an_apply_of_the_users_manifest_leaves_them_alone(
    cluster: Cluster, world: World, way: tuple[str, ...]
) -> None:
    name = f"way{WAYS.index(way)}"

    def apply(**changes: Any) -> None:
        text = yaml.safe_dump(manifest(name, **changes))
        cluster.kubectl("-n", world.namespace, *way, "-f", "-", stdin=text)

    apply(lists={"allow": ["partner.example"]})
    for uid, senders in (("u1", (FIRST, SECOND)), ("u2", (SECOND, THIRD))):
        assert "Refused" not in {one.result for one in await release(world, name, uid, *senders)}
    all_of_them = {FIRST: "release-u1", SECOND: "release-u1", THIRD: "release-u2"}
    assert await allowed(world, name) == all_of_them
    apply(lists={"allow": ["other.example"]}, spam={"killLevel": 7})
    assert await allowed(world, name) == all_of_them
    # The lists as a whole leave the manifest.
    apply()
    assert await allowed(world, name) == all_of_them
    plan = Plan(cluster.kubeconfig, world.namespace, name, SMALL)
    assert "releasedSenders" not in plan.printed


async def test_what_is_taken_back_stays_away(cluster: Cluster, world: World) -> None:
    name = "revoked"
    cluster.kubectl("-n", world.namespace, "apply", "-f", "-", stdin=yaml.safe_dump(manifest(name)))
    await release(world, name, "u1", FIRST, SECOND)
    # As kubectl edit does it.
    patch = json.dumps([{"op": "remove", "path": "/spec/releasedSenders/0"}])
    cluster.kubectl("-n", world.namespace, "patch", "mf", name, "--type=json", "-p", patch)
    assert await allowed(world, name) == {SECOND: "release-u1"}
    await release(world, name, "u2", THIRD)
    assert await allowed(world, name) == {SECOND: "release-u1", THIRD: "release-u2"}
    cluster.kubectl("-n", world.namespace, "apply", "-f", "-", stdin=yaml.safe_dump(manifest(name, admin="a@b.test")))
    assert await allowed(world, name) == {SECOND: "release-u1", THIRD: "release-u2"}


async def test_they_are_in_the_policy_as_allowed(world: World) -> None:
    name = "inforce"
    await world.mailfilter(name)
    await world.start_pods(name)
    await release(world, name, "u1", FIRST)
    await Process(world, name).settle()
    policy = await world.object("ConfigMap", f"{name}-policy")
    assert policy
    assert json.loads(policy["data"]["policy.json"])["senders"]["default"]["allow"] == [FIRST]
    assert "allow: 1" in (await world.condition(name, "ListsValid"))["message"]


async def test_too_many_are_refused_as_a_whole(world: World) -> None:
    name = "full"
    entry = {"release": "r", "time": "2026-11-25T00:00:00Z"}
    full = [{"sender": f"s{number}@client.test", **entry} for number in range(499)]
    await world.mailfilter(name, with_changes(SMALL, releasedSenders=full))
    (one, other) = await release(world, name, "u1", FIRST, SECOND)
    assert one.result == other.result == "Refused"
    assert "500" in str(one.message)
    assert len(await allowed(world, name)) == 499
    assert [one.result for one in await release(world, name, "u2", FIRST)] == ["Allowed"]


async def test_a_mailfilter_that_is_deleted_meanwhile_is_not_made_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"metadata": {"uid": "uid-gone"}, "spec": SMALL}

    async def stale(*_: Any) -> Object:
        return body

    with monkeypatch.context() as patch:
        patch.setattr(world, "get", stale)
        (one,) = await release(world, "gone", "u1", FIRST)
    assert one.result == "Refused"
    assert await world.object("MailFilter", "gone") is None
