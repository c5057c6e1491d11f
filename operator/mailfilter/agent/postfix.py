"""The agent beside Postfix: tables, queue and receipts of released mail."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict

from aiohttp import web
from prometheus_client import CollectorRegistry

from mailfilter.agent import probes, queue
from mailfilter.agent.dnsbl import Dnsbl
from mailfilter.agent.receipts import Receipts
from mailfilter.agent.service import Service
from mailfilter.agent.settings import Settings
from mailfilter.agent.tables import Tables
from mailfilter.agent.web import api, monitoring


class PostfixAgent:
    """The parts and what they answer together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._dnsbl = Dnsbl([site for site in settings.dnsbl_sites.split(",") if site])
        self._tables = Tables(settings.table_sources, settings.tables, settings.spool)
        self._receipts = Receipts(settings.spool)
        self.registry = CollectorRegistry()
        self.registry.register(self._tables)
        self.registry.register(queue.QueueMetrics(settings.spool))

    async def ready(self) -> None:
        """Postfix talks on both of its ports. Raises ProbeError."""
        await probes.smtp(self._settings.smtp_port, proxy=self._settings.upstream_proxy)
        await probes.smtp(self._settings.reinjection_port)

    async def status(self) -> Mapping[str, object]:
        """`GET /v1/status`."""
        tables = await asyncio.to_thread(self._tables.state)
        mails = await asyncio.to_thread(queue.look, self._settings.spool, time.time())
        return {
            "postfix": {
                "tables": tables.status(),
                "suspended": tables.suspended,
                "tls": asdict(tables.tls),
                "dnsbl": self._dnsbl.problems,
                "queue": mails.status(),
            }
        }

    async def flush(self, _request: web.Request) -> web.Response:
        """`POST /v1/flush`."""
        try:
            await queue.flush(self._settings.spool)
        except OSError as error:
            return web.json_response({"error": str(error)}, status=web.HTTPServiceUnavailable.status_code)
        return web.json_response({})

    def service(self) -> Service:
        """Everything to run."""
        settings = self._settings
        return Service(
            sites={
                settings.metrics_port: monitoring(self.ready, self.registry),
                settings.api_port: api(
                    settings.token_file,
                    self.status,
                    [web.post("/v1/flush", self.flush), web.post("/v1/receipts", self._receipts.handle)],
                ),
            },
            background=[self._dnsbl.watch()],
        )
