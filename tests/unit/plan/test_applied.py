"""The spec after an apply: what left the file goes, what others have set stays."""

import json
from typing import Any

import pytest

from mailfilter.plan.applied import LAST_APPLIED, after_apply

Object = dict[str, Any]
LIVE: Object = {
    "hostname": "mx.example.com",
    "admin": "old@example.com",
    "domains": [{"name": "a"}],
    "spam": {"tagLevel": 2, "killLevel": 7},
    "amavis": {"replicas": 3, "resources": {"requests": {"cpu": "1"}, "limits": {}}},
}
APPLIED: Object = {"hostname": "mx.example.com", "admin": "old@example.com", "spam": {"killLevel": 7}}
FILE: Object = {"hostname": "mx.example.com", "domains": [{"name": "b"}], "spam": {"tagLevel": 3}}
AFTER: Object = {
    "hostname": "mx.example.com",
    "domains": [{"name": "b"}],
    "spam": {"tagLevel": 3},
    "amavis": LIVE["amavis"],
}


def entry(fields: Object, **more: Any) -> Object:
    return {"operation": "Apply", "manager": "m", "time": "2026-11-25T10:00:00Z", "fieldsV1": {"f:spec": fields}} | more


FIELDS = {"f:hostname": {}, "f:admin": {}, "f:spam": {"f:killLevel": {}}}


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": {LAST_APPLIED: json.dumps({"spec": APPLIED})}},
        {"managedFields": [entry(FIELDS)]},
        {
            "managedFields": [
                entry({"f:amavis": {}}, time="2026-11-25T09:00:00Z"),
                entry(FIELDS),
                entry({"f:amavis": {}}, operation="Update", time="2026-11-25T11:00:00Z"),
                entry({"f:amavis": {}}, subresource="status", time="2026-11-25T11:00:00Z"),
                entry({"f:amavis": {}}, manager="quarantinerelease-7", time="2026-11-25T11:00:00Z"),
            ]
        },
    ],
    ids=["kubectl", "server-side", "the last to apply"],
)
def test_apply(metadata: Object) -> None:
    assert after_apply({"metadata": metadata, "spec": LIVE}, FILE) == AFTER


def test_what_nobody_applied_stays() -> None:
    found = after_apply({"metadata": {}, "spec": LIVE}, FILE)
    assert (found["admin"], found["spam"]) == ("old@example.com", {"tagLevel": 3, "killLevel": 7})


def test_what_is_no_object_is_left_to_the_checks() -> None:
    assert after_apply({"metadata": {}, "spec": LIVE}, {"spam": 5})["spam"] == 5
