"""The objects of a gateway: applied where they differ from what is there, deleted where they are not wanted."""

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

from mailfilter.cluster.api import Api
from mailfilter.cluster.queue import Key
from mailfilter.control.cache import Child, ChildId
from mailfilter.stack import amavis, desired_objects
from mailfilter.stack.common import Gateway

Object = dict[str, Any]


@dataclass
class Applied:
    """What was last applied for a MailFilter, and what the API server made of it."""

    time: float
    """When all was applied last, on the monotonic clock."""
    objects: dict[ChildId, tuple[str, str]]
    """Hash of what was asked for, and digest of what came of it."""


class Applier:
    """Applies the objects of gateways; all of them every `resync_seconds`, else what differs."""

    def __init__(self, api: Api, resync_seconds: float) -> None:
        self._api = api
        self._resync_seconds = resync_seconds
        self._applied: dict[Key, Applied] = {}

    def forget(self, key: Key) -> None:
        """The MailFilter is gone."""
        self._applied.pop(key, None)

    async def apply(
        self, key: Key, gateway: Gateway, children: dict[ChildId, Child], *, keep_policy: bool
    ) -> dict[ChildId, Child]:
        """Applies what differs from what is there, then deletes what should not be. Returns what was applied."""
        wanted = desired_objects(gateway)
        ids = {(body["kind"], body["metadata"]["name"]) for body in wanted}
        if keep_policy:
            # With the lists that it names.
            kept = {("ConfigMap", gateway.names.of(part)) for part in amavis.POLICY_PARTS}
            wanted = [body for body in wanted if (body["kind"], body["metadata"]["name"]) not in kept]
            ids |= kept
        last = self._applied.get(key)
        if last is None or time.monotonic() - last.time >= self._resync_seconds:
            last = Applied(time.monotonic(), {})
        found: dict[ChildId, Child] = {}
        state: dict[ChildId, tuple[str, str]] = {}
        for body in wanted:
            one = (body["kind"], body["metadata"]["name"])
            asked = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
            child = children.get(one)
            if child is None or last.objects.get(one) != (asked, child.digest):
                child = found[one] = Child(await self._api.apply(body))
            state[one] = (asked, child.digest)
        for (kind, name), child in _superfluous(gateway, children, ids).items():
            await self._api.delete(child.api_version, kind, gateway.names.namespace, name, child.uid)
        self._applied[key] = Applied(last.time, state)
        return found


def _superfluous(gateway: Gateway, children: dict[ChildId, Child], ids: set[ChildId]) -> dict[ChildId, Child]:
    """Objects that this MailFilter owns and does not want any more. What it does not own is never deleted."""
    return {
        one: child
        for one, child in children.items()
        if one not in ids and one[0] != "Pod" and gateway.uid in child.owners
    }
