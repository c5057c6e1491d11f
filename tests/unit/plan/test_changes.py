"""What a change of the spec does to a running gateway: which pods roll, what goes live without it."""

from typing import Any

import pytest

from mailfilter.plan.changes import Change, changes
from mailfilter.plan.render import HIDDEN, PLACEHOLDERS, Installation, chart_images, objects
from mailfilter.plan.report import effects
from mailfilter.plan.state import Live
from mailfilter.policy import longlists
from support.samples import FULL, NAMES, SMALL, spec

Object = dict[str, Any]
PODS = {part: [f"mx-{part}-0"] for part in ("postfix", "amavis", "freshclam")} | {"clamd": ["mx-clamd-x", "mx-clamd-a"]}


def rendered(installation: Installation | None = None, base: Object = SMALL, **change: Any) -> list[Object]:
    return objects(NAMES, spec(base, **change), installation or Installation(PLACEHOLDERS), "uid-1")


def running(wanted: list[Object], **more: Any) -> Live:
    """A gateway in which all is as it was wanted."""
    live = Live({"metadata": {"uid": "uid-1"}}, pods=PODS, **more)
    for body in wanted:
        one = (body["kind"], body["metadata"]["name"])
        live.objects[one] = body
        live.owners[one] = {each["uid"] for each in body["metadata"].get("ownerReferences", [])}
    return live


def planned(live: Live, wanted: list[Object]) -> list[Change]:
    return changes(
        wanted, live.objects, live.superfluous({(body["kind"], body["metadata"]["name"]) for body in wanted})
    )


def told(change: Object, **more: Any) -> list[str]:
    live = running(rendered(), **more)
    found = planned(live, rendered(**change))
    return [" ".join(line.split()) for line in effects(NAMES, found, live).splitlines()]


def test_no_change() -> None:
    assert told({}) == ["objects as is", "rolls no pod"]


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (
            {"spam": {"killLevel": 7}},
            ["live policy.json (mx-policy): in force in seconds, no pod restarts", "objects change 1", "rolls no pod"],
        ),
        (
            {"domains": [{"name": "example.com", "relay": {"host": "elsewhere"}}]},
            ["live transport (mx-postfix): in force in seconds, no pod restarts", "objects change 1", "rolls no pod"],
        ),
        (
            {"amavis": {"resources": {"limits": {"memory": "2Gi"}}}},
            ["rolls mx-amavis-0 (StatefulSet mx-amavis)", "objects change 1"],
        ),
        (
            {"freshclam": {"customURLs": ["http://m/x.ndb"]}},
            [
                "rolls mx-freshclam-0 (StatefulSet mx-freshclam)",
                "rolls mx-clamd-a, mx-clamd-x (Deployment mx-clamd)",
                "objects change 3",
            ],
        ),
        (
            {"postfix": {"replicas": 2}},
            ["scales StatefulSet mx-postfix from 1 to 2", "objects change 2", "rolls no pod"],
        ),
        (
            {"postfix": {"service": {"type": "NodePort"}}},
            ["objects change 1", "rolls no pod"],
        ),
    ],
    ids=str,
)
def test_effects(change: Object, lines: list[str]) -> None:
    found = told(change)
    if "replicas" in str(change):
        # The share of amavis' children that each pod may use is a parameter of Postfix, and so rolls it.
        assert "rolls mx-postfix-0 (StatefulSet mx-postfix)" in found
        assert lines[0] in found
    else:
        assert found == lines


def test_what_may_not_be_read_is_told() -> None:
    found = told(
        {"amavis": {"resources": {"limits": {"memory": "2Gi"}}}},
        unreadable={"Pod": "pods is forbidden", "Secret": "secrets is forbidden"},
    )
    assert "rolls mx-amavis-0 (StatefulSet mx-amavis)" in found, "by the names that a StatefulSet gives"
    assert found[-2:] == ["unread Pod: pods is forbidden", "unread Secret: secrets is forbidden"]
    found = told({}, unreadable={"StatefulSet": "no"})
    assert "unknown which pods roll: their workloads may not be read" in found
    assert "rolls no pod" not in found


def test_diffs_are_lines_of_the_file_that_a_daemon_reads() -> None:
    (found,) = planned(running(rendered()), rendered(spam={"killLevel": 7}))
    lines = [line for line in found.diff().splitlines() if line[0] in "+-"]
    assert lines[:2] == ["--- ConfigMap mx-policy (live)", "+++ ConfigMap mx-policy (wanted)"]
    assert [line.split() for line in lines[2:]] == [["-", '"default":', "5.0"], ["+", '"default":', "7.0"]]


def test_packed_lists_go_live_and_are_shown_by_their_hash() -> None:
    lists = longlists.rendered([longlists.parse("pest.example\n", "here", "Deny")])
    wanted = objects(NAMES, spec(), Installation(PLACEHOLDERS), "uid-1", longlists.Reading(lists))
    live = running(rendered())
    found = planned(live, wanted)
    assert [(each.verb, each.name) for each in found] == [("create", "mx-senders-0"), ("change", "mx-policy")]
    lines = [" ".join(line.split()) for line in effects(NAMES, found, live).splitlines()]
    assert "live senders-0.gz (mx-senders-0): in force in seconds, no pod restarts" in lines
    assert "rolls no pod" in lines
    assert "+  senders-0.gz: sha256 " in found[0].diff()
    assert lists.content["senders-0.gz"] not in found[0].diff()


def test_what_is_new_and_what_is_not_wanted_any_more() -> None:
    live = running(rendered())
    leftover = ("ConfigMap", "mx-leftover")
    live.objects[leftover], live.owners[leftover] = {"kind": "ConfigMap"}, {"uid-1"}
    live.objects["ConfigMap", "mx-foreign"], live.owners["ConfigMap", "mx-foreign"] = {"kind": "ConfigMap"}, {"other"}
    del live.objects["Service", "mx-postfix"]
    found = planned(live, rendered())
    assert [(each.verb, each.kind, each.name) for each in found] == [
        ("create", "Service", "mx-postfix"),
        ("delete", "ConfigMap", "mx-leftover"),
    ]
    assert "-kind: ConfigMap" in found[1].diff()
    assert "+kind: Service" in found[0].diff()


def test_secrets_stay_secret() -> None:
    secrets = [body for body in rendered() if body["kind"] == "Secret"]
    assert [set(body["data"].values()) for body in secrets] == [{HIDDEN}]


@pytest.mark.parametrize("base", [SMALL, FULL], ids=["small", "full"])
def test_the_operators_settings_are_seen_in_what_it_made(base: Object) -> None:
    values = {component: {"repository": f"r.test/{component}"} for component in ("operator", "postfix", "amavis")}
    values["clamav"] = {"repository": "r.test/clamav", "tag": "x", "digest": "sha256:1"}
    images = chart_images(
        {"images": values, "imagePullPolicy": "Always", "imagePullSecrets": ["pull"]}, version="1.2.3"
    )
    assert (images.amavis, images.clamav) == ("r.test/amavis:1.2.3", "r.test/clamav@sha256:1")
    wanted = Installation(images, operator_namespace="elsewhere", scrape_annotations=False)
    assert running(rendered(wanted, base)).installation(NAMES) == wanted
    assert Live().installation(NAMES) is None


def test_chart_values_without_an_image() -> None:
    with pytest.raises(ValueError, match=r"images.operator.repository is missing"):
        chart_images({"images": {"amavis": {}}}, "1")
