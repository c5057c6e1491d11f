"""The command `mailfilter plan`."""

import asyncio
import sys
from importlib.metadata import version
from pathlib import Path

import yaml

from mailfilter.plan import render, report
from mailfilter.plan.arguments import Arguments
from mailfilter.plan.manifests import Manifest, PlanError, read
from mailfilter.plan.validation import InvalidError, validated
from mailfilter.stack.common import Images


def run(arguments: Arguments) -> int:
    """Prints the plan. Returns the exit status, which mailfilter.plan.report names."""
    try:
        return _run(arguments)
    except PlanError as error:
        print(f"mailfilter plan: {error}", file=sys.stderr)
        return report.FAILED


def _run(arguments: Arguments) -> int:
    if (arguments.context or arguments.kubeconfig) and not arguments.diff:
        raise PlanError("--context and --kubeconfig need --diff: without it no cluster is asked")
    if arguments.show and arguments.diff:
        raise PlanError("--show and --diff exclude each other")
    images = _images(arguments.images) if arguments.images else None
    stdin = sys.stdin.read() if "-" in arguments.files else None
    manifests = [manifest for file in arguments.files for manifest in read(file, stdin) if manifest.is_mailfilter]
    if not manifests:
        raise PlanError(f"no MailFilter in {', '.join(arguments.files)}")
    if arguments.diff:
        from mailfilter.plan.against import diff

        return asyncio.run(diff(manifests, images, arguments))
    return max(_offline(manifest, images, arguments) for manifest in manifests)


def _offline(manifest: Manifest, images: Images | None, arguments: Arguments) -> int:
    names = manifest.names(arguments.namespace)
    try:
        spec = validated(manifest.body)
    except InvalidError as error:
        print(report.refusal(manifest, names, error.problems), file=sys.stderr)
        return report.FAILED
    objects = render.objects(names, spec, render.Installation(images or render.PLACEHOLDERS))
    if arguments.show == "objects":
        print("".join(f"---\n{render.as_yaml(body)}" for body in objects), end="")
    elif arguments.show:
        for file, text in sorted(render.files(objects, arguments.show).items()):
            print(f"### {names.of(arguments.show)}: {file}\n{text}", end="")
    else:
        print(f"{report.title(manifest, names)}: valid\n{report.summary(names, objects)}")
        print(report.warnings(names, spec), end="")
        if spec.lists.sources:
            print("  note     what lists.from names is in the cluster: --diff reads it")
        if spec.quarantine.digest.template:
            print("  note     what quarantine.digest.template names is in the cluster: --diff reads it")
    return report.UNCHANGED


def _images(path: Path) -> Images:
    try:
        return render.chart_images(yaml.safe_load(path.read_text()) or {}, version("mailfilter-operator"))
    except (OSError, yaml.YAMLError, ValueError, AttributeError) as error:
        raise PlanError(f"--images {path}: {error}") from error
