"""One held mail is given back, and by one release at a time, however many want it."""

import asyncio
import logging

from mailfilter.agent import heldmail
from mailfilter.agent.heldmail import HeldMailError, plain
from mailfilter.agent.release import ReleaseAnswer, ReleaseRequest, Releases, Result
from mailfilter.agent.volume import Volume

log = logging.getLogger(__name__)


class Giving:
    """What the releases of an agent have in common: the volume, amavis, and the mails that are being sent."""

    def __init__(self, volume: Volume, releases: Releases) -> None:
        self._volume = volume
        self._releases = releases
        self._busy: set[str] = set()

    async def release(self, request: ReleaseRequest, *, again: bool) -> ReleaseAnswer:
        """Releases a mail; unless `again`, only to those whom no other release has given it since it was chosen."""
        if request.message in self._busy:
            reply = "450 4.5.0 another release is giving it back"
            return ReleaseAnswer(message=request.message, result=Result.RETRY, reply=reply)
        self._busy.add(request.message)
        try:
            if not again:
                entry = self._volume.index.get(request.message)
                wanted = request.recipients or (entry.recipients if entry else ())
                others = self._volume.index.given(heldmail.mail_id_of(request.message), besides=request.record)
                left = tuple(one for one in wanted if plain(one) not in others)
                if wanted and not left:
                    reply = "250 2.0.0 given back by another release meanwhile"
                    return ReleaseAnswer(message=request.message, result=Result.RELEASED, reply=reply)
                if len(left) < len(wanted):
                    request = request.model_copy(update={"recipients": left})
            found = await self._releases.release(request)
            await asyncio.to_thread(self._volume.add_record, request.record)
            return found
        finally:
            self._busy.remove(request.message)

    def delete_released(self, found: ReleaseAnswer) -> None:
        """Deletes a mail that all who were owed it have. The record stays: it answers for the mail from now on."""
        try:
            mail = heldmail.read(self._volume.root / found.message)
            entry = self._volume.index.get(found.message)
            had = {plain(one.address) for one in found.recipients} | set(entry.released if entry else ())
            if mail.mail_id and had >= {plain(one) for one in mail.held_for}:
                self._volume.delete(found.message)
                log.info("deleted %s: released", found.message)
        except (FileNotFoundError, HeldMailError):
            # Gone already; or damaged, and so not known whether somebody is still owed it.
            return
