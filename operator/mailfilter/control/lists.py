"""What a MailFilter has in ConfigMaps: long lists of senders, the template of digests. Read when one has changed, kept
as it was while one is missing or has a mistake.
"""

import asyncio
import json
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Protocol

from mailfilter.api.lists import ConfigMapRef, ListSource
from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.api.template import TemplateError
from mailfilter.api.template import parse as parse_template
from mailfilter.cluster.api import Api
from mailfilter.cluster.queue import Key
from mailfilter.policy.longlists import (
    FILES,
    SHOWN,
    Files,
    Reading,
    TooLargeError,
    file_name,
    parse,
    rendered,
    restored,
)
from mailfilter.policy.names import Names
from mailfilter.stack.amavis import senders_part

Object = dict[str, Any]


class Watcher(Protocol):
    """Tells when a ConfigMap has changed."""

    def want(self, key: Key, places: set[Key]) -> None:
        """Which ConfigMaps a MailFilter is about."""

    def version(self, place: Key) -> int:
        """Another number after each change of a ConfigMap."""


class Unwatched:
    """Of no change anybody tells: what is read is read once more each time."""

    def __init__(self) -> None:
        self._versions = count()

    def want(self, key: Key, places: set[Key]) -> None:
        """Nothing is watched."""

    def version(self, place: Key) -> int:
        """Another number each time."""
        return next(self._versions)


@dataclass(frozen=True)
class _Known:
    wanted: "_Wanted"
    versions: list[int]
    stamps: list[str | None]
    reading: Reading


@dataclass(frozen=True)
class _Wanted:
    sources: list[ListSource]
    template: ConfigMapRef | None

    @property
    def names(self) -> set[str]:
        """The ConfigMaps."""
        found = {source.config_map.name for source in self.sources}
        return found | {self.template.name} if self.template else found


class ListSources:
    """Reads the lists and templates of all MailFilters; what it remembers spares work and can be lost."""

    def __init__(self, api: Api, watcher: Watcher) -> None:
        self._api = api
        self._watcher = watcher
        self._known: dict[Key, _Known] = {}

    def forget(self, key: Key) -> None:
        """A MailFilter that is gone."""
        self._watcher.want(key, set())
        self._known.pop(key, None)

    async def read(self, names: Names, spec: MailFilterSpec) -> Reading:
        """The lists and the template of a MailFilter as they are now."""
        key = (names.namespace, names.name)
        wanted = _Wanted(spec.lists.sources, spec.quarantine.digest.template)
        places = sorted((names.namespace, name) for name in wanted.names)
        self._watcher.want(key, set(places))
        known = self._known.get(key)
        if known and known.wanted != wanted:
            known = None
        # The versions first: what changes while it is read is read again.
        versions = [self._watcher.version(place) for place in places]
        if known and known.versions == versions:
            return known.reading
        bodies = {name: await self._api.get("v1", "ConfigMap", namespace, name) for namespace, name in places}
        stamps = [body["metadata"]["resourceVersion"] if body else None for body in bodies.values()]
        if known and known.stamps == stamps:
            reading = known.reading
        else:
            reading = await self._made(names, wanted.sources, bodies)
            if wanted.template:
                reading = await self._with_template(names, wanted.template, bodies, reading)
        self._known[key] = _Known(wanted, versions, stamps, reading)
        return reading

    async def _made(self, names: Names, sources: list[ListSource], bodies: dict[str, Object | None]) -> Reading:
        texts: list[tuple[ListSource, str]] = []
        trouble = None
        for source in sources:
            text = _text(bodies[source.config_map.name], source.config_map)
            if text is None:
                trouble = trouble or f"{_where(source.config_map)} is missing"
            else:
                texts.append((source, text))
        reading = await asyncio.to_thread(_rendered, texts)
        trouble = trouble or reading.trouble
        if trouble is None:
            return reading
        stored = await self._stored(names)
        return Reading(stored or reading.files, reading.refused, reading.reasons, trouble)

    async def _stored(self, names: Names) -> Files | None:
        """The last good files, as the pods have them; None when there are none."""
        try:
            hashes = (await self._policy(names))["senders"]["files"]
        except (KeyError, TypeError):
            return None
        found: dict[str, str] = {}
        for number in range(FILES):
            if file_name(number) in hashes:
                body = await self._api.get("v1", "ConfigMap", names.namespace, names.of(senders_part(number)))
                found |= (body or {}).get("binaryData", {})
        return await asyncio.to_thread(restored, found, hashes) if hashes else None

    async def _with_template(
        self, names: Names, wanted: ConfigMapRef, bodies: dict[str, Object | None], reading: Reading
    ) -> Reading:
        text = _text(bodies[wanted.name], wanted)
        trouble = "is missing" if text is None else _mistake(text)
        if trouble is None:
            return replace(reading, template=text)
        try:
            stored = (await self._policy(names))["digest"]["template"]
        except (KeyError, TypeError):
            stored = None
        return replace(reading, template=stored, template_trouble=f"{_where(wanted)} {trouble}")

    async def _policy(self, names: Names) -> Object:
        """The policy as the pods have it; empty when there is none."""
        body = await self._api.get("v1", "ConfigMap", names.namespace, names.of("policy"))
        try:
            found: Object = json.loads((body or {})["data"]["policy.json"])
        except (KeyError, ValueError, TypeError):
            return {}
        return found


def _where(place: ConfigMapRef) -> str:
    return f"ConfigMap {place.name} key {place.key}"


def _text(body: Object | None, place: ConfigMapRef) -> str | None:
    found: str | None = (body or {}).get("data", {}).get(place.key)
    return found


def _mistake(template: str) -> str | None:
    try:
        parse_template(template)
    except TemplateError as error:
        return str(error)
    return None


def _rendered(texts: list[tuple[ListSource, str]]) -> Reading:
    parsed = [parse(text, _where(source.config_map), source.list) for source, text in texts]
    refused = sum(one.refused for one in parsed)
    reasons = tuple(reason for one in parsed for reason in one.reasons)[:SHOWN]
    try:
        return Reading(rendered(parsed), refused, reasons)
    except TooLargeError as error:
        return Reading(Files(), refused, reasons, str(error))
