"""The samples that golden files are made from."""

from typing import Any

from pydantic import BaseModel

from mailfilter.api.mailfilter import MailFilterSpec
from support.samples import FULL, SMALL


def left_out(model: BaseModel, path: str) -> list[str]:
    """Fields that were not given, down to all parts."""
    found = [f"{path}.{name}" for name in type(model).model_fields if name not in model.model_fields_set]
    for name in model.model_fields_set:
        value: Any = getattr(model, name)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, BaseModel):
                found += left_out(one, f"{path}.{name}")
    return found


def test_the_full_sample_leaves_little_out() -> None:
    """A new field belongs into it, and so into the golden files."""
    assert sorted(set(left_out(MailFilterSpec.model_validate(FULL), "spec"))) == [
        "spec.banned.enabled",
        "spec.clamd.resources.requests",
        "spec.domains.aliases",
        "spec.domains.relay.port",
        "spec.domains.subdomains",
        "spec.freshclam.official_databases",
        "spec.freshclam.storage.storage_class_name",
        "spec.spam.enabled",
        "spec.virus.enabled",
    ]


def test_the_small_sample_is_the_least() -> None:
    assert set(SMALL) == {name for name, field in MailFilterSpec.model_fields.items() if field.is_required()}
