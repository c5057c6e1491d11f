"""What a manager applied, read from managedFields; equal quantities in the API server's spelling."""

import copy
from typing import Any

from mailfilter.plan.owned import as_stored, owned

Object = dict[str, Any]
OURS = {
    "f:metadata": {"f:labels": {"f:mine": {}}, "f:ownerReferences": {'k:{"uid":"u1"}': {}}},
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"amavis"}': {
                        ".": {},
                        "f:args": {},
                        "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
                        "f:name": {},
                        "f:ports": {'k:{"containerPort":25,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                    }
                }
            }
        },
    },
    "f:set": {'v:"a"': {}},
    "f:gone": {},
}
LIVE: Object = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {
        "name": "mx-amavis",
        "namespace": "mail",
        "labels": {"mine": "1", "theirs": "2"},
        "ownerReferences": [{"uid": "u1", "kind": "MailFilter"}, {"uid": "u2"}],
        "managedFields": [
            {"manager": "us", "operation": "Apply", "fieldsV1": OURS},
            {"manager": "us", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}},
            {"manager": "us", "operation": "Apply", "subresource": "status", "fieldsV1": {"f:status": {}}},
            {"manager": "other", "operation": "Apply", "fieldsV1": {"f:spec": {"f:paused": {}}}},
        ],
    },
    "spec": {
        "replicas": 1,
        "paused": True,
        "template": {
            "spec": {
                "restartPolicy": "Always",
                "containers": [
                    {"name": "sidecar", "image": "x"},
                    {
                        "name": "amavis",
                        "args": ["one", "two"],
                        "imagePullPolicy": "Always",
                        "env": [{"name": "B", "value": "b"}, {"name": "A", "value": "a"}],
                        "ports": [{"containerPort": 25, "protocol": "TCP", "name": "smtp"}],
                    },
                ],
            }
        },
    },
    "set": ["b", "a"],
    "status": {"replicas": 1},
}


def test_only_what_the_manager_applied() -> None:
    container = {
        "args": ["one", "two"],
        "env": [{"name": "A", "value": "a"}],
        "name": "amavis",
        "ports": [{"containerPort": 25}],
    }
    assert owned(LIVE, "us") == {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": "mx-amavis",
            "namespace": "mail",
            "labels": {"mine": "1"},
            "ownerReferences": [{"uid": "u1", "kind": "MailFilter"}],
        },
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
        "set": ["a"],
    }
    nothing = owned(LIVE, "nobody")
    assert nothing["metadata"] == {"name": "mx-amavis", "namespace": "mail"}
    assert "spec" not in nothing


def test_claim_templates_are_without_the_servers_defaults() -> None:
    claim: Object = {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "queue"},
        "spec": {"accessModes": ["ReadWriteOnce"]},
    }
    live = copy.deepcopy(LIVE)
    live["spec"]["volumeClaimTemplates"] = [
        claim | {"spec": claim["spec"] | {"volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}
    ]
    live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:volumeClaimTemplates"] = {}
    assert owned(live, "us")["spec"]["volumeClaimTemplates"] == [claim]


def test_an_empty_variable_is_stored_without_its_value() -> None:
    wanted = {"env": [{"name": "A", "value": ""}, {"name": "B", "value": "b"}]}
    stored = {"env": [{"name": "A"}, {"name": "B", "value": "b"}]}
    assert as_stored(wanted, stored) == stored
    assert as_stored({"data": {"table": ""}}, None) == {"data": {"table": ""}}


def test_equal_quantities_are_no_difference() -> None:
    def pod(cpu: str, memory: str, size: str) -> Object:
        limits = {"limits": {"cpu": cpu, "memory": memory}}
        return {"containers": [{"resources": limits}], "volumes": [{"emptyDir": {"sizeLimit": size}}]}

    live = pod("1", "1Gi", "64Mi")
    assert as_stored(pod("1000m", "1024Mi", "65536Ki"), live) == live
    assert as_stored(pod("1001m", "1024Mi", "64Mi"), live) == pod("1001m", "1Gi", "64Mi")
    # Elsewhere 1000m and 1 are different texts.
    assert as_stored({"env": "1000m"}, {"env": "1"}) == {"env": "1000m"}
    assert as_stored(pod("1000m", "1", "1"), None) == pod("1000m", "1", "1")
