"""Puts held mail into an archive, while mail comes and goes."""

import hashlib
import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from mailfilter.agent import heldmail, records
from mailfilter.agent.archive import ArchivedMail, ArchivedRelease, Writer
from mailfilter.agent.records import State
from mailfilter.agent.search import Entry, Query
from mailfilter.agent.volume import RELEASES, Volume

# amavis writes a file in one go: one that was not written to for so long is whole.
WRITTEN_SECONDS = 2.0

log = logging.getLogger(__name__)


def export(volume: Volume, query: Query, writer: Writer) -> None:
    """Archives what the query finds, the newest first; what is deleted meanwhile may be missing.

    Blocks; call it in a thread. Raises OSError when a file shrinks while it is read, and what the sink raises.
    """
    for entry in volume.index.all(query):
        try:
            with heldmail.stored(volume.root / entry.id) as file:
                _wait_until_written(file)
                writer.add(_about(volume, entry, file), file)
        except FileNotFoundError:
            continue


def _wait_until_written(file: IO[bytes]) -> None:
    while (stamp := os.fstat(file.fileno()).st_mtime) + WRITTEN_SECONDS > time.time():
        time.sleep(WRITTEN_SECONDS)
        if os.fstat(file.fileno()).st_mtime == stamp:
            # Written long ago, by a clock that is ahead.
            return


def _about(volume: Volume, entry: Entry, file: IO[bytes]) -> ArchivedMail:
    stats = os.fstat(file.fileno())
    return ArchivedMail(
        id=entry.id,
        time=datetime.fromtimestamp(stats.st_mtime_ns // 1000 / 10**6, UTC),
        size=stats.st_size,
        sha256=_digest(entry.id, file),
        sender=entry.sender,
        recipients=entry.recipients,
        seen=entry.seen,
        releases={
            name.partition(".")[0]: _release(volume.root / RELEASES / name)
            for name in volume.index.records_of(heldmail.mail_id_of(entry.id))
        },
    )


def _digest(quarantine_id: str, file: IO[bytes]) -> str | None:
    try:
        found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        file.seek(0)
    except OSError as error:
        # One bad block must not keep all the others from being saved.
        log.warning("%s is left out of an archive: %s", quarantine_id, error)
        return None
    return found


def _release(path: Path) -> ArchivedRelease:
    found = records.read(path)
    return ArchivedRelease(
        state="done" if found.state is State.FREE else "started",
        recipients=tuple(found.replies),
        replies=tuple(found.replies.values()),
    )
