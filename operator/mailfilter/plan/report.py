"""The words of a plan, and its exit status, as kubectl diff has it."""

from collections import Counter
from dataclasses import replace
from typing import Any

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.control.digests import digests_sent
from mailfilter.control.facts import Facts, Pod
from mailfilter.control.observe import backscatter_risk
from mailfilter.control.policy import lists_valid
from mailfilter.control.scanner import scanner_available
from mailfilter.control.waiting import suspended
from mailfilter.plan import render
from mailfilter.plan.changes import WORKLOADS, Change
from mailfilter.plan.manifests import Manifest
from mailfilter.plan.state import Live
from mailfilter.plan.validation import Problem
from mailfilter.policy.amavis import policy_hash
from mailfilter.policy.longlists import Reading
from mailfilter.policy.names import Names

Object = dict[str, Any]

UNCHANGED, CHANGED, FAILED = 0, 1, 2


def title(manifest: Manifest, names: Names) -> str:
    """The MailFilter and where it is from."""
    return f"MailFilter {names.namespace}/{names.name} ({manifest.source})"


def refusal(manifest: Manifest, names: Names, problems: list[Problem]) -> str:
    """Why it would be refused, a line for each problem."""
    return "\n".join(f"{title(manifest, names)}: {problem}" for problem in problems)


def summary(names: Names, wanted: list[Object]) -> str:
    """What a MailFilter becomes, in a few lines."""
    policy = render.files(wanted, "policy")["policy.json"]
    sources = render.files(wanted, "postfix")
    tables = [f"{name} {text.count(chr(10))}" for name, text in sorted(sources.items()) if name != "main.cf"]
    pods = [f"{body['metadata']['name']} {body['spec']['replicas']}" for body in wanted if body["kind"] in WORKLOADS]
    kinds = Counter(body["kind"] for body in wanted)
    return "\n".join(
        [
            f"  policy   {policy_hash(policy)[:12]}, {len(policy.encode())} bytes ({names.of('policy')})",
            f"  tables   {', '.join(tables)} ({names.of('postfix')})",
            f"  pods     {', '.join(sorted(pods))}",
            f"  objects  {', '.join(f'{kind} {number}' for kind, number in kinds.items())}",
        ]
    )


def warnings(names: Names, spec: MailFilterSpec, reading: Reading | None = None) -> str:
    """What is taken and is a risk, or not in force as it reads: what conditions will say of the spec alone."""
    long = reading or Reading()
    facts = Facts(spec, names, policy_hash="", tables_hash="", children={}, pods=[], reading=long)
    seen = [(backscatter_risk(facts), "True"), (lists_valid(facts), "False")]
    if long.template_trouble:
        seen.append((digests_sent(facts), "False"))
    if spec.filtering.suspended != "None":
        door = Pod(
            f"{names.of('postfix')}-*", "postfix", None, True, {"postfix": {"suspended": spec.filtering.suspended}}
        )
        seen.append((suspended(replace(facts, pods=[door])), "True"))
    if not spec.virus.enabled:
        seen.append((scanner_available(facts), "False"))
    return "".join(f"  warning  {one.type}: {one.message}\n" for one, bad in seen if one.status == bad)


def effects(names: Names, changes: list[Change], live: Live) -> str:
    """What the changes do to the running gateway."""
    lines = []
    for change in changes:
        if change.rolls():
            pods = live.pods_of(change.kind, change.name, names)
            lines.append(f"  rolls    {', '.join(pods) or 'no pod is there'} ({change.kind} {change.name})")
        if counts := change.scaled():
            lines.append(f"  scales   {change.kind} {change.name} from {counts[0]} to {counts[1]}")
    for change in changes if live.uid else ():
        if files := change.live_files(names.name):
            lines.append(f"  live     {', '.join(files)} ({change.name}): in force in seconds, no pod restarts")
    others = Counter(change.verb for change in changes)
    lines.append("  objects  " + (", ".join(f"{verb} {number}" for verb, number in sorted(others.items())) or "as is"))
    if "StatefulSet" in live.unreadable or "Deployment" in live.unreadable:
        lines.append("  unknown  which pods roll: their workloads may not be read")
    elif live.uid and not any(change.rolls() for change in changes):
        lines.append("  rolls    no pod")
    for kind, why in sorted(live.unreadable.items()):
        lines.append(f"  unread   {kind}: {why}")
    return "\n".join(lines)
