"""Long lists of senders from ConfigMaps: read when one has changed, kept as they were while one is missing."""

import asyncio
import json
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

from mailfilter.api.lists import ListSource
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
    sources: list[ListSource]
    versions: list[int]
    stamps: list[str | None]
    reading: Reading


class ListSources:
    """Reads the lists of all MailFilters; what it remembers spares work and can be lost."""

    def __init__(self, api: Api, watcher: Watcher) -> None:
        self._api = api
        self._watcher = watcher
        self._known: dict[Key, _Known] = {}

    def forget(self, key: Key) -> None:
        """A MailFilter that is gone."""
        self._watcher.want(key, set())
        self._known.pop(key, None)

    async def read(self, names: Names, sources: list[ListSource]) -> Reading:
        """The lists of a MailFilter as they are now."""
        key = (names.namespace, names.name)
        places = sorted({(names.namespace, source.config_map.name) for source in sources})
        self._watcher.want(key, set(places))
        known = self._known.get(key)
        if known and known.sources != sources:
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
            reading = await self._made(names, sources, bodies)
        self._known[key] = _Known(sources, versions, stamps, reading)
        return reading

    async def _made(self, names: Names, sources: list[ListSource], bodies: dict[str, Object | None]) -> Reading:
        texts: list[tuple[ListSource, str]] = []
        trouble = None
        for source in sources:
            text = _text(bodies[source.config_map.name], source)
            if text is None:
                trouble = trouble or f"{_where(source)} is missing"
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
        policy = await self._api.get("v1", "ConfigMap", names.namespace, names.of("policy"))
        try:
            hashes = json.loads((policy or {})["data"]["policy.json"])["senders"]["files"]
        except (KeyError, ValueError, TypeError):
            return None
        found: dict[str, str] = {}
        for number in range(FILES):
            if file_name(number) in hashes:
                body = await self._api.get("v1", "ConfigMap", names.namespace, names.of(senders_part(number)))
                found |= (body or {}).get("binaryData", {})
        return await asyncio.to_thread(restored, found, hashes) if hashes else None


def _where(source: ListSource) -> str:
    return f"ConfigMap {source.config_map.name} key {source.config_map.key}"


def _text(body: Object | None, source: ListSource) -> str | None:
    found: str | None = (body or {}).get("data", {}).get(source.config_map.key)
    return found


def _rendered(texts: list[tuple[ListSource, str]]) -> Reading:
    parsed = [parse(text, _where(source), source.list) for source, text in texts]
    refused = sum(one.refused for one in parsed)
    reasons = tuple(reason for one in parsed for reason in one.reasons)[:SHOWN]
    try:
        return Reading(rendered(parsed), refused, reasons)
    except TooLargeError as error:
        return Reading(Files(), refused, reasons, str(error))
