"""Reads what is in a cluster of a MailFilter, as far as the user may read it."""

from typing import Any

from mailfilter.api import API_VERSION
from mailfilter.cluster.api import FIELD_MANAGER, Api, ApiError, problem
from mailfilter.plan.manifests import PlanError
from mailfilter.plan.owned import owned
from mailfilter.plan.render import hidden
from mailfilter.plan.state import Live
from mailfilter.policy.names import Names
from mailfilter.stack import KINDS
from mailfilter.stack.common import COMPONENT, labels

Object = dict[str, Any]


async def read(api: Api, names: Names) -> Live:
    """Reads all that belongs to a MailFilter.

    Raises ApiError when the MailFilter itself may not be read, PlanError where no MailFilter can be.
    """
    live = Live(await api.get(API_VERSION, "MailFilter", names.namespace, names.name))
    if live.mailfilter is None:
        await _must_be_known(api, names.namespace)
    for api_version, kind in (*KINDS, ("v1", "Pod")):
        try:
            found = await api.list(api_version, kind, names.namespace, labels(names.name))
        except ApiError as error:
            if error.status != 403:
                raise
            live.unreadable[kind] = problem(error)
            continue
        for body in found:
            if kind == "Pod":
                metadata = body["metadata"]
                live.pods.setdefault(metadata["labels"].get(COMPONENT, ""), []).append(metadata["name"])
            else:
                _keep(live, body)
    return live


async def _must_be_known(api: Api, namespace: str) -> None:
    try:
        await api.list(API_VERSION, "MailFilter", namespace, {})
    except ApiError as error:
        if error.status == 404:
            raise PlanError("the cluster knows no MailFilters: install the operator or its CRDs first") from error
        if error.status != 403:
            raise


async def read_unlabelled(api: Api, live: Live, wanted: list[Object]) -> None:
    """Adds objects that have the name of a wanted one and not its labels: an apply would take them over."""
    for body in wanted:
        kind, metadata = body["kind"], body["metadata"]
        if (kind, metadata["name"]) not in live.objects:
            found = await api.get(body["apiVersion"], kind, metadata["namespace"], metadata["name"])
            if found:
                _keep(live, found)


def _keep(live: Live, body: Object) -> None:
    one = (body["kind"], body["metadata"]["name"])
    live.objects[one] = hidden(owned(body, FIELD_MANAGER))
    live.owners[one] = {each["uid"] for each in body["metadata"].get("ownerReferences", [])}
