"""kopf's part: watches that fill the cache and the queues. Nothing here writes to the cluster."""

import asyncio
import logging
from typing import Any

import kopf
from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from mailfilter import settings as configuration
from mailfilter.api import GROUP, VERSION
from mailfilter.cluster.agents import Agents
from mailfilter.cluster.api import PLURALS, Api, connect
from mailfilter.cluster.queue import Key, WorkQueue
from mailfilter.cluster.watch import Watches
from mailfilter.control.cache import Cache, key_of
from mailfilter.control.lists import ListSources
from mailfilter.control.lookups import LookupLoop, WorldResolver
from mailfilter.control.mailfilter import MailFilterLoop
from mailfilter.control.release import ReleaseLoop
from mailfilter.stack import KINDS
from mailfilter.stack.common import MANAGED_BY

OWNED = f"app.kubernetes.io/managed-by={MANAGED_BY}"
# What is watched besides our own kinds: all that a gateway is made of, and its pods.
CHILD_KINDS = (*KINDS, ("v1", "Pod"))

log = logging.getLogger(__name__)


class Operator:
    """The parts of the running operator."""

    def __init__(self, api: Api, agents: Agents, settings: configuration.Settings) -> None:
        self.api, self.agents, self.settings = api, agents, settings
        self.cache = Cache()
        self.watches = Watches(api, lambda key: self.mailfilters.add(key))
        loop = MailFilterLoop(
            api, agents, self.cache, ListSources(api, self.watches), settings, lambda key: self.lookups.add(key)
        )
        self.mailfilters = WorkQueue("MailFilter", loop.reconcile)
        self.releases = WorkQueue("QuarantineRelease", ReleaseLoop(api, agents, self.cache).reconcile)
        lookups = LookupLoop(self.cache, WorldResolver(), self.mailfilters.add, settings.dns_seconds)
        self.lookups = WorkQueue("Lookup", lookups.check)
        self.tasks: list[asyncio.Task[None]] = []

    def trouble(self) -> str | None:
        """Why this process should be started again, or None."""
        dead = [task.get_name() for task in (*self.tasks, *self.watches.tasks) if task.done()]
        stuck = [*self.mailfilters.stuck(), *self.releases.stuck(), *self.lookups.stuck()]
        if dead:
            return f"ended: {', '.join(dead)}"
        return f"stuck: {', '.join('/'.join(key) for key in stuck)}" if stuck else None


@kopf.on.startup()
async def startup(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Configures kopf and starts the workers and the metrics server."""
    own = configuration.load()
    settings.peering.standalone = True
    settings.persistence.finalizer = f"{GROUP}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP)
    settings.posting.enabled = False
    # Else kopf watches namespaces and custom resource definitions, for which there are no rights.
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 320
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.execution.max_workers = 2
    for kind in CHILD_KINDS:
        settings.watching.label_selectors[_resource(*kind)] = OWNED

    operator = memo.operator = Operator(Api(await connect()), Agents(), own)
    queues = {"mailfilters": operator.mailfilters, "releases": operator.releases, "lookups": operator.lookups}
    for name, queue in queues.items():
        operator.tasks.append(asyncio.create_task(queue.run(own.workers), name=name))
    operator.tasks.append(asyncio.create_task(_serve(operator), name="http"))


@kopf.on.cleanup()
async def cleanup(memo: kopf.Memo, **_: Any) -> None:
    """Stops the workers in the middle of whatever they do: every step can be done again."""
    operator: Operator = memo.operator
    for task in operator.tasks:
        task.cancel()
    await asyncio.gather(*operator.tasks, return_exceptions=True)
    await operator.watches.close()
    await operator.agents.close()
    await operator.api.close()


@kopf.on.login()
def login(**options: Any) -> Any:
    """Explicit, since kopf else tries every client library that it finds."""
    return kopf.login_with_service_account(**options) or kopf.login_with_kubeconfig(**options)


@kopf.on.event(GROUP, VERSION, PLURALS["MailFilter"])
async def mailfilter(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:  # noqa: A002
    """A MailFilter: its loop."""
    operator: Operator = memo.operator
    if key := _asked_anew(operator.cache, operator.cache.mailfilters, body, gone=type == "DELETED"):
        operator.mailfilters.add(key)
        operator.lookups.add(key)


@kopf.on.event(GROUP, VERSION, PLURALS["QuarantineRelease"])
async def release(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:  # noqa: A002
    """A QuarantineRelease: its loop."""
    operator: Operator = memo.operator
    if key := _asked_anew(operator.cache, operator.cache.releases, body, gone=type == "DELETED"):
        operator.releases.add(key)


async def child(type: str | None, body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:  # noqa: A002
    """Something of a gateway: its MailFilter's loop."""
    operator: Operator = memo.operator
    key = operator.cache.see(_plain(body), gone=type == "DELETED")
    if key and key in operator.cache.mailfilters:
        operator.mailfilters.add(key)


def _resource(api_version: str, kind: str) -> tuple[str, str, str]:
    group, _, version = api_version.rpartition("/")
    return group, version, PLURALS[kind]


for _kind in CHILD_KINDS:
    kopf.on.event(*_resource(*_kind), id=f"child-{_kind[1]}", labels={"app.kubernetes.io/managed-by": MANAGED_BY})(
        child
    )


def _plain(body: kopf.Body) -> dict[str, Any]:
    found = dict(body)
    found["metadata"] = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    return found


def _asked_anew(cache: Cache, store: dict[Key, dict[str, Any]], body: kopf.Body, *, gone: bool) -> Key | None:
    """Takes in an event of one of our own kinds. Returns its key unless only its status changed, which we wrote."""
    new = _plain(body)
    before = store.get(key_of(new))
    cache.see(new, gone=gone)
    asked = before is None or any(
        before["metadata"].get(field) != new["metadata"].get(field)
        for field in ("uid", "generation", "deletionTimestamp")
    )
    return key_of(new) if gone or asked else None


async def _serve(operator: Operator) -> None:
    """/metrics, and /healthz that tells the kubelet when to start this process again."""

    async def healthz(_: web.Request) -> web.Response:
        trouble = operator.trouble()
        return web.Response(status=503 if trouble else 200, text=trouble or "ok")

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/metrics", make_aiohttp_handler())
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, None, operator.settings.metrics_port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
