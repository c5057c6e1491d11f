"""The options of `mailfilter plan`; by itself, so that other commands load no more than this."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click


@dataclass(frozen=True)
class Arguments:
    """What the user asks for."""

    files: tuple[str, ...]
    show: str | None = None
    diff: bool = False
    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    images: Path | None = None


@click.command(
    "plan",
    epilog="Exit status: 0 all is valid and, with --diff, nothing would change; 1 with --diff, something would change; "
    "2 a manifest is invalid, or there is no plan for another reason.",
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(allow_dash=True))
@click.option(
    "--show",
    type=click.Choice(["objects", "policy", "postfix", "clamav"]),
    help="Print these instead of a summary.",
)
@click.option("--diff", is_flag=True, help="Compare with the cluster and tell which pods would roll.")
@click.option("-n", "--namespace", help="Namespace of manifests that name none.")
@click.option("--context", help="Context of the kubeconfig; with --diff.")
@click.option("--kubeconfig", type=click.Path(), help="The kubeconfig file; with --diff.")
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="VALUES",
    help="Chart values that name the images; without it those of the running gateway, or placeholders.",
)
def command(**given: Any) -> None:
    """Show what an apply of MailFilter manifests would do. Each FILE is YAML; - is the standard input."""
    from mailfilter.plan.command import run

    sys.exit(run(Arguments(**given)))
