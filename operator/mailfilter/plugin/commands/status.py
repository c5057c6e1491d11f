"""`kubectl mailfilter status`."""

from typing import Any

import click

from mailfilter.plugin import gateway, options, output
from mailfilter.plugin.agent import connected
from mailfilter.plugin.errors import PluginError
from mailfilter.plugin.kubectl import MAILFILTERS, Kubectl, Object
from mailfilter.plugin.output import Column
from mailfilter.plugin.text import line

OVERVIEW = (
    *(Column("namespace"), Column("name"), Column("ready"), Column("reason"), Column("queued", right=True)),
    *(Column("deferred", right=True), Column("held", right=True)),
)
# Of these "True" is what one has to know; of all others what is not "True".
_NOTABLE_WHEN_TRUE = {"Progressing", "BackscatterRisk", "Suspended"}
_AGES = {"oneDay": "1 day", "sevenDays": "7 days", "thirtyDays": "30 days", "older": "older"}


@click.command("status")
@click.option("-A", "--all-namespaces", is_flag=True, help="A line for each MailFilter of the cluster.")
@options.mailfilter
@options.output
@options.cluster
def command(kubectl: Kubectl, all_namespaces: bool, mailfilter: str | None, output: str | None) -> None:
    """Show a gateway at a glance.

    Conditions, pods, queue, policy, signatures, and how much mail is held, by kind and age.
    """
    if all_namespaces:
        if mailfilter or kubectl.namespace:
            raise click.UsageError("-A shows all MailFilters: leave out -m and -n")
        overview(kubectl.get(MAILFILTERS, "--all-namespaces"), output)
        return
    name = gateway.chosen(kubectl, mailfilter)
    found = gateway.mailfilter(kubectl, name)
    held: dict[str, Any] | None = None
    trouble = ""
    try:
        with connected(kubectl, name) as agent:
            held = agent.quarantine()
    except PluginError as error:
        # The operator's view is there all the same.
        trouble = error.message
    show(found, held, output)
    if trouble:
        click.echo(f"How long mail has been held is not known: {trouble}", err=True)


def overview(found: Object, form: str | None) -> None:
    """Prints a line for each MailFilter."""
    if form:
        output.document(found, form)
    elif found["items"]:
        output.table(OVERVIEW, map(_row, found["items"]))
    else:
        output.note("there is no MailFilter in this cluster")


def _row(one: Object) -> list[str]:
    status = one.get("status") or {}
    ready: Object = next((each for each in status.get("conditions", []) if each["type"] == "Ready"), {})
    queue = status.get("queue", {})
    return [
        one["metadata"]["namespace"],
        one["metadata"]["name"],
        ready.get("status", "Unknown"),
        ready.get("reason", ""),
        str(queue.get("active", "")),
        str(queue.get("deferred", "")),
        str(status.get("quarantine", {}).get("messages", "")),
    ]


def show(mailfilter: Object, held: dict[str, Any] | None, form: str | None) -> None:
    """Prints all of one MailFilter."""
    if form:
        output.document({"mailFilter": mailfilter, "quarantine": held}, form)
        return
    status = mailfilter.get("status") or {}
    conditions = status.get("conditions", [])
    columns = [Column("condition"), Column("status"), Column("reason"), Column("since")]
    output.table(
        columns,
        (
            [one["type"], one["status"], one["reason"], output.local_time(one["lastTransitionTime"])]
            for one in conditions
        ),
    )
    for one in conditions:
        if (one["status"] == "True") == (one["type"] in _NOTABLE_WHEN_TRUE):
            click.echo(f"\n{one['type']}: {line(one['message'])}")
    click.echo()
    output.facts(_facts(status))
    click.echo()
    if held:
        _show_held(held)


def _facts(status: Object) -> list[tuple[str, str]]:
    components = status.get("components") or {}
    pods = ", ".join(f"{part} {seen['ready']}/{seen['desired']}" for part, seen in components.items())
    told = [("Address", status.get("endpoint", "")), ("Pods", pods)]
    if queue := status.get("queue"):
        oldest = f", the oldest for {output.span(queue['oldestSeconds'])}" if queue["oldestSeconds"] else ""
        told.append(("Queue", f"{queue['active']} active, {queue['deferred']} deferred{oldest}"))
    if policy := status.get("policy"):
        in_force = policy.get("inForce")
        wanted = "" if in_force == policy["wanted"] else f", {policy['wanted'][:12]} on its way"
        told.append(("Policy", f"{in_force[:12] if in_force else 'none'} in force{wanted}"))
    if signatures := status.get("signatures"):
        version = f"version {signatures['version']}" if signatures.get("version") else "without a version"
        updated = f", of {output.local_time(signatures['updated'])}" if signatures.get("updated") else ""
        told.append(("Signatures", f"{version}{updated}"))
    if quarantine := status.get("quarantine"):
        told.append(("Held", f"{quarantine['messages']} mails, {output.size(quarantine['bytes'])}"))
    return told


def _show_held(held: dict[str, Any]) -> None:
    numbers = [Column(title, right=True) for title in (*_AGES.values(), "all", "size")]
    rows = []
    for kind, ages in held["kinds"].items():
        messages = [ages[age]["messages"] for age in _AGES]
        size = output.size(sum(ages[age]["bytes"] for age in _AGES))
        rows.append([kind, *map(str, messages), str(sum(messages)), size])
    output.table([Column("held for up to"), *numbers], rows)
    if not held["complete"]:
        output.note("the agent has just started and is still looking through the files: there may be more")
