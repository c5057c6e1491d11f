"""Who is allowed because of a release, and who is not; whatever the API server answers."""

import copy
import json
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.aio.dynamic.exceptions import DynamicApiError

from mailfilter.control.allow import allow, judged
from support.samples import Object, spec

RELEASE: Object = {
    "metadata": {"namespace": "mail", "name": "let-it-go", "uid": "uid-7"},
    "spec": {"mailFilter": "mx"},
}
ENTRY = {"sender": "a@client.test", "release": "let-it-go", "time": "2026-11-25T00:00:00Z"}


def error(status: int, message: str = "no") -> DynamicApiError:
    body = json.dumps({"message": message})
    return DynamicApiError(SimpleNamespace(status=status, reason="", body=body, headers=None))


class Api:
    """A MailFilter, and what the API server answers to whoever adds to it."""

    def __init__(self, *answers: DynamicApiError | None, **changes: Any) -> None:
        self.answers = list(answers)
        given = spec(**changes).model_dump(mode="json", by_alias=True, exclude_unset=True)
        self.body: Object | None = {"metadata": {"uid": "uid-mx"}, "spec": given}
        self.added: list[Object] = []

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Object | None:
        assert (kind, namespace, name) == ("MailFilter", "mail", "mx")
        return copy.deepcopy(self.body)

    async def add(self, body: Object, manager: str) -> None:
        assert manager == "quarantinerelease-uid-7"
        assert body["metadata"] == {"namespace": "mail", "name": "mx", "uid": "uid-mx"}
        assert body["spec"].keys() == {"releasedSenders"}
        if self.answers and (answer := self.answers.pop(0)):
            raise answer
        self.added.append(body["spec"]["releasedSenders"])


async def results(api: Api, *senders: str) -> dict[str, tuple[str, str | None]]:
    found = await allow(api, RELEASE, senders)  # type: ignore[arg-type]
    return {one.sender: (one.result, one.message) for one in found}


async def test_each_is_added_once_in_the_form_that_is_looked_up() -> None:
    api = Api()
    found = await results(api, "A@Client.Test", "a@client.test", "b@exämple.de")
    assert [one for one, _ in found.values()] == ["Allowed", "Present", "Allowed"]
    ((first, second),) = api.added
    assert (first["sender"], first["release"]) == ("a@client.test", "let-it-go")
    assert second["sender"] == "b@xn--exmple-cua.de"


@pytest.mark.parametrize(
    ("sender", "why"),
    [
        ("boss@example.com", "in a domain of your own"),
        ("boss@sub.Example.com", "in a domain of your own"),
        ('"b, c"@client.test', "without blanks and commas"),
        ("x*@client.test", "stands only for a whole part"),
        ("me@192.0.2.1", "an IP address is no sender"),
        ("bad@client.test", "spec.lists.deny has bad@client.test"),
        ("any@sub.pest.test", "spec.lists.deny has .pest.test"),
        ("robot@client.test", "spec.lists.deny has robot@,"),
    ],
)
async def test_who_is_not_allowed(sender: str, why: str) -> None:
    api = Api(lists={"deny": ["bad@client.test", ".pest.test", "robot@*"]})
    found = await results(api, sender, "good@client.test")
    assert found[sender][0] == "Refused"
    assert why in str(found[sender][1])
    assert [one["sender"] for one in api.added[0]] == ["good@client.test"]


async def test_a_domain_alone_is_not_its_subdomains() -> None:
    domain = {"name": "example.com", "subdomains": False, "relay": {"host": "mail.example.com"}}
    assert (await results(Api(domains=[domain]), "a@sub.example.com"))["a@sub.example.com"][0] == "Allowed"


@pytest.mark.parametrize(
    "changes",
    [
        {"lists": {"allow": ["A@client.test"]}},
        {"lists": {"allow": ["*.test"]}},
        {"lists": {"allow": ["client.test"]}},
        {"lists": {"allow": ["a@*"]}},
        {"releasedSenders": [ENTRY | {"release": "another"}]},
    ],
    ids=str,
)
async def test_who_is_allowed_already_is_left_alone(changes: Object) -> None:
    api = Api(**changes)
    assert await results(api, "a@client.test") == {"a@client.test": ("Present", None)}
    assert api.added == []


async def test_after_a_crash_the_own_entry_stays_as_it_is() -> None:
    """To apply without it would take it away."""
    api = Api(releasedSenders=[ENTRY])
    found = await results(api, "a@client.test", "b@client.test")
    assert {one for one, _ in found.values()} == {"Allowed"}
    assert api.added[0][0] == ENTRY
    assert api.added[0][1]["sender"] == "b@client.test"


async def test_somebody_else_is_quicker() -> None:
    api = Api(error(409))
    assert (await results(api, "a@client.test"))["a@client.test"][0] == "Allowed"
    assert len(api.added) == 1
    busy = Api(*[error(409)] * 9)
    assert (await results(busy, "a@client.test"))["a@client.test"] == (
        "Refused",
        "the MailFilter is changed by others all the time",
    )


@pytest.mark.parametrize("status", [400, 403, 404, 422])
async def test_what_the_api_server_refuses_is_said(status: int) -> None:
    found = await results(Api(error(status, "must have at most 500 items")), "a@client.test")
    assert found == {"a@client.test": ("Refused", "the API server refused it: must have at most 500 items")}


async def test_what_it_cannot_do_now_is_tried_again() -> None:
    with pytest.raises(DynamicApiError):
        await results(Api(error(500)), "a@client.test")


async def test_a_mailfilter_that_is_gone_is_not_made_anew() -> None:
    api = Api()
    api.body = None
    assert await results(api, "a@client.test") == {"a@client.test": ("Refused", "there is no MailFilter mx any more")}


def test_released_senders_are_allowed_where_lists_are() -> None:
    found, _ = judged(spec(releasedSenders=[ENTRY]), ("a@client.test", "b@client.test"), "later")
    assert [one.result for one in found] == ["Present", "Allowed"]
