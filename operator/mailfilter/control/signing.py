"""What is true of the keys that sign outgoing mail. Pure: what the agents of the amavis pods said is in the facts."""

from typing import Any

from mailfilter.control.conditions import Observation, no, unknown, yes
from mailfilter.control.facts import Facts
from mailfilter.policy.outgoing import key_name, keys, record_name


def _states(facts: Facts) -> dict[str, dict[str, dict[str, str | None]]]:
    """Pod → key → what amavis there says of it; of pods that could be asked."""
    return {
        pod.name: (pod.status or {}).get("amavis", {}).get("dkim") or {}
        for pod in facts.of("amavis")
        if pod.status is not None
    }


def signing_ready(facts: Facts) -> Observation:
    """True when every amavis pod that could be asked can use all keys."""
    kind = "SigningReady"
    states = _states(facts)
    for one in keys(facts.spec):
        name = key_name(one)
        waits = f"mail of {one.domain} that no other key of it signs waits in the queue"
        for pod, found in sorted(states.items()):
            error = found.get(name, {}).get("error")
            if error == "missing":
                return no(
                    kind,
                    "SecretMissing",
                    f"{pod} finds no {one.key} in Secret {one.secret_name}, which outgoing.dkim names for {name}; "
                    f"{waits}. kubectl create secret generic {one.secret_name} --from-file={one.key}=key.pem",
                )
            if error:
                return no(
                    kind, "KeyInvalid", f"{pod} cannot use {one.key} in Secret {one.secret_name}: {error}; {waits}."
                )
    if not states or not all(key_name(one) in found for found in states.values() for one in keys(facts.spec)):
        return unknown(kind, "Waiting", "no pod has looked at all keys yet")
    return yes(kind, "KeysLoaded", f"{len(keys(facts.spec))} keys sign; status.dkim has their DNS records")


def published(facts: Facts) -> dict[str, str]:
    """TXT records that DNS must have, by name: those of keys that amavis can use."""
    found = {}
    for one in keys(facts.spec):
        records = [state.get(key_name(one), {}).get("record") for state in _states(facts).values()]
        if record := next(filter(None, records), None):
            found[record_name(one)] = record
    return found


def dkim(facts: Facts, known: dict[str, str], old: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """status.dkim: `known` records; what the status said before of those that nobody can tell of now."""
    before = {one["record"]: one for one in old}
    states = {record.wanted.name: record.state for record in facts.dns or [] if record.wanted.type == "TXT"}
    found = []
    for one in keys(facts.spec):
        name = record_name(one)
        said = before.get(name, {})
        told = {
            "value": known.get(name) or said.get("value"),
            "dns": states.get(name) or (said.get("dns") if facts.dns is None else None),
        }
        entry = {"domain": one.domain, "selector": one.selector, "record": name}
        found.append(entry | {field: value for field, value in told.items() if value})
    return found
