"""The plan against a cluster: read, compare, print. Nothing is written."""

import json
import sys
from typing import Any

from aiohttp import ClientError
from kubernetes.aio.config import ConfigException

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.cluster.api import Api, ApiError, connect, context_namespace, problem
from mailfilter.control.lists import ListSources, Unwatched
from mailfilter.plan import render, report
from mailfilter.plan.applied import after_apply
from mailfilter.plan.arguments import Arguments
from mailfilter.plan.changes import Change, changes
from mailfilter.plan.live import read, read_unlabelled
from mailfilter.plan.manifests import Manifest, PlanError
from mailfilter.plan.owned import as_stored
from mailfilter.plan.state import Live
from mailfilter.plan.validation import InvalidError, stored, validated
from mailfilter.policy.longlists import Reading
from mailfilter.policy.names import Names
from mailfilter.stack.common import Images

Object = dict[str, Any]


async def diff(manifests: list[Manifest], images: Images | None, arguments: Arguments) -> int:
    """Prints for each MailFilter what an apply would change. Returns the exit status."""
    try:
        api = Api(await connect(arguments.kubeconfig, arguments.context))
    except (ConfigException, OSError) as error:
        raise PlanError(f"the kubeconfig cannot be used: {error}") from error
    try:
        default = context_namespace(arguments.kubeconfig, arguments.context)
        return max(
            [await _one(api, manifest, manifest.names(arguments.namespace, default), images) for manifest in manifests]
        )
    except ApiError as error:
        raise PlanError(f"the cluster cannot be asked: {problem(error)}") from error
    except (ClientError, OSError) as error:
        raise PlanError(f"the cluster cannot be reached: {error}") from error
    finally:
        await api.close()


async def _one(api: Api, manifest: Manifest, names: Names, images: Images | None) -> int:
    live = await read(api, names)
    before = live.mailfilter["spec"] if live.mailfilter else None
    body = manifest.body
    if live.mailfilter and isinstance(body.get("spec"), dict):
        body = body | {"spec": after_apply(live.mailfilter, body["spec"])}
    try:
        spec = validated(body, before)
    except InvalidError as error:
        print(report.refusal(manifest, names, error.problems), file=sys.stderr)
        return report.FAILED
    seen = live.installation(names)
    installation = seen or render.Installation(render.PLACEHOLDERS)
    if images:
        installation = render.Installation(images, installation.operator_namespace, installation.scrape_annotations)
    lists = await _lists(api, live, names, spec)
    uid = live.uid or "UID-OF-THE-MAILFILTER"
    wanted = _readable(render.objects(names, spec, installation, uid, lists), live)
    await read_unlabelled(api, live, wanted)
    found = _compared(live, wanted)
    # The API server has one kind of number: 5 and 5.0 are the same to it.
    after = json.loads(json.dumps(stored(spec)), parse_float=_number)
    itself = Change("MailFilter", names.name, {"spec": before} if before else None, {"spec": after})
    if itself.before != itself.after:
        print(itself.diff())
    for change in found:
        print(change.diff())
    print(report.title(manifest, names) + (": is new" if live.mailfilter is None else ""))
    print(report.effects(names, found, live))
    print(report.warnings(names, spec, lists), end="")
    if not seen and not images:
        print("  images   placeholders: no running gateway tells them, and --images was not given")
    if before and (behind := await _behind(api, live, names, before, seen)):
        print(f"  note     what is there is not what this version makes of the spec in force: {', '.join(behind)}")
        print("           the operator is of another version, or has not caught up")
    return report.CHANGED if found or itself.before != itself.after else report.UNCHANGED


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() else value


def _readable(wanted: list[Object], live: Live) -> list[Object]:
    return [body for body in wanted if body["kind"] not in live.unreadable]


def _compared(live: Live, wanted: list[Object]) -> list[Change]:
    ids = {(body["kind"], body["metadata"]["name"]) for body in wanted}
    comparable = [as_stored(body, live.objects.get((body["kind"], body["metadata"]["name"]))) for body in wanted]
    return changes(comparable, live.objects, live.superfluous(ids))


async def _lists(api: Api, live: Live, names: Names, spec: MailFilterSpec) -> Reading:
    """The long lists as the operator would read them, unless ConfigMaps may not be read."""
    if "ConfigMap" in live.unreadable:
        return Reading()
    return await ListSources(api, Unwatched()).read(names, spec)


async def _behind(
    api: Api, live: Live, names: Names, before: Object, installation: render.Installation | None
) -> list[str]:
    """Objects that differ although the spec in force is the same."""
    body = {"metadata": {"name": names.name}, "spec": before}
    try:
        spec = validated(body)
    except InvalidError:
        return ["its spec, which this version does not take"]
    if installation is None:
        return []
    lists = await _lists(api, live, names, spec)
    wanted = _readable(render.objects(names, spec, installation, str(live.uid), lists), live)
    return [f"{change.kind} {change.name}" for change in _compared(live, wanted)]
