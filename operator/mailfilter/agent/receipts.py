"""`POST /v1/receipts`: whether Postfix has taken a released mail whose sender died before it heard the answer.

amavis puts a receipt, a name of its own for each attempt, into the mail's header. From there Postfix makes it one more
recipient of the same mail, and delivers to it by a symbolic link `receipts/<receipt>` to the queue id. So whatever
dies: if Postfix took the mail, either the link is there or the mail is still in the queue.
"""

import asyncio
import mmap
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from aiohttp import web
from pydantic import Field

from mailfilter.agent.exchange import answer, asked, problem
from mailfilter.agent.queue import QUEUES, WHOLE, arrival, files
from mailfilter.api.fields import Model

MOST_RECEIPTS = 1000
# More than the clocks of two pods differ.
_CLOCKS_SECONDS = 600


class ReceiptsRequest(Model):
    """Body of `POST /v1/receipts`."""

    receipts: Annotated[list[Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]], Field(max_length=MOST_RECEIPTS)]
    """Of attempts whose sender is dead; the first eight digits are the time."""


class ReceiptsAnswer(Model):
    """What this Postfix has. Of what is in neither it is not known yet."""

    taken: dict[str, str]
    """Receipt → queue id."""
    missing: list[str]
    """It does not have the mail and will not get it."""


class Receipts:
    """The receipts of the Postfix whose queue directory is `spool`."""

    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._under_way: dict[str, set[str]] = {}
        """Receipt → queue files that were not whole when it was first asked for: the mail may be one of them."""

    async def handle(self, request: web.Request) -> web.Response:
        """`POST /v1/receipts`."""
        wanted = await asked(request, ReceiptsRequest)
        try:
            return answer(await asyncio.to_thread(self.look, wanted.receipts))
        except OSError as error:
            raise problem(web.HTTPServiceUnavailable, f"the queue: {error}") from error

    def look(self, wanted: Collection[str]) -> ReceiptsAnswer:
        """Looks through the queue. Raises OSError when it cannot be read.

        A mail is missing only when it is found neither now nor at an earlier look, and no mail is under way any more
        that was at the first one. A dead sender begins no other."""
        under_way = self._incomplete()
        taken = self._kept(wanted)
        taken |= self._queued([one for one in wanted if one not in taken])
        # Again: the link is there before the mail leaves the queue.
        taken |= self._kept([one for one in wanted if one not in taken])
        missing = []
        for one in wanted:
            before = self._under_way.get(one)
            if one in taken:
                self._under_way.pop(one, None)
            elif before is None:
                self._under_way[one] = under_way
            elif before & under_way:
                self._under_way[one] = before & under_way
            else:
                missing.append(one)
        while len(self._under_way) > MOST_RECEIPTS:
            del self._under_way[next(iter(self._under_way))]
        return ReceiptsAnswer(taken=taken, missing=missing)

    def _incomplete(self) -> set[str]:
        """Mails that Postfix is taking in. What one that was killed has left is none."""
        started = (self._spool / "started").stat().st_mtime
        found = set()
        for path in files(self._spool / "incoming"):
            with suppress(FileNotFoundError):
                stats = path.stat()
                if not stats.st_mode & WHOLE and stats.st_mtime >= started:
                    found.add(path.name)
        return found

    def _kept(self, wanted: Collection[str]) -> dict[str, str]:
        found = {}
        for one in wanted:
            with suppress(FileNotFoundError):
                found[one] = str((self._spool / "receipts" / one).readlink())
        return found

    def _queued(self, wanted: Collection[str]) -> dict[str, str]:
        """Receipts of the mails in the queue; the directories in the order in which a mail goes through them, and back
        from deferred to active."""
        if not wanted:
            return {}
        names = [(one, one.encode()) for one in wanted]
        oldest = min(int(one[:8], 16) for one in wanted) - _CLOCKS_SECONDS
        found: dict[str, str] = {}
        for path in (path for queue in (*QUEUES, "active") for path in files(self._spool / queue)):
            came = arrival(path.name)
            if came is not None and came < oldest:
                continue
            try:
                with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    if os.fstat(file.fileno()).st_mode & WHOLE:
                        found |= {one: path.name for one, octets in names if content.find(octets) >= 0}
            except (FileNotFoundError, ValueError):
                # It has left the queue; or nothing is in it yet.
                continue
        return found
