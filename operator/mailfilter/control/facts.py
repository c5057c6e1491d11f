"""What is known of a gateway at one moment: its objects, its pods, and what their agents say."""

from dataclasses import dataclass, field
from typing import Any

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.control.cache import Child, ChildId
from mailfilter.control.conditions import Observation
from mailfilter.policy.dns import Record
from mailfilter.policy.longlists import Reading
from mailfilter.policy.names import Names

WORKLOADS = {"postfix": "StatefulSet", "amavis": "StatefulSet", "clamd": "Deployment", "freshclam": "StatefulSet"}


@dataclass(frozen=True)
class Pod:
    """One pod and what its agent says; `status` is None when the agent could not be asked."""

    name: str
    component: str
    ip: str | None
    ready: bool
    status: dict[str, Any] | None = None
    trouble: str | None = None
    """Why the agent could not be asked."""
    held_up: str | None = None
    """Why the pod cannot start, in the kubelet's or the scheduler's words."""


@dataclass(frozen=True)
class Facts:
    """All that is known of a gateway at one moment."""

    spec: MailFilterSpec
    names: Names
    policy_hash: str
    tables_hash: str
    children: dict[ChildId, Child]
    pods: list[Pod]
    bad_rules: list[str] = field(default_factory=list)
    conflict: str | None = None
    """Why an object could not be applied."""
    reading: Reading = field(default_factory=Reading)
    """Long lists of senders."""
    dns: list[Record] | None = None
    """What DNS said last; None when it was not asked yet for this spec."""
    dns_before: Observation | None = None
    """What DNSReady says in the status, if it is of this generation: another process may have asked."""
    settled_generation: int | None = None
    """The newest generation that all pods have run."""

    def of(self, component: str) -> list[Pod]:
        """The pods of one component."""
        return [pod for pod in self.pods if pod.component == component]

    def workload(self, component: str) -> Child | None:
        """The StatefulSet or Deployment of a component."""
        return self.children.get((WORKLOADS[component], self.names.of(component)))


def ready_replicas(child: Child | None) -> int:
    """Ready pods, whatever their template."""
    return int(child.status.get("readyReplicas") or 0) if child else 0


def held_up(status: dict[str, Any]) -> str | None:
    """What keeps a pod from starting, from its status; None while all goes its way."""
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"not scheduled: {condition.get('message', '')}"
    for container in status.get("initContainerStatuses", []) + status.get("containerStatuses", []):
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason", "PodInitializing") not in ("PodInitializing", "ContainerCreating"):
            return f"container {container['name']}: {waiting['reason']} {waiting.get('message', '')}".strip()
    return None


def rolled_out(child: Child | None) -> bool:
    """Whether all wanted pods run the wanted template and are ready."""
    if child is None or child.status.get("observedGeneration", 0) < child.generation:
        return False
    status = child.status
    updated = status.get("updatedReplicas") or 0
    total = status.get("replicas") or 0
    return bool(updated == child.replicas == total == ready_replicas(child))
