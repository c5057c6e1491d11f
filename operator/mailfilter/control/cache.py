"""What the watches have seen last: our resources, and the objects that we made."""

import hashlib
import json
from collections import defaultdict
from typing import Any

from mailfilter.cluster.queue import Key
from mailfilter.policy.dns import Record
from mailfilter.stack.common import INSTANCE

Object = dict[str, Any]
ChildId = tuple[str, str]
"""Kind and name."""


def digest(body: Object) -> str:
    """A hash of what was asked for in an object: everything but its status and the API server's bookkeeping.

    The generation is part of it: an object that was changed and changed back has not the status of the one before.
    """
    ignored = ("managedFields", "resourceVersion")
    metadata = {key: value for key, value in body["metadata"].items() if key not in ignored}
    wanted = {key: value for key, value in body.items() if key not in ("status", "metadata", "apiVersion", "kind")}
    return hashlib.sha256(json.dumps([metadata, wanted], sort_keys=True, default=str).encode()).hexdigest()


def owner(body: Object) -> Key | None:
    """The MailFilter that an object of ours belongs to."""
    instance = body["metadata"].get("labels", {}).get(INSTANCE)
    return (body["metadata"]["namespace"], instance) if instance else None


def key_of(body: Object) -> Key:
    """Namespace and name."""
    return body["metadata"]["namespace"], body["metadata"]["name"]


class Child:
    """What is kept of an object that we made."""

    def __init__(self, body: Object) -> None:
        self.api_version: str = body["apiVersion"]
        self.uid: str = body["metadata"]["uid"]
        self.digest = digest(body)
        self.generation: int = body["metadata"].get("generation", 0)
        self.status: Object = body.get("status") or {}
        self.replicas: int = body.get("spec", {}).get("replicas", 0) if "spec" in body else 0
        self.owners = {reference["uid"] for reference in body["metadata"].get("ownerReferences", [])}


class Cache:
    """Filled by watch events alone; an object that was not seen yet is missing, never stale by more than the watch."""

    def __init__(self) -> None:
        self.mailfilters: dict[Key, Object] = {}
        self.releases: dict[Key, Object] = {}
        self.dns: dict[Key, list[Record] | None] = {}
        """What DNS said last, which mailfilter.control.lookups fills in; None where nothing is to be asked."""
        self.published: dict[Key, dict[str, str]] = {}
        """TXT records of the keys that sign, by name, as far as pods have told them."""
        self._children: dict[Key, dict[ChildId, Child]] = defaultdict(dict)
        self._parents: dict[tuple[str, ChildId], Key] = {}

    def see(self, body: Object, *, gone: bool) -> Key | None:
        """Takes in one event. Returns the key to reconcile for it: the object's own or its (former) MailFilter's."""
        store = {"MailFilter": self.mailfilters, "QuarantineRelease": self.releases}.get(body["kind"])
        if store is not None:
            key = key_of(body)
            if gone:
                store.pop(key, None)
            else:
                store[key] = body
            return key
        parent = owner(body)
        child_id = (body["kind"], body["metadata"]["name"])
        place = (body["metadata"]["namespace"], child_id)
        # Somebody may have written another MailFilter's name on an object: the former one misses it.
        former = self._parents.pop(place, None)
        if former is not None:
            self._children[former].pop(child_id, None)
        if parent is not None and not gone:
            self._children[parent][child_id] = Child(body)
            self._parents[place] = parent
        return former or parent

    def children(self, key: Key) -> dict[ChildId, Child]:
        """Objects labelled as the MailFilter's."""
        return self._children.get(key, {})
