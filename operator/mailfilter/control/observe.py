"""What is true of a gateway: the conditions of its status. Pure: the facts are arguments."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.control import digests, dnslists, door, quarantine, records, signing
from mailfilter.control.conditions import WAITING, Observation, no, yes
from mailfilter.control.facts import WORKLOADS, Facts, ready_replicas, rolled_out
from mailfilter.control.policy import lists_valid, policy_active
from mailfilter.control.scanner import scanner_available, signatures_fresh
from mailfilter.control.waiting import suspended, waiting
from mailfilter.policy import outgoing

# As long as connections may still go to where nobody answered before.
RECOVERY = timedelta(minutes=1)


def components(facts: Facts) -> dict[str, dict[str, int]]:
    """status.components."""
    found = {}
    for component in WORKLOADS:
        child = facts.workload(component)
        found[component] = {"ready": ready_replicas(child), "desired": child.replicas if child else 0}
    return found


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
            waits = f" Meanwhile {waiting(facts)}." if component == "amavis" else ""
            return no(kind, reason, f"no {component} pod is ready.{why} See kubectl describe pod.{waits}")
    for needed in ("ScannerAvailable", "QuarantineWritable", "PolicyActive"):
        seen = by_type[needed]
        if seen.reason == WAITING and facts.settled_generation:
            continue
        if seen.status != "True" and seen.reason != "ScanningOff":
            return Observation(kind, seen.status, seen.reason, f"{needed}: {seen.message}")
    domains = f"mail is filtered; domains: {len(facts.spec.domains)}{_checks_off(facts.spec)}"
    filters = yes(kind, "Filtering", domains)
    if by_type["PolicyActive"].reason == WAITING or by_type["Progressing"].status == "True":
        # By the policy or the pods before. Whoever waits for Ready of the newest generation waits on.
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
    if any(one.digest.enabled for one in (facts.spec.verdicts, *(scope.verdicts for scope in facts.spec.scopes()))):
        others.append(digests.digests_sent(facts))
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
