"""`kubectl mailfilter export`."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from mailfilter.plugin import agent, options, output
from mailfilter.plugin.agent import Agent, connected
from mailfilter.plugin.errors import PluginError
from mailfilter.plugin.kubectl import Kubectl
from mailfilter.plugin.progress import transfer

# What the archive says of a mail, about.
MAIL_BYTES = 2600


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default=Path())
@options.conditions
@click.option("--agent", "address", metavar="URL", help="The agent's address, for jobs in its cluster: no kubectl.")
@click.option("--token-file", type=click.Path(path_type=Path), help="With --agent: a file with the agent's token.")
@options.mailfilter
@options.cluster
def command(
    kubectl: Kubectl,
    file: Path,
    conditions: dict[str, Any],
    address: str | None,
    token_file: Path | None,
    mailfilter: str | None,
) -> None:
    """Save held mail to FILE, all of it or what meets all conditions.

    FILE is an archive for `import`, a tar; - is standard output. In a folder, by default this one, it is named by the
    time.
    """
    if bool(address) != bool(token_file):
        raise click.UsageError("--agent and --token-file go together")
    if str(file) == "-" and sys.stdout.isatty():
        raise click.UsageError("an archive is for a file or another program, not for a terminal")
    if file.is_dir():
        file /= time.strftime("quarantine-%Y%m%dT%H%M%SZ.tar", time.gmtime())
    if address and token_file:
        _export(agent.at(address, token_file), conditions, file)
    else:
        with connected(kubectl, mailfilter) as found:
            _export(found, conditions, file)


def _export(asked: Agent, conditions: dict[str, Any], file: Path) -> None:
    with _target(file) as target:
        archive = asked.export(conditions)
        with transfer("export", archive.size + archive.messages * MAIL_BYTES) as sent:
            for piece in archive.pieces:
                target.write(piece)
                sent(len(piece))
    output.note(f"{archive.messages} held mails are in {'the archive' if str(file) == '-' else file}")


@contextmanager
def _target(file: Path) -> Iterator[IO[bytes]]:
    """Where the archive goes: under its name there is a whole one, or none. Raises PluginError."""
    if str(file) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if file.exists():
        raise PluginError(f"{file} is there already")
    try:
        # For its owner alone: it is mail.
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as part:
            try:
                yield part
                part.flush()
                os.fsync(part.fileno())
                Path(part.name).rename(file)
            except BaseException:
                Path(part.name).unlink()
                raise
    except OSError as error:
        raise PluginError(f"{file} cannot be written: {error}") from error
