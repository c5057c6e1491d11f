"""The reconcile loop against a real API server: what it mends, removes and leaves alone."""

from typing import Any

import pytest
import pytest_asyncio

from mailfilter.stack import KINDS
from support.cluster import Cluster
from support.loop import STATUS, Process, World, about_objects, changed, made, until
from support.samples import SMALL, with_changes

pytestmark = pytest.mark.asyncio(loop_scope="module")

Object = dict[str, Any]
DRIFT: list[tuple[str, str, Object]] = [
    ("ServiceAccount", "mailfilter", {"automountServiceAccountToken": True}),
    ("Secret", "agent", {"metadata": {"ownerReferences": None}}),
    ("Secret", "agent", {"data": {"token": "//8="}}),
    ("ConfigMap", "policy", {"data": {"policy.json": "{}"}}),
    ("ConfigMap", "postfix", {"data": {"transport": None}}),
    ("ConfigMap", "clamav", {"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}}),
    ("Service", "postfix", {"spec": {"ports": [{"name": "smtp", "port": 25, "targetPort": 9}]}}),
    ("Service", "amavis", {"spec": {"selector": {"app.kubernetes.io/instance": "other"}}}),
    ("NetworkPolicy", "postfix", {"spec": {"ingress": [{}]}}),
    ("NetworkPolicy", "amavis", {"spec": {"policyTypes": ["Ingress"], "egress": None}}),
    ("PodDisruptionBudget", "amavis", {"spec": {"maxUnavailable": 3}}),
    ("PersistentVolumeClaim", "quarantine", {"metadata": {"labels": {"app.kubernetes.io/instance": "other"}}}),
    ("StatefulSet", "postfix", {"spec": {"replicas": 0}}),
    ("StatefulSet", "amavis", {"spec": {"template": {"spec": {"automountServiceAccountToken": True}}}}),
    ("Deployment", "clamd", {"spec": {"template": {"metadata": {"annotations": {"mailfilter.dev/config": "x"}}}}}),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def drifting(world: World) -> Process:
    process = await made(world, "drift")

    async def noted() -> bool:
        deployment = await world.object("Deployment", "drift-clamd")
        return "deployment.kubernetes.io/revision" in (deployment or {})["metadata"].get("annotations", {})

    # Whenever a Deployment's controller gets to it, it notes its revision, and we write once more.
    await until(noted)
    await process.settle()
    world.writes.clear()
    return process


@pytest.mark.parametrize(("kind", "part", "patch"), DRIFT, ids=lambda value: value if isinstance(value, str) else "")
async def test_a_changed_child_is_mended(world: World, drifting: Process, kind: str, part: str, patch: Object) -> None:
    before = await world.objects("drift")
    await changed(world, kind, f"drift-{part}", patch)
    await drifting.settle()
    assert await world.objects("drift") == before
    # A workload is written once more when its controller has annotated it.
    objects = {write.rsplit("/", 1)[1] for write in about_objects(world.writes) if STATUS not in write}
    assert objects == {f"drift-{part}"}, "only what differs is written"
    secret = await world.object("Secret", "drift-agent")
    assert secret
    assert len(secret["data"]["token"]) > 40


@pytest.mark.parametrize("kind", [kind for _, kind in KINDS])
async def test_deleted_children_come_back(world: World, drifting: Process, kind: str) -> None:
    before = await world.objects("drift")
    names = [one.split()[1].replace("NAME", "drift") for one in before if one.startswith(f"{kind} ")]
    assert names
    for name in names:
        body = await world.object(kind, name)
        assert body
        await world.delete(body["apiVersion"], kind, world.namespace, name, body["metadata"]["uid"])

    async def gone() -> bool:
        return not any([await world.object(kind, name) for name in names])

    await until(gone)
    await drifting.settle()
    assert await world.objects("drift") == before


async def test_only_what_is_owned_and_not_wanted_is_removed(world: World) -> None:
    process = await made(world, "prune")
    ours = await world.object("ConfigMap", "prune-policy")
    assert ours
    labels, owners = ours["metadata"]["labels"], ours["metadata"]["ownerReferences"]
    for name, metadata in {
        "leftover": {"labels": labels, "ownerReferences": owners},
        "unowned": {"labels": labels},
        "unlabelled": {"ownerReferences": owners},
        "stranger": {},
    }.items():
        await world.create(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"prune-{name}", "namespace": world.namespace, **metadata},
            }
        )
    world.writes.clear()
    await process.settle()
    assert [write.rsplit("/", 1)[1] for write in about_objects(world.writes)] == ["prune-leftover"]
    assert await world.object("ConfigMap", "prune-leftover") is None
    for name in ("unowned", "unlabelled", "stranger"):
        assert await world.object("ConfigMap", f"prune-{name}"), name


async def test_the_service_type_can_be_changed_back(world: World) -> None:
    process = await made(world, "types")
    before = await world.objects("types")
    service = {"type": "LoadBalancer", "annotations": {"a.test/b": "c"}, "loadBalancerClass": "a.test/none"}
    await world.mailfilter("types", with_changes(SMALL, postfix={"service": service}))
    await process.settle()
    found = await world.object("Service", "types-postfix")
    assert found
    assert (found["spec"]["type"], found["spec"]["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
    assert found["metadata"]["annotations"] == {"a.test/b": "c"}
    await world.mailfilter("types", SMALL)
    await process.settle()
    assert await world.objects("types") == before
    found = await world.object("Service", "types-postfix")
    assert found
    assert not found["metadata"].get("annotations")


@pytest.mark.parametrize("reclaim", ["Retain", "Delete"])
async def test_what_is_deleted_with_the_mailfilter(world: World, cluster: Cluster, reclaim: str) -> None:
    name = f"gone-{reclaim.lower()}"
    process = await made(world, name, with_changes(SMALL, quarantine={"reclaim": "Retain"}))
    if reclaim == "Delete":
        await world.mailfilter(name, with_changes(SMALL, quarantine={"reclaim": "Delete"}))
        await process.settle()
    cluster.delete_object("mailfilter", name, world.namespace)
    assert await process.reconcile() is None
    left = {"PersistentVolumeClaim NAME-quarantine"} if reclaim == "Retain" else set()

    async def collected() -> bool:
        return set(await world.objects(name)) == left

    await until(collected)


async def test_a_claim_that_was_restored_beforehand_is_taken(world: World, cluster: Cluster) -> None:
    snapshot = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "restored-20261125"}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "restored-quarantine"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "10Gi"}},
            "dataSource": snapshot,
        },
    }
    cluster.create(claim, world.namespace)
    before = cluster.get("pvc", "restored-quarantine", world.namespace)
    await made(world, "restored")
    found = await world.object("PersistentVolumeClaim", "restored-quarantine")
    assert found
    assert (found["metadata"]["uid"], found["spec"]) == (before["metadata"]["uid"], before["spec"])
    assert found["metadata"]["labels"]["app.kubernetes.io/instance"] == "restored"
    assert (await world.condition("restored", "Ready"))["status"] == "True"


async def test_retain_can_be_chosen_later(world: World) -> None:
    process = await made(world, "later", with_changes(SMALL, quarantine={"reclaim": "Delete"}))
    claim = await world.object("PersistentVolumeClaim", "later-quarantine")
    assert claim
    assert claim["metadata"]["ownerReferences"]
    await world.mailfilter("later", with_changes(SMALL, quarantine={"reclaim": "Retain"}))
    await process.settle()
    claim = await world.object("PersistentVolumeClaim", "later-quarantine")
    assert claim
    assert not claim["metadata"].get("ownerReferences")
