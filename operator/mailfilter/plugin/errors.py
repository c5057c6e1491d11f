"""What goes wrong, for people."""

import click

from mailfilter.plugin.text import lines


class PluginError(click.ClickException):
    """What is wrong and what to do. It is printed without control characters, with exit status 1."""

    def __init__(self, message: str) -> None:
        super().__init__(lines(message.strip()))


class NotHeldError(PluginError):
    """There is no such mail in the quarantine."""
