"""`mailfilter plan --diff` against a real API server: what it foresees is what the operator then does."""

import json
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from mailfilter.api import API_VERSION
from mailfilter.plan.applied import after_apply
from mailfilter.plan.validation import stored, validated
from support.cluster import Cluster
from support.loop import SETTINGS, Process, World
from support.plan import Plan
from support.samples import FULL, SMALL, with_changes

pytestmark = pytest.mark.asyncio(loop_scope="module")

Object = dict[str, Any]
WORKLOADS = {"postfix": "StatefulSet", "amavis": "StatefulSet", "freshclam": "StatefulSet", "clamd": "Deployment"}


async def settled(world: World, name: str, spec: Object) -> Process:
    await world.mailfilter(name, spec)
    await world.start_pods(name)
    process = Process(world, name)
    await process.settle()
    return process


async def templates(world: World, name: str) -> dict[str, Object]:
    found = {}
    for part, kind in WORKLOADS.items():
        body = await world.object(kind, f"{name}-{part}")
        assert body
        found[part] = body["spec"]["template"]
    return found


# A node port is the whole cluster's, and another module's namespace with the same sample may not be gone yet.
PLANNED = [("plansmall", SMALL), ("planfull", with_changes(FULL, postfix={"service": {"nodePort": 30026}}))]


@pytest.mark.parametrize(("name", "spec"), PLANNED, ids=["small", "full"])
async def test_nothing_to_do_after_an_apply(world: World, cluster: Cluster, name: str, spec: Object) -> None:
    await world.senders("pests", "# none yet")
    await settled(world, name, spec)
    plan = Plan(cluster.kubeconfig, world.namespace, name, spec)
    assert (plan.status, plan.errors) == (0, ""), plan.printed
    assert [line for line in plan.lines[1:] if not line.startswith("warning ")] == ["objects as is", "rolls no pod"]


CHANGES: list[Object] = [
    {"spam": {"killLevel": 7}, "lists": {"deny": ["bad@client.example"]}},
    {"domains": [*SMALL["domains"], {"name": "second.example", "relay": {"host": "elsewhere.example"}}]},
    {"amavis": {"resources": {"limits": {"memory": "1024Mi"}}}},
    {"messageSizeLimit": 52428800},
    {"freshclam": {"customURLs": ["http://signatures.example/a.ndb"]}},
    {"postfix": {"service": {"type": "NodePort"}}},
    {"clamd": {"replicas": 2}},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
async def test_what_is_foreseen_is_what_happens(world: World, cluster: Cluster, change: Object) -> None:
    name = f"plan{CHANGES.index(change)}"
    await settled(world, name, SMALL)
    wanted = with_changes(SMALL, **change)
    plan = Plan(cluster.kubeconfig, world.namespace, name, wanted)
    assert plan.status == 1, plan.errors
    before = await templates(world, name)
    await world.mailfilter(name, wanted)
    await Process(world, name).settle()
    after = await templates(world, name)
    assert plan.rolls == {part for part in WORKLOADS if before[part] != after[part]}
    again = Plan(cluster.kubeconfig, world.namespace, name, wanted)
    assert again.status == 0, again.printed


async def test_policy_goes_live_without_a_roll(world: World, cluster: Cluster) -> None:
    await settled(world, "planlive", SMALL)
    plan = Plan(cluster.kubeconfig, world.namespace, "planlive", with_changes(SMALL, spam={"killLevel": 7}))
    assert plan.lines[-3:] == [
        "live policy.json (planlive-policy): in force in seconds, no pod restarts",
        "objects change 1",
        "rolls no pod",
    ]
    assert {"- killLevel: 5", "+ killLevel: 7"} <= set(plan.lines)


async def test_long_lists_are_read_as_the_operator_reads_them(world: World, cluster: Cluster) -> None:
    await world.senders("planpests", "*@pest.example\ncom\n")
    source = {"configMap": {"name": "planpests", "key": "senders"}, "list": "Deny"}
    spec = with_changes(SMALL, lists={"from": [source]})
    await settled(world, "planlists", spec)
    plan = Plan(cluster.kubeconfig, world.namespace, "planlists", spec)
    assert plan.status == 0, plan.printed
    assert "warning  ListsValid: ConfigMap planpests key senders line 2: com" in plan.printed
    gone = Plan(cluster.kubeconfig, world.namespace, "planlists", SMALL)
    assert gone.status == 1
    assert gone.rolls == set()


@pytest.mark.parametrize("flags", [(), ("--server-side",)], ids=["client", "server"])
async def test_the_spec_after_an_apply(world: World, cluster: Cluster, flags: tuple[str, ...]) -> None:
    """What left the file goes, what another has set stays: as kubectl would do it."""
    name = f"planapply{len(flags)}"

    def kubectl(spec: Object, *options: str) -> Object:
        body = {"apiVersion": API_VERSION, "kind": "MailFilter", "metadata": {"name": name}, "spec": spec}
        command = ("-n", world.namespace, "apply", *flags, *options, "-o", "json", "-f", "-")
        applied: Object = json.loads(cluster.kubectl(*command, stdin=yaml.safe_dump(body)))
        return applied

    first = {"admin": "admin@example.com", "spam": {"killLevel": 7}, "lists": {"deny": ["a@b.example"]}}
    kubectl(with_changes(SMALL, **first))
    patch = json.dumps({"spec": {"amavis": {"maxServers": 3}, "spam": {"subjectTag": "x"}}})
    cluster.kubectl("-n", world.namespace, "patch", "mf", name, "--type=merge", "-p", patch)
    live = await world.object("MailFilter", name)
    assert live
    wanted = with_changes(SMALL, spam={"tagLevel": 1}, amavis={"logLevel": 1})
    foreseen = validated(live | {"spec": after_apply(live, wanted)}, live["spec"])
    assert stored(foreseen) == kubectl(wanted, "--dry-run=server")["spec"]
    assert (foreseen.admin, foreseen.spam.subject_tag, foreseen.amavis.max_servers) == (None, "x", 3)


async def test_a_new_mailfilter(world: World, cluster: Cluster) -> None:
    plan = Plan(cluster.kubeconfig, world.namespace, "plannew", SMALL)
    assert plan.status == 1
    assert f"MailFilter {world.namespace}/plannew (standard input, document 1): is new" in plan.lines
    assert any(line.startswith("objects create ") for line in plan.lines)
    assert any(line.startswith("images placeholders") for line in plan.lines)
    assert await world.object("MailFilter", "plannew") is None


async def test_what_cannot_be_changed(world: World, cluster: Cluster) -> None:
    await settled(world, "planfixed", SMALL)
    bigger = with_changes(SMALL, postfix={"storage": {"size": "6Gi"}})
    plan = Plan(cluster.kubeconfig, world.namespace, "planfixed", bigger)
    assert plan.status == 2
    assert "postfix.storage and freshclam.storage cannot be changed: the volumes exist" in plan.errors


async def test_an_upgrade_of_the_images(world: World, cluster: Cluster, tmp_path: Path) -> None:
    await settled(world, "planimages", SMALL)
    values = {component: image.rsplit(":", 1) for component, image in _images().items()}
    values["clamav"][1] = "2"
    path = tmp_path / "values.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "images": {one: {"repository": name, "tag": tag} for one, (name, tag) in values.items()},
                "imagePullPolicy": "Never",
            }
        )
    )
    plan = Plan(cluster.kubeconfig, world.namespace, "planimages", SMALL, "--images", str(path))
    assert plan.rolls == {"clamd", "freshclam"}


def _images() -> dict[str, str]:
    images = SETTINGS.images
    return {"operator": images.operator, "postfix": images.postfix, "amavis": images.amavis, "clamav": images.clamav}


async def test_drift_is_told(world: World, cluster: Cluster) -> None:
    await settled(world, "plandrift", SMALL)
    patch = json.dumps({"data": {"policy.json": "{}"}})
    cluster.kubectl("-n", world.namespace, "patch", "configmap", "plandrift-policy", "--type=merge", "-p", patch)
    plan = Plan(cluster.kubeconfig, world.namespace, "plandrift", SMALL)
    assert plan.status == 1
    assert "ConfigMap plandrift-policy" in next(line for line in plan.lines if line.startswith("note "))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader(world: World, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of somebody who may read, but no Secrets and no pods."""
    namespace = world.namespace
    resources = "mailfilters,configmaps,services,serviceaccounts,persistentvolumeclaims,statefulsets,deployments"
    more = "networkpolicies,poddisruptionbudgets"
    kubectl = ("-n", namespace, "create")
    cluster.kubectl(*kubectl, "serviceaccount", "reader")
    cluster.kubectl(*kubectl, "role", "reader", "--verb=get,list", f"--resource={resources},{more}")
    cluster.kubectl(*kubectl, "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:reader")
    cluster.wait_allowed("reader", namespace, "list", "configmaps")
    token = cluster.kubectl(*kubectl, "token", "reader").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = tmp_path_factory.mktemp("reader") / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


async def test_with_the_rights_of_a_reader(world: World, reader: Path) -> None:
    await settled(world, "planrights", SMALL)
    plan = Plan(reader, world.namespace, "planrights", SMALL)
    assert plan.status == 0, plan.printed + plan.errors
    changed = with_changes(SMALL, amavis={"resources": {"limits": {"memory": "2Gi"}}})
    plan = Plan(reader, world.namespace, "planrights", changed)
    assert plan.status == 1, plan.errors
    assert "rolls planrights-amavis-0 (StatefulSet planrights-amavis)" in plan.lines
    unread = [line for line in plan.lines if line.startswith("unread ")]
    assert [line.split()[1] for line in unread] == ["Pod:", "Secret:"]
    assert "forbidden" in unread[0]


async def test_without_the_right_to_read_mailfilters(world: World, reader: Path) -> None:
    plan = Plan(reader, "default", "mx", SMALL)
    assert plan.status == 2
    assert "forbidden" in plan.errors
