"""The part of an object that one manager asked for by server-side apply (metadata.managedFields, fieldsV1)."""

import json
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

Object = dict[str, Any]

# Members that the API server writes in its own way: 1000m as 1, 1024Mi as 1Gi.
_QUANTITIES = ("requests", "limits", "sizeLimit")


def owned(live: Object, manager: str) -> Object:
    """What `manager` applied, as it is now; the identity alone when it applied nothing."""
    metadata = live["metadata"]
    found: Object = {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": {}}
    for entry in metadata.get("managedFields", []):
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            found |= part(live, entry["fieldsV1"])
    found["metadata"] = found["metadata"] | {field: metadata[field] for field in ("name", "namespace")}
    if "volumeClaimTemplates" in found.get("spec", {}):
        claims = [_applied_claim(claim) for claim in found["spec"]["volumeClaimTemplates"]]
        found["spec"] = found["spec"] | {"volumeClaimTemplates": claims}
    return found


def _applied_claim(claim: Object) -> Object:
    """A claim template without the API server's defaults: its list belongs to one manager as a whole."""
    spec = {name: value for name, value in claim["spec"].items() if name != "volumeMode"}
    return {name: value for name, value in claim.items() if name != "status"} | {"spec": spec}


def part(value: Any, fields: Object) -> Any:
    """`f:NAME` is a member, `k:{…}` an item by its keys, `v:…` an item by its value; without any it is all of it."""
    members = {name: below for name, below in fields.items() if name != "."}
    if not members:
        return value
    if isinstance(value, dict):
        names = {name.removeprefix("f:"): below for name, below in members.items()}
        return {name: part(value[name], below) for name, below in names.items() if name in value}
    if isinstance(value, list):
        return [part(item, below) for item in value for name, below in members.items() if _names(name, item)]
    return value


def _names(name: str, item: Any) -> bool:
    kind, _, text = name.partition(":")
    wanted = json.loads(text)
    if kind == "k":
        return isinstance(item, dict) and all(item.get(key) == value for key, value in wanted.items())
    return bool(item == wanted)


def as_stored(wanted: Any, live: Any, name: str = "") -> Any:
    """What is wanted as the API server stores it: variables without empty values, quantities spelled like live ones."""
    if isinstance(wanted, dict):
        if wanted.keys() == {"name", "value"} and wanted["value"] == "":
            return {"name": wanted["name"]}
        live = live if isinstance(live, dict) else {}
        return {
            key: as_stored(value, live.get(key), name if name in _QUANTITIES else key) for key, value in wanted.items()
        }
    if isinstance(wanted, list):
        live = live if isinstance(live, list) and len(live) == len(wanted) else [None] * len(wanted)
        return [as_stored(value, before) for value, before in zip(wanted, live, strict=True)]
    if name in _QUANTITIES and isinstance(wanted, str) and isinstance(live, str):
        return live if _amount(wanted) == _amount(live) else wanted
    return wanted


def _amount(quantity: str) -> Decimal:
    return Decimal(parse_quantity(quantity))
