"""CustomResourceDefinitions from the models (apiextensions.k8s.io/v1 structural schemas)."""

from typing import Any

from pydantic import BaseModel

from mailfilter.api import GROUP, VERSION
from mailfilter.api.fields import VALIDATIONS, rule
from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.api.release import QuarantineReleaseSpec
from mailfilter.api.status import MailFilterStatus, QuarantineReleaseStatus

Schema = dict[str, Any]

# Names of pods and their labels are made from the MailFilter's name; 63 characters is the limit of a label.
_NAME_RULE = rule(
    "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",
    "metadata.name must be 1 to 40 lower-case letters, digits and -, beginning with a letter: pods are named after it",
)


def structural(model: type[BaseModel]) -> Schema:
    """The model's schema in the form that the API server takes: no references, no unions with null."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            target = definitions[node["$ref"].rsplit("/", 1)[1]]
            return resolve(target | {key: value for key, value in node.items() if key != "$ref"})
        if "anyOf" in node:
            (only,) = [choice for choice in node["anyOf"] if choice != {"type": "null"}]
            rest = {key: value for key, value in node.items() if key != "anyOf"}
            return resolve(only | rest)
        return _cleaned({key: resolve(value) for key, value in node.items()})

    found: Schema = resolve(schema)
    return found


def _cleaned(node: Schema) -> Schema:
    """One resolved node without what structural schemas do not have."""
    if isinstance(node.get("title"), str):
        del node["title"]
    if node.get("additionalProperties") is False:
        del node["additionalProperties"]
    if "default" in node and (default := _without_null(node.pop("default"))) is not None:
        node["default"] = default
    keys = node.pop("propertyNames", {})
    checks = [
        rule(
            f"self.all(key, key.size() <= {keys['maxLength']} && {check['rule'].replace('self.', 'key.', 1)})",
            f"each key {check['message']}",
        )
        for check in keys.get(VALIDATIONS, [])
    ]
    if checks:
        node[VALIDATIONS] = node.get(VALIDATIONS, []) + checks
    return node


def _without_null(value: Any) -> Any:
    """A default without members that are null: the API server knows only members that are left out."""
    if isinstance(value, dict):
        return {key: _without_null(member) for key, member in value.items() if member is not None}
    return value


def _version(
    spec: type[BaseModel], status: type[BaseModel], columns: list[Schema], description: str, **top: Any
) -> Schema:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": description,
                "required": ["spec"],
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {"type": "object"},
                    "spec": structural(spec),
                    "status": structural(status),
                },
                **top,
            }
        },
    }


def _definition(kind: str, plural: str, short: str, version: Schema) -> Schema:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["mail"],
            },
            "versions": [version],
        },
    }


def _column(name: str, path: str, kind: str = "string", priority: int = 0) -> Schema:
    return {"name": name, "jsonPath": path, "type": kind, "priority": priority}


def _condition(kind: str, field: str = "status") -> str:
    return f".status.conditions[?(@.type=='{kind}')].{field}"


def definitions() -> list[Schema]:
    """All CustomResourceDefinitions of this operator."""
    mailfilter_columns = [
        _column("Ready", _condition("Ready")),
        _column("Reason", _condition("Ready", "reason")),
        _column("Policy", _condition("PolicyActive")),
        _column("Scanner", _condition("ScannerAvailable")),
        _column("Queued", ".status.queue.active", "integer"),
        _column("Deferred", ".status.queue.deferred", "integer"),
        _column("Held", ".status.quarantine.messages", "integer"),
        _column("Endpoint", ".status.endpoint", priority=1),
        _column("Message", _condition("Ready", "message"), priority=1),
        _column("Age", ".metadata.creationTimestamp", "date"),
    ]
    release_columns = [
        _column("MailFilter", ".spec.mailFilter"),
        _column("Phase", ".status.phase"),
        _column("Released", ".status.progress"),
        _column("Message", _condition("Complete", "message"), priority=1),
        _column("Age", ".metadata.creationTimestamp", "date"),
    ]
    return [
        _definition(
            "MailFilter",
            "mailfilters",
            "mf",
            _version(
                MailFilterSpec,
                MailFilterStatus,
                mailfilter_columns,
                "A mail gateway that filters spam, viruses and banned attachments: Postfix, amavis, clamd.",
                **{VALIDATIONS: [_NAME_RULE]},
            ),
        ),
        _definition(
            "QuarantineRelease",
            "quarantinereleases",
            "qrel",
            _version(
                QuarantineReleaseSpec,
                QuarantineReleaseStatus,
                release_columns,
                "Gives mail held in a MailFilter's quarantine to its recipients.",
            ),
        ),
    ]
