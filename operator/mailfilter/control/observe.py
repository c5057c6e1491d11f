"""What is true of a gateway: pods, policy in force, signatures, quarantine, queue. Pure: the facts are arguments."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.control import dnslists, door, quarantine, records, signing
from mailfilter.control.conditions import Observation, no, unknown, yes
from mailfilter.control.facts import WORKLOADS, Facts, Pod, ready_replicas, rolled_out
from mailfilter.policy import outgoing
from mailfilter.policy.longlists import SHOWN
from mailfilter.policy.senders import all_lists

# ClamAV's official databases change several times a day.
STALE = timedelta(days=7)
# As long as connections may still go to where nobody answered before.
RECOVERY = timedelta(minutes=1)
# The reason of what is on its way and needs nobody.
WAITING = "Waiting"


def components(facts: Facts) -> dict[str, dict[str, int]]:
    """status.components."""
    found = {}
    for component in WORKLOADS:
        child = facts.workload(component)
        found[component] = {"ready": ready_replicas(child), "desired": child.replicas if child else 0}
    return found


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


def lags(pod: Pod, wanted: str) -> bool:
    """Whether the pod says that the wanted policy or tables have not come into its volume as a whole."""
    status = pod.status or {}
    policy = status.get("amavis", {}).get("policy")
    if policy:
        return bool(policy["mounted"] != wanted or (policy["inForce"] != wanted and not policy["refused"]))
    tables = status.get("postfix", {}).get("tables")
    return bool(tables and tables["mounted"] != wanted)


def scanner_available(facts: Facts) -> Observation:
    """True when a clamd answers; while none does, mail waits."""
    kind = "ScannerAvailable"
    if not facts.spec.virus.enabled:
        return no(kind, "ScanningOff", "virus.enabled is false: mail is passed on without a virus scan")
    child = facts.workload("clamd")
    if child is None:
        return unknown(kind, "NoPods", "clamd is not there yet")
    if ready_replicas(child):
        return yes(kind, "Answering", f"{ready_replicas(child)} of {child.replicas} clamd pods answer")
    waits = f"mail is not passed unscanned: {_waiting(facts)}"
    if facts.spec.clamd.replicas == 0:
        return no(kind, "VirusScannerDown", f"clamd.replicas is 0; {waits}. Set it to 1 or more.")
    if signatures(facts) is None:
        return no(
            kind,
            "WaitingForSignatures",
            f"clamd starts when it has signatures; {waits}. See condition SignaturesFresh.",
        )
    return no(
        kind, "VirusScannerDown", f"no clamd pod answers; {waits}. Look at the pods of {facts.names.of('clamd')}."
    )


def _waiting(facts: Facts) -> str:
    """What becomes of mail that cannot be filtered now."""
    queued = queue(facts)
    waits = f"{queued['active'] + queued['deferred']} mails wait in Postfix' queue"
    if facts.spec.filtering.mode == "BeforeQueue":
        return f"clients are told to try later (451), and {waits}"
    return waits


def signatures(facts: Facts) -> dict[str, Any] | None:
    """status.signatures; None when the mirror has none or cannot be asked."""
    for pod in facts.of("freshclam"):
        found = (pod.status or {}).get("mirror", {}).get("signatures", {})
        if found.get("updated"):
            return {"version": found.get("version"), "updated": found["updated"]}
    return None


def signatures_fresh(facts: Facts, now: datetime | None = None) -> Observation:
    """True when the mirror has signatures, and official ones are not older than a week."""
    kind = "SignaturesFresh"
    pods = facts.of("freshclam")
    if not any(pod.status for pod in pods):
        trouble = next((pod.trouble for pod in pods if pod.trouble), "the mirror pod is not there yet")
        return unknown(kind, "MirrorUnreachable", trouble)
    found = signatures(facts)
    if found is None:
        return no(
            kind,
            "NoSignatures",
            f"no signature file was fetched yet. See kubectl logs {facts.names.of('freshclam')}-0 -c freshclam; "
            "check freshclam.mirror, freshclam.customURLs and the way to the internet.",
        )
    age = (now or datetime.now(UTC)) - datetime.fromisoformat(found["updated"])
    if facts.spec.freshclam.official_databases and age > STALE:
        return no(kind, "Stale", f"the newest signature file is {age.days} days old; clamd goes on with it")
    return yes(kind, "Fetched", f"the newest signature file is of {found['updated']}")


def backscatter_risk(facts: Facts) -> Observation:
    """True when the gateway sends notices about blocked mail to its senders."""
    kind = "BackscatterRisk"
    who = [f"spec.{field}" for field in facts.spec.verdicts.bounces]
    for scope in facts.spec.scopes():
        who += [f"{field} of {scope}" for field in (scope.of.policy.bounces if scope.of.policy else [])]
    if not who:
        return no(kind, "NoBounce", "no sender is sent a notice about blocked mail")
    more = f" and {len(who) - 3} more" if len(who) > 3 else ""
    return yes(
        kind,
        "BounceDestiny",
        f"{', '.join(who[:3])}{more}: Bounce. Notices go to senders that may be forged, and can get the gateway onto "
        "block lists. Use Discard, which holds the mail in the quarantine, or filtering.mode: BeforeQueue with Reject.",
    )


def suspended(facts: Facts) -> Observation:
    """True while a Postfix pod lets mail wait unfiltered, or pass unfiltered."""
    kind = "Suspended"
    states = {pod.name: (pod.status or {}).get("postfix", {}).get("suspended") for pod in facts.of("postfix")}
    names = {how: ", ".join(sorted(name for name, state in states.items() if state == how)) for how in states.values()}
    if "PassThrough" in names:
        return yes(
            kind,
            "PassThrough",
            f"mail passes unfiltered through {names['PassThrough']}, viruses too. "
            "Set filtering.suspended to None to end it.",
        )
    if "Hold" in names:
        waits = f"{queue(facts)['active'] + queue(facts)['deferred']} mails wait"
        return yes(
            kind,
            "Hold",
            f"mail is taken and waits unfiltered in {names['Hold']}: {waits}. "
            "Set filtering.suspended to None to filter it.",
        )
    if "None" not in names:
        return unknown(kind, "AgentsUnreachable", "no Postfix pod can be asked yet")
    return no(kind, "NotSuspended", "mail goes to the filter")


def queue(facts: Facts) -> dict[str, int]:
    """status.queue over all Postfix pods that could be asked."""
    found = [(pod.status or {}).get("postfix", {}).get("queue", {}) for pod in facts.of("postfix")]
    return {
        "active": sum(one.get("incoming", 0) + one.get("active", 0) for one in found),
        "deferred": sum(one.get("deferred", 0) for one in found),
        "oldestSeconds": max((int(one.get("oldestSeconds", 0)) for one in found), default=0),
    }


def progressing(facts: Facts) -> Observation:
    """True while pods of the wanted template are still coming up."""
    kind = "Progressing"
    if facts.conflict:
        return no(kind, "ApplyFailed", facts.conflict)
    missing = [name for name in WORKLOADS if not rolled_out(facts.workload(name))]
    if not missing:
        return no(kind, "RolledOut", "all pods run the wanted template")
    state = components(facts)
    counts = ", ".join(f"{name} {state[name]['ready']}/{state[name]['desired']}" for name in missing)
    return yes(kind, "RollingOut", f"waiting for pods: {counts}")


def ready(facts: Facts, others: list[Observation]) -> Observation:
    """True when mail is taken in, filtered and passed on."""
    kind = "Ready"
    by_type = {other.type: other for other in others}
    if facts.conflict:
        return no(kind, "ApplyFailed", facts.conflict)
    if by_type["Suspended"].status == "True":
        return no(kind, "Suspended", f"Suspended: {by_type['Suspended'].message}")
    for component in ("postfix", "amavis"):
        if not ready_replicas(facts.workload(component)):
            reason = "PostfixNotReady" if component == "postfix" else "AmavisNotReady"
            why = next((f" {pod.name}: {pod.held_up}." for pod in facts.of(component) if pod.held_up), "")
            waits = f" Meanwhile {_waiting(facts)}." if component == "amavis" else ""
            return no(kind, reason, f"no {component} pod is ready.{why} See kubectl describe pod.{waits}")
    for needed in ("ScannerAvailable", "QuarantineWritable", "PolicyActive"):
        seen = by_type[needed]
        if seen.reason == WAITING and facts.settled_generation:
            continue
        if seen.status != "True" and seen.reason != "ScanningOff":
            return Observation(kind, seen.status, seen.reason, f"{needed}: {seen.message}")
    domains = f"mail is filtered; domains: {len(facts.spec.domains)}{_checks_off(facts.spec)}"
    filters = yes(kind, "Filtering", domains)
    if by_type["PolicyActive"].reason == WAITING:
        # By the policy before. Whoever waits for Ready of the newest generation waits on.
        return replace(filters, generation=facts.settled_generation)
    return filters


def _checks_off(spec: MailFilterSpec) -> str:
    """What the spec leaves out of filtering, for people; empty when all is checked."""
    switches = {
        "virus": spec.virus.enabled,
        "spam": spec.spam.enabled,
        "banned": spec.banned.enabled,
        "decoding": spec.decoding.enabled,
    }
    off = [f"{name}.enabled" for name, on in switches.items() if not on]
    return f". Not checked, as the spec wants it: {', '.join(off)} is false" if off else ""


def observations(facts: Facts) -> list[Observation]:
    """All conditions, Ready first."""
    others = [
        progressing(facts),
        policy_active(facts),
        lists_valid(facts),
        scanner_available(facts),
        signatures_fresh(facts),
        quarantine.writable(facts),
        quarantine.space(facts),
        backscatter_risk(facts),
        suspended(facts),
    ]
    doors = {pod.name: (pod.status or {}).get("postfix") for pod in facts.of("postfix")}
    if facts.spec.postfix.dnsbl:
        others.append(door.dnsbl_usable(doors, [site.name for site in facts.spec.postfix.dnsbl.sites]))
    if facts.spec.postfix.tls:
        others.append(door.tls_active(doors, facts.spec.postfix.tls.secret_name))
    if facts.spec.spam.enabled and not facts.spec.spam.local_tests_only:
        others.append(dnslists.dns_lists_usable(facts))
    if outgoing.keys(facts.spec):
        others.append(signing.signing_ready(facts))
    if facts.spec.dns.check:
        others.append(records.dns_ready(facts))
    return [ready(facts, others), *others]


def recovered(conditions: list[dict[str, Any]], now: datetime | None = None) -> bool:
    """Whether mail is filtered again, or otherwise, since a moment ago, so that what was deferred can go on."""
    since = [
        one["lastTransitionTime"]
        for one in conditions
        if one["type"] in ("Ready", "PolicyActive") and one["status"] == "True"
    ]
    return any((now or datetime.now(UTC)) - datetime.fromisoformat(moment) < RECOVERY for moment in since)


def _list(pods: list[Pod]) -> str:
    return ", ".join(sorted(pod.name for pod in pods))
