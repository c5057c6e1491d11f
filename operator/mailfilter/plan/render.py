"""What the operator would make of a MailFilter, without a cluster."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.policy.longlists import Reading
from mailfilter.policy.names import Names
from mailfilter.stack import desired_objects
from mailfilter.stack.common import Gateway, Images

Object = dict[str, Any]
COMPONENTS = ("operator", "postfix", "amavis", "clamav")
HIDDEN = "(hidden)"


@dataclass(frozen=True)
class Installation:
    """What the operator adds to a MailFilter from its own settings."""

    images: Images
    operator_namespace: str = "mailfilter-system"
    scrape_annotations: bool = True


def images(names: dict[str, str], pull_policy: str = "IfNotPresent", pull_secrets: Iterable[str] = ()) -> Images:
    """Images by component."""
    return Images(
        operator=names["operator"],
        postfix=names["postfix"],
        amavis=names["amavis"],
        clamav=names["clamav"],
        pull_policy=pull_policy,
        pull_secrets=tuple(pull_secrets),
    )


PLACEHOLDERS = images({component: f"IMAGE-OF-{component.upper()}" for component in COMPONENTS})


def chart_images(values: Object, version: str) -> Images:
    """The images as the chart's values name them.

    Raises ValueError for values that name none of a component.
    """
    found = {}
    for component in COMPONENTS:
        image = (values.get("images") or {}).get(component)
        if not isinstance(image, dict) or not image.get("repository"):
            raise ValueError(f"images.{component}.repository is missing")
        digest = image.get("digest")
        tag = image.get("tag") or version
        found[component] = f"{image['repository']}@{digest}" if digest else f"{image['repository']}:{tag}"
    return images(found, values.get("imagePullPolicy") or "IfNotPresent", values.get("imagePullSecrets") or ())


def objects(
    names: Names,
    spec: MailFilterSpec,
    installation: Installation,
    uid: str = "UID-OF-THE-MAILFILTER",
    reading: Reading | None = None,
) -> list[Object]:
    """All objects of a MailFilter; what is secret is hidden. Long lists and templates are the cluster's: given if they
    were read."""
    reading = reading or Reading()
    gateway = Gateway(
        names=names,
        uid=uid,
        spec=spec,
        images=installation.images,
        token="",
        sender_files=reading.files,
        digest_template=reading.template,
        operator_namespace=installation.operator_namespace,
        scrape_annotations=installation.scrape_annotations,
    )
    return [hidden(body) for body in desired_objects(gateway)]


def hidden(body: Object) -> Object:
    """An object without what a Secret keeps."""
    return body | {"data": dict.fromkeys(body["data"], HIDDEN)} if body["kind"] == "Secret" else body


def files(wanted: list[Object], part: str) -> dict[str, str]:
    """The files that pods find in the ConfigMap `<name>-<part>`."""
    (found,) = [
        body for body in wanted if body["kind"] == "ConfigMap" and body["metadata"]["name"].endswith(f"-{part}")
    ]
    return dict(found["data"])


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as such, so that a difference in one line is a difference in one line."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def as_yaml(body: Any) -> str:
    """YAML with the keys in order."""
    text: str = yaml.dump(body, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=120)
    return text
