"""The pods of a gateway: what their agents say, and what they are told."""

import asyncio
import logging
import time
from typing import Any

from mailfilter.cluster.agents import AgentError, Agents
from mailfilter.cluster.api import Api, ApiError
from mailfilter.control.facts import Facts, Pod, held_up
from mailfilter.policy.names import Names
from mailfilter.stack.common import COMPONENT, selector

Object = dict[str, Any]

# The kubelet looks at a pod's ConfigMap volumes when the pod changes; an annotation is the least change.
REFRESH_ANNOTATION = "mailfilter.dev/policy"

log = logging.getLogger(__name__)


class Pods:
    """Looks at the pods of gateways."""

    def __init__(self, api: Api, agents: Agents) -> None:
        self._api = api
        self._agents = agents

    async def look(self, names: Names, token: str, hashes: dict[str, str], patience: float) -> list[Pod]:
        """All pods that are not being deleted. `hashes`, by component, is what their ConfigMaps should be; a kubelet
        that does not bring it in for `patience` seconds is made to look again."""
        bodies = await self._api.list("v1", "Pod", names.namespace, _instance_labels(names.name))
        live = [body for body in bodies if not body["metadata"].get("deletionTimestamp")]
        return list(await asyncio.gather(*(self._refresh(body, token, hashes, patience) for body in live)))

    async def flush(self, facts: Facts, token: str) -> None:
        """Has waiting mail tried at once. Postfix tries it by itself, too, the less often the longer it waits."""
        for pod in facts.of("postfix"):
            if pod.ip and (pod.status or {}).get("postfix", {}).get("queue", {}).get("deferred"):
                try:
                    await self._agents.flush(pod.ip, token)
                except AgentError as error:
                    log.warning("MailFilter %s/%s: %s", facts.names.namespace, facts.names.name, error)

    async def _refresh(self, body: Object, token: str, hashes: dict[str, str], patience: float) -> Pod:
        """A pod, whose ConfigMaps the kubelet is made to bring in now instead of a minute later."""
        metadata = body["metadata"]
        wanted = hashes.get(metadata["labels"].get(COMPONENT, ""))
        said, _, at = metadata.get("annotations", {}).get(REFRESH_ANNOTATION, "").partition(" ")
        if wanted and said != wanted:
            await self._annotate(metadata, wanted)
        pod = await self._pod(body, token)
        if wanted and said == wanted and lags(pod, wanted) and time.time() - float(at or 0) >= patience:
            # The kubelet looked before it had heard of all ConfigMaps.
            await self._annotate(metadata, wanted)
        return pod

    async def _annotate(self, metadata: Object, wanted: str) -> None:
        value = f"{wanted} {time.time():.1f}"
        try:
            await self._api.annotate("Pod", metadata["namespace"], metadata["name"], {REFRESH_ANNOTATION: value})
        except ApiError as error:
            if error.status != 404:
                raise

    async def _pod(self, body: Object, token: str) -> Pod:
        component = body["metadata"]["labels"].get(COMPONENT, "")
        status = body.get("status", {})
        address = status.get("podIP")
        conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
        answer, trouble = None, None
        if address and component != "clamd":
            try:
                answer = await self._agents.status(address, token)
            except AgentError as error:
                trouble = str(error)
        return Pod(
            name=body["metadata"]["name"],
            component=component,
            ip=address,
            ready=conditions.get("Ready") == "True",
            status=answer,
            trouble=trouble,
            held_up=held_up(status),
        )


def lags(pod: Pod, wanted: str) -> bool:
    """Whether the pod says that the wanted policy or tables have not come into its volume as a whole."""
    status = pod.status or {}
    policy = status.get("amavis", {}).get("policy")
    if policy:
        return bool(policy["mounted"] != wanted or (policy["inForce"] != wanted and not policy["refused"]))
    tables = status.get("postfix", {}).get("tables")
    return bool(tables and tables["mounted"] != wanted)


def _instance_labels(name: str) -> dict[str, str]:
    return {label: value for label, value in selector(name, "").items() if label != COMPONENT}
