"""The agent beside amavis in this process, and its page in a real Chromium."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, ConsoleMessage, Dialog, Page, Request, async_playwright, expect

from mailfilter.agent.amavis import AmavisAgent
from mailfilter.agent.settings import Settings
from support import chromium as program
from support.amavis import Amavis
from support.heldmail import Quarantine

TOKEN = "s3cret-token"  # noqa: S105 - of nothing
# Of a page that reports what its policy forbids, whoever did it.
WATCH = "addEventListener('securitypolicyviolation', one => console.warn('VIOLATION ' + one.effectiveDirective))"


# No judgement of speed: it ends what hangs on a busy machine.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Site:
    """One agent with a quarantine of its own."""

    url: str
    quarantine: Quarantine
    amavis: Amavis
    agent: AmavisAgent
    token_file: Path

    def hold(self, name: str = "spam/h/hAbcDEfgh123.gz", **mail: Any) -> str:
        """A mail that the agent knows; its id."""
        found = self.quarantine.hold(name, **mail)
        self.know()
        return found

    def know(self) -> None:
        """Has the agent look at the files now."""
        self.agent.volume.sync()


@dataclass
class Tab:
    """A page, and all that it did."""

    page: Page
    world: list[str]
    """What arrived at other hosts."""
    news: asyncio.Event
    requests: list[str] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)
    """Requests that a Content-Security-Policy stopped."""
    errors: list[str] = field(default_factory=list)
    """Uncaught errors, and what the policy of the page itself forbade."""
    dialogs: list[str] = field(default_factory=list)

    async def arrived(self, prefix: str) -> None:
        """Waits until the browser has asked another host for that, and it was asked."""
        async with asyncio.timeout(60):
            while not all(any(one.startswith(prefix) for one in seen) for seen in (self.world, self.requests)):
                self.news.clear()
                await self.news.wait()

    def outside(self, site: Site) -> list[str]:
        """Requests to others than the agent: those that the browser made, and those that arrived."""
        return self.world + [one for one in self.requests if not one.startswith((site.url, "blob:", "data:"))]


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    """An agent with its own application on a free port of this machine."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        quarantine = Quarantine(root / "quarantine")
        quarantine.root.mkdir()
        (root / "token").write_text(TOKEN)
        settings = Settings(
            policy_file=root / "policy.json",
            amavis_run=root,
            quarantine=quarantine.root,
            index=root / "held.sqlite",
            token_file=root / "token",
            parallel_releases=2,
        )
        agent = AmavisAgent(settings)
        agent.volume.sync()
        amavis = Amavis(quarantine.root)
        async with (
            await asyncio.start_unix_server(amavis.talk, root / "amavisd.sock"),
            TestServer(agent.application()) as server,
        ):
            yield Site(f"http://127.0.0.1:{server.port}/", quarantine, amavis, agent, root / "token")


@dataclass
class Chromium:
    """A browser without a window. All hosts are this machine; what pages ask of those in .test, `outside` notes."""

    browser: Browser
    outside: list[str]
    news: asyncio.Event


@asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    """A running Chromium, and a world outside that keeps to itself."""
    asked: list[str] = []
    news = asyncio.Event()

    async def note(request: web.Request) -> web.Response:
        # The browser has errands of its own elsewhere.
        if (request.url.host or "").endswith(".test"):
            asked.append(str(request.url))
            news.set()
        return web.Response(text="")

    world = web.Application()
    world.router.add_route("*", "/{path:.*}", note)
    async with TestServer(world) as server, async_playwright() as playwright:
        options = program.options(f"127.0.0.1:{server.port}")
        browser = await playwright.chromium.launch(executable_path=program.path(), args=options)
        yield Chromium(browser, asked, news)
        await browser.close()


@asynccontextmanager
async def tab(chromium: Chromium, **context: Any) -> AsyncIterator[Tab]:
    """An empty page of a browser that remembers nothing."""
    chromium.outside.clear()
    made = await chromium.browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | context))
    made.set_default_timeout(PATIENCE_MS)
    await made.add_init_script(WATCH)
    found = Tab(await made.new_page(), chromium.outside, chromium.news)

    def asked(request: Request) -> None:
        found.requests.append(request.url)
        chromium.news.set()

    def failed(request: Request) -> None:
        # What the policy forbids never left.
        if request.failure == "csp":
            found.requests.remove(request.url)
            found.forbidden.append(request.url)

    def said(message: ConsoleMessage) -> None:
        if message.text.startswith("VIOLATION"):
            found.errors.append(message.text)

    async def asked_me(dialog: Dialog) -> None:
        found.dialogs.append(dialog.message)
        await dialog.accept()

    made.on("request", asked)
    made.on("requestfailed", failed)
    found.page.on("console", said)
    found.page.on("pageerror", lambda error: found.errors.append(str(error)))
    found.page.on("dialog", asked_me)
    yield found
    await made.close()
