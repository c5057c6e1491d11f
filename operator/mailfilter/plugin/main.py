"""`kubectl mailfilter …`, which is `mailfilter quarantine …`, too."""

from importlib import import_module

import click

COMMANDS = {
    name: f"mailfilter.plugin.commands.{name}"
    for name in ("list", "show", "release", "delete", "export", "import", "status", "probe", "ui")
} | {"import": "mailfilter.plugin.commands.import_"}
"""Name of each command → its module, which is loaded when it is asked for."""


class Commands(click.Group):
    """The commands of COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As click.Group."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """As click.Group."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name]).command
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """The quarantine of a MailFilter: find held mail, look at it, give it back."""


def main() -> None:
    """The program `kubectl-mailfilter`, which kubectl runs."""
    commands(prog_name="kubectl mailfilter")
