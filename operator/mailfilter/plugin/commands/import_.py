"""`kubectl mailfilter import`."""

import os
from typing import IO, Any

import click

from mailfilter.plugin import options, output
from mailfilter.plugin.agent import connected
from mailfilter.plugin.kubectl import Kubectl
from mailfilter.plugin.output import Column
from mailfilter.plugin.progress import Transfer, transfer


class _Read:
    """A file that tells how much of it was read."""

    def __init__(self, file: IO[bytes], read: Transfer) -> None:
        self._file = file
        self._read = read

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._read(len(data))
        return data


@click.command("import")
@click.argument("file", type=click.File("rb"))
@options.mailfilter
@options.output
@options.cluster
def command(kubectl: Kubectl, file: IO[bytes], mailfilter: str | None, output: str | None) -> None:
    """Hold the mails of an archive of `export` in FILE; - is standard input.

    What is held already stays as it is. Exits with 1 when something of the archive is not held now.
    """
    with connected(kubectl, mailfilter) as agent, transfer("import", _size(file)) as read:
        report = agent.restore(_Read(file, read))
    show(report, output)


def _size(file: IO[bytes]) -> int | None:
    if not file.seekable():
        return None
    start = file.tell()
    size = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    return size


def show(report: dict[str, Any], form: str | None) -> None:
    """Prints the report of an import. Exits with 1 when it is not of a whole archive that was wholly taken in."""
    if form:
        output.document(report, form)
    else:
        click.echo(f"{report['imported']} imported, {report['present']} held already, {report['refused']} left out")
        if report["problems"]:
            columns = [Column("name"), Column("problem")]
            output.table(columns, ([one["name"], one["problem"]] for one in report["problems"]))
        if report["error"]:
            output.note(f"Error: {report['error']}")
    if report["error"] or report["refused"]:
        raise click.exceptions.Exit(1)
