"""The command `mailfilter`: operator, agents, plans, the quarantine, CRD files."""

import logging
import sys
from pathlib import Path

import click

from mailfilter.plan import arguments as planning
from mailfilter.plugin.main import commands


# Each command imports what it needs: the agents run without Kubernetes' libraries in memory.
@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A mail gateway of Postfix, amavis and ClamAV on Kubernetes."""


main.add_command(planning.command)
main.add_command(commands, "quarantine")


@main.command()
@click.argument("kind", type=click.Choice(["amavis", "postfix", "mirror"]))
def agent(kind: str) -> None:
    """Run the process beside a daemon."""
    from mailfilter.agent.main import run

    run(kind)


@main.command()
def operator() -> None:
    """Run the controller."""
    import kopf
    from pydantic import ValidationError

    from mailfilter import handlers, settings

    try:
        own = settings.load()
    except ValidationError as error:
        sys.exit(f"mailfilter operator: wrong environment: {error}")
    registry = kopf.get_default_registry()
    # kopf tells of every event that it hands on; what matters of them our own loops log.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    kopf.configure(log_format=kopf.LogFormat.JSON if own.log_format == "json" else kopf.LogFormat.FULL)
    assert handlers.startup  # noqa: S101 - importing the module is what registers the handlers
    namespaces = own.watch_namespaces
    kopf.run(
        registry=registry,
        memo=kopf.Memo(),
        # kopf would else ask for the name of the user, and a container's uid needs none.
        identity=f"mailfilter-operator/{own.namespace}",  # type: ignore[arg-type]  # its NewType of str is private
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
    )


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--reference", type=click.Path(path_type=Path), help="Also write the reference of all fields as Markdown."
)
def crds(directory: Path, reference: Path | None) -> None:
    """Write the CustomResourceDefinitions as YAML files to DIRECTORY."""
    import yaml

    from mailfilter.api.crd import definitions
    from mailfilter.api.reference import reference as page

    directory.mkdir(parents=True, exist_ok=True)
    for definition in definitions():
        text = yaml.safe_dump(definition, sort_keys=False, width=120, allow_unicode=True)
        (directory / f"{definition['metadata']['name']}.yaml").write_text(text)
    if reference:
        reference.write_text(page())


if __name__ == "__main__":
    main()
