"""What several agents beside Postfix say together of interrupted releases."""

from collections.abc import Sequence
from typing import Any

import pytest

from mailfilter.cluster.agents import AgentError
from mailfilter.control.receipts import looked_up

Object = dict[str, Any]
NOWHERE: Object = {"taken": {}, "missing": ["ab"]}
NOT_YET: Object = {"taken": {}, "missing": []}
HERE: Object = {"taken": {"ab": "4F1"}, "missing": []}


class World:
    """The API server, and a pod for each of `answers`: None cannot be asked, "no address" has none yet."""

    def __init__(self, replicas: int | None, *answers: Object | str | None) -> None:
        self.replicas = replicas
        self.answers = {f"10.0.0.{number}": answer for number, answer in enumerate(answers)}

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Object | None:
        assert (api_version, kind, namespace, name) == ("apps/v1", "StatefulSet", "mail", "mx-postfix")
        return None if self.replicas is None else {"spec": {"replicas": self.replicas}}

    async def list(self, api_version: str, kind: str, namespace: str, labels: dict[str, str]) -> list[Object]:
        assert labels["app.kubernetes.io/component"] == "postfix"
        return [
            {"status": {} if answer == "no address" else {"podIP": address}} for address, answer in self.answers.items()
        ]

    async def receipts(self, pod_ip: str, token: str, receipts: Sequence[str]) -> Object:
        answer = self.answers[pod_ip]
        assert (token, receipts) == ("secret", ["ab"])
        if not isinstance(answer, dict):
            raise AgentError("not there")
        return answer


@pytest.mark.parametrize(
    ("world", "known"),
    [
        (World(1, HERE), {"ab": "4F1"}),
        (World(1, NOWHERE), {"ab": None}),
        (World(1, NOT_YET), {}),
        (World(1, None), {}),
        (World(1, "no address"), {}),
        (World(1), {}),
        (World(0), {}),
        (World(None, NOWHERE), {}),
        (World(2, NOWHERE), {}),
        (World(2, NOWHERE, NOWHERE), {"ab": None}),
        (World(2, NOWHERE, NOT_YET), {}),
        (World(2, NOWHERE, None), {}),
        (World(2, HERE, NOWHERE), {"ab": "4F1"}),
        (World(2, HERE, None), {"ab": "4F1"}),
        # One that is on its way out may have it.
        (World(1, NOWHERE, "no address"), {}),
        (World(1, NOWHERE, HERE), {"ab": "4F1"}),
    ],
)
async def test_only_all_together_can_say_that_a_mail_is_nowhere(world: World, known: dict[str, str | None]) -> None:
    assert await looked_up(world, world, "mail", "mx", "secret", ["ab"]) == known  # type: ignore[arg-type]
