"""The agent beside amavis: policy, quarantine, releases, reports."""

import asyncio
from collections.abc import Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge

from mailfilter.agent import openapi, page, probes
from mailfilter.agent.backup import Backup
from mailfilter.agent.bulk import BulkReleases
from mailfilter.agent.digests import Digests
from mailfilter.agent.dkim import DkimKeys
from mailfilter.agent.expiry import Expiry
from mailfilter.agent.held import HeldMails
from mailfilter.agent.index import Index
from mailfilter.agent.jobs import Jobs
from mailfilter.agent.policy import Policy
from mailfilter.agent.quarantine import Quarantine
from mailfilter.agent.release import Releases
from mailfilter.agent.reports import Reports
from mailfilter.agent.service import Service
from mailfilter.agent.settings import Settings
from mailfilter.agent.submission import Postfix
from mailfilter.agent.volume import Volume
from mailfilter.agent.web import api, monitoring

READY_SECONDS = 20.0
SCRAPE_SECONDS = 3.0
BUSY_SECONDS = 60.0
"""A silent amavis that judged a mail within this time is busy, not dead."""


class AmavisAgent:
    """The parts and what they answer together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.registry = CollectorRegistry()
        self._policy = Policy(settings.policy_file, settings.amavis_run)
        self._dkim = DkimKeys(settings.amavis_run)
        self.volume = volume = Volume(settings.quarantine, Index(settings.index))
        self._quarantine = Quarantine(volume)
        self._held = HeldMails(volume)
        self._backup = Backup(volume, settings.policy_file.with_name("message-size-limit"))
        jobs = Jobs(settings.quarantine)
        self._expiry = Expiry(volume, jobs, self.registry)
        self._reports = Reports(self.registry, self._held.announce)
        releases = Releases(settings.quarantine, settings.amavis_run / "amavisd.sock", self.registry)
        self._releases = BulkReleases(volume, jobs, releases, settings.parallel_releases)
        self._digests = Digests(
            volume, settings.amavis_run / "policy.good", Postfix(settings.reinjection).submit, self.registry
        )
        self._up = Gauge("mailfilter_amavis_up", "1 when amavis serves.", registry=self.registry)
        self.registry.register(self._policy)
        self.registry.register(self._quarantine)

    async def ready(self, seconds: float = READY_SECONDS) -> None:
        """amavis greets, or is seen to be busy with mail. Raises ProbeError."""
        try:
            await probes.greeting(self._settings.amavis_port, seconds=seconds)
        except probes.SilentError:
            if self._reports.silence > BUSY_SECONDS:
                raise

    async def before_scrape(self) -> None:
        """Brings `mailfilter_amavis_up` up to date."""
        try:
            await self.ready(SCRAPE_SECONDS)
        except probes.ProbeError:
            self._up.set(0)
        else:
            self._up.set(1)

    async def status(self) -> Mapping[str, object]:
        """`GET /v1/status`."""
        quarantine = await asyncio.to_thread(self._quarantine.status)
        return {
            "amavis": {
                "policy": self._policy.state().status(),
                "dkim": self._dkim.status(),
                "quarantine": quarantine,
                "dnsLists": self._reports.dns_lists.status(),
                "digests": self._digests.status(),
            }
        }

    def routes(self) -> list[web.RouteDef]:
        """The API, but for the status."""
        return [
            web.get(openapi.PATH, _document),
            web.post("/v1/releases", self._releases.handle),
            web.post("/v1/expiry", self._expiry.handle),
            *self._held.routes(),
            *self._backup.routes(),
        ]

    def application(self) -> web.Application:
        """What port 8081 serves."""
        return api(self._settings.token_file, self.status, self.routes(), page.routes())

    def service(self) -> Service:
        """Everything to run."""
        settings = self._settings
        return Service(
            sites={
                settings.metrics_port: monitoring(self.ready, self.registry, self.before_scrape),
                settings.api_port: self.application(),
            },
            background=[
                self._policy.watch(),
                self._reports.listen(settings.amavis_run / "report.sock"),
                self._held.follow(),
                self._digests.watch(),
                *([self._dkim.watch()] if settings.signs else []),
            ],
        )


async def _document(_request: web.Request) -> web.Response:
    return web.json_response(openapi.document())
