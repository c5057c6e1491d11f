"""Each condition with each of its reasons, from facts."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mailfilter.control import observe, records
from mailfilter.control.cache import Child
from mailfilter.control.conditions import Observation
from mailfilter.control.facts import WORKLOADS, Facts, Pod, held_up
from mailfilter.policy.dns import Record, State, Wanted
from mailfilter.policy.longlists import Files, Reading
from support.samples import NAMES, spec, with_changes

Object = dict[str, Any]
NEW, OLD = "new" * 5, "old" * 5
NOW = datetime(2026, 11, 25, tzinfo=UTC)


def child(component: str, generation: int = 1, replicas: int = 1, surplus: int = 0, **status: int) -> Child:
    counts = dict.fromkeys(("readyReplicas", "updatedReplicas"), replicas)
    counts |= {"replicas": replicas + surplus, "observedGeneration": 1}
    kind = WORKLOADS[component]
    return Child(
        {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": NAMES.of(component), "uid": "1", "generation": generation},
            "spec": {"replicas": replicas},
            "status": counts | status,
        }
    )


def amavis(
    name: str = "mx-amavis-0", *, writable: bool = True, lists_refused: tuple[str, ...] = (), **policy: Any
) -> Pod:
    status = {
        "policy": {"mounted": NEW, "inForce": NEW, "refused": None} | policy,
        "quarantine": {
            "writable": writable,
            "messages": {"spam": 2, "virus": 1, "banned": 0, "bad-header": 0},
            "bytes": {"spam": 200, "virus": 10, "banned": 0, "bad-header": 0},
        },
        "dnsLists": {"refused": list(lists_refused)},
    }
    return Pod(name, "amavis", "10.0.0.1", ready=True, status={"amavis": status})


def postfix(name: str = "mx-postfix-0", suspended: str | None = "None", **tables: Any) -> Pod:
    queue = {"incoming": 1, "active": 2, "deferred": 3, "hold": 0, "oldestSeconds": 60}
    status = {
        "tables": {"mounted": NEW, "inForce": NEW, "error": None} | tables,
        "suspended": suspended,
        "queue": queue,
    }
    return Pod(name, "postfix", "10.0.0.2", ready=True, status={"postfix": status})


def mirror(updated: str | None = "2026-11-24T00:00:00Z") -> Pod:
    found = {"files": {}, "version": "27000", "updated": updated}
    return Pod("mx-freshclam-0", "freshclam", "10.0.0.3", ready=True, status={"mirror": {"signatures": found}})


def silent(pod: Pod, trouble: str | None = "agent at 10.0.0.9: refused") -> Pod:
    return replace(pod, status=None, trouble=trouble)


WELL = Facts(
    spec=spec(),
    names=NAMES,
    policy_hash=NEW,
    tables_hash=NEW,
    children={(kind, NAMES.of(name)): child(name) for name, kind in WORKLOADS.items()},
    pods=[amavis(), postfix(), mirror()],
)


def with_child(component: str, found: Child | None, **changes: Any) -> Facts:
    key = (WORKLOADS[component], NAMES.of(component))
    children = {one: other for one, other in WELL.children.items() if one != key}
    return replace(WELL, children=children | ({key: found} if found else {}), **changes)


def with_pods(*pods: Pod, **changes: Any) -> Facts:
    """Pods in place of those of their components."""
    components = {pod.component for pod in pods}
    return replace(WELL, pods=[pod for pod in WELL.pods if pod.component not in components] + list(pods), **changes)


def without(component: str) -> Facts:
    return replace(WELL, pods=[pod for pod in WELL.pods if pod.component != component])


def fresh(facts: Facts) -> Observation:
    return observe.signatures_fresh(facts, NOW)


def is_ready(facts: Facts) -> Observation:
    found = observe.observations(facts)[0]
    assert found.type == "Ready"
    return found


OWN = spec(freshclam={"officialDatabases": False, "customURLs": ["http://s/x.ndb"]})
REFUSED = {"hash": NEW, "reason": "levels.kill is no number"}
BEFORE_QUEUE = {"mode": "BeforeQueue"}
BOUNCE = {"destiny": "Bounce"}
CASES: list[tuple[str, Callable[[Facts], Observation], Facts, str, str, str]] = [
    ("in force", observe.policy_active, WELL, "True", "InForce", NEW[:12]),
    (
        "bad rules",
        observe.policy_active,
        replace(WELL, bad_rules=["line 1", "line 2"]),
        "False",
        "InvalidRules",
        "line 1",
    ),
    ("no amavis", observe.policy_active, without("amavis"), "Unknown", "NoPods", "amavis"),
    ("no postfix", observe.policy_active, without("postfix"), "Unknown", "NoPods", "Postfix"),
    (
        "refused",
        observe.policy_active,
        with_pods(amavis(inForce=OLD, refused=REFUSED)),
        "False",
        "Refused",
        "levels.kill",
    ),
    (
        "a rule was refused",
        observe.policy_active,
        with_pods(amavis(inForce=OLD, refused=REFUSED | {"reason": "spec.spam.rules line 3: Unmatched ( in regex"})),
        "False",
        "InvalidRules",
        "line 3",
    ),
    (
        "an older one was refused",
        observe.policy_active,
        with_pods(amavis(inForce=OLD, refused=REFUSED | {"hash": OLD})),
        "False",
        "Waiting",
        "mx-amavis-0",
    ),
    (
        "not mounted",
        observe.policy_active,
        with_pods(amavis(mounted=OLD, inForce=OLD)),
        "False",
        "Waiting",
        "mx-amavis-0",
    ),
    ("mounted only", observe.policy_active, with_pods(amavis(inForce=OLD)), "False", "Waiting", "mx-amavis-0"),
    ("nothing in force", observe.policy_active, with_pods(amavis(inForce=None)), "False", "Waiting", "mx-amavis-0"),
    ("one of two", observe.policy_active, with_pods(amavis(), amavis("b", inForce=OLD)), "False", "Waiting", "b "),
    ("b19 old tables", observe.policy_active, with_pods(postfix(inForce=OLD)), "False", "Waiting", "mx-postfix-0"),
    ("broken tables", observe.policy_active, with_pods(postfix(error="line 3")), "False", "TablesRefused", "line 3"),
    ("silent", observe.policy_active, with_pods(silent(amavis())), "Unknown", "AgentsUnreachable", "refused"),
    (
        "no address",
        observe.policy_active,
        with_pods(silent(postfix(), None)),
        "Unknown",
        "AgentsUnreachable",
        "no address",
    ),
    ("no lists", observe.lists_valid, WELL, "True", "Valid", "allow: 0, deny: 0, scores: 0"),
    (
        "lists as they are read",
        observe.lists_valid,
        replace(WELL, spec=spec(lists={"deny": ["*@Example.COM", "<>"]})),
        "True",
        "Valid",
        "deny: 2, scores: 0; read as: *@Example.COM is example.com",
    ),
    (
        "a pattern that is no domain",
        observe.lists_valid,
        replace(WELL, spec=spec(lists={"allow": ["☃.example", "a@b.example"]})),
        "False",
        "Refused",
        "spec.lists.allow[0]: ☃.example is not an internationalised domain name",
    ),
    (
        "a bad line of a long list",
        observe.lists_valid,
        replace(WELL, reading=Reading(Files(allow=7, deny=5), 9, ("ConfigMap x key y line 17: com: no",))),
        "False",
        "Refused",
        "ConfigMap x key y line 17: com: no (and 8 more). All other entries",
    ),
    (
        "a list that is not there",
        observe.lists_valid,
        replace(WELL, reading=Reading(Files(), 1, ("line 1",), "ConfigMap x key y is missing")),
        "False",
        "NotRead",
        "ConfigMap x key y is missing. The last good lists",
    ),
    (
        "long lists",
        observe.lists_valid,
        replace(WELL, spec=spec(lists={"deny": ["a@b.example"]}), reading=Reading(Files(allow=7, deny=5))),
        "True",
        "Valid",
        "allow: 7, deny: 6, scores: 0",
    ),
    (
        "lists that nobody asks",
        observe.lists_valid,
        replace(WELL, spec=spec(lists={"allow": ["a@b.example"]}, spam={"enabled": False})),
        "False",
        "NotAsked",
        "spam.enabled is false",
    ),
    ("answers", observe.scanner_available, WELL, "True", "Answering", "1 of 1"),
    (
        "half",
        observe.scanner_available,
        with_child("clamd", child("clamd", replicas=2, readyReplicas=1)),
        "True",
        "Answering",
        "1 of 2",
    ),
    ("no clamd yet", observe.scanner_available, with_child("clamd", None), "Unknown", "NoPods", "clamd"),
    (
        "switched off",
        observe.scanner_available,
        with_child("clamd", child("clamd", replicas=0), spec=spec(clamd={"replicas": 0})),
        "False",
        "VirusScannerDown",
        "6 mails wait in Postfix' queue",
    ),
    (
        "no signatures",
        observe.scanner_available,
        replace(with_child("clamd", child("clamd", readyReplicas=0)), pods=[mirror(None)]),
        "False",
        "WaitingForSignatures",
        "SignaturesFresh",
    ),
    (
        "b36 down",
        observe.scanner_available,
        with_child("clamd", child("clamd", readyReplicas=0)),
        "False",
        "VirusScannerDown",
        "mx-clamd",
    ),
    ("fetched", fresh, WELL, "True", "Fetched", "2026-11-24"),
    ("no mirror", fresh, without("freshclam"), "Unknown", "MirrorUnreachable", "not there yet"),
    ("silent mirror", fresh, with_pods(silent(mirror())), "Unknown", "MirrorUnreachable", "refused"),
    ("nothing fetched", fresh, with_pods(mirror(None)), "False", "NoSignatures", "kubectl logs mx-freshclam-0"),
    ("stale", fresh, with_pods(mirror("2026-11-10T00:00:00Z")), "False", "Stale", "15 days"),
    ("own ones keep", fresh, with_pods(mirror("2026-01-01T00:00:00Z"), spec=OWN), "True", "Fetched", "2026-01-01"),
    ("rolled out", observe.progressing, WELL, "False", "RolledOut", "all pods"),
    ("not created", observe.progressing, with_child("amavis", None), "True", "RollingOut", "amavis 0/0"),
    ("not seen", observe.progressing, with_child("amavis", child("amavis", 2)), "True", "RollingOut", "amavis 1/1"),
    (
        "not ready",
        observe.progressing,
        with_child("clamd", child("clamd", readyReplicas=0)),
        "True",
        "RollingOut",
        "clamd 0/1",
    ),
    (
        "old pods",
        observe.progressing,
        with_child("postfix", child("postfix", updatedReplicas=0)),
        "True",
        "RollingOut",
        "postfix",
    ),
    (
        "one too many",
        observe.progressing,
        with_child("clamd", child("clamd", surplus=1)),
        "True",
        "RollingOut",
        "clamd",
    ),
    ("conflict", observe.progressing, replace(WELL, conflict="no quota"), "False", "ApplyFailed", "no quota"),
    ("filters", is_ready, WELL, "True", "Filtering", "domains: 1"),
    ("conflict, too", is_ready, replace(WELL, conflict="no quota"), "False", "ApplyFailed", "no quota"),
    (
        "b36 postfix down",
        is_ready,
        with_child("postfix", child("postfix", readyReplicas=0)),
        "False",
        "PostfixNotReady",
        "postfix",
    ),
    (
        "amavis down",
        is_ready,
        with_child("amavis", child("amavis", readyReplicas=0)),
        "False",
        "AmavisNotReady",
        "amavis",
    ),
    (
        "no scanner",
        is_ready,
        with_child("clamd", child("clamd", readyReplicas=0)),
        "False",
        "VirusScannerDown",
        "ScannerAvailable: ",
    ),
    (
        "no scan wanted",
        observe.scanner_available,
        replace(with_child("clamd", child("clamd", readyReplicas=0)), spec=spec(virus={"enabled": False})),
        "False",
        "ScanningOff",
        "virus.enabled is false: mail is passed on without a virus scan",
    ),
    (
        "no scan needed",
        is_ready,
        replace(with_child("clamd", child("clamd", readyReplicas=0)), spec=spec(virus={"enabled": False})),
        "True",
        "Filtering",
        "Not checked, as the spec wants it: virus.enabled is false",
    ),
    (
        "little is checked",
        is_ready,
        replace(WELL, spec=spec(spam={"enabled": False}, banned={"enabled": False}, decoding={"enabled": False})),
        "True",
        "Filtering",
        ": spam.enabled, banned.enabled, decoding.enabled is false",
    ),
    (
        "before the queue without a scanner",
        is_ready,
        replace(with_child("clamd", child("clamd", readyReplicas=0)), spec=spec(filtering=BEFORE_QUEUE)),
        "False",
        "VirusScannerDown",
        "clients are told to try later (451), and 6 mails wait",
    ),
    (
        "before the queue without amavis",
        is_ready,
        replace(with_child("amavis", child("amavis", readyReplicas=0)), spec=spec(filtering=BEFORE_QUEUE)),
        "False",
        "AmavisNotReady",
        "Meanwhile clients are told to try later (451)",
    ),
    (
        "amavis down, mail waits",
        is_ready,
        with_child("amavis", child("amavis", readyReplicas=0)),
        "False",
        "AmavisNotReady",
        "Meanwhile 6 mails wait in Postfix' queue.",
    ),
    ("no bounces", observe.backscatter_risk, WELL, "False", "NoBounce", "no sender is sent a notice"),
    (
        "bounces of all",
        observe.backscatter_risk,
        replace(WELL, spec=spec(banned=BOUNCE, recipients=[{"address": "bob@example.com", "policy": {}}])),
        "True",
        "BounceDestiny",
        "spec.banned.destiny: Bounce. Notices go to senders that may be forged",
    ),
    (
        "bounces of some",
        observe.backscatter_risk,
        replace(
            WELL,
            spec=spec(
                domains=[{"name": "example.com", "relay": {"host": "x"}, "policy": {"badHeader": BOUNCE}}],
                recipients=[{"address": f"{name}@example.com", "policy": {"banned": BOUNCE}} for name in "abc"],
            ),
        ),
        "True",
        "BounceDestiny",
        "badHeader.destiny of domain example.com, banned.destiny of recipient a@example.com, "
        "banned.destiny of recipient b@example.com and 1 more: Bounce",
    ),
    ("no quarantine", is_ready, with_pods(amavis(writable=False)), "False", "NotWritable", "QuarantineWritable: "),
    ("old policy", is_ready, with_pods(amavis(inForce=OLD)), "False", "Waiting", "PolicyActive: "),
    (
        "an older policy filters, too",
        is_ready,
        with_pods(amavis(inForce=OLD), settled_generation=3),
        "True",
        "Filtering",
        "filtered",
    ),
    (
        "a refused policy is no wait",
        is_ready,
        with_pods(amavis(inForce=OLD, refused=REFUSED), settled_generation=3),
        "False",
        "Refused",
        "PolicyActive: ",
    ),
    ("nobody knows", is_ready, with_pods(silent(amavis())), "Unknown", "AgentsUnreachable", "QuarantineWritable: "),
    (
        "old signatures do not stop mail",
        is_ready,
        with_pods(mirror("2026-01-01T00:00:00Z")),
        "True",
        "Filtering",
        "filtered",
    ),
    ("not suspended", observe.suspended, WELL, "False", "NotSuspended", "goes to the filter"),
    ("held", observe.suspended, with_pods(postfix(suspended="Hold")), "True", "Hold", "6 mails wait"),
    ("passed", observe.suspended, with_pods(postfix(suspended="PassThrough")), "True", "PassThrough", "viruses too"),
    (
        "the worst pod counts",
        observe.suspended,
        with_pods(postfix("a", "None"), postfix("b", "PassThrough"), postfix("c", "Hold")),
        "True",
        "PassThrough",
        "through b,",
    ),
    ("nobody to ask", observe.suspended, with_pods(silent(postfix())), "Unknown", "AgentsUnreachable", "asked"),
    ("suspended is not ready", is_ready, with_pods(postfix(suspended="Hold")), "False", "Suspended", "6 mails wait"),
    (
        "b16 without amavis mail waits",
        is_ready,
        with_child("amavis", child("amavis", readyReplicas=0)),
        "False",
        "AmavisNotReady",
        "6 mails wait in Postfix' queue",
    ),
    ("rolling does not stop mail", is_ready, with_child("amavis", child("amavis", 2)), "True", "Filtering", "filtered"),
]


@pytest.mark.parametrize(
    ("judge", "facts", "status", "reason", "part"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_conditions(judge: Callable[[Facts], Observation], facts: Facts, status: str, reason: str, part: str) -> None:
    found = judge(facts)
    assert (found.status, found.reason) == (status, reason)
    assert part in found.message


def test_all_conditions_are_said_each_time() -> None:
    for facts in (WELL, replace(WELL, children={}, pods=[], conflict="x", bad_rules=["y"])):
        assert [each.type for each in observe.observations(facts)] == [
            "Ready",
            "Progressing",
            "PolicyActive",
            "ListsValid",
            "ScannerAvailable",
            "SignaturesFresh",
            "QuarantineWritable",
            "QuarantineSpace",
            "BackscatterRisk",
            "Suspended",
            "DNSListsUsable",
            "DNSReady",
        ]


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (amavis(), False),
        (amavis(mounted=OLD, inForce=OLD), True),
        (amavis(inForce=OLD), True),
        (amavis(inForce=OLD, refused=REFUSED), False),
        (postfix(), False),
        (postfix(mounted=OLD), True),
        (postfix(inForce=OLD), False),
        (silent(amavis()), False),
        (mirror(), False),
    ],
)
def test_a_pod_whose_volume_lags(pod: Pod, expected: bool) -> None:
    assert observe.lags(pod, NEW) is expected


def test_ready_is_of_the_generation_that_filters() -> None:
    """So that waiting for Ready of the newest generation means waiting for its policy."""
    waiting = with_pods(amavis(inForce=OLD), settled_generation=3)
    assert is_ready(waiting).generation == 3
    assert observe.policy_active(waiting).generation is None
    assert is_ready(replace(WELL, settled_generation=3)).generation is None


def test_a_pod_that_cannot_start_is_quoted() -> None:
    waiting = {"name": "amavis", "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "no such image"}}}
    assert held_up({"containerStatuses": [waiting]}) == "container amavis: ErrImageNeverPull no such image"
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "no nodes"}
    assert held_up({"conditions": [unscheduled]}) == "not scheduled: no nodes"
    coming = with_changes(waiting, state={"waiting": {"reason": "ContainerCreating"}})
    assert held_up({"containerStatuses": [coming, {"name": "x", "state": {"running": {}}}]}) is None
    pod = replace(amavis(), held_up="container amavis: ErrImageNeverPull")
    facts = replace(with_child("amavis", child("amavis", readyReplicas=0)), pods=[pod])
    assert "mx-amavis-0: container amavis: ErrImageNeverPull" in is_ready(facts).message


def test_numbers() -> None:
    assert observe.queue(with_pods(postfix("a"), postfix("b"), silent(postfix("c")))) == {
        "active": 6,
        "deferred": 6,
        "oldestSeconds": 60,
    }
    assert observe.queue(without("postfix")) == {"active": 0, "deferred": 0, "oldestSeconds": 0}
    assert observe.signatures(WELL) == {"version": "27000", "updated": "2026-11-24T00:00:00Z"}
    assert observe.components(with_child("clamd", None))["clamd"] == {"ready": 0, "desired": 0}
    assert observe.components(WELL)["postfix"] == {"ready": 1, "desired": 1}


@pytest.mark.parametrize(
    ("status", "since", "expected"),
    [
        ("True", "2026-11-25T00:00:00Z", True),
        ("True", "2026-11-24T23:59:01Z", True),
        ("True", "2026-11-24T23:59:00Z", False),
        ("False", "2026-11-25T00:00:00Z", False),
        ("Unknown", "2026-11-25T00:00:00Z", False),
    ],
)
@pytest.mark.parametrize("kind", ["Ready", "PolicyActive"])
def test_waiting_mail_is_tried_in_the_first_minute_of_a_change_for_the_better(
    kind: str, status: str, since: str, expected: bool
) -> None:
    conditions = [
        {"type": "Progressing", "status": "True", "lastTransitionTime": "2026-11-25T00:00:00Z"},
        {"type": kind, "status": status, "lastTransitionTime": since},
    ]
    assert observe.recovered(conditions, NOW) is expected


MX = Wanted("example.com", "MX", "mx.example.com")
HOST = Wanted("mx.example.com", "A")


def answered(*states: State) -> Facts:
    return replace(WELL, dns=[Record(MX, state, ("10 other.example",), "timed out") for state in states])


@pytest.mark.parametrize(
    ("facts", "status", "reason", "text"),
    [
        (answered("Present", "Present"), "True", "RecordsFound", "name mx.example.com"),
        (answered("Present", "Missing"), "False", "RecordsMissing", "add example.com. IN MX 10 mx.example.com."),
        (answered("Different", "Missing", "Missing"), "False", "RecordsMissing", "(1 more: status.dns)"),
        (answered("Unknown", "Different"), "False", "RecordsDiffer", "name 10 other.example"),
        (answered("Present", "Unknown"), "Unknown", "NoAnswer", "timed out"),
        (WELL, "Unknown", "NotChecked", "not asked yet"),
        (replace(WELL, dns_before=Observation("DNSReady", "True", "RecordsFound", "m")), "True", "RecordsFound", "m"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_dns_ready(facts: Facts, status: str, reason: str, text: str) -> None:
    found = next(one for one in observe.observations(facts) if one.type == "DNSReady")
    assert (found.status, found.reason) == (status, reason)
    assert text in found.message
    assert is_ready(facts).status == "True", "mail flows all the same"


def test_dns_that_is_not_checked_has_no_condition() -> None:
    facts = replace(WELL, spec=spec(dns={"check": False}))
    assert "DNSReady" not in [one.type for one in observe.observations(facts)]


def test_status_of_dns_counts_all_and_lists_the_first_hundred() -> None:
    assert records.dns(WELL) is None
    many = [Record(replace(MX, name=f"d{number}.example"), "Present", (), None) for number in range(150)]
    many.append(Record(HOST, "Missing", (), None))
    found = records.dns(replace(WELL, dns=many))
    assert found
    listed = found.pop("records")
    assert found == {"present": 150, "missing": 1, "different": 0, "unknown": 0}
    assert len(listed) == 100
    assert listed[0] == {"name": "mx.example.com", "type": "A", "state": "Missing", "found": []}
    assert listed[1]["expected"] == "mx.example.com"
