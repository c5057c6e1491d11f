"""The reconcile loop against a real API server: what it says of what is refused, and of DNS."""

from typing import Any

import pytest

from mailfilter.policy import dns
from support.loop import Process, World, made
from support.samples import SMALL, gateway, with_changes

pytestmark = pytest.mark.asyncio(loop_scope="module")

Object = dict[str, Any]


async def test_bad_rules_leave_the_policy_as_it_is(world: World) -> None:
    process = await made(world, "rules", with_changes(SMALL, spam={"rules": "body GOOD /x/\n"}))
    before = await world.object("ConfigMap", "rules-policy")
    bad = with_changes(SMALL, spam={"rules": "body GOOD /x/\nloadplugin X /tmp/x.pm\n", "killLevel": 7})
    await world.mailfilter("rules", bad)
    await process.settle()
    assert await world.object("ConfigMap", "rules-policy") == before
    condition = await world.condition("rules", "PolicyActive")
    assert (condition["status"], condition["reason"]) == ("False", "InvalidRules")
    assert "spec.spam.rules line 2" in condition["message"]
    body = await world.object("MailFilter", "rules")
    assert body
    assert body["status"]["observedGeneration"] == 1
    await world.mailfilter("rules", with_changes(SMALL, spam={"rules": "body GOOD /y/\n"}))
    await process.settle()
    after = await world.object("ConfigMap", "rules-policy")
    assert after
    assert "/y/" in after["data"]["policy.json"]
    assert (await world.condition("rules", "PolicyActive"))["status"] == "True"


async def test_bad_rules_of_a_new_mailfilter_set_nothing_up(world: World) -> None:
    process = await made(world, "newrules", with_changes(SMALL, spam={"rules": "loadplugin X /tmp/x.pm\n"}))
    assert await world.object("ConfigMap", "newrules-policy") is None
    assert await world.object("StatefulSet", "newrules-amavis") is None
    condition = await world.condition("newrules", "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "InvalidRules")
    assert "spec.spam.rules line 1" in condition["message"]
    await world.mailfilter("newrules", SMALL)
    await process.settle()
    assert await world.object("StatefulSet", "newrules-amavis")


async def test_what_the_api_server_refuses_is_a_condition(world: World) -> None:
    """And no reason to ask it every second, nor to leave the policy behind."""
    process = await made(world, "refused")
    impossible = {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}
    await world.mailfilter("refused", with_changes(SMALL, amavis={"resources": impossible}, spam={"killLevel": 8}))
    assert await process.reconcile() == 20
    condition = await world.condition("refused", "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "ApplyFailed")
    assert "must be less than or equal to memory limit" in condition["message"]
    policy = await world.object("ConfigMap", "refused-policy")
    assert policy
    assert '"default": 8.0' in policy["data"]["policy.json"]


async def test_what_dns_said_is_in_the_status(world: World) -> None:
    """And stays there, unasked, when another process begins."""
    process = await made(world, "dns")
    host, domain = dns.wanted(gateway().spec, {})
    process.cache.dns[process.key] = [
        dns.judged(host, dns.Answer(("192.0.2.1",))),
        dns.judged(domain, dns.Answer(("10 other.example",))),
    ]
    await process.loop.reconcile(process.key)
    condition = await world.condition("dns", "DNSReady")
    assert (condition["status"], condition["reason"]) == ("False", "RecordsDiffer")
    assert "add example.com. IN MX 10 mx.example.com." in condition["message"]
    assert (await world.condition("dns", "Ready"))["status"] == "True"
    body = await world.object("MailFilter", "dns")
    assert body
    right = {"name": "mx.example.com", "type": "A", "state": "Present", "found": ["192.0.2.1"]}
    wrong = {"name": "example.com", "type": "MX", "state": "Different", "found": ["10 other.example"]}
    assert body["status"]["dns"] == {
        "present": 1,
        "missing": 0,
        "different": 1,
        "unknown": 0,
        "records": [wrong | {"expected": "mx.example.com"}, right],
    }
    await Process(world, "dns").settle()
    assert await world.object("MailFilter", "dns") == body
    await world.mailfilter("dns", with_changes(SMALL, dns={"check": False}))
    await Process(world, "dns").settle()
    body = await world.object("MailFilter", "dns")
    assert body
    assert "dns" not in body["status"]
    assert "DNSReady" not in [one["type"] for one in body["status"]["conditions"]]


async def test_keys_are_published_as_pods_tell_them(world: World) -> None:
    """And stay so when another process begins, or no pod can be asked."""
    keys = [{"domain": "example.com", "selector": name, "secretName": "keys"} for name in ("s1", "s2")]
    spec = with_changes(SMALL, outgoing={"clients": ["192.0.2.1"], "dkim": keys})
    await world.mailfilter("signs", spec)
    await world.start_pods("signs")
    process = Process(world, "signs")
    process.agents.dkim = {
        "example.com/s1": {"record": "v=DKIM1; k=rsa; p=AAA", "error": None},
        "example.com/s2": {"record": None, "error": "missing"},
    }
    await process.settle()
    condition = await world.condition("signs", "SigningReady")
    assert (condition["status"], condition["reason"]) == ("False", "SecretMissing")
    assert process.asked, "DNS is asked for the new record"
    host, domain, key = dns.wanted(gateway().spec, process.cache.published[process.key])
    process.cache.dns[process.key] = [
        dns.judged(host, dns.Answer(("192.0.2.1",))),
        dns.judged(domain, dns.Answer(("10 mx.example.com",))),
        dns.judged(key, dns.Answer(("v=DKIM1; p=AAA",))),
    ]
    await process.loop.reconcile(process.key)
    body = await world.object("MailFilter", "signs")
    assert body
    first = {"domain": "example.com", "selector": "s1", "record": "s1._domainkey.example.com"}
    second = {"domain": "example.com", "selector": "s2", "record": "s2._domainkey.example.com"}
    assert body["status"]["dkim"] == [first | {"value": "v=DKIM1; k=rsa; p=AAA", "dns": "Present"}, second]
    assert (await world.condition("signs", "DNSReady"))["status"] == "True"
    again = Process(world, "signs")
    again.agents.dkim = process.agents.dkim
    await again.settle()
    assert await world.object("MailFilter", "signs") == body
    again.agents.silent = True
    await again.settle()
    found = await world.object("MailFilter", "signs")
    assert found
    assert found["status"]["dkim"] == body["status"]["dkim"]
