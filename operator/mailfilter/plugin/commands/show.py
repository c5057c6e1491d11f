"""`kubectl mailfilter show`."""

import sys
from typing import Any

import click

from mailfilter.plugin import options, output
from mailfilter.plugin.agent import connected
from mailfilter.plugin.kubectl import Kubectl
from mailfilter.plugin.output import Column
from mailfilter.plugin.text import lines


@click.command("show")
@click.argument("quarantine_id", metavar="ID", type=options.HeldId())
@click.option("--preview", is_flag=True, help="Also its text and its parts. The mail then counts as seen.")
@click.option("--raw", is_flag=True, help="The mail as it is stored, byte for byte, and nothing else.")
@options.mailfilter
@options.output
@options.cluster
def command(
    kubectl: Kubectl, quarantine_id: str, preview: bool, raw: bool, mailfilter: str | None, output: str | None
) -> None:
    """Show one held mail.

    Who, why, and what each rule of SpamAssassin added to its score.
    """
    if raw and (preview or output):
        raise click.UsageError("--raw prints the mail alone: leave out --preview and -o")
    if raw and sys.stdout.isatty():
        raise click.UsageError("--raw is for a file or another program (… > mail.eml): a mail can harm a terminal")
    with connected(kubectl, mailfilter) as agent:
        if raw:
            for piece in agent.raw(quarantine_id):
                sys.stdout.buffer.write(piece)
            return
        found = agent.mail(quarantine_id)
        if preview:
            found |= {"preview": agent.preview(quarantine_id)}
            agent.mark_seen(quarantine_id)
    show(found, output)


def show(mail: dict[str, Any], form: str | None) -> None:
    """Prints a mail's details."""
    if form:
        output.document(mail, form)
        return
    output.facts(_facts(mail))
    if mail["tests"]:
        click.echo()
        rules = ([f"{score:.3f}", rule] for rule, score in mail["tests"].items())
        output.table([Column("score", right=True), Column("rule")], rules)
    if "preview" in mail:
        _show_preview(mail["preview"])


def _facts(mail: dict[str, Any]) -> list[tuple[str, str | list[str]]]:
    held_from = set(mail["recipients"])
    return [
        ("Id", mail["id"]),
        ("Held", f"{output.local_time(mail['time'])} as {mail['kind']}, {output.size(mail['size'])} stored"),
        ("Why", mail["alerts"]),
        ("Score", "not scored" if mail["score"] is None else f"{mail['score']:.3f}"),
        ("Sender", mail["sender"] or "<>"),
        ("Recipients", mail["recipients"]),
        ("Got it", [one for one in mail["allRecipients"] if one not in held_from]),
        ("Released to", mail["released"]),
        ("From", mail["author"]),
        ("Subject", mail["subject"]),
        ("Date", mail["date"]),
        ("Message-ID", mail["messageId"]),
        ("Seen", "yes" if mail["seen"] else "no"),
        ("Problem", mail["problem"] or ""),
    ]


def _show_preview(preview: dict[str, Any]) -> None:
    click.echo()
    parts = ([str(part["size"]), part["type"], part["name"]] for part in preview["parts"])
    output.table([Column("bytes", right=True), Column("type"), Column("name")], parts)
    click.echo(f"\n{lines(preview['text']).rstrip()}")
    if preview["truncated"]:
        output.note("There is more in the mail than is shown.")
