"""Files of manifests, as kubectl reads them."""

from pathlib import Path

import pytest

from mailfilter.plan.manifests import PlanError, parsed, read


def test_documents_and_lists() -> None:
    text = """
---
# nothing
---
apiVersion: mailfilter.dev/v1alpha1
kind: MailFilter
metadata: {name: mx, namespace: mail}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: mail}}
- {apiVersion: mailfilter.dev/v1alpha1, kind: MailFilter, metadata: {name: second}}
"""
    found = list(parsed(text, "mx.yaml"))
    assert [(one.source, one.is_mailfilter) for one in found] == [
        ("mx.yaml, document 2", True),
        ("mx.yaml, document 3", False),
        ("mx.yaml, document 3", True),
    ]
    names = found[0].names(None), found[2].names(None, "default"), found[2].names("asked", "default")
    assert [(one.namespace, one.name) for one in names] == [("mail", "mx"), ("default", "second"), ("asked", "second")]
    with pytest.raises(PlanError, match=r"metadata.namespace is mail, and --namespace says other"):
        found[0].names("other")


def test_another_version_is_no_mailfilter_of_ours() -> None:
    (found,) = parsed("{apiVersion: mailfilter.dev/v2, kind: MailFilter}", "x")
    assert not found.is_mailfilter


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"x.yaml: .*line 1"),
        ("- 1", r"x.yaml, document 1: not a Kubernetes object"),
        ("kind: A\n---\nname: b", r"x.yaml, document 2: not a Kubernetes object"),
        ("kind: A\nspec:\n  one: 1\n  one: 2", r"(?s)the key 'one' is there twice.*line 4"),
        ("kind: List\nitems: [1]", "not a Kubernetes object"),
    ],
)
def test_what_is_no_manifest(text: str, message: str) -> None:
    with pytest.raises(PlanError, match=f"(?s){message}"):
        list(parsed(text, "x.yaml"))


def test_dates_are_strings_and_merged_keys_are_not_twice() -> None:
    (found,) = parsed("kind: A\nbase: &b {day: 2026-11-25}\nother: {<<: *b, day: 2026-11-26}", "x")
    assert (found.body["base"], found.body["other"]) == ({"day": "2026-11-25"}, {"day": "2026-11-26"})


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "mx.yaml"
    path.write_text("kind: A")
    assert read(str(path))[0].source == f"{path}, document 1"
    assert read("-", "kind: A")[0].source == "standard input, document 1"
    with pytest.raises(PlanError, match="No such file"):
        read(str(tmp_path / "none.yaml"))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PlanError, match="utf-8"):
        read(str(path))
