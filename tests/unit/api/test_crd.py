"""crds/ against the models, and the form that the API server demands of a schema."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from mailfilter.api import fields
from mailfilter.api.crd import definitions
from mailfilter.api.reference import reference
from support import ROOT

Node = dict[str, Any]
SCHEMAS = {
    each["spec"]["names"]["kind"]: each["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for each in definitions()
}
STRINGS = [
    name
    for name, found in vars(fields).items()
    if name[0].isupper() and getattr(found, "__metadata__", None) and found.__origin__ is str
]


def nodes(node: Node, path: str) -> Iterator[tuple[str, Node]]:
    """All schemas within a schema."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from nodes(node["additionalProperties"], f"{path}.*")


ALL = [found for kind, schema in SCHEMAS.items() for found in nodes(schema, kind)]


@pytest.mark.parametrize("folder", ["crds", "charts/mailfilter-operator/files/crds"])
def test_files_are_what_the_models_say(folder: str) -> None:
    there = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / folder).glob("*.yaml")}
    assert there == {f"{each['metadata']['name']}.yaml": each for each in definitions()}, "run `make crds`"


def test_reference_is_what_the_models_say() -> None:
    assert (ROOT / "docs/reference.md").read_text() == reference(), "run `make crds`"


def test_every_field_is_described() -> None:
    ours = [
        (f"{path}.{name}", child)
        for path, node in ALL
        for name, child in node.get("properties", {}).items()
        if path not in SCHEMAS or name in ("spec", "status")
    ]
    assert len(ours) > 100
    assert [path for path, child in ours if not child.get("description", "").strip()] == []


@pytest.mark.parametrize("kind", SCHEMAS)
def test_schema_is_structural(kind: str) -> None:
    text = yaml.safe_dump(SCHEMAS[kind])
    assert not re.search(r"\$ref|anyOf|oneOf|allOf|propertyNames|: null\b|title:", text)
    for path, node in nodes(SCHEMAS[kind], kind):
        assert "type" in node, path
        assert node.get("additionalProperties") is not False, path
        assert not (node.get("properties") and node.get("additionalProperties")), path


def test_strings_have_bounds() -> None:
    """Without a maximum the API server's cost estimate for rules refuses the whole resource."""
    lax = [
        path
        for path, node in ALL
        if ".spec" in path and node["type"] == "string" and "maxLength" not in node and "enum" not in node
    ]
    assert lax == ["MailFilter.spec.postfix.service.annotations.*"]


def test_names_and_columns() -> None:
    found = {each["spec"]["names"]["kind"]: each["spec"] for each in definitions()}
    assert {kind: spec["names"]["shortNames"] for kind, spec in found.items()} == {
        "MailFilter": ["mf"],
        "QuarantineRelease": ["qrel"],
    }
    for spec in found.values():
        (version,) = spec["versions"]
        assert version["subresources"] == {"status": {}}
        assert [column["name"] for column in version["additionalPrinterColumns"]][-1] == "Age"


@pytest.mark.parametrize("name", STRINGS)
def test_one_pattern_in_python_and_in_the_api_server(name: str) -> None:
    kind = getattr(fields, name)
    (validator, schema) = (kind.__metadata__[0], kind.__metadata__[1].json_schema)
    compiled: re.Pattern[str] = dict(zip(validator.func.__code__.co_freevars, validator.func.__closure__, strict=True))[
        "compiled"
    ].cell_contents
    if "pattern" in schema:
        assert schema["pattern"] == f"^(?:{compiled.pattern})$"
    else:
        ((expression,),) = [[check["rule"]] for check in schema[fields.VALIDATIONS]]
        literal = re.fullmatch(r"self\.matches\('(.*)'\)", expression)
        assert literal
        assert re.sub(r"\\(.)", r"\1", literal[1]) == f"^(?:{compiled.pattern})$"
        assert schema[fields.VALIDATIONS][0]["message"].startswith("must be")
    # What RE2 does not have.
    assert not re.search(r"\(\?[=!<P>]|\\[1-9ZGR]", compiled.pattern)
    assert TypeAdapter(kind).json_schema()["maxLength"] == schema["maxLength"]
