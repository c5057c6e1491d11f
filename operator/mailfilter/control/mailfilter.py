"""The loop of a MailFilter: read, render, apply, prune, observe, write status."""

import logging
import secrets
import time
from base64 import b64decode
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from mailfilter import metrics
from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.cluster.agents import Agents
from mailfilter.cluster.api import Api, ApiError, problem
from mailfilter.cluster.queue import Key
from mailfilter.control import observe, quarantine, records, signing
from mailfilter.control.apply import Applier
from mailfilter.control.cache import Cache, Child, ChildId
from mailfilter.control.conditions import WAITING, Observation, before, merged, no
from mailfilter.control.events import record
from mailfilter.control.expiry import Expiry
from mailfilter.control.facts import Facts
from mailfilter.control.lists import ListSources
from mailfilter.control.pods import Pods
from mailfilter.control.policy import lists
from mailfilter.control.scanner import signatures
from mailfilter.control.waiting import queue
from mailfilter.policy import dns, outgoing, postfix
from mailfilter.policy.amavis import policy_hash, policy_json
from mailfilter.policy.longlists import Reading
from mailfilter.policy.names import Names
from mailfilter.policy.spamrules import bad_rules
from mailfilter.settings import Settings
from mailfilter.stack.common import Gateway

Object = dict[str, Any]

# While something is on its way, how soon to look again: soon after a change of policy, since the kubelet may have
# looked before it had heard of the change, then less often.
FIRST_LOOK_SECONDS, UNSETTLED_SECONDS = 0.2, 1.0
POLICY_OBJECT: ChildId = ("ConfigMap", "policy")

log = logging.getLogger(__name__)


class MailFilterLoop:
    """Reconciles MailFilters; holds nothing that cannot be lost."""

    def __init__(
        self,
        api: Api,
        agents: Agents,
        cache: Cache,
        lists: ListSources,
        settings: Settings,
        ask_dns: Callable[[Key], None],
    ) -> None:
        self._api = api
        self._ask_dns = ask_dns
        self._lists = lists
        self._cache = cache
        self._settings = settings
        self._expiry = Expiry(agents)
        self._applier = Applier(api, settings.resync_seconds)
        self._pods = Pods(api, agents)
        self._wanted: dict[Key, tuple[str, float]] = {}
        """The policy and tables that are wanted, and since when, in seconds since the epoch."""

    async def reconcile(self, key: Key) -> float | None:
        """Brings one MailFilter a step further. Returns when to look again, in seconds; None when it is gone."""
        body = self._cache.mailfilters.get(key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            # What it owned is the garbage collector's.
            self._applier.forget(key)
            self._wanted.pop(key, None)
            self._lists.forget(key)
            self._expiry.forget(key)
            self._cache.published.pop(key, None)
            self._forget_metrics(key)
            return None
        namespace, name = key
        names = Names(name, namespace)
        try:
            spec = MailFilterSpec.model_validate(body["spec"])
        except ValidationError as error:
            await self._report(body, [no("Ready", "InvalidSpec", _readable(error))], {})
            return self._settings.resync_seconds
        reading = await self._lists.read(names, spec)
        gateway = Gateway(
            names=names,
            uid=body["metadata"]["uid"],
            spec=spec,
            sender_files=reading.files,
            digest_template=reading.template,
            images=self._settings.images,
            token=await self._token(names),
            operator_namespace=self._settings.namespace,
            scrape_annotations=self._settings.scrape_annotations,
        )
        rules = [str(bad) for bad in bad_rules(spec.spam.rules or "")]
        if rules and await self._api.get("v1", POLICY_OBJECT[0], namespace, names.of(POLICY_OBJECT[1])) is None:
            why = f"{rules[0]}. Nothing is set up before that is mended."
            await self._report(body, [no("Ready", "InvalidRules", why), no("PolicyActive", "InvalidRules", why)], {})
            return self._settings.resync_seconds
        children = dict(self._cache.children(key))
        conflict = None
        try:
            children |= await self._applier.apply(key, gateway, children, keep_policy=bool(rules))
        except ApiError as error:
            if error.status not in (400, 403, 409, 422):
                raise
            conflict = f"the API server refused an object: {problem(error)}"
        facts = await self._observe(body, gateway, reading, children, rules, conflict)
        # Keys first: without their records what DNS said would not be all that is to be asked.
        published = self._publish(key, facts)
        facts = replace(facts, dns=self._records(gateway))
        seen = observe.observations(facts)
        conditions = await self._report(body, seen, _status(body, facts, seen, published))
        if observe.recovered(conditions):
            await self._pods.flush(facts, gateway.token)
        await self._expiry.run(key, facts, gateway.token, self._cache.releases.values())
        by_type = {one.type: one.status for one in seen}
        # While it is suspended as it should be, a gateway is not ready for long.
        steady = by_type["Ready"] == "True" or (
            gateway.spec.filtering.suspended != "None" and by_type["Suspended"] == "True"
        )
        settled = steady and by_type["PolicyActive"] == "True" and by_type["Progressing"] == "False"
        return self._settings.observe_seconds if settled or conflict else self._patience(key)

    def _patience(self, key: Key) -> float:
        """Seconds to wait for what is on its way."""
        return min(UNSETTLED_SECONDS, max(FIRST_LOOK_SECONDS, time.time() - self._wanted[key][1]))

    async def _token(self, names: Names) -> str:
        """The agents' token: made once, then read."""
        secret = await self._api.get("v1", "Secret", names.namespace, names.of("agent"))
        stored = (secret or {}).get("data", {}).get("token")
        try:
            token = b64decode(stored or "").decode("ascii")
        except ValueError:
            token = ""
        return token if token.isprintable() and token else secrets.token_urlsafe(32)

    async def _observe(
        self,
        body: Object,
        gateway: Gateway,
        reading: Reading,
        children: dict[ChildId, Child],
        rules: list[str],
        conflict: str | None,
    ) -> Facts:
        sources = {name: postfix.table_source(table) for name, table in postfix.tables(gateway.spec).items()}
        hashes = {
            "amavis": policy_hash(policy_json(gateway.spec, gateway.sender_files.hashes, gateway.digest_template)),
            "postfix": postfix.tables_hash(sources),
        }
        names = gateway.names
        key = (names.namespace, names.name)
        wanted = "".join(hashes.values())
        if self._wanted.get(key, ("", 0.0))[0] != wanted:
            self._wanted[key] = (wanted, time.time())
        # A policy with bad rules is not on its way anywhere.
        coming = {component: one for component, one in hashes.items() if not (rules and component == "amavis")}
        pods = await self._pods.look(names, gateway.token, coming, self._patience(key))
        return Facts(
            spec=gateway.spec,
            names=names,
            policy_hash=hashes["amavis"],
            tables_hash=hashes["postfix"],
            children=children,
            pods=pods,
            bad_rules=rules,
            conflict=conflict,
            dns_before=before(body, "DNSReady"),
            reading=reading,
            settled_generation=(body.get("status") or {}).get("observedGeneration"),
        )

    def _records(self, gateway: Gateway) -> list[dns.Record] | None:
        """What DNS said of the records that the gateway needs; None as long as it was not asked for all of them."""
        key = (gateway.names.namespace, gateway.names.name)
        found, wanted = self._cache.dns.get(key), dns.wanted(gateway.spec, self._cache.published.get(key, {}))
        return found if found and [record.wanted for record in found] == wanted else None

    def _publish(self, key: Key, facts: Facts) -> dict[str, str]:
        """The records of keys. DNS is asked for new ones at once; a pod that is silent does not unsay what it said."""
        names = {outgoing.record_name(one) for one in outgoing.keys(facts.spec)}
        before = self._cache.published.get(key, {})
        kept = {name: value for name, value in before.items() if name in names}
        found = self._cache.published[key] = kept | signing.published(facts)
        if found != before:
            self._ask_dns(key)
        return found

    async def _report(self, body: Object, seen: list[Observation], status: Object) -> list[Object]:
        """Writes status and events when something changed. Returns the conditions."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        old = body.get("status") or {}
        conditions, changed = merged(old.get("conditions", []), seen, body["metadata"]["generation"])
        new = status | {"conditions": conditions}
        if new != old:
            try:
                written = await self._api.apply_status("MailFilter", namespace, name, new)
            except ApiError as error:
                if error.status != 404:
                    raise
                # Deleted meanwhile: the watch will say so.
                return conditions
            # The watch brings the same later; until then the next round must not report the transition again.
            current = self._cache.mailfilters.get((namespace, name))
            if current and current["metadata"]["uid"] == written["metadata"]["uid"]:
                current["status"] = written.get("status", {})
        for one in seen:
            metrics.CONDITION.labels(namespace, name, one.type).set({"True": 1, "False": 0, "Unknown": -1}[one.status])
        self._forget_metrics((namespace, name), {one.type for one in seen})
        for one in changed:
            log.info("MailFilter %s/%s: %s=%s %s: %s", namespace, name, one.type, one.status, one.reason, one.message)
            if one.type != "Progressing" and one.status != "Unknown" and one.reason != WAITING:
                await record(
                    self._api,
                    body,
                    "Normal" if one.good else "Warning",
                    one.reason,
                    f"{one.type}: {one.message}",
                )
        return conditions

    def _forget_metrics(self, key: Key, kept: Collection[str] = ()) -> None:
        for labels in list(metrics.CONDITION._metrics):
            if labels[:2] == key and labels[2] not in kept:
                metrics.CONDITION.remove(*labels)


def _status(body: Object, facts: Facts, seen: list[Observation], published: dict[str, str]) -> Object:
    old = body.get("status") or {}
    by_type = {one.type: one.status for one in seen}
    in_force = by_type["PolicyActive"] == "True"
    settled = in_force and not facts.reading.trouble and by_type["Progressing"] == "False" and not facts.conflict
    policy: Object = {"wanted": facts.policy_hash}
    if in_force:
        policy["inForce"] = facts.policy_hash
    status: Object = {
        "components": observe.components(facts),
        "policy": policy,
        "lists": lists(facts),
        "queue": queue(facts),
        "endpoint": f"{facts.names.host('postfix')}:25",
    }
    if facts.spec.dns.check and (listed := records.dns(facts) or (facts.dns_before and old.get("dns"))):
        status["dns"] = listed
    if keys := signing.dkim(facts, published, old.get("dkim", [])):
        status["dkim"] = keys
    for name, found in (("signatures", signatures(facts)), ("quarantine", quarantine.held(facts))):
        value = found or old.get(name)
        if value:
            status[name] = {field: one for field, one in value.items() if one is not None}
    generation = body["metadata"]["generation"] if settled else old.get("observedGeneration")
    return status | {"observedGeneration": generation} if generation else status


def _readable(error: ValidationError) -> str:
    found = [
        f"{'.'.join(('spec', *map(str, one['loc'])))}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors()
    ]
    return "; ".join(found)[:1000]
