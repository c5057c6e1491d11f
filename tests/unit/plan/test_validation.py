"""What a plan refuses. tests/api/test_schema.py shows that a real API server refuses the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter.api.crd import definitions
from mailfilter.api.fields import VALIDATIONS
from mailfilter.plan import cel
from mailfilter.plan.validation import InvalidError, stored, validated
from support.samples import FULL, SAMPLES, SMALL, with_changes

Object = dict[str, Any]
DOMAIN = SMALL["domains"][0]


def manifest(spec: Object, **metadata: Any) -> Object:
    return {
        "apiVersion": "mailfilter.dev/v1alpha1",
        "kind": "MailFilter",
        "metadata": {"name": "mx"} | metadata,
        "spec": spec,
    }


def problems(body: Object, old: Object | None = None) -> list[str]:
    try:
        validated(body, old)
    except InvalidError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize("sample", SAMPLES)
def test_samples_are_valid(sample: str) -> None:
    spec = validated(manifest(SAMPLES[sample]))
    assert stored(spec)["spam"]["tagLevel"] == spec.spam.tag_level
    assert problems(manifest(stored(spec)), stored(spec)) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"spam": {"tagLevel": 6}}, "spec: domain example.com: tagLevel 6 must not be above tag2Level 5"),
        ({"spam": {"killLevel": "7"}}, "spec.spam.killLevel: Input should be a valid number"),
        ({"spam": {"enabled": "yes"}}, "spec.spam.enabled: Input should be a valid boolean"),
        ({"spam": {"level": 7}}, "spec.spam.level: unknown field"),
        ({"spam": {"kill_level": 7}}, "spec.spam.kill_level: unknown field"),
        ({"spam": {"rules": "body A /a/\nloadplugin X"}}, "spec.spam.rules line 2: must begin with one of"),
        ({"amavis": {"replicas": 2}}, "spec: more than one amavis pod needs quarantine.storage.accessMode"),
        ({"domains": [DOMAIN, DOMAIN]}, 'spec.domains[1]: Duplicate value: {"name": "example.com"}'),
        ({"domains": [DOMAIN | {"name": "Example.com"}]}, "spec.domains[0].name: must be a domain name in lower case"),
        ({"domains": [{"name": "example.com"}]}, "spec.domains[0].relay: is missing"),
        ({"domains": [DOMAIN | {"aliases": {"A b": ["a@b"]}}]}, "spec.domains[0].aliases.A b: must be the part"),
        ({"freshclam": {"officialDatabases": False}}, "spec: without officialDatabases, freshclam.customURLs"),
        (
            {"freshclam": {"customURLs": ["http://one.example/a.ndb", "http://two.example/a.ndb"]}},
            "spec: freshclam.customURLs must end in different file names",
        ),
        ({"postfix": {"service": {"nodePort": 30025}}}, "spec.postfix.service: nodePort needs type NodePort"),
        ({"hostname": None}, "spec.hostname: is missing"),
        ({"lists": {"allow": [None]}}, "spec.lists.allow[0]: Input should be a valid string"),
        ({"messageSizeLimit": 65536.5}, "spec.messageSizeLimit: Input should be a valid integer"),
    ],
    ids=str,
)
def test_refused(change: Object, problem: str) -> None:
    found = problems(manifest(with_changes(SMALL, **change)))
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_null_is_left_out_and_whole_numbers_are_integers() -> None:
    spec = validated(manifest(with_changes(SMALL, admin=None, spam=None, messageSizeLimit=65536.0)))
    assert (spec.admin, spec.spam.kill_level, spec.message_size_limit) == (None, 5, 65536)


def test_all_problems_are_told() -> None:
    found = problems(manifest(with_changes(SMALL, hostname="mx", spam={"killLevel": "x"}, extra=1)))
    assert [one.split(":")[0] for one in found] == ["spec.hostname", "spec.spam.killLevel", "spec.extra"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (manifest(SMALL, name="1st"), "metadata.name must be 1 to 40 lower-case letters"),
        (manifest(SMALL) | {"metadata": {}}, "metadata.name: is missing"),
        ({"metadata": {"name": "mx"}}, "spec: is missing"),
        (manifest(SMALL) | {"data": {}}, "data: unknown field"),
    ],
    ids=["name", "no name", "no spec", "unknown"],
)
def test_the_object_around_the_spec(body: Object, problem: str) -> None:
    (found,) = problems(body)
    assert problem in found


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"postfix": {"storage": {"size": "6Gi"}}}, "the volumes exist"),
        ({"quarantine": {"storage": {"accessMode": "ReadWriteMany"}}}, "cannot be changed, the volume exists"),
        ({"quarantine": {"storage": {"size": "20Gi"}}}, ""),
    ],
    ids=str,
)
def test_what_cannot_be_changed(change: Object, problem: str) -> None:
    """Only a comparison with what is there can tell."""
    new, old = manifest(with_changes(SMALL, **change)), stored(validated(manifest(SMALL)))
    assert problems(new) == []
    found = problems(new, old)
    assert len(found) == bool(problem)
    assert problem in "".join(found)


def rules(node: Any) -> list[str]:
    """All CEL rules of a schema."""
    if isinstance(node, list):
        return [each for item in node for each in rules(item)]
    if not isinstance(node, dict):
        return []
    own = [
        check[part] for check in node.get(VALIDATIONS, []) for part in ("rule", "messageExpression") if part in check
    ]
    return own + [each for name, below in node.items() if name != VALIDATIONS for each in rules(below)]


STANDARD = {"size", "string", "matches", "contains", "startsWith", "endsWith"}


def test_every_rule_of_the_schema_can_be_evaluated_here() -> None:
    """Of Kubernetes' own CEL functions those that a rule uses must be in mailfilter.plan.cel."""
    found = set(rules(definitions()))
    assert len(found) > 20
    for expression in found:
        named = {name for name in cel.compiled(expression).functions() if name.isidentifier()}
        assert named <= STANDARD | cel.FUNCTIONS.keys(), expression


def test_a_message_can_name_what_is_wrong() -> None:
    check = {"rule": "self.all(one, one < 3)", "message": "m", "messageExpression": "'not ' + string(self[0])"}
    assert cel.objection(check, [7, 1]) == "not 7"
    assert cel.objection(check, [1]) is None
    assert cel.objection({"rule": "self > oldSelf", "message": "must grow"}, 1, 2) == "must grow"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=10) | st.integers(), below, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = [(), ("metadata",), ("metadata", "name"), ("spec",), *((("spec", name)) for name in FULL)]


@given(st.sampled_from(FIELDS), ANYTHING)
def test_whatever_a_file_says_is_valid_or_a_problem(path: tuple[str, ...], value: Any) -> None:
    body: Any = manifest(FULL)
    for name in path[:-1]:
        body[name] = dict(body[name])
    if path:
        (body[path[0]] if len(path) > 1 else body)[path[-1]] = value
    elif isinstance(value, dict):
        body |= value
    assert all(problems(body))
