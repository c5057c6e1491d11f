"""What the API server takes and refuses, in words that say what is right; what users see with kubectl."""

import asyncio
import json
from typing import Any

import pytest
import pytest_asyncio
import yaml
from kubernetes.aio.dynamic.exceptions import DynamicApiError

from mailfilter.api import API_VERSION, fields
from mailfilter.api.filtering import BOUNCE_BEFORE_QUEUE, REJECT_AFTER_QUEUE
from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.api.release import QuarantineReleaseSpec
from mailfilter.cluster.api import Api, problem
from mailfilter.plan.validation import InvalidError, validated
from support.cluster import Cluster
from support.fieldcases import ACCEPTED, REFUSED
from support.loop import Process, World
from support.run import CommandError
from support.samples import SAMPLES, SMALL, with_changes

pytestmark = pytest.mark.asyncio(loop_scope="module")

Object = dict[str, Any]
RELEASE: Object = {"mailFilter": "mx", "messages": ["spam/h/hAbcDEfgh123.gz"]}


async def dry_run(world: World, kind: str, spec: Object, name: str = "mx") -> Object:
    """Creates nothing, but says what the API server would say."""
    body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
    path = f"/apis/{API_VERSION}/namespaces/{world.namespace}/{kind.lower()}s"
    query = [("dryRun", "All"), ("fieldValidation", "Strict")]
    return await Api._call(world, "post", kind, path, body=body, query_params=query)


async def refusal(world: World, kind: str, spec: Object, name: str = "mx") -> str:
    """Why it is refused; empty when it is not."""
    try:
        await dry_run(world, kind, spec, name)
    except DynamicApiError as error:
        return problem(error)
    return ""


def at(name: str, value: str) -> tuple[str, Object]:
    """Kind and spec with the value where the field type is used."""
    domain = SMALL["domains"][0]
    places: dict[str, Object] = {
        "DomainName": {"domains": [domain | {"name": value}]},
        "FullHostName": {"hostname": value},
        "HostName": {"domains": [domain | {"relay": {"host": value}}]},
        "EmailAddress": {"admin": value},
        "AliasTarget": {"domains": [domain | {"aliases": {"info": [value]}}]},
        "LocalPart": {"domains": [domain | {"aliases": {value: ["a@b"]}}]},
        "KnownLocalPart": {"domains": [domain | {"recipients": {"verify": "List", "list": [value]}}]},
        "Network": {"outgoing": {"clients": [value]}},
        "Selector": {
            "outgoing": {
                "clients": ["192.0.2.1"],
                "dkim": [{"domain": domain["name"], "selector": value, "secretName": "x"}],
            }
        },
        "ClientPattern": {"lists": {"clients": {"deny": [value]}}},
        "IpAddress": {"spam": {"dnsServers": [value]}},
        "Timestamp": {"releasedSenders": [{"sender": "a@b", "release": "r", "time": value}]},
        "SenderAddress": {
            "releasedSenders": [{"sender": value, "release": "r", "time": "2026-11-25T00:00:00Z"}],
        },
        "SenderPattern": {"lists": {"allow": [value]}},
        "SenderRegexp": {"lists": {"scores": [{"senderRegexp": value, "score": 1}]}},
        "HeaderFrom": {"notifications": {"headerFrom": value}},
        "PrintableAscii": {"spam": {"subjectTag": value}},
        "FileNamePattern": {"banned": {"names": [value]}},
        "FileType": {"banned": {"types": [value]}},
        "MimeType": {"banned": {"mimeTypes": [value]}},
        "SenderPatternOverride": {"domains": [domain | {"policy": {"lists": {"deny": [value]}}}]},
        "SenderRegexpOverride": {
            "domains": [domain | {"policy": {"lists": {"scores": [{"senderRegexp": value, "score": 1}]}}}]
        },
        "FileNameOverride": {"domains": [domain | {"policy": {"banned": {"names": [value]}}}]},
        "FileTypeOverride": {"domains": [domain | {"policy": {"banned": {"types": [value]}}}]},
        "MimeTypeOverride": {"domains": [domain | {"policy": {"banned": {"mimeTypes": [value]}}}]},
        "HttpUrl": {"freshclam": {"mirror": value}},
        "SignatureUrl": {"freshclam": {"customURLs": [value]}},
        "Quantity": {"clamd": {"resources": {"limits": {"memory": value}}}},
        "ConfigMapKey": {"lists": {"from": [{"configMap": {"name": "x", "key": value}, "list": "Deny"}]}},
        "TimeOfDay": {"quarantine": {"digest": {"at": value}}},
        "ZoneName": {"quarantine": {"digest": {"timeZone": value}}},
        "Line": {"quarantine": {"digest": {"contact": value}}},
        "ObjectName": {"quarantine": {"storage": {"storageClassName": value}}},
    }
    if name == "QuarantineId":
        return "QuarantineRelease", RELEASE | {"messages": [value]}
    return "MailFilter", with_changes(SMALL, **places[name])


@pytest.mark.parametrize("name", ACCEPTED)
async def test_field_types(world: World, name: str) -> None:
    """The API server takes and refuses the same values as the models."""
    if name != "QuarantineId":
        assert {value: foreseen(at(name, value)[1]) for value in ACCEPTED[name]} == dict.fromkeys(ACCEPTED[name], "")
        assert all(foreseen(at(name, value)[1]) for value in REFUSED[name])
    taken = await asyncio.gather(*(refusal(world, *at(name, value)) for value in ACCEPTED[name]))
    assert dict(zip(ACCEPTED[name], taken, strict=True)) == dict.fromkeys(ACCEPTED[name], "")
    schema = fields.__dict__[name].__metadata__[1].json_schema
    right = schema[fields.VALIDATIONS][0]["message"] if fields.VALIDATIONS in schema else "should match"
    for value, why in zip(
        REFUSED[name], await asyncio.gather(*(refusal(world, *at(name, value)) for value in REFUSED[name])), strict=True
    ):
        bounds = ("Too long", "should be at least")
        too = len(value) > schema["maxLength"] or len(value) < schema["minLength"]
        assert right in why or (too and any(text in why for text in bounds)), (value, why)


OWN = SMALL["domains"][0]
KEY = {"domain": OWN["name"], "selector": "s1", "secretName": "x"}
LONG = ".".join(["a" * 59] * 4) + ".example"
SPEC_CASES: list[tuple[str, Object, str]] = [
    ("levels out of order", {"spam": {"tagLevel": 6}}, "tagLevel must not be above tag2Level"),
    ("levels out of order 2", {"spam": {"tag2Level": 9}}, "tag2Level must not be above killLevel"),
    ("levels out of order 3", {"spam": {"killLevel": 11}}, "killLevel must not be above cutoffLevel"),
    (
        "a domain's own levels out of order",
        {"domains": [OWN | {"policy": {"spam": {"killLevel": 5, "cutoffLevel": 4}}}]},
        "killLevel must not be above cutoffLevel",
    ),
    (
        "a domain's levels out of order with inherited ones",
        {"domains": [OWN | {"policy": {"spam": {"killLevel": 11}}}]},
        "the levels of a domain, inherited ones included, must be in the order",
    ),
    (
        "a recipient's levels out of order",
        {"recipients": [{"address": "bob@example.com", "policy": {"spam": {"tagLevel": 6, "tag2Level": 5}}}]},
        "tagLevel must not be above tag2Level",
    ),
    (
        "recipient twice",
        {"recipients": [{"address": "bob@example.com", "policy": {}}] * 2},
        "Duplicate value",
    ),
    ("score", {"spam": {"killLevel": 10001, "cutoffLevel": 10002}}, "should be less than or equal to 10000"),
    ("score in words", {"spam": {"killLevel": "much"}}, "must be of type number"),
    ("bounced viruses", {"virus": {"destiny": "Bounce"}}, 'supported values: "Pass", "Discard", "Reject"'),
    (
        "bounced spam of a domain",
        {"domains": [OWN | {"policy": {"spam": {"destiny": "Bounce"}}}]},
        'supported values: "Pass", "Discard", "Reject"',
    ),
    ("reject after the queue", {"virus": {"destiny": "Reject"}}, REJECT_AFTER_QUEUE),
    ("reject above the cutoff after the queue", {"spam": {"aboveCutoff": "Reject"}}, REJECT_AFTER_QUEUE),
    (
        "reject after the queue for a domain",
        {"domains": [OWN | {"policy": {"badHeader": {"destiny": "Reject"}}}]},
        REJECT_AFTER_QUEUE,
    ),
    (
        "reject after the queue for a recipient",
        {"recipients": [{"address": "bob@example.com", "policy": {"banned": {"destiny": "Reject"}}}]},
        REJECT_AFTER_QUEUE,
    ),
    (
        "bounce before the queue",
        {"filtering": {"mode": "BeforeQueue"}, "banned": {"destiny": "Bounce"}},
        BOUNCE_BEFORE_QUEUE,
    ),
    ("domain twice", {"domains": SMALL["domains"] * 2}, "Duplicate value"),
    ("no domain", {"domains": []}, "should have at least 1 items"),
    ("no relay", {"domains": [{"name": "a.b"}]}, "spec.domains[0].relay: Required value"),
    ("port", {"domains": [{"name": "a.b", "relay": {"host": "x", "port": 0}}]}, "greater than or equal to 1"),
    ("amavis without RWX", {"amavis": {"replicas": 2}}, "needs quarantine.storage.accessMode: ReadWriteMany"),
    ("no amavis", {"amavis": {"replicas": 0}}, "should be greater than or equal to 1"),
    ("no signatures", {"freshclam": {"officialDatabases": False}}, "must name at least one signature file"),
    (
        "signatures of one name",
        {"freshclam": {"customURLs": ["http://one.example/a.ndb", "http://two.example/a.ndb"]}},
        "must end in different file names",
    ),
    ("node port", {"postfix": {"service": {"nodePort": 30025}}}, "nodePort needs type NodePort or LoadBalancer"),
    (
        "balancer class",
        {"postfix": {"service": {"type": "NodePort", "loadBalancerClass": "x"}}},
        "loadBalancerClass needs type LoadBalancer",
    ),
    (
        "list without verification",
        {"domains": [SMALL["domains"][0] | {"recipients": {"list": ["bob"]}}]},
        "verify: List needs a list of local parts, and nothing else takes one",
    ),
    (
        "verification without a list",
        {"domains": [SMALL["domains"][0] | {"recipients": {"verify": "List"}}]},
        "verify: List needs a list of local parts",
    ),
    ("nobody may send", {"outgoing": {"clients": []}}, "should have at least 1 items"),
    ("nobody may read", {"quarantine": {"access": {"from": []}}}, "should have at least 1 items"),
    ("readers without a name", {"quarantine": {"access": {"from": [{}]}}}, "or else ipBlock alone"),
    (
        "readers with two names",
        {"quarantine": {"access": {"from": [{"podSelector": {}, "ipBlock": {"cidr": "192.0.2.1"}}]}}},
        "or else ipBlock alone",
    ),
    (
        "a value that no label has",
        {"quarantine": {"access": {"from": [{"podSelector": {"matchLabels": {"app": "a b"}}}]}}},
        "should match",
    ),
    ("no clients", {"outgoing": {}}, "spec.outgoing.clients: Required value"),
    ("b21 the world may send", {"outgoing": {"clients": ["0.0.0.0/0"]}}, "not wider than /8"),
    (
        "a key of another's domain",
        {"outgoing": {"clients": ["192.0.2.1"], "dkim": [KEY | {"domain": "elsewhere.example"}]}},
        "outgoing.dkim: each domain must be one of spec.domains",
    ),
    ("a selector twice", {"outgoing": {"clients": ["192.0.2.1"], "dkim": [KEY, KEY]}}, "Duplicate value"),
    (
        "a name too long for DNS",
        {
            "domains": [OWN | {"name": LONG}],
            "outgoing": {"clients": ["192.0.2.1"], "dkim": [KEY | {"domain": LONG}]},
        },
        "too long for a name in DNS",
    ),
    ("message size", {"messageSizeLimit": 1}, "should be greater than or equal to 65536"),
    ("unknown field", {"spam": {"level": 5}}, 'unknown field "spec.spam.level"'),
    ("rules", {"spam": {"rules": "x" * 65537}}, "may not be more than 65536"),
    (
        "b32 header from",
        {"notifications": {"headerFrom": 'Filter "A" <x@y>'}},
        "Content-filter <postmaster@example.com>",
    ),
    ("b32 quoted sender", {"lists": {"allow": ['"a\\b"@x.example']}}, "must be user@example.com"),
    ("whom it is about", {"lists": {"scores": [{"score": 1}]}}, "give either sender or senderRegexp"),
    ("two at once", {"lists": {"scores": [{"sender": "a@b", "senderRegexp": "a", "score": 1}]}}, "give either sender"),
    ("b32 line break", {"spam": {"subjectTag": "a\nb"}}, "must be printable ASCII characters"),
]


def foreseen(spec: Object, old: Object | None = None) -> str:
    """Why `mailfilter plan` refuses it without asking the API server; empty when it does not."""
    try:
        validated({"apiVersion": API_VERSION, "kind": "MailFilter", "metadata": {"name": "mx"}, "spec": spec}, old)
    except InvalidError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("change", "message"), [case[1:] for case in SPEC_CASES], ids=[case[0] for case in SPEC_CASES])
async def test_refused(world: World, change: Object, message: str) -> None:
    wanted = with_changes(SMALL, **change)
    assert message in await refusal(world, "MailFilter", wanted)
    assert foreseen(wanted)


DOMAIN = SMALL["domains"][0]
TYPES: list[Object] = [
    {"admin": None},
    {"spam": None},
    {"spam": {"killLevel": None}},
    {"hostname": None},
    {"domains": [DOMAIN | {"relay": None}]},
    {"domains": [DOMAIN | {"aliases": {"info": None}}]},
    {"lists": {"allow": [None]}},
    {"lists": {"allow": "x"}},
    {"lists": []},
    {"spam": {"killLevel": True}},
    {"spam": {"kill_level": 7}},
    {"messageSizeLimit": 65536.0},
    {"messageSizeLimit": 65536.5},
    {"messageSizeLimit": "65536"},
    {"hostname": 5},
    {"amavis": {"resources": {"requests": {"cpu": 1}}}},
]


@pytest.mark.parametrize("change", TYPES, ids=str)
async def test_types_are_foreseen(world: World, change: Object) -> None:
    wanted = with_changes(SMALL, **change)
    assert bool(await refusal(world, "MailFilter", wanted)) == bool(foreseen(wanted))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"messages": []}, "should have at least 1 items"),
        ({"messages": RELEASE["messages"] * 2}, "Duplicate value"),
        ({"messages": ["spam/../../etc/passwd"]}, "must be a quarantine id"),
        ({"recipients": ["everybody"]}, "must be one mail address"),
        ({"ttlSecondsAfterFinished": -1}, "should be greater than or equal to 0"),
        ({"allowVirus": "yes"}, "must be of type boolean"),
        ({"selector": {"kind": "spam"}}, "give either messages or selector, and only one"),
        ({"messages": None}, "give either messages or selector, and only one"),
        ({"messages": None, "selector": {}}, "give at least one condition"),
        ({"messages": None, "selector": {"limit": 5}}, "give at least one condition"),
        ({"messages": None, "selector": {"kind": "ham"}}, "Unsupported value"),
        ({"messages": None, "selector": {"kind": "spam", "limit": 10001}}, "should be less than or equal to 10000"),
        ({"messages": None, "selector": {"since": "yesterday"}}, "must be of type date-time"),
        ({"messages": None, "selector": {"minScore": "5"}}, "must be of type number"),
        ({"messages": None, "selector": {"released": True}}, 'unknown field "spec.selector.released"'),
        ({"force": True}, 'unknown field "spec.force"'),
    ],
    ids=str,
)
async def test_refused_releases(world: World, change: Object, message: str) -> None:
    wanted = {name: value for name, value in (RELEASE | change).items() if value is not None}
    assert message in await refusal(world, "QuarantineRelease", wanted)
    assert not await refusal(world, "QuarantineRelease", RELEASE)


async def test_a_release_by_selector(world: World) -> None:
    conditions = {
        "kind": "spam",
        "sender": "@client.example",
        "recipient": "bob@example.com",
        "subject": "offer",
        "since": "2026-11-25T00:00:00Z",
        "until": "2026-11-26T00:00:00+01:00",
        "minScore": -1.5,
        "maxScore": 10,
    }
    wanted = {"mailFilter": "mx", "selector": conditions, "deleteAfter": True}
    stored = (await dry_run(world, "QuarantineRelease", wanted))["spec"]
    assert stored["selector"] == conditions | {"limit": 1000}
    model = QuarantineReleaseSpec.model_validate(wanted)
    assert QuarantineReleaseSpec.model_validate(stored) == model
    for name, value in conditions.items():
        assert not await refusal(world, "QuarantineRelease", {"mailFilter": "mx", "selector": {name: value}})


@pytest.mark.parametrize("name", ["a" * 41, "1st", "mx.example", "mx-"])
async def test_names_of_mailfilters(world: World, name: str) -> None:
    """Names of pods, Services and labels begin with it."""
    why = await refusal(world, "MailFilter", SMALL, name)
    assert "lower-case letters, digits and -" in why or "RFC 1123" in why
    assert not await refusal(world, "MailFilter", SMALL, "a" * 40)
    if not name.endswith("-"):
        assert not await refusal(world, "QuarantineRelease", RELEASE, name)


@pytest.mark.parametrize("name", SAMPLES)
async def test_defaults_are_filled_in_by_the_server(world: World, name: str) -> None:
    stored = (await dry_run(world, "MailFilter", SAMPLES[name]))["spec"]
    model = MailFilterSpec.model_validate(SAMPLES[name])
    assert stored == json.loads(model.model_dump_json(by_alias=True, exclude_none=True))


async def test_unknown_fields_are_refused_by_kubectl(cluster: Cluster, quiet: str) -> None:
    body = {
        "apiVersion": API_VERSION,
        "kind": "MailFilter",
        "metadata": {"name": "mx"},
        "spec": SMALL | {"greylisting": True},
    }
    for flags in ((), ("--server-side",)):
        with pytest.raises(CommandError, match="greylisting"):
            cluster.kubectl("-n", quiet, "apply", "--dry-run=server", *flags, "-f", "-", stdin=yaml.safe_dump(body))


CHANGES: list[tuple[str, Object, str]] = [
    (
        "quarantine mode",
        {"quarantine": {"storage": {"accessMode": "ReadWriteMany"}}},
        "accessMode and storageClassName",
    ),
    ("quarantine class", {"quarantine": {"storage": {"storageClassName": "other"}}}, "cannot be changed"),
    ("queue size", {"postfix": {"storage": {"size": "6Gi"}}}, "the volumes exist"),
    ("queue class", {"postfix": {"storage": {"storageClassName": "other"}}}, "the volumes exist"),
    ("signatures size", {"freshclam": {"storage": {"size": "6Gi"}}}, "the volumes exist"),
    ("quarantine growth", {"quarantine": {"storage": {"size": "20Gi"}}}, ""),
    ("replicas", {"postfix": {"replicas": 2}}, ""),
    ("reclaim", {"quarantine": {"reclaim": "Delete"}}, ""),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def existing(world: World) -> str:
    await world.mailfilter("existing")
    return "existing"


async def stored(world: World, name: str) -> Object:
    body = await world.object("MailFilter", name)
    assert body
    return dict(body["spec"])


@pytest.mark.parametrize(("change", "message"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
async def test_changes(world: World, existing: str, change: Object, message: str) -> None:
    path = f"/apis/{API_VERSION}/namespaces/{world.namespace}/mailfilters/{existing}"
    why = ""
    try:
        await Api._call(
            world,
            "patch",
            "MailFilter",
            path,
            body={"spec": change},
            content_type="application/merge-patch+json",
            query_params=[("dryRun", "All")],
        )
    except DynamicApiError as error:
        why = problem(error)
    assert message in why
    assert bool(message) == bool(why) == bool(foreseen(with_changes(SMALL, **change), await stored(world, existing)))


async def test_a_release_cannot_be_changed(cluster: Cluster, quiet: str) -> None:
    body = {"apiVersion": API_VERSION, "kind": "QuarantineRelease", "metadata": {"name": "fixed"}, "spec": RELEASE}
    cluster.apply(body, quiet)
    with pytest.raises(CommandError, match="create another QuarantineRelease"):
        cluster.apply(body | {"spec": RELEASE | {"allowVirus": True}}, quiet)


async def test_explain(cluster: Cluster, quiet: str) -> None:
    for path, texts in {
        "mf": ["A mail gateway that filters spam"],
        "mf.spec.spam": ["Spam levels and rules", "From this score mail is blocked", "killLevel", "<number>"],
        "mf.spec.domains.relay": ["Host name or IPv4 address", "-required-"],
        "qrel.spec": ["Which held mail goes to whom", "Seconds after which"],
        "mf.status.conditions": ["What was observed"],
    }.items():
        said = " ".join(cluster.kubectl("explain", path).split())
        for text in texts:
            assert text in said, path


async def test_columns(world: World, cluster: Cluster, quiet: str) -> None:
    await world.mailfilter("columns")
    await world.start_pods("columns")
    await Process(world, "columns").settle()
    head, row = (line.split() for line in cluster.kubectl("-n", quiet, "get", "mf", "columns").splitlines())
    assert head == ["NAME", "READY", "REASON", "POLICY", "SCANNER", "QUEUED", "DEFERRED", "HELD", "AGE"]
    assert row[:-1] == ["columns", "True", "Filtering", "True", "True", "0", "0", "0"]
    wide = cluster.kubectl("-n", quiet, "get", "mf", "columns", "-o", "wide")
    assert f"columns-postfix.{quiet}.svc:25" in wide
    assert "mail is filtered; domains: 1" in wide
    cluster.kubectl("-n", quiet, "wait", "--for=condition=Ready", "mf/columns", "--timeout=60s")

    body = {"apiVersion": API_VERSION, "kind": "QuarantineRelease", "metadata": {"name": "columns"}, "spec": RELEASE}
    cluster.apply(body, quiet)
    await world.apply_status("QuarantineRelease", quiet, "columns", {"phase": "Releasing", "progress": "0/1"})
    head, row = (line.split() for line in cluster.kubectl("-n", quiet, "get", "qrel", "columns").splitlines())
    assert head == ["NAME", "MAILFILTER", "PHASE", "RELEASED", "AGE"]
    assert row[:-1] == ["columns", "mx", "Releasing", "0/1"]
    assert "mailfilter.mailfilter.dev/columns" in cluster.kubectl("-n", quiet, "get", "mail", "-o", "name")
