"""The quarantine's directories, and how the index is kept in step with them.

amavis' report of a mail says at once that there is a new file; a look at the directories finds the rest: what other
pods stored, what was deleted, what was there before this pod.
"""

import os
import threading
import time
from collections.abc import Collection
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from mailfilter.agent import heldmail, records
from mailfilter.agent.heldmail import HeldMailError
from mailfilter.agent.index import Index, Stored
from mailfilter.agent.search import KINDS
from mailfilter.api.fields import QuarantineId

RELEASES, SEEN, RESTORED = ".releases", ".seen", ".restored"
# A younger file may still be written to, which its directory does not show.
SETTLED_SECONDS = 10.0
# A release that is asked about again after its mail is gone is answered from its record.
RECORD_SECONDS = 7 * 86400
# So long what an import brought is not too old, however long it was held elsewhere.
RESTORED_SECONDS = 7 * 86400
# What a crash of the agent loses of a first look at many files.
_BATCH = 500

_id: TypeAdapter[str] = TypeAdapter(QuarantineId)


class Volume:
    """The quarantine below `root`. The methods block; call them in a thread."""

    def __init__(self, root: Path, index: Index) -> None:
        self.root = root
        self.index = index
        self._unchanged: dict[Path, int] = {}
        self._restored: dict[str, float] = {}
        self._syncing = threading.Lock()
        self.complete = False
        """All was looked at since the start."""

    def add(self, quarantine_id: str) -> None:
        """Takes up a mail that amavis has just stored. What is no quarantine id, or is gone, is ignored."""
        try:
            one = _read(self.root, _id.validate_python(quarantine_id))
        except (ValidationError, FileNotFoundError):
            return
        self.index.store([one])

    def delete(self, quarantine_id: str) -> None:
        """Deletes a mail. Raises FileNotFoundError when it is gone already, OSError when it cannot be deleted."""
        (self.root / quarantine_id).unlink()
        for marks in (SEEN, RESTORED):
            (self.root / marks / heldmail.mail_id_of(quarantine_id)).unlink(missing_ok=True)
        self.index.remove([quarantine_id])

    def add_record(self, name: str) -> None:
        """Takes up the record of a release that was just written. Raises OSError."""
        path = self.root / RELEASES / name
        try:
            stamp = path.stat().st_mtime_ns
        except FileNotFoundError:
            return
        self.index.store_record(name, stamp, name.partition(".")[2], records.given(path))

    def forget_records(self, keep: Collection[str], before: float) -> None:
        """Deletes records of releases whose mail is gone and whose key nobody asks for any more."""
        for name, stamp in self.index.orphaned_records():
            if records.key_of(name) not in keep and stamp / 1e9 < before - RECORD_SECONDS:
                (self.root / RELEASES / name).unlink(missing_ok=True)
                self.index.remove_records([name])

    def restored(self, now: float) -> set[str]:
        """amavis' names of mails that an import brought not long ago. Raises OSError."""
        marks = self._changed(self.root / RESTORED)
        if marks is not None:
            self._restored = {name: stats.st_mtime for name, stats in marks.items()}
        for name in [name for name, since in self._restored.items() if since <= now - RESTORED_SECONDS]:
            (self.root / RESTORED / name).unlink(missing_ok=True)
            del self._restored[name]
        return set(self._restored)

    def mark_seen(self, mail_id: str) -> None:
        """Somebody has looked at the mail. It stands on the volume, for all pods and for later. Raises OSError."""
        (self.root / SEEN).mkdir(exist_ok=True)
        (self.root / SEEN / mail_id).touch()
        self.index.add_seen(mail_id)

    def sync(self) -> None:
        """Brings the index up to what is on the volume. Raises OSError when that cannot be read."""
        with self._syncing:
            directories = [path for kind in KINDS for path in _tree(self.root / kind)]
            for directory in directories:
                self._sync_mails(directory)
            self.index.keep_directories([str(path.relative_to(self.root)) for path in directories])
            self._sync_releases(self.root / RELEASES)
            seen = self._changed(self.root / SEEN)
            if seen is not None:
                self.index.set_seen(seen)
            self.complete = True

    def _sync_mails(self, directory: Path) -> None:
        there = self._changed(directory)
        if there is None:
            return
        name = str(directory.relative_to(self.root))
        known = self.index.known(name)
        found = {f"{name}/{file}": stats for file, stats in there.items()}
        new = [one for one, stats in found.items() if known.get(one) != (stats.st_mtime_ns, stats.st_size)]
        for start in range(0, len(new), _BATCH):
            self.index.store(self._readable(new[start : start + _BATCH]))
        self.index.remove(known.keys() - found.keys())

    def _readable(self, ids: list[str]) -> list[Stored]:
        found = []
        for one in ids:
            try:
                found.append(_read(self.root, _id.validate_python(one)))
            except (ValidationError, FileNotFoundError):
                # Not a file of amavis; or deleted meanwhile.
                continue
        return found

    def _sync_releases(self, directory: Path) -> None:
        there = self._changed(directory)
        if there is None:
            return
        known = self.index.known_records()
        for name, stats in there.items():
            _, dot, mail_id = name.partition(".")
            if dot and known.get(name) != stats.st_mtime_ns:
                self.index.store_record(name, stats.st_mtime_ns, mail_id, records.given(directory / name))
        self.index.remove_records(known.keys() - there.keys())

    def _changed(self, directory: Path) -> dict[str, os.stat_result] | None:
        """The directory's plain files by name; None when they are those of the last look."""
        try:
            stamp = directory.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if self._unchanged.get(directory) == stamp:
            return None
        files: dict[str, os.stat_result] = {}
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
                    continue
                try:
                    files[entry.name] = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
        newest = max([stamp, *(stats.st_mtime_ns for stats in files.values())])
        if newest / 1e9 < time.time() - SETTLED_SECONDS:
            self._unchanged[directory] = stamp
        return files


def _tree(directory: Path) -> list[Path]:
    """The directory and those in it, one level deep as amavis makes them ($quarantine_subdir_levels)."""
    try:
        with os.scandir(directory) as entries:
            below = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return [directory, *sorted(path for path in below if not path.name.startswith("."))]


def _read(root: Path, quarantine_id: str) -> Stored:
    """Raises FileNotFoundError; other trouble becomes the entry's problem."""
    path = root / quarantine_id
    stats = path.lstat()
    stamp, size = stats.st_mtime_ns, stats.st_size
    try:
        mail = heldmail.read(path)
    except FileNotFoundError:
        raise
    except (HeldMailError, OSError) as error:
        return Stored(quarantine_id, stamp, size, None, str(error))
    return Stored(quarantine_id, stamp, size, mail)
