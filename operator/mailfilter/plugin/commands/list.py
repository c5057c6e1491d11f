"""`kubectl mailfilter list`."""

from typing import Any

import click

from mailfilter.plugin import options, output
from mailfilter.plugin.agent import connected
from mailfilter.plugin.kubectl import Kubectl
from mailfilter.plugin.output import Column

COLUMNS = (
    Column("id"),
    Column("time"),
    Column("kind"),
    Column("score", right=True),
    Column("sender", elastic=True),
    Column("recipients", elastic=True),
    Column("subject", elastic=True),
)


@click.command("list")
@options.conditions
@click.option("--released/--not-released", default=None, help="Given to somebody, or to nobody yet.")
@click.option("--seen/--not-seen", default=None, help="Looked at, or not yet.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@options.mailfilter
@options.output
@options.cluster
def command(
    kubectl: Kubectl,
    conditions: dict[str, Any],
    released: bool | None,
    seen: bool | None,
    limit: int,
    mailfilter: str | None,
    output: str | None,
) -> None:
    """List held mail, the newest first.

    Of conditions that are given, all must be true.
    """
    marks = {"released": released, "seen": seen}
    wanted = conditions | {name: str(value).lower() for name, value in marks.items() if value is not None}
    with connected(kubectl, mailfilter) as agent:
        page = agent.search(wanted, limit)
    show(page, output)


def show(page: dict[str, Any], form: str | None) -> None:
    """Prints a page of held mails."""
    items = page["items"]
    if form:
        output.document(page, form)
    elif items:
        output.table(COLUMNS, map(_row, items))
    if len(items) < page["total"]:
        output.note(f"{len(items)} of {page['total']} held mails; --limit shows more")
    elif not items:
        output.note("no held mail is like that" if page["complete"] else "no held mail is known yet")
    if not page["complete"]:
        output.note("the agent has just started and is still looking through the files: there may be more")


def _row(item: dict[str, Any]) -> list[str]:
    first, *others = item["recipients"] or [""]
    return [
        item["id"],
        output.local_time(item["time"]),
        item["kind"],
        "" if item["score"] is None else f"{item['score']:.1f}",
        item["sender"] or "<>",
        f"{first} +{len(others)}" if others else first,
        item["subject"] if item["problem"] is None else f"({item['problem']})",
    ]
