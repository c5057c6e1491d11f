"""The reconcile loop in this process, against a real API server and pods that are only said to be there."""

import asyncio
import copy
import hashlib
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from kubernetes.aio.client import ApiClient

from mailfilter.api import API_VERSION
from mailfilter.cluster.agents import AgentError, Agents
from mailfilter.cluster.api import Api
from mailfilter.cluster.queue import Key
from mailfilter.control.cache import Cache
from mailfilter.control.lists import ListSources, Unwatched
from mailfilter.control.mailfilter import MailFilterLoop
from mailfilter.policy.postfix import tables_hash
from mailfilter.settings import Settings
from mailfilter.stack import KINDS
from mailfilter.stack.common import COMPONENT, CONFIG_ANNOTATION, labels
from support.samples import SMALL

Object = dict[str, Any]
SETTINGS = Settings(
    image_operator="none.test/operator:1",
    image_postfix="none.test/postfix:1",
    image_amavis="none.test/amavis:1",
    image_clamav="none.test/clamav:1",
    image_pull_policy="Never",
    namespace="mailfilter-system",
)
# What is of one moment, of one object, or of another writer.
VOLATILE = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "annotations", "finalizers")


STATUS = "/status"
"""A write to a status."""


class CrashError(Exception):
    """The operator's process ends here."""


class World(Api):
    """The API; counts its writes, and `crash_at` lets the process end right after so many of them."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        super().__init__(client)
        self.namespace = namespace
        self.writes: list[str] = []
        self.crash_at = 0
        self.pods: list[Object] = []

    async def _call(self, verb: str, kind: str, path: str, **options: Any) -> Object:
        found = await super()._call(verb, kind, path, **options)
        if verb != "get":
            self.wrote(f"{verb} {path}")
        return found

    def wrote(self, what: str) -> None:
        self.writes.append(what)
        if len(self.writes) == self.crash_at:
            raise CrashError(what)

    async def list(self, api_version: str, kind: str, namespace: str, labels: dict[str, str]) -> list[Object]:
        if kind == "Pod":
            return copy.deepcopy(
                [pod for pod in self.pods if labels.items() <= pod["metadata"]["labels"].items()],
            )
        return await super().list(api_version, kind, namespace, labels)

    async def annotate(self, kind: str, namespace: str, name: str, annotations: dict[str, str]) -> None:
        (pod,) = [pod for pod in self.pods if pod["metadata"]["name"] == name]
        pod["metadata"].setdefault("annotations", {}).update(annotations)
        self.wrote(f"annotate {name}")

    async def apply(self, body: Object) -> Object:
        return _rolled_out(await super().apply(body))

    async def start_pods(self, name: str) -> None:
        """From now on there is a ready pod of each component."""
        self.pods = [
            {
                "metadata": {"name": f"{name}-{one}-0", "namespace": self.namespace, "labels": labels(name, one)},
                "status": {"podIP": f"10.0.0.{number}", "conditions": [{"type": "Ready", "status": "True"}]},
            }
            for number, one in enumerate(("postfix", "amavis", "clamd", "freshclam"))
        ]

    async def mailfilter(self, name: str, spec: Object | None = None) -> Object:
        """Creates or changes a MailFilter, as a user does."""
        body = {
            "apiVersion": API_VERSION,
            "kind": "MailFilter",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec or SMALL,
        }
        return await Api.apply(self, body)

    async def senders(self, name: str, text: str) -> None:
        """Makes or changes a ConfigMap with a list of senders."""
        metadata = {"name": name, "namespace": self.namespace}
        await Api.apply(
            self, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"senders": text}}
        )

    async def object(self, kind: str, name: str) -> Object | None:
        api_version = {kind: version for version, kind in KINDS} | {"MailFilter": API_VERSION}
        return await self.get(api_version[kind], kind, self.namespace, name)

    async def condition(self, name: str, kind: str) -> Object:
        body = await self.object("MailFilter", name)
        assert body
        (found,) = [one for one in body["status"]["conditions"] if one["type"] == kind]
        return dict(found)

    async def objects(self, name: str) -> dict[str, Object]:
        """All objects of a MailFilter without what is of one moment; its own name reads NAME in them."""
        found = {}
        for api_version, kind in KINDS:
            for body in await Api.list(self, api_version, kind, self.namespace, labels(name)):
                found[f"{kind} {body['metadata']['name'].replace(name, 'NAME')}"] = _steady(body, name)
        return found


class FakeAgents(Agents):
    """Agents that say what a pod says that has taken in all ConfigMaps, or is behind, or that cannot be asked."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.silent = False
        self.dkim: Object = {}
        self.behind = False

    async def expire(self, pod_ip: str, token: str, request: Object) -> None:
        """Nothing is held."""

    async def status(self, pod_ip: str, token: str) -> Object:
        if self.silent:
            raise AgentError(f"agent at {pod_ip}: refused")
        component = next(
            pod["metadata"]["labels"][COMPONENT] for pod in self.world.pods if pod["status"]["podIP"] == pod_ip
        )
        if component == "amavis":
            policy = await self.world.object("ConfigMap", f"{self.name}-policy")
            text = (policy or {"data": {"policy.json": ""}})["data"]["policy.json"]
            loaded = "old" if self.behind else hashlib.sha256(text.encode()).hexdigest()
            kinds = dict.fromkeys(("spam", "virus", "banned", "bad-header"), 0)
            return {
                "amavis": {
                    "policy": {"mounted": loaded, "inForce": loaded, "refused": None},
                    "dkim": self.dkim,
                    "quarantine": {"writable": True, "messages": kinds, "bytes": kinds},
                    "dnsLists": {"refused": []},
                }
            }
        if component == "postfix":
            config = await self.world.object("ConfigMap", f"{self.name}-postfix")
            loaded = tables_hash(
                {table: text for table, text in (config or {"data": {}})["data"].items() if table != "main.cf"}
            )
            return {
                "postfix": {
                    "tables": {"mounted": loaded, "inForce": loaded, "error": None},
                    "queue": {"incoming": 0, "active": 0, "deferred": 0, "hold": 0, "oldestSeconds": 0},
                }
            }
        return {"mirror": {"signatures": {"files": {}, "version": "1", "updated": "2026-11-25T00:00:00Z"}}}


class Process:
    """One life of the operator's process: a loop that knows nothing but what it reads."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.key = world, (world.namespace, name)
        self.cache = Cache()
        self.agents = FakeAgents(world, name)
        self.asked: list[Key] = []
        self.loop = MailFilterLoop(
            world, self.agents, self.cache, ListSources(world, Unwatched()), SETTINGS, self.asked.append
        )

    async def reconcile(self) -> float | None:
        """What the watches would have shown, then one round."""
        fresh = Cache()
        body = await self.world.object("MailFilter", self.key[1])
        if body:
            fresh.see(body, gone=False)
        ours = labels(self.key[1])
        lists = (Api.list(self.world, api_version, kind, self.world.namespace, ours) for api_version, kind in KINDS)
        for child in itertools.chain(*await asyncio.gather(*lists)):
            fresh.see(_rolled_out(child), gone=False)
        self.cache.__dict__.update(fresh.__dict__)
        return await self.loop.reconcile(self.key)

    async def settle(self) -> None:
        """Reconciles until a round writes nothing."""
        for _ in range(10):
            before = len(self.world.writes)
            await self.reconcile()
            if len(self.world.writes) == before:
                return
        raise AssertionError(f"never settles; last writes: {self.world.writes[-10:]}")


def _rolled_out(body: Object) -> Object:
    """A workload as it looks when its pods are ready."""
    if body["kind"] in ("StatefulSet", "Deployment"):
        counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas"), body["spec"]["replicas"])
        body["status"] = counts | {"observedGeneration": body["metadata"]["generation"]}
    return body


def _steady(body: Object, name: str) -> Object:
    found = {key: value for key, value in body.items() if key != "status"}
    found["metadata"] = {key: value for key, value in body["metadata"].items() if key not in VOLATILE}
    for owner in found["metadata"].get("ownerReferences", []):
        owner["uid"] = "UID"
    if body["kind"] == "Secret":
        found["data"] = dict.fromkeys(body["data"], "TOKEN")
    if body["kind"] == "Service":
        for field in ("clusterIP", "clusterIPs"):
            if found["spec"].get(field) not in ("None", ["None"]):
                found["spec"].pop(field, None)
        for port in found["spec"]["ports"]:
            port.pop("nodePort", None)
    if body["kind"] in ("StatefulSet", "Deployment"):
        # Of texts with the name in them.
        found["spec"]["template"]["metadata"]["annotations"][CONFIG_ANNOTATION] = "HASH"
    if body["kind"] == "PersistentVolumeClaim":
        found["spec"].pop("volumeName", None)
    steady: Object = _renamed(found, name)
    return steady


def _renamed(node: Any, name: str) -> Any:
    if isinstance(node, dict):
        return {key: _renamed(value, name) for key, value in node.items()}
    if isinstance(node, list):
        return [_renamed(value, name) for value in node]
    return node.replace(name, "NAME") if isinstance(node, str) else node


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
    async with asyncio.timeout(180):
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
