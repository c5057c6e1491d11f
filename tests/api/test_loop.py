"""The reconcile loop against a real API server: what it makes, mends, removes and leaves alone."""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from mailfilter.cluster.api import Api
from mailfilter.policy import dns
from mailfilter.stack import KINDS, desired_objects
from support.cluster import Cluster
from support.loop import CrashError, Process, World
from support.run import wait_for
from support.samples import FULL, SMALL, gateway, with_changes

pytestmark = pytest.mark.asyncio(loop_scope="module")

Object = dict[str, Any]
STATUS = "/status"


def about_objects(writes: list[str]) -> list[str]:
    return [write for write in writes if "/events" not in write and not write.startswith("annotate")]


async def made(world: World, name: str, spec: Object | None = None) -> Process:
    """A MailFilter that an operator has settled."""
    await world.mailfilter(name, spec)
    await world.start_pods(name)
    process = Process(world, name)
    await process.settle()
    world.writes.clear()
    return process


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(90):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.3)


async def changed(world: World, kind: str, name: str, patch: Object) -> None:
    """A change by somebody else."""
    api_version = next(version for version, one in KINDS if one == kind)
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    plural = {"NetworkPolicy": "networkpolicies"}.get(kind, f"{kind.lower()}s")
    path = f"{root}/namespaces/{world.namespace}/{plural}/{name}"
    await world._call("patch", kind, path, body=patch, content_type="application/merge-patch+json")
    world.writes.clear()


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


POLICY_EDIT = {"lists": {"deny": ["bad@client.example"]}, "spam": {"killLevel": 6}}


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


async def test_bad_rules_leave_the_policy_as_it_is(world: World) -> None:
    process = await made(world, "rules", with_changes(SMALL, spam={"rules": "body GOOD /x/\n"}))
    before = await world.object("ConfigMap", "rules-policy")
    bad = with_changes(SMALL, spam={"rules": "body GOOD /x/\nloadplugin X /tmp/x.pm\n", "killLevel": 7})
    await world.mailfilter("rules", bad)
    await process.settle()
    assert await world.object("ConfigMap", "rules-policy") == before
    condition = await world.condition("rules", "PolicyActive")
    assert (condition["status"], condition["reason"]) == ("False", "InvalidRules")
    assert "spec.spam.rules line 2" in condition["message"]
    body = await world.object("MailFilter", "rules")
    assert body
    assert body["status"]["observedGeneration"] == 1
    await world.mailfilter("rules", with_changes(SMALL, spam={"rules": "body GOOD /y/\n"}))
    await process.settle()
    after = await world.object("ConfigMap", "rules-policy")
    assert after
    assert "/y/" in after["data"]["policy.json"]
    assert (await world.condition("rules", "PolicyActive"))["status"] == "True"


async def test_bad_rules_of_a_new_mailfilter_set_nothing_up(world: World) -> None:
    process = await made(world, "newrules", with_changes(SMALL, spam={"rules": "loadplugin X /tmp/x.pm\n"}))
    assert await world.object("ConfigMap", "newrules-policy") is None
    assert await world.object("StatefulSet", "newrules-amavis") is None
    condition = await world.condition("newrules", "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "InvalidRules")
    assert "spec.spam.rules line 1" in condition["message"]
    await world.mailfilter("newrules", SMALL)
    await process.settle()
    assert await world.object("StatefulSet", "newrules-amavis")


async def test_what_the_api_server_refuses_is_a_condition(world: World) -> None:
    """And no reason to ask it every second, nor to leave the policy behind."""
    process = await made(world, "refused")
    impossible = {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}
    await world.mailfilter("refused", with_changes(SMALL, amavis={"resources": impossible}, spam={"killLevel": 8}))
    assert await process.reconcile() == 20
    condition = await world.condition("refused", "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "ApplyFailed")
    assert "must be less than or equal to memory limit" in condition["message"]
    policy = await world.object("ConfigMap", "refused-policy")
    assert policy
    assert '"default": 8.0' in policy["data"]["policy.json"]


async def test_what_dns_said_is_in_the_status(world: World) -> None:
    """And stays there, unasked, when another process begins."""
    process = await made(world, "dns")
    host, domain = dns.wanted(gateway().spec, {})
    process.cache.dns[process.key] = [
        dns.judged(host, dns.Answer(("192.0.2.1",))),
        dns.judged(domain, dns.Answer(("10 other.example",))),
    ]
    await process.loop.reconcile(process.key)
    condition = await world.condition("dns", "DNSReady")
    assert (condition["status"], condition["reason"]) == ("False", "RecordsDiffer")
    assert "add example.com. IN MX 10 mx.example.com." in condition["message"]
    assert (await world.condition("dns", "Ready"))["status"] == "True"
    body = await world.object("MailFilter", "dns")
    assert body
    right = {"name": "mx.example.com", "type": "A", "state": "Present", "found": ["192.0.2.1"]}
    wrong = {"name": "example.com", "type": "MX", "state": "Different", "found": ["10 other.example"]}
    assert body["status"]["dns"] == {
        "present": 1,
        "missing": 0,
        "different": 1,
        "unknown": 0,
        "records": [wrong | {"expected": "mx.example.com"}, right],
    }
    await Process(world, "dns").settle()
    assert await world.object("MailFilter", "dns") == body
    await world.mailfilter("dns", with_changes(SMALL, dns={"check": False}))
    await Process(world, "dns").settle()
    body = await world.object("MailFilter", "dns")
    assert body
    assert "dns" not in body["status"]
    assert "DNSReady" not in [one["type"] for one in body["status"]["conditions"]]


async def test_keys_are_published_as_pods_tell_them(world: World) -> None:
    """And stay so when another process begins, or no pod can be asked."""
    keys = [{"domain": "example.com", "selector": name, "secretName": "keys"} for name in ("s1", "s2")]
    spec = with_changes(SMALL, outgoing={"clients": ["192.0.2.1"], "dkim": keys})
    await world.mailfilter("signs", spec)
    await world.start_pods("signs")
    process = Process(world, "signs")
    process.agents.dkim = {
        "example.com/s1": {"record": "v=DKIM1; k=rsa; p=AAA", "error": None},
        "example.com/s2": {"record": None, "error": "missing"},
    }
    await process.settle()
    condition = await world.condition("signs", "SigningReady")
    assert (condition["status"], condition["reason"]) == ("False", "SecretMissing")
    assert process.asked, "DNS is asked for the new record"
    host, domain, key = dns.wanted(gateway().spec, process.cache.published[process.key])
    process.cache.dns[process.key] = [
        dns.judged(host, dns.Answer(("192.0.2.1",))),
        dns.judged(domain, dns.Answer(("10 mx.example.com",))),
        dns.judged(key, dns.Answer(("v=DKIM1; p=AAA",))),
    ]
    await process.loop.reconcile(process.key)
    body = await world.object("MailFilter", "signs")
    assert body
    first = {"domain": "example.com", "selector": "s1", "record": "s1._domainkey.example.com"}
    second = {"domain": "example.com", "selector": "s2", "record": "s2._domainkey.example.com"}
    assert body["status"]["dkim"] == [first | {"value": "v=DKIM1; k=rsa; p=AAA", "dns": "Present"}, second]
    assert (await world.condition("signs", "DNSReady"))["status"] == "True"
    again = Process(world, "signs")
    again.agents.dkim = process.agents.dkim
    await again.settle()
    assert await world.object("MailFilter", "signs") == body
    again.agents.silent = True
    await again.settle()
    found = await world.object("MailFilter", "signs")
    assert found
    assert found["status"]["dkim"] == body["status"]["dkim"]


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
