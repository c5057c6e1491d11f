"""The command `mailfilter`: operator, agents, plans, CRD files."""

import argparse
import logging
import sys
from pathlib import Path

import yaml

from mailfilter.plan import arguments as planning


def main() -> None:
    """Runs the subcommand that is asked for."""
    parser = argparse.ArgumentParser(prog="mailfilter", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("operator", help="run the controller")
    agent = commands.add_parser("agent", help="run the process beside a daemon")
    agent.add_argument("kind", choices=["amavis", "postfix", "mirror"])
    plan = commands.add_parser("plan", help="show what an apply of MailFilter manifests would do")
    planning.add(plan)
    crds = commands.add_parser("crds", help="write the CustomResourceDefinitions as YAML files")
    crds.add_argument("directory", type=Path)
    crds.add_argument("--reference", type=Path, help="also write the reference of all fields as Markdown")
    arguments = parser.parse_args()
    if arguments.command == "operator":
        _operator()
    elif arguments.command == "agent":
        # Each command imports what it needs: the agents run without Kubernetes' libraries in memory.
        from mailfilter.agent.main import run

        run(arguments.kind)
    elif arguments.command == "plan":
        from mailfilter.plan.command import run as run_plan

        sys.exit(run_plan(arguments))
    else:
        _write_crds(arguments.directory, arguments.reference)


def _operator() -> None:
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


def _write_crds(directory: Path, page: Path | None) -> None:
    from mailfilter.api.crd import definitions
    from mailfilter.api.reference import reference

    directory.mkdir(parents=True, exist_ok=True)
    for definition in definitions():
        text = yaml.safe_dump(definition, sort_keys=False, width=120, allow_unicode=True)
        (directory / f"{definition['metadata']['name']}.yaml").write_text(text)
    if page:
        page.write_text(reference())


if __name__ == "__main__":
    main()
