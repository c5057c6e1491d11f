"""`kubectl mailfilter release`."""

from typing import Any

import click

from mailfilter.api import API_VERSION
from mailfilter.plugin import gateway, options, output
from mailfilter.plugin.kubectl import Kubectl, KubectlError, Object
from mailfilter.plugin.output import Column
from mailfilter.plugin.progress import followed

MOST_IDS = 100


@click.command("release")
@options.ids
@options.conditions
@click.option("--limit", type=click.IntRange(1, 10000), help="With conditions: how many at most, the newest; 1000.")
@click.option("--to", multiple=True, type=options.Address(), help="Who gets it, instead of its blocked recipients.")
@click.option("--allow-virus", is_flag=True, help="Infected mail, too.")
@click.option("--delete-after", is_flag=True, help="Delete each mail that all its blocked recipients were given.")
@click.option("--allow-sender", is_flag=True, help="Mail of its sender passes from now on, whoever forges it, too.")
@click.option("--report-to", multiple=True, type=options.Address(), help="Who is told that it was held by mistake.")
@click.option("--wait", is_flag=True, help="Wait for the end, with a progress bar; status 1 when a mail failed.")
@click.option("--timeout", type=click.IntRange(min=1), default=600, show_default=True, help="Seconds of --wait.")
@options.mailfilter
@options.output
@options.cluster
def command(
    kubectl: Kubectl,
    ids: tuple[str, ...],
    conditions: dict[str, Any],
    limit: int | None,
    to: tuple[str, ...],
    allow_virus: bool,
    delete_after: bool,
    allow_sender: bool,
    report_to: tuple[str, ...],
    wait: bool,
    timeout: int,
    mailfilter: str | None,
    output: str | None,
) -> None:
    """Give held mail to its recipients.

    Which mail is said by ids, or by conditions that all must be true. Creates a QuarantineRelease and prints its name;
    the release goes on without this command.
    """
    options.ids_or_conditions(ids, conditions, limit)
    if len(ids) > MOST_IDS:
        raise click.UsageError(
            f"{len(ids)} ids are more than the {MOST_IDS} of one release: describe the mails instead"
        )
    name = gateway.chosen(kubectl, mailfilter)
    _must_be_there(kubectl, name)
    spec = {
        "mailFilter": name,
        **({"messages": list(dict.fromkeys(ids))} if ids else {"selector": _selector(conditions, limit)}),
        **({"recipients": list(to)} if to else {}),
        **({"allowVirus": True} if allow_virus else {}),
        **({"deleteAfter": True} if delete_after else {}),
        **({"allowSender": True} if allow_sender else {}),
        **({"reportTo": list(report_to)} if report_to else {}),
    }
    body = {
        "apiVersion": API_VERSION,
        "kind": "QuarantineRelease",
        "metadata": {"generateName": "release-"},
        "spec": spec,
    }
    made = kubectl.create(body)
    if wait:
        made = followed(kubectl, made, timeout)
    show(made, output, waited=wait)


def _must_be_there(kubectl: Kubectl, name: str) -> None:
    """A release for a MailFilter that is not there would wait for it."""
    try:
        gateway.mailfilter(kubectl, name)
    except KubectlError as error:
        # Who may only release may not look.
        if error.reason != "Forbidden":
            raise


def _selector(conditions: dict[str, Any], limit: int | None) -> dict[str, Any]:
    return conditions | ({"limit": limit} if limit else {})


def show(release: Object, form: str | None, *, waited: bool) -> None:
    """Prints a release. Exits with 1 when it has ended otherwise than well."""
    status = release.get("status") or {}
    name = release["metadata"]["name"]
    if form:
        output.document(release, form)
    elif not waited:
        click.echo(name)
    else:
        click.echo(f"{name}: {status['phase']}, {_message(status)}")
        # The message has the first one.
        if len(status.get("failures", [])) > 1:
            columns = [Column("id"), Column("result"), Column("reason"), Column("reply")]
            output.table(columns, map(_failure, status["failures"]))
    if waited and status["phase"] != "Released":
        raise click.exceptions.Exit(1)


def _message(status: Object) -> str:
    return str(next(one["message"] for one in status["conditions"] if one["type"] == "Complete"))


def _failure(one: Object) -> list[str]:
    return [one["id"], one["result"], one.get("reason", ""), one.get("reply", "")]
