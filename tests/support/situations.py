"""Facts of gateways in many states, for what judges them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mailfilter.control.cache import Child
from mailfilter.control.conditions import Observation
from mailfilter.control.facts import WORKLOADS, Facts, Pod
from support.samples import NAMES, spec

NEW, OLD = "new" * 5, "old" * 5
REFUSED = {"hash": NEW, "reason": "levels.kill is no number"}
Case = tuple[str, Callable[[Facts], Observation], Facts, str, str, str]
"""Name, what judges, facts, and the condition's status, reason and a part of its message."""


def child(component: str, generation: int = 1, replicas: int = 1, surplus: int = 0, **status: int) -> Child:
    counts = dict.fromkeys(("readyReplicas", "updatedReplicas"), replicas)
    counts |= {"replicas": replicas + surplus, "observedGeneration": 1}
    kind = WORKLOADS[component]
    return Child(
        {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": NAMES.of(component), "uid": "1", "generation": generation},
            "spec": {"replicas": replicas},
            "status": counts | status,
        }
    )


def amavis(
    name: str = "mx-amavis-0", *, writable: bool = True, lists_refused: tuple[str, ...] = (), **policy: Any
) -> Pod:
    status = {
        "policy": {"mounted": NEW, "inForce": NEW, "refused": None} | policy,
        "quarantine": {
            "writable": writable,
            "messages": {"spam": 2, "virus": 1, "banned": 0, "bad-header": 0},
            "bytes": {"spam": 200, "virus": 10, "banned": 0, "bad-header": 0},
        },
        "dnsLists": {"refused": list(lists_refused)},
    }
    return Pod(name, "amavis", "10.0.0.1", ready=True, status={"amavis": status})


def postfix(name: str = "mx-postfix-0", suspended: str | None = "None", **tables: Any) -> Pod:
    queue = {"incoming": 1, "active": 2, "deferred": 3, "hold": 0, "oldestSeconds": 60}
    status = {
        "tables": {"mounted": NEW, "inForce": NEW, "error": None} | tables,
        "suspended": suspended,
        "queue": queue,
    }
    return Pod(name, "postfix", "10.0.0.2", ready=True, status={"postfix": status})


def mirror(updated: str | None = "2026-11-24T00:00:00Z") -> Pod:
    found: dict[str, Any] = {"files": {}, "version": "27000", "updated": updated}
    return Pod("mx-freshclam-0", "freshclam", "10.0.0.3", ready=True, status={"mirror": {"signatures": found}})


def silent(pod: Pod, trouble: str | None = "agent at 10.0.0.9: refused") -> Pod:
    return replace(pod, status=None, trouble=trouble)


WELL = Facts(
    spec=spec(),
    names=NAMES,
    policy_hash=NEW,
    tables_hash=NEW,
    children={(kind, NAMES.of(name)): child(name) for name, kind in WORKLOADS.items()},
    pods=[amavis(), postfix(), mirror()],
)


def with_child(component: str, found: Child | None, **changes: Any) -> Facts:
    key = (WORKLOADS[component], NAMES.of(component))
    children = {one: other for one, other in WELL.children.items() if one != key}
    return replace(WELL, children=children | ({key: found} if found else {}), **changes)


def with_pods(*pods: Pod, **changes: Any) -> Facts:
    """Pods in place of those of their components."""
    components = {pod.component for pod in pods}
    return replace(WELL, pods=[pod for pod in WELL.pods if pod.component not in components] + list(pods), **changes)


def without(component: str) -> Facts:
    return replace(WELL, pods=[pod for pod in WELL.pods if pod.component != component])


def check(judge: Callable[[Facts], Observation], facts: Facts, status: str, reason: str, part: str) -> None:
    """Asserts that the facts are judged so."""
    found = judge(facts)
    assert (found.status, found.reason) == (status, reason)
    assert part in found.message
