"""The reconcile loop against a real API server: what it makes, and when it writes."""

import asyncio
import copy
from typing import Any

import pytest

from mailfilter.cluster.api import Api
from mailfilter.stack import KINDS, desired_objects
from support.cluster import Cluster
from support.loop import STATUS, CrashError, Process, World, about_objects, made
from support.run import wait_for
from support.samples import FULL, SMALL, gateway, with_changes

pytestmark = pytest.mark.asyncio(loop_scope="module")

Object = dict[str, Any]
POLICY_EDIT = {"lists": {"deny": ["bad@client.example"]}, "spam": {"killLevel": 6}}


@pytest.mark.parametrize(("name", "spec"), [("small", SMALL), ("full", FULL)])
async def test_all_objects_are_made_and_nothing_is_written_twice(world: World, name: str, spec: Object) -> None:
    await world.senders("pests", "# none yet")
    await world.mailfilter(name, spec)
    process = Process(world, name)
    world.writes.clear()
    await process.reconcile()
    objects = await world.objects(name)
    wanted = desired_objects(gateway(spec))
    assert set(objects) == {f"{each['kind']} NAME-{each['metadata']['name'].removeprefix('mx-')}" for each in wanted}
    assert len([write for write in about_objects(world.writes) if STATUS not in write]) == len(wanted)
    assert (await world.condition(name, "Ready"))["status"] != "True"

    await world.start_pods(name)
    await process.settle()
    for kind, status in (("Ready", "True"), ("Progressing", "False"), ("PolicyActive", "True")):
        condition = await world.condition(name, kind)
        assert (condition["status"], condition["observedGeneration"]) == (status, 1), condition
    body = await world.object("MailFilter", name)
    assert body
    assert body["status"]["observedGeneration"] == 1
    assert body["status"]["policy"]["inForce"] == body["status"]["policy"]["wanted"]

    world.writes.clear()
    for _ in range(3):
        assert await process.reconcile() == 20
    assert world.writes == []


async def test_a_new_process_changes_nothing(world: World) -> None:
    """All is applied once more, and no object has another version for it."""
    await made(world, "again")

    async def versions() -> dict[str, str]:
        return {
            f"{kind} {body['metadata']['name']}": body["metadata"]["resourceVersion"]
            for api_version, kind in KINDS
            for body in await world.list(api_version, kind, world.namespace, {"app.kubernetes.io/instance": "again"})
            if kind not in ("StatefulSet", "Deployment", "PersistentVolumeClaim")  # the cluster writes to these
        }

    before = await versions()
    await Process(world, "again").settle()
    assert await versions() == before


async def test_b65_an_edit_of_policy_writes_one_object(world: World) -> None:
    process = await made(world, "edit")
    await world.mailfilter("edit", with_changes(SMALL, **POLICY_EDIT))
    world.writes.clear()
    await process.settle()
    objects = [write for write in about_objects(world.writes) if STATUS not in write]
    assert [write.rsplit("/", 1)[1] for write in objects] == ["edit-policy"]
    assert "annotate edit-amavis-0" in world.writes
    body = await world.object("MailFilter", "edit")
    assert body
    assert body["status"]["observedGeneration"] == body["metadata"]["generation"] == 2


async def test_a_policy_on_its_way_is_no_reason_not_to_be_ready(world: World, cluster: Cluster) -> None:
    process = await made(world, "calm")
    process.agents.behind = True
    await world.mailfilter("calm", with_changes(SMALL, **POLICY_EDIT))
    await process.reconcile()
    await process.reconcile()
    ready, active = await world.condition("calm", "Ready"), await world.condition("calm", "PolicyActive")
    assert (ready["status"], ready["observedGeneration"]) == ("True", 1)
    assert (active["status"], active["reason"], active["observedGeneration"]) == ("False", "Waiting", 2)
    process.agents.behind = False
    assert await process.reconcile() == 20
    ready = await world.condition("calm", "Ready")
    assert (ready["status"], ready["observedGeneration"]) == ("True", 2)
    told = [
        event["reason"]
        for event in cluster.objects("events", world.namespace)
        if event["involvedObject"]["name"] == "calm"
    ]
    assert "Waiting" not in told
    assert told.count("Filtering") == 1


async def test_b19_b65_generation_is_observed_when_it_is_in_force(world: World) -> None:
    process = await made(world, "honest")
    process.agents.silent = True
    await world.mailfilter("honest", with_changes(SMALL, **POLICY_EDIT))
    await process.settle()
    body = await world.object("MailFilter", "honest")
    assert body
    assert (body["metadata"]["generation"], body["status"]["observedGeneration"]) == (2, 1)
    assert "inForce" not in body["status"]["policy"]
    assert (await world.condition("honest", "PolicyActive"))["status"] == "Unknown"


async def test_long_lists_come_and_go(world: World) -> None:
    source = {"configMap": {"name": "longpests", "key": "senders"}, "list": "Deny"}
    process = await made(world, "long", with_changes(SMALL, lists={"from": [source]}))
    condition = await world.condition("long", "ListsValid")
    assert (condition["status"], condition["reason"]) == ("False", "NotRead")
    assert condition["message"].startswith("ConfigMap longpests key senders is missing")
    assert (await world.condition("long", "Ready"))["status"] == "True", "mail is filtered without the list"

    async def write(text: str) -> None:
        await world.senders("longpests", text)
        world.writes.clear()
        await process.settle()

    await write("*@pest.example\ncom\n")
    assert [one.rsplit("/", 1)[1] for one in about_objects(world.writes) if STATUS not in one] == [
        "long-senders-0",
        "long-policy",
    ], "the list before the policy that names it"
    condition = await world.condition("long", "ListsValid")
    assert condition["reason"] == "Refused"
    assert "ConfigMap longpests key senders line 2: com" in condition["message"]
    body = await world.object("MailFilter", "long")
    assert body
    assert body["status"]["lists"] == {"allow": 0, "deny": 1, "scores": 0, "refused": 1}
    assert body["status"]["observedGeneration"] == 1

    # What amavis has stays when the list vanishes, and for a new process as well.
    before = await world.object("ConfigMap", "long-senders-0"), await world.object("ConfigMap", "long-policy")
    found = await world.object("ConfigMap", "longpests")
    assert found
    await world.delete("v1", "ConfigMap", world.namespace, "longpests", found["metadata"]["uid"])
    process = Process(world, "long")
    await process.settle()
    assert (await world.condition("long", "ListsValid"))["reason"] == "NotRead"
    assert before == (await world.object("ConfigMap", "long-senders-0"), await world.object("ConfigMap", "long-policy"))

    await world.mailfilter("long", SMALL)
    await process.settle()
    assert await world.object("ConfigMap", "long-senders-0") is None
    assert (await world.condition("long", "ListsValid"))["status"] == "True"


async def test_a_watch_tells_of_one_object_alone(world: World) -> None:
    metadata = {"namespace": world.namespace}

    async def write(name: str, text: str) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata | {"name": name}, "data": {"x": text}}
        await Api.apply(world, body)

    await write("watched", "1")
    changes = world.changes("v1", "ConfigMap", world.namespace, "watched")
    async with asyncio.timeout(60):
        await anext(changes)
        waiting = asyncio.ensure_future(anext(changes))
        await write("other", "1")
        await write("watched", "1")
        done, _ = await asyncio.wait([waiting], timeout=2)
        assert not done, "another object, and no change"
        await write("watched", "2" * 500_000)
        await waiting
    await changes.aclose()


async def test_transitions_are_events(world: World, cluster: Cluster) -> None:
    await made(world, "events")
    found = wait_for(
        lambda: [
            event
            for event in cluster.objects("events", world.namespace)
            if event["involvedObject"]["name"] == "events" and event["involvedObject"]["kind"] == "MailFilter"
        ],
        "events",
    )
    told = {(event["type"], event["reason"]) for event in found}
    assert {("Normal", "Filtering"), ("Normal", "InForce")} <= told
    assert len(found) == len({(event["reason"], event["message"]) for event in found}), "each once"


async def test_a_crash_after_any_write_converges(world: World) -> None:
    """The process ends right after its n-th write, for every n; the next one ends up with the same objects."""

    crashes = []

    async def lives(name: str, crash_at: int) -> tuple[int, dict[str, Object], Object]:
        one = copy.copy(world)
        one.writes, one.pods, one.crash_at = [], [], 0
        await one.mailfilter(name)
        await one.start_pods(name)
        one.writes, one.crash_at = [], crash_at
        if crash_at:
            try:
                await Process(one, name).settle()
            except CrashError:
                crashes.append(crash_at)
        await Process(one, name).settle()
        body = await one.object("MailFilter", name)
        assert body
        for condition in body["status"]["conditions"]:
            condition.pop("lastTransitionTime")
        body["status"]["endpoint"] = body["status"]["endpoint"].replace(name, "NAME")
        for digest in ("wanted", "inForce"):
            body["status"]["policy"].pop(digest)
        for condition in body["status"]["conditions"]:
            condition["message"] = condition["message"].replace(name, "NAME")
        return len(one.writes), await one.objects(name), body["status"]

    writes, objects, status = await lives("crash0", 0)
    assert writes > len(objects) > 20
    for first in range(1, writes + 1, 4):
        numbers = range(first, min(first + 4, writes + 1))
        for number, (_, found, seen) in zip(
            numbers, await asyncio.gather(*(lives(f"crash{number}", number) for number in numbers)), strict=True
        ):
            assert found == objects, number
            assert seen == status, number
    # The last write mends what a Deployment's controller has noted there: it may come too late for a life to meet it.
    assert len(crashes) >= writes - 1
