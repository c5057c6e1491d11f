"""What each field type takes and refuses. tests/api asks the API server the same."""

import pytest
from pydantic import TypeAdapter, ValidationError

from mailfilter.api import fields
from support.fieldcases import ACCEPTED, REFUSED


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ACCEPTED.items() for value in values])
def test_accepted(name: str, value: str) -> None:
    assert TypeAdapter(getattr(fields, name)).validate_python(value) == value


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match="must be"):
        TypeAdapter(getattr(fields, name)).validate_python(value)


def test_every_string_type_has_cases() -> None:
    types = {
        name
        for name, found in vars(fields).items()
        if name[0].isupper() and getattr(found, "__metadata__", None) and found.__origin__ is str
    }
    assert types == set(ACCEPTED) == set(REFUSED)


@pytest.mark.parametrize("value", [-10000.5, 10000.5, float("nan"), "much"])
def test_score_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(fields.Score).validate_python(value)
