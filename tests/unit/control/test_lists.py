"""Lists from ConfigMaps: read when they have changed, kept while one is missing."""

import json
from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest

from mailfilter.api.lists import ListSource
from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.cluster.queue import Key
from mailfilter.control.lists import ListSources
from mailfilter.policy.longlists import Files
from mailfilter.policy.names import Names
from mailfilter.stack.amavis import policy, sender_files
from support.samples import gateway, spec

Object = dict[str, Any]
NAMES = Names("mx", "mail")


class Cluster:
    """ConfigMaps, and how often each was read."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.reads: list[str] = []

    def put(self, name: str, **data: str) -> None:
        before = self.objects.get(name, {"metadata": {"resourceVersion": "0"}})["metadata"]["resourceVersion"]
        self.objects[name] = {"metadata": {"name": name, "resourceVersion": str(int(before) + 1)}, "data": data}

    def keep(self, files: Files) -> None:
        """What the operator has applied for these files."""
        made = replace(gateway(), sender_files=files)
        for body in (policy(made), *sender_files(made)):
            self.objects[body["metadata"]["name"]] = body

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Object | None:
        assert (api_version, kind, namespace) == ("v1", "ConfigMap", "mail")
        self.reads.append(name)
        return self.objects.get(name)


class Watcher:
    def __init__(self) -> None:
        self.wanted: dict[Key, set[Key]] = {}
        self.versions: dict[Key, int] = defaultdict(int)

    def want(self, key: Key, places: set[Key]) -> None:
        self.wanted[key] = places

    def version(self, place: Key) -> int:
        return self.versions[place]


def source(name: str, kind: str = "Deny", key: str = "senders") -> ListSource:
    return ListSource.model_validate({"configMap": {"name": name, "key": key}, "list": kind})


@pytest.fixture
def cluster() -> Cluster:
    found = Cluster()
    found.put("pests", senders="a@x.example\ncom\n")
    found.put("friends", senders="b@x.example\n")
    return found


def wanting(sources: list[ListSource], **digest: Any) -> MailFilterSpec:
    """A spec that names these lists."""
    named = [one.model_dump(by_alias=True) for one in sources]
    return spec(lists={"from": named}, quarantine={"digest": digest})


BOTH = [source("pests"), source("friends", "Allow")]


async def test_what_is_named_is_read_and_watched(cluster: Cluster) -> None:
    watcher = Watcher()
    found = await ListSources(cluster, watcher).read(NAMES, wanting(BOTH))  # type: ignore[arg-type]
    assert (found.files.allow, found.files.deny, found.refused, found.trouble) == (1, 1, 1, None)
    assert found.reasons[0].startswith("ConfigMap pests key senders line 2: com: write the domain in full")
    assert watcher.wanted == {("mail", "mx"): {("mail", "pests"), ("mail", "friends")}}


async def test_nothing_is_read_again_until_it_changes(cluster: Cluster) -> None:
    watcher = Watcher()
    lists = ListSources(cluster, watcher)  # type: ignore[arg-type]
    first = await lists.read(NAMES, wanting(BOTH))
    cluster.reads.clear()
    assert await lists.read(NAMES, wanting(BOTH)) is first
    assert cluster.reads == []
    watcher.versions["mail", "pests"] += 1
    assert await lists.read(NAMES, wanting(BOTH)) is first, "a watch that begins anew is no change"
    cluster.put("pests", senders="a@x.example\nc@x.example\n")
    watcher.versions["mail", "pests"] += 1
    assert (await lists.read(NAMES, wanting(BOTH))).files.deny == 2
    assert (await lists.read(NAMES, wanting([source("pests", "Allow")]))).files.allow == 2, "another spec is read anew"
    lists.forget(("mail", "mx"))
    assert watcher.wanted == {("mail", "mx"): set()}


@pytest.mark.parametrize(
    ("sources", "missing"),
    [([*BOTH, source("gone")], "ConfigMap gone key senders"), ([source("pests", key="no")], "ConfigMap pests key no")],
)
async def test_while_one_is_missing_the_last_good_lists_stay(
    cluster: Cluster, sources: list[ListSource], missing: str
) -> None:
    before = await ListSources(cluster, Watcher()).read(NAMES, wanting(BOTH))  # type: ignore[arg-type]
    cluster.keep(before.files)
    cluster.put("pests", senders="other@x.example\n")
    # A process that remembers nothing.
    found = await ListSources(cluster, Watcher()).read(NAMES, wanting(sources))  # type: ignore[arg-type]
    assert found.trouble == f"{missing} is missing"
    assert found.files == before.files


async def test_a_new_mailfilter_begins_with_the_lists_that_are_there(cluster: Cluster) -> None:
    found = await ListSources(cluster, Watcher()).read(NAMES, wanting([*BOTH, source("gone")]))  # type: ignore[arg-type]
    assert (found.files.allow, found.files.deny) == (1, 1)
    assert found.trouble
    cluster.keep(Files())
    again = await ListSources(cluster, Watcher()).read(NAMES, wanting([*BOTH, source("gone")]))  # type: ignore[arg-type]
    assert again.files == found.files


async def test_lists_that_are_too_large_change_nothing(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await ListSources(cluster, Watcher()).read(NAMES, wanting(BOTH))  # type: ignore[arg-type]
    cluster.keep(before.files)
    monkeypatch.setattr("mailfilter.policy.longlists.FILE_BYTES", 10)
    found = await ListSources(cluster, Watcher()).read(NAMES, wanting(BOTH))  # type: ignore[arg-type]
    assert "Shorten the lists" in str(found.trouble)
    assert found.files == before.files


def test_the_policy_names_the_files_by_their_hashes() -> None:
    files = Files({"senders-0.gz": "AA=="}, {"senders-0.gz": "f" * 64}, 1, 0)
    made = replace(gateway(), sender_files=files)
    document = json.loads(policy(made)["data"]["policy.json"])
    assert document["senders"]["files"] == {"senders-0.gz": "f" * 64}
    (body,) = sender_files(made)
    assert (body["metadata"]["name"], body["binaryData"]) == ("mx-senders-0", {"senders-0.gz": "AA=="})


TEMPLATE = {"enabled": True, "template": {"name": "words", "key": "text"}}
GOOD = "Subject: Guten Morgen\n\n$each\n$subject\n$end\n"


async def test_the_template_of_digests_is_read_and_watched(cluster: Cluster) -> None:
    watcher = Watcher()
    cluster.put("words", text=GOOD)
    lists = ListSources(cluster, watcher)  # type: ignore[arg-type]
    found = await lists.read(NAMES, wanting([], **TEMPLATE))
    assert (found.template, found.template_trouble) == (GOOD, None)
    assert watcher.wanted == {("mail", "mx"): {("mail", "words")}}
    document = json.loads(
        policy(replace(gateway(quarantine={"digest": TEMPLATE}), digest_template=GOOD))["data"]["policy.json"]
    )
    assert document["digest"]["template"] == GOOD


@pytest.mark.parametrize(
    ("data", "trouble"),
    [
        ({"text": GOOD + "$nobody\n"}, "ConfigMap words key text line 6: $nobody is not known here"),
        ({"other": GOOD}, "ConfigMap words key text is missing"),
    ],
)
async def test_of_a_bad_template_the_last_good_one_stays(cluster: Cluster, data: dict[str, str], trouble: str) -> None:
    cluster.put("words", **data)
    wanted = wanting([], **TEMPLATE)
    first = await ListSources(cluster, Watcher()).read(NAMES, wanted)  # type: ignore[arg-type]
    assert first.template is None, "there is none yet: the default one"
    body = policy(replace(gateway(quarantine={"digest": TEMPLATE}), digest_template=GOOD))
    cluster.objects[body["metadata"]["name"]] = body
    # A process that remembers nothing.
    found = await ListSources(cluster, Watcher()).read(NAMES, wanted)  # type: ignore[arg-type]
    assert found.template == GOOD
    assert str(found.template_trouble).startswith(trouble)
