"""What the watches have seen: drift is what differs in what we ask for, not what the cluster writes beside it."""

from typing import Any

import pytest

from mailfilter.control.cache import Cache, digest
from support.samples import with_changes

Object = dict[str, Any]
SERVICE: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {
        "name": "mx-postfix",
        "namespace": "mail",
        "uid": "1",
        "resourceVersion": "10",
        "generation": 1,
        "labels": {"app.kubernetes.io/instance": "mx"},
        "ownerReferences": [{"uid": "uid-1"}],
    },
    "spec": {"ports": [{"port": 25}]},
    "status": {"loadBalancer": {}},
}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"status": {"loadBalancer": {"ingress": []}}}, True),
        ({"metadata": {"resourceVersion": "11"}}, True),
        ({"metadata": {"managedFields": [{}]}}, True),
        ({"metadata": {"generation": 2}}, False),
        ({"spec": {"ports": [{"port": 26}]}}, False),
        ({"spec": {"type": "NodePort"}}, False),
        ({"metadata": {"labels": {"app.kubernetes.io/instance": "other"}}}, False),
        ({"metadata": {"ownerReferences": []}}, False),
        ({"metadata": {"uid": "2"}}, False),
        ({"data": {"x": "y"}}, False),
    ],
)
def test_digest(change: Object, same: bool) -> None:
    assert (digest(with_changes(SERVICE, **change)) == digest(SERVICE)) is same


def test_children_by_their_mailfilter() -> None:
    cache = Cache()
    key = ("mail", "mx")
    assert cache.see(SERVICE, gone=False) == key
    child = cache.children(key)["Service", "mx-postfix"]
    assert (child.uid, child.owners, child.api_version, child.generation) == ("1", {"uid-1"}, "v1", 1)
    assert cache.children(("mail", "other")) == cache.children(("other", "mx")) == {}
    assert cache.see(SERVICE, gone=True) == key
    assert cache.children(key) == {}


@pytest.mark.parametrize("name", ["other", None])
def test_an_object_under_another_name_is_missed_by_its_mailfilter(name: str | None) -> None:
    cache, key = Cache(), ("mail", "mx")
    cache.see(SERVICE, gone=False)
    labels = {"app.kubernetes.io/instance": name} if name else {}
    assert cache.see(SERVICE | {"metadata": SERVICE["metadata"] | {"labels": labels}}, gone=False) == key
    assert cache.children(key) == {}
    assert len(cache.children(("mail", "other"))) == (1 if name else 0)
    cache.see(SERVICE, gone=False)
    assert len(cache.children(key)) == 1
    assert cache.children(("mail", "other")) == {}


def test_strangers_are_nobodys() -> None:
    cache = Cache()
    bare = {key: value for key, value in SERVICE["metadata"].items() if key != "labels"}
    for metadata in (bare, bare | {"labels": {"app": "x"}}):
        assert cache.see(SERVICE | {"metadata": metadata}, gone=False) is None


@pytest.mark.parametrize(("kind", "store"), [("MailFilter", "mailfilters"), ("QuarantineRelease", "releases")])
def test_own_kinds(kind: str, store: str) -> None:
    cache = Cache()
    body = {"apiVersion": "mailfilter.dev/v1alpha1", "kind": kind, "metadata": {"name": "x", "namespace": "mail"}}
    assert cache.see(body, gone=False) == ("mail", "x")
    assert getattr(cache, store) == {("mail", "x"): body}
    assert cache.see(body, gone=True) == ("mail", "x")
    assert getattr(cache, store) == {}
    assert cache.see(body, gone=True) == ("mail", "x")
