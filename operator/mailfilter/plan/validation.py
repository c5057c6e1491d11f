"""Everything that the API server and the operator check of a MailFilter, checked without them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError

from mailfilter.api.crd import definitions
from mailfilter.api.fields import VALIDATIONS
from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.plan import cel
from mailfilter.policy.spamrules import bad_rules

Object = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """Why a manifest would be refused."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class InvalidError(Exception):
    """A manifest that the API server or the operator would refuse."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


@cache
def _schema() -> Object:
    """The schema of a MailFilter as the API server has it."""
    (found,) = [each for each in definitions() if each["spec"]["names"]["kind"] == "MailFilter"]
    schema: Object = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def validated(body: Object, old: Object | None = None) -> MailFilterSpec:
    """The spec of a MailFilter; `old` is the spec that it replaces.

    Raises InvalidError with all that is wrong.
    """
    unknown = [Problem(name, "unknown field") for name in body if name not in _schema()["properties"]]
    if not isinstance(body.get("metadata"), dict) or not isinstance(body["metadata"].get("name"), str):
        raise InvalidError([*unknown, Problem("metadata.name", "is missing")])
    if not isinstance(body.get("spec"), dict):
        raise InvalidError([*unknown, Problem("spec", "is missing")])
    if unknown:
        raise InvalidError(unknown)
    try:
        spec = MailFilterSpec.model_validate(_given(body["spec"]), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise InvalidError([_problem(one["loc"], one["type"], one["msg"]) for one in error.errors()]) from error
    whole = body | {"spec": stored(spec)}
    broken = list(_broken(_schema(), whole, {"spec": old} if old else None, ""))
    broken += [Problem(*str(bad).split(": ", 1)) for bad in bad_rules(spec.spam.rules or "")]
    if broken:
        raise InvalidError(broken)
    return spec


def stored(spec: MailFilterSpec) -> Object:
    """The spec as the API server stores it, defaults filled in."""
    found: Object = json.loads(spec.model_dump_json(by_alias=True, exclude_none=True))
    return found


def _given(value: Any) -> Any:
    """A value as the API server takes it: members that are null count as left out, 5.0 is the integer 5."""
    if isinstance(value, dict):
        return {name: _given(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_given(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _problem(location: tuple[int | str, ...], kind: str, message: str) -> Problem:
    path = "spec"
    for part in location:
        if part != "[key]":
            path = _joined(path, part)
    message = {"extra_forbidden": "unknown field", "missing": "is missing"}.get(kind, message)
    return Problem(path, message.removeprefix("Value error, "))


def _joined(path: str, part: int | str) -> str:
    if isinstance(part, int):
        return f"{path}[{part}]"
    return f"{path}.{part}" if path else part


def _broken(schema: Object, value: Any, old: Any, path: str) -> Iterator[Problem]:
    """Rules that do not hold, and members of sets and maps that are there twice."""
    for check in schema.get(VALIDATIONS, []):
        # A rule that speaks of what was has nothing to say of what is new.
        if "oldSelf" in check["rule"] and old is None:
            continue
        if message := cel.objection(check, value, old):
            yield Problem(path, message)
    if isinstance(value, dict):
        members = schema.get("properties", {})
        for name, member in value.items():
            below = members.get(name) or schema.get("additionalProperties")
            if isinstance(below, dict):
                before = old.get(name) if isinstance(old, dict) else None
                yield from _broken(below, member, before, _joined(path, name))
    elif isinstance(value, list):
        names = [json.dumps(_identity(schema, item), sort_keys=True) for item in value]
        twice = schema.get("x-kubernetes-list-type") in ("map", "set")
        for number, item in enumerate(value):
            if twice and names[number] in names[:number]:
                yield Problem(_joined(path, number), f"Duplicate value: {names[number]}")
            yield from _broken(schema.get("items", {}), item, None, _joined(path, number))


def _identity(schema: Object, item: Any) -> Any:
    keys = schema.get("x-kubernetes-list-map-keys")
    return {key: item.get(key) for key in keys} if keys else item
