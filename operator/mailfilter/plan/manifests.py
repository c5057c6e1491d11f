"""MailFilter manifests: YAML files of one or more documents, read as kubectl reads them."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mailfilter.api import API_VERSION
from mailfilter.policy.names import Names

Object = dict[str, Any]


class PlanError(Exception):
    """No plan can be made; the text says why and what to do."""


@dataclass(frozen=True)
class Manifest:
    """One object of a file."""

    source: str
    """File and number of the document, for people."""
    body: Object

    @property
    def is_mailfilter(self) -> bool:
        """Whether it is a MailFilter of the version that this program knows."""
        return (self.body.get("apiVersion"), self.body.get("kind")) == (API_VERSION, "MailFilter")

    def names(self, asked: str | None, default: str = "default") -> Names:
        """Name and namespace, of the manifest, as asked for, or by default.

        Raises PlanError when the manifest's namespace is not the one that was asked for.
        """
        metadata = self.body.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        own = metadata.get("namespace")
        if own and asked and own != asked:
            raise PlanError(f"{self.source}: metadata.namespace is {own}, and --namespace says {asked}")
        return Names(str(metadata.get("name")), str(own or asked or default))


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, and takes dates for the strings that they are in JSON."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parsed(text: str, name: str) -> Iterator[Manifest]:
    """The objects of one file; a List's items each by itself.

    Raises PlanError for what is no YAML or no Kubernetes object.
    """
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise PlanError(f"{name}: {error}") from error
    for number, document in enumerate(documents, 1):
        if document is None:
            continue
        source = f"{name}, document {number}"
        for body in _items(document, source):
            yield Manifest(source, body)


def _items(document: Any, source: str) -> Iterator[Object]:
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise PlanError(f"{source}: not a Kubernetes object: it has no kind")
    if document["kind"] == "List" and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _items(item, source)
    else:
        yield document


def read(path: str, stdin: str | None = None) -> list[Manifest]:
    """The objects of a file; `-` is the standard input, whose text is given.

    Raises PlanError.
    """
    if path == "-":
        return list(parsed(stdin or "", "standard input"))
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    return list(parsed(text, path))
