"""The CEL rules of our schemas, evaluated here as the API server does it."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cel

# What Kubernetes' CEL has beyond the standard, as far as our rules use it.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "lastIndexOf": str.rfind,
    "substring": lambda text, start, end=None: text[start:end],
}


@lru_cache(maxsize=1000)
def compiled(expression: str) -> cel.Program:
    """The program of a rule."""
    return cel.compile(expression)


def objection(check: dict[str, str], value: Any, old: Any = None) -> str | None:
    """Why a value (`self`), and what it was before (`oldSelf`), break a validation rule; None when they do not."""
    context = cel.Context({"self": value, "oldSelf": old}, FUNCTIONS)
    if compiled(check["rule"]).execute(context) is True:
        return None
    named = check.get("messageExpression")
    return str(compiled(named).execute(context)) if named else check["message"]
