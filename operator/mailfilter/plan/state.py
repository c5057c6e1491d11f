"""What was found in a cluster of a MailFilter."""

from dataclasses import dataclass, field
from typing import Any

from mailfilter.plan.changes import ObjectId
from mailfilter.plan.render import PLACEHOLDERS, Installation, images
from mailfilter.policy.names import Names

Object = dict[str, Any]

# Where a component's image is seen: kind and part of the workload, name of the container.
_CONTAINERS = {
    "operator": ("StatefulSet", "postfix", "agent"),
    "postfix": ("StatefulSet", "postfix", "postfix"),
    "amavis": ("StatefulSet", "amavis", "amavis"),
    "clamav": ("Deployment", "clamd", "clamd"),
}


@dataclass
class Live:
    """A MailFilter and its objects; of the objects only what the operator asked for."""

    mailfilter: Object | None = None
    objects: dict[ObjectId, Object] = field(default_factory=dict)
    owners: dict[ObjectId, set[str]] = field(default_factory=dict)
    """UIDs of the owners."""
    pods: dict[str, list[str]] = field(default_factory=dict)
    """Names by component."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Kind → what the API server said."""

    @property
    def uid(self) -> str | None:
        """UID of the MailFilter."""
        return self.mailfilter["metadata"]["uid"] if self.mailfilter else None

    def superfluous(self, wanted: set[ObjectId]) -> list[ObjectId]:
        """Objects of this MailFilter that it does not want any more."""
        return sorted(one for one, uids in self.owners.items() if one not in wanted and self.uid in uids)

    def pods_of(self, kind: str, name: str, names: Names) -> list[str]:
        """The pods of a StatefulSet or Deployment: as listed, or else by the names that a StatefulSet gives."""
        if "Pod" not in self.unreadable:
            return sorted(self.pods.get(name.removeprefix(f"{names.name}-"), []))
        replicas = self.objects[kind, name]["spec"]["replicas"]
        return [f"{name}-{number}" for number in range(replicas)] if kind == "StatefulSet" else [f"{name}-*"]

    def installation(self, names: Names) -> Installation | None:
        """The operator's settings, read from what it made; None when there is not enough to read them from."""
        found: dict[str, Object] = {}
        for component, (kind, part, container) in _CONTAINERS.items():
            pod = self._template(kind, names.of(part)).get("spec", {})
            found[component] = next((each for each in pod.get("containers", []) if each["name"] == container), {})
        if not all("image" in one for one in found.values()):
            return None
        template = self._template("StatefulSet", names.of("postfix"))
        return Installation(
            images(
                {component: one["image"] for component, one in found.items()},
                found["postfix"].get("imagePullPolicy", PLACEHOLDERS.pull_policy),
                [each["name"] for each in template["spec"].get("imagePullSecrets", [])],
            ),
            operator_namespace=self._operator_namespace(names),
            scrape_annotations="prometheus.io/scrape" in template["metadata"].get("annotations", {}),
        )

    def _template(self, kind: str, name: str) -> Object:
        found: Object = self.objects.get((kind, name), {}).get("spec", {}).get("template", {})
        return found

    def _operator_namespace(self, names: Names) -> str:
        policy = self.objects.get(("NetworkPolicy", names.of("postfix")), {})
        for rule in policy.get("spec", {}).get("ingress", []):
            for peer in rule.get("from", []):
                if name := peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name"):
                    return str(name)
        return Installation(PLACEHOLDERS).operator_namespace
