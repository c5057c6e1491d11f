"""The loop that asks DNS: with a resolver that is not one, and with a real one against a name server on loopback."""

import asyncio
from typing import Any

import pytest

from mailfilter.cluster.queue import Key
from mailfilter.control import lookups
from mailfilter.control.cache import Cache
from mailfilter.control.lookups import LookupLoop, Resolver, WorldResolver
from mailfilter.policy.dns import Answer
from support.nameserver import name_server
from support.samples import SMALL, with_changes

Object = dict[str, Any]
KEY: Key = ("mail", "mx")
RIGHT = {("mx.example.com", "A"): ["192.0.2.1"], ("example.com", "MX"): ["10 mx.example.com."]}


class Known:
    """Answers from a table, without a network; counts how many questions are open at a time."""

    def __init__(self, answers: dict[tuple[str, str], Answer], delay: float = 0) -> None:
        self.answers, self.delay = answers, delay
        self.open = self.most = self.asked = 0

    async def ask(self, name: str, kind: str) -> Answer:
        self.asked += 1
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(self.delay)
        self.open -= 1
        return self.answers.get((name, kind), Answer())


class Setting:
    """A loop for one MailFilter."""

    def __init__(self, resolver: Resolver, **changes: Any) -> None:
        self.cache = Cache()
        self.changed: list[Key] = []
        self.loop = LookupLoop(self.cache, resolver, self.changed.append, 600)
        self.declare(**changes)

    def declare(self, **changes: Any) -> None:
        body = {"metadata": {"name": "mx", "namespace": "mail"}, "spec": with_changes(SMALL, **changes)}
        self.cache.see({"kind": "MailFilter", **body}, gone=False)

    def states(self) -> dict[str, str]:
        return {f"{one.wanted.name} {one.wanted.type}": one.state for one in self.cache.dns[KEY] or []}


async def test_only_what_changed_is_told() -> None:
    known = Known({("mx.example.com", "A"): Answer(("192.0.2.1",))})
    setting = Setting(known)
    assert await setting.loop.check(KEY) == 600
    assert setting.states() == {"mx.example.com A": "Present", "example.com MX": "Missing"}
    assert setting.changed == [KEY]
    await setting.loop.check(KEY)
    assert setting.changed == [KEY]
    known.answers["example.com", "MX"] = Answer(("10 mx.example.com",))
    await setting.loop.check(KEY)
    assert setting.states()["example.com MX"] == "Present"
    assert setting.changed == [KEY, KEY]


async def test_silence_is_asked_again_soon() -> None:
    setting = Setting(Known({("example.com", "MX"): Answer(trouble="timed out")}))
    assert await setting.loop.check(KEY) == lookups.RETRY_SECONDS
    assert setting.states()["example.com MX"] == "Unknown"


async def test_an_ipv6_address_will_do() -> None:
    setting = Setting(Known({("mx.example.com", "AAAA"): Answer(("2001:db8::1",))}))
    await setting.loop.check(KEY)
    (host, _) = setting.cache.dns[KEY] or []
    assert (host.state, host.found) == ("Present", ("2001:db8::1",))


async def test_what_is_off_or_gone_is_not_asked() -> None:
    known = Known({})
    setting = Setting(known, dns={"check": False})
    assert await setting.loop.check(KEY) == 600
    assert (known.asked, setting.cache.dns.get(KEY)) == (0, None)
    setting.declare()
    await setting.loop.check(KEY)
    assert known.asked
    setting.cache.mailfilters.clear()
    assert await setting.loop.check(KEY) is None
    assert setting.cache.dns == {}


async def test_a_spec_that_is_not_understood_waits() -> None:
    setting = Setting(Known({}))
    setting.cache.mailfilters[KEY]["spec"]["new"] = 1
    assert await setting.loop.check(KEY) == 600
    assert setting.changed == []


async def test_many_domains_are_asked_a_few_at_a_time_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    domains = [{"name": f"d{number}.example", "relay": {"host": "x"}} for number in range(500)]
    known = Known({}, delay=0.001)
    setting = Setting(known, domains=domains)
    await setting.loop.check(KEY)
    assert len(setting.states()) == 501
    assert known.most == lookups.AT_A_TIME

    monkeypatch.setattr(lookups, "CHECK_SECONDS", 0.05)
    stuck = Setting(Known({}, delay=60), domains=domains)
    assert await stuck.loop.check(KEY) == lookups.RETRY_SECONDS
    assert set(stuck.states().values()) == {"Unknown"}
    assert "DNS is slow or silent" in (stuck.cache.dns[KEY] or [])[0].advice


async def test_answers_of_a_name_server() -> None:
    records = RIGHT | {("second.example", "TXT"): ["x"], ("third.example", "MX"): ["10 a.example.", "5 b.example."]}
    domains = [{"name": name, "relay": {"host": "x"}} for name in ("second.example", "third.example", "none.example")]
    async with name_server(records, broken={"broken.example"}) as (server, resolver):
        setting = Setting(
            WorldResolver(resolver),
            domains=[*SMALL["domains"], *domains, {"name": "broken.example", "relay": {"host": "x"}}],
        )
        await setting.loop.check(KEY)
    assert setting.states() == {
        "mx.example.com A": "Present",
        "example.com MX": "Present",
        "second.example MX": "Missing",
        "third.example MX": "Different",
        "none.example MX": "Missing",
        "broken.example MX": "Unknown",
    }
    found = {one.wanted.name: one for one in setting.cache.dns[KEY] or []}
    assert found["example.com"].found == ("10 mx.example.com",)
    assert found["third.example"].found == ("10 a.example", "5 b.example")
    assert found["broken.example"].advice == "broken.example MX: DNS does not answer: NoNameservers"
    assert {one.split()[0] for one in server.asked} == set(found), "names of the world, without a search list"


async def test_records_of_keys_are_asked_for_as_far_as_they_are_known() -> None:
    name, value = "s1._domainkey.example.com", f"v=DKIM1; k=rsa; p={'A' * 400}"
    pieces = f'"{value[:255]}" "{value[255:]}"'
    async with name_server(RIGHT | {(name, "TXT"): [pieces]}) as (_, resolver):
        setting = Setting(WorldResolver(resolver))
        await setting.loop.check(KEY)
        assert name not in str(setting.states())
        setting.cache.published[KEY] = {name: value}
        await setting.loop.check(KEY)
    assert setting.states()[f"{name} TXT"] == "Present"
    assert (setting.cache.dns[KEY] or [])[-1].found == (value,)


async def test_a_null_mx_is_none_of_ours() -> None:
    async with name_server(RIGHT | {("example.com", "MX"): ["0 ."]}) as (_, resolver):
        assert await WorldResolver(resolver).ask("example.com", "MX") == Answer(("0 .",))


async def test_a_silent_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "LOOKUP_SECONDS", 0.2)
    async with name_server({}, silent={"example.com"}) as (_, resolver):
        answer = await WorldResolver(resolver).ask("example.com", "MX")
    assert answer == Answer(trouble="DNS does not answer: LifetimeTimeout")
