"""What the agents beside Postfix say of released mail whose sender died before it heard Postfix' answer."""

import asyncio
from collections.abc import Sequence
from typing import Any

from mailfilter.cluster.agents import AgentError, Agents
from mailfilter.cluster.api import Api
from mailfilter.policy.names import Names
from mailfilter.stack.common import selector

Object = dict[str, Any]


async def looked_up(
    api: Api, agents: Agents, namespace: str, mail_filter: str, token: str, receipts: Sequence[str]
) -> dict[str, str | None]:
    """Receipt → queue id, None where no Postfix has the mail or will get it; nothing of what is not known yet.

    Only the agents of all pods that the StatefulSet wants can say that a mail is nowhere."""
    component = "postfix"
    workload = await api.get("apps/v1", "StatefulSet", namespace, Names(mail_filter, namespace).of(component))
    wanted = workload["spec"]["replicas"] if workload else 0
    pods = await api.list("v1", "Pod", namespace, selector(mail_filter, component))
    addresses = [pod["status"]["podIP"] for pod in pods if pod.get("status", {}).get("podIP")]

    async def asked(address: str) -> Object | None:
        try:
            return await agents.receipts(address, token, list(receipts))
        except AgentError:
            return None

    answers = [one for one in await asyncio.gather(*map(asked, addresses)) if one is not None]
    taken = {receipt: queue_id for one in answers for receipt, queue_id in one["taken"].items()}
    everywhere = wanted and len(answers) == len(pods) >= wanted
    missing = [one for one in receipts if everywhere and all(one in each["missing"] for each in answers)]
    return dict.fromkeys(missing) | taken
