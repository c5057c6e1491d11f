"""The program `kubectl_complete-mailfilter`: kubectl asks it what may come next on the line."""

import sys

import click
from click.shell_completion import CompletionItem, ShellComplete

from mailfilter.plugin.main import commands

# Cobra's directives, on the last line: what the shell may offer of its own.
FILES, NO_FILES = 0, 4


def main() -> None:
    """Prints a candidate a line, with what it means after a tab."""
    *words, incomplete = sys.argv[1:] or [""]
    found = ShellComplete(commands, {}, "kubectl mailfilter", "").get_completions(words, incomplete)
    shown = [one for one in found if one.type == "plain"]
    click.echo("".join(f"{_line(one)}\n" for one in shown), nl=False)
    click.echo(f":{FILES if len(shown) < len(found) else NO_FILES}")


def _line(item: CompletionItem) -> str:
    return f"{item.value}\t{item.help}" if item.help else str(item.value)
