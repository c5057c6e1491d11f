"""One Chromium for all tests of the page; a new agent and an empty tab for each."""

from collections.abc import AsyncIterator

import pytest_asyncio

from support import page
from support.page import TOKEN, Chromium, Site, Tab


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Chromium]:
    async with page.chromium() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    async with page.site() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def tab(chromium: Chromium) -> AsyncIterator[Tab]:
    async with page.tab(chromium) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def opened(site: Site, tab: Tab) -> Tab:
    """The page with its token; mail that a test holds is seen after `reload`."""
    await tab.page.goto(f"{site.url}#token={TOKEN}")
    await tab.page.locator("#list[aria-busy=false]").wait_for()
    return tab
