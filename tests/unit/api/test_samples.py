"""The samples that golden files are made from."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from mailfilter.api.mailfilter import MailFilterSpec
from support.samples import FULL, SMALL


def fields(model: BaseModel, path: str) -> Iterator[tuple[str, bool]]:
    """All fields down to all parts, and whether they were given."""
    for name in type(model).model_fields:
        yield f"{path}.{name}", name in model.model_fields_set
    for name in model.model_fields_set:
        value: Any = getattr(model, name)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, BaseModel):
                yield from fields(one, f"{path}.{name}")


def test_the_full_sample_leaves_little_out() -> None:
    """A new field belongs into it, and so into the golden files."""
    found = list(fields(MailFilterSpec.model_validate(FULL), "spec"))
    given = {path for path, is_given in found if is_given}
    assert sorted({path for path, _ in found} - given) == [
        "spec.banned.enabled",
        "spec.clamd.resources.requests",
        "spec.freshclam.official_databases",
        "spec.freshclam.storage.storage_class_name",
        "spec.recipients.policy.bad_header",
        "spec.recipients.policy.banned.allow_inside",
        "spec.recipients.policy.banned.destiny",
        "spec.recipients.policy.banned.double_extensions",
        "spec.recipients.policy.banned.mime_types",
        "spec.recipients.policy.banned.names",
        "spec.recipients.policy.banned.presets",
        "spec.recipients.policy.banned.types",
        "spec.recipients.policy.spam.cutoff_level",
        "spec.recipients.policy.spam.destiny",
        "spec.recipients.policy.spam.subject_tag",
        "spec.recipients.policy.spam.tag2_level",
        "spec.recipients.policy.spam.tag_level",
        "spec.spam.enabled",
        "spec.virus.enabled",
    ]


def test_the_small_sample_is_the_least() -> None:
    assert set(SMALL) == {name for name, field in MailFilterSpec.model_fields.items() if field.is_required()}
