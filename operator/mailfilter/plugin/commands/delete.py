"""`kubectl mailfilter delete`."""

from typing import Any

import click

from mailfilter.plugin import gateway, options, output
from mailfilter.plugin.agent import connected
from mailfilter.plugin.errors import NotHeldError
from mailfilter.plugin.kubectl import Kubectl


@click.command("delete")
@options.ids
@options.conditions
@click.option("--limit", type=click.IntRange(min=1), help="With conditions: how many at most, the newest; 1000.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@options.mailfilter
@options.cluster
def command(
    kubectl: Kubectl,
    ids: tuple[str, ...],
    conditions: dict[str, Any],
    limit: int | None,
    yes: bool,
    mailfilter: str | None,
) -> None:
    """Delete held mail for good.

    Which mail is said by ids, or by conditions that all must be true. It asks first, with the number of mails.
    """
    options.ids_or_conditions(ids, conditions, limit)
    name = gateway.chosen(kubectl, mailfilter)
    with connected(kubectl, name) as agent:
        chosen, total = list(dict.fromkeys(ids)), 0
        if conditions:
            page = agent.search(conditions, limit or 1000)
            chosen, total = [one["id"] for one in page["items"]], page["total"]
        if not chosen:
            output.note("no held mail is like that")
            return
        if not yes:
            found = f"the newest {len(chosen)} of {total}" if total > len(chosen) else str(len(chosen))
            mails = "mail" if found == "1" else "mails"
            click.confirm(f"Delete {found} held {mails} of {name}?", abort=True, err=True)
        missing = []
        for one in chosen:
            try:
                agent.delete(one)
            except NotHeldError:
                missing.append(one)
    click.echo(f"{len(chosen) - len(missing)} deleted")
    for one in missing:
        output.note(f"{one}: no such held mail")
    if missing:
        raise click.exceptions.Exit(1)
