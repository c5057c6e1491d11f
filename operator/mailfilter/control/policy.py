"""What is in force of the policy and of the lists of senders. Pure: the facts are arguments."""

from mailfilter.control.conditions import WAITING, Observation, no, unknown, yes
from mailfilter.control.facts import Facts, Pod
from mailfilter.policy.longlists import SHOWN
from mailfilter.policy.senders import all_lists


def policy_active(facts: Facts) -> Observation:
    """True when every amavis pod has the wanted policy in force, and every Postfix pod the wanted tables."""
    kind = "PolicyActive"
    if facts.bad_rules:
        more = f" (and {len(facts.bad_rules) - 1} more)" if len(facts.bad_rules) > 1 else ""
        return no(kind, "InvalidRules", f"{facts.bad_rules[0]}{more}. The last good policy stays in force.")
    filters, doors = facts.of("amavis"), facts.of("postfix")
    if not filters or not doors:
        return unknown(kind, "NoPods", "no amavis or Postfix pod is there yet")
    waiting = []
    for pod in filters:
        policy = (pod.status or {}).get("amavis", {}).get("policy", {})
        refused = policy.get("refused")
        if refused and refused.get("hash") == facts.policy_hash:
            why = str(refused.get("reason"))
            return no(
                kind,
                "InvalidRules" if why.startswith("spec.spam.rules") else "Refused",
                f"{pod.name} refused the policy: {why}. The last good one stays in force.",
            )
        if not (policy.get("mounted") == policy.get("inForce") == facts.policy_hash):
            waiting.append(pod)
    for pod in doors:
        tables = (pod.status or {}).get("postfix", {}).get("tables", {})
        if tables.get("error"):
            return no(kind, "TablesRefused", f"{pod.name} could not compile its tables: {tables['error']}")
        if not (tables.get("mounted") == tables.get("inForce") == facts.tables_hash):
            waiting.append(pod)
    silent = [pod for pod in waiting if pod.status is None]
    if silent:
        return unknown(
            kind, "AgentsUnreachable", f"cannot ask {_list(silent)}: {silent[0].trouble or 'no address yet'}"
        )
    if waiting:
        return no(kind, WAITING, f"{_list(waiting)} does not have the new policy yet")
    return yes(kind, "InForce", f"policy {facts.policy_hash[:12]} is in force in every pod")


def _list(pods: list[Pod]) -> str:
    return ", ".join(sorted(pod.name for pod in pods))


def lists(facts: Facts) -> dict[str, int]:
    """status.lists."""
    found, long = list(all_lists(facts.spec)), facts.reading
    return {
        "allow": sum(len(one.allow) for one in found) + long.files.allow,
        "deny": sum(len(one.deny) for one in found) + long.files.deny,
        "scores": sum(len(one.scores) for one in found),
        "refused": sum(len(one.refused) for one in found) + long.refused,
    }


def lists_valid(facts: Facts) -> Observation:
    """True when every pattern of a sender can match what it says; tells how patterns are read."""
    kind = "ListsValid"
    found, counts = list(all_lists(facts.spec)), lists(facts)
    if not facts.spec.spam.enabled and any(counts.values()):
        return no(kind, "NotAsked", "spam.enabled is false: neither lists of senders nor scores are asked")
    if facts.reading.trouble:
        return no(kind, "NotRead", f"{facts.reading.trouble}. The last good lists of lists.from stay in force.")
    if counts["refused"]:
        shown = [*(reason for one in found for reason in one.refused), *facts.reading.reasons][:SHOWN]
        more = f" (and {counts['refused'] - len(shown)} more)" if counts["refused"] > len(shown) else ""
        return no(kind, "Refused", f"{'; '.join(shown)}{more}. All other entries are in force.")
    numbers = ", ".join(f"{name}: {count}" for name, count in counts.items() if name != "refused")
    rewritten = [f"{pattern} is {key}" for one in found for pattern, key in one.rewritten.items()]
    more = ", …" if len(rewritten) > SHOWN else ""
    reads = f"; read as: {', '.join(rewritten[:SHOWN])}{more}" if rewritten else ""
    return yes(kind, "Valid", numbers + reads)
