"""What an apply of a manifest makes of the spec that is there: what others set stays, and so do stored defaults."""

import json
from typing import Any

from mailfilter.control.allow import MANAGER
from mailfilter.plan.owned import part

Object = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def after_apply(live: Object, wanted: Any) -> Any:
    """The spec after an apply by whoever applied last, be it kubectl or somebody else by server-side apply."""
    return _merged(live["spec"], _before(live), wanted)


def _before(live: Object) -> Object:
    """The spec as it was applied last; empty when nobody applied it."""
    metadata = live["metadata"]
    entries = [
        entry
        for entry in metadata.get("managedFields", [])
        if entry.get("operation") == "Apply"
        and not entry.get("subresource")
        and "f:spec" in entry["fieldsV1"]
        # What releases have added is nobody's manifest.
        and not str(entry.get("manager")).startswith(MANAGER)
    ]
    if text := metadata.get("annotations", {}).get(LAST_APPLIED):
        applied = json.loads(text)
    elif entries:
        applied = part(live, max(entries, key=lambda entry: str(entry.get("time")))["fieldsV1"])
    else:
        applied = {}
    spec: Object = applied.get("spec") or {}
    return spec


def _merged(live: Any, before: Any, wanted: Any) -> Any:
    """Members that are wanted, and those that are there and were not applied before; lists as a whole."""
    if not isinstance(live, dict) or not isinstance(wanted, dict):
        return wanted
    before = before if isinstance(before, dict) else {}
    kept = {name: value for name, value in live.items() if name not in wanted and name not in before}
    return kept | {name: _merged(live.get(name), before.get(name), value) for name, value in wanted.items()}
