"""`kubectl mailfilter ui`."""

import webbrowser
from contextlib import suppress
from urllib.parse import quote

import click

from mailfilter.plugin import gateway, options, output
from mailfilter.plugin.agent import PORT
from mailfilter.plugin.forward import forward
from mailfilter.plugin.kubectl import Kubectl


@click.command("ui")
@click.option("--port", type=click.IntRange(1, 65535), help="Port on this machine; a free one if left out.")
@click.option("--no-open", is_flag=True, help="Print the page's address and open no browser.")
@options.mailfilter
@options.cluster
def command(kubectl: Kubectl, port: int | None, no_open: bool, mailfilter: str | None) -> None:
    """Open the quarantine's page.

    It is served to this machine alone, as long as the command runs. The address holds the agent's token: who knows it
    may do with the held mail what you may.
    """
    name = gateway.chosen(kubectl, mailfilter)
    token = gateway.token(kubectl, name)
    with forward(kubectl, gateway.pod(kubectl, name, "amavis"), PORT, port or 0) as to:
        # Servers and logs never see what follows the #.
        address = f"http://127.0.0.1:{to.port}/#token={quote(token, safe='')}"
        if no_open or not webbrowser.open(address):
            click.echo(address)
        else:
            output.note(f"the page is open at http://127.0.0.1:{to.port}/")
        output.note("Ctrl-C ends it")
        with suppress(KeyboardInterrupt):
            to.wait()
