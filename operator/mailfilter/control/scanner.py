"""What is true of clamd and its signatures. Pure: the facts are arguments."""

from datetime import UTC, datetime, timedelta
from typing import Any

from mailfilter.control.conditions import Observation, no, unknown, yes
from mailfilter.control.facts import Facts, ready_replicas
from mailfilter.control.waiting import waiting

# ClamAV's official databases change several times a day.
STALE = timedelta(days=7)


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
    waits = f"mail is not passed unscanned: {waiting(facts)}"
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
