"""What differs between wanted and live objects, and what that does to running pods."""

import difflib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mailfilter.plan.render import as_yaml
from mailfilter.stack.amavis import POLICY_PARTS

Object = dict[str, Any]
ObjectId = tuple[str, str]
"""Kind and name."""

WORKLOADS = ("StatefulSet", "Deployment")
# Files that the running daemons read anew (docs/architecture.md): all of the policy, and the tables.
_ONLY_AT_START = {"postfix": ("main.cf",)}
_LIVE = (*POLICY_PARTS, "postfix")


@dataclass(frozen=True)
class Change:
    """One object that is to be made, changed or deleted."""

    kind: str
    name: str
    before: Object | None
    after: Object | None

    @property
    def verb(self) -> str:
        """What is done to it."""
        if self.before is None:
            return "create"
        return "delete" if self.after is None else "change"

    def diff(self) -> str:
        """A unified diff of the YAML."""
        before, after = (as_yaml(_shown(body)).splitlines() if body else [] for body in (self.before, self.after))
        name = f"{self.kind} {self.name}"
        return "\n".join(difflib.unified_diff(before, after, f"{name} (live)", f"{name} (wanted)", lineterm=""))

    def rolls(self) -> bool:
        """Whether running pods are replaced: their template differs."""
        return bool(
            self.kind in WORKLOADS
            and self.before
            and self.after
            and self.before.get("spec", {}).get("template") != self.after["spec"]["template"]
        )

    def scaled(self) -> tuple[int, int] | None:
        """Numbers of pods before and after, when they differ."""
        if self.kind not in WORKLOADS or not self.before or not self.after:
            return None
        counts = [body.get("spec", {}).get("replicas", 0) for body in (self.before, self.after)]
        return (counts[0], counts[1]) if counts[0] != counts[1] else None

    def live_files(self, mailfilter: str) -> list[str]:
        """Files that running pods read anew within seconds."""
        part = self.name.removeprefix(f"{mailfilter}-")
        if self.kind != "ConfigMap" or part not in _LIVE:
            return []
        before, after = (_files(body) for body in (self.before, self.after))
        return [
            file
            for file in sorted(before.keys() | after.keys())
            if before.get(file) != after.get(file) and file not in _ONLY_AT_START.get(part, ())
        ]


def _files(body: Object | None) -> Object:
    return {file: text for part in ("data", "binaryData") for file, text in (body or {}).get(part, {}).items()}


def _shown(body: Object) -> Object:
    """An object with packed files by their hash: nobody can read their bytes."""
    packed = body.get("binaryData", {})
    hashes = {name: f"sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]}" for name, text in packed.items()}
    return body | {"binaryData": hashes} if packed else body


def changes(wanted: Iterable[Object], live: dict[ObjectId, Object], superfluous: Iterable[ObjectId]) -> list[Change]:
    """All that differs, in the order of `wanted`; both sides hold only what the operator asks for."""
    found = []
    for body in wanted:
        one = (body["kind"], body["metadata"]["name"])
        if live.get(one) != body:
            found.append(Change(*one, live.get(one), body))
    return [*found, *(Change(*one, live[one], None) for one in superfluous)]
