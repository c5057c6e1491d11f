"""The index of the held mail: a database that may be lost, for it is made anew from the files."""

import json
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mailfilter.agent.heldmail import HeldMail, mail_id_of
from mailfilter.agent.search import KINDS, Cursor, Entry, Query, key

_SCHEMA = """
PRAGMA journal_mode = MEMORY;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS held (
  id TEXT PRIMARY KEY, directory TEXT, mail_id TEXT, kind TEXT, stamp INTEGER, time REAL, size INTEGER,
  sender_address TEXT, sender_domain TEXT, folded TEXT, score REAL, details TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS held_time ON held (time, id);
CREATE INDEX IF NOT EXISTS held_directory ON held (directory);
CREATE INDEX IF NOT EXISTS held_kind ON held (kind, time, id, size);
CREATE TABLE IF NOT EXISTS recipient (id TEXT, address TEXT, domain TEXT, PRIMARY KEY (id, address)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS recipient_address ON recipient (address);
CREATE INDEX IF NOT EXISTS recipient_domain ON recipient (domain);
CREATE INDEX IF NOT EXISTS held_mail_id ON held (mail_id);
CREATE TABLE IF NOT EXISTS record (name TEXT PRIMARY KEY, stamp INTEGER, mail_id TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS record_mail_id ON record (mail_id);
CREATE TABLE IF NOT EXISTS released (mail_id TEXT, record TEXT, address TEXT, PRIMARY KEY (mail_id, record, address))
WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS released_record ON released (record);
CREATE TABLE IF NOT EXISTS seen (mail_id TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_SELECT = """
SELECT id, kind, time, size, score, details,
  (SELECT json_group_array(DISTINCT address) FROM released WHERE released.mail_id = held.mail_id),
  EXISTS (SELECT 1 FROM seen WHERE seen.mail_id = held.mail_id)
FROM held
"""

_PAGE = 1000

_WAITING = """
id IN (SELECT id FROM recipient WHERE address = ?) AND kind IN (SELECT value FROM json_each(?))
AND time > ? AND time <= ? AND NOT json_extract(details, '$.infected')
AND NOT EXISTS (SELECT 1 FROM released WHERE released.mail_id = held.mail_id AND lower(released.address) = ?)
"""


AGES = (1, 7, 30)
"""Days by which held mail is counted."""


@dataclass(frozen=True)
class Stored:
    """A file of the quarantine as it was read."""

    id: str
    stamp: int
    """Time of its last change, nanoseconds since the epoch."""
    size: int
    mail: HeldMail | None
    problem: str | None = None
    """Why it could not be read."""

    @property
    def mail_id(self) -> str:
        """amavis' name of the mail."""
        return mail_id_of(self.id)


@dataclass(frozen=True)
class Count:
    """How much mail of a kind is held."""

    messages: int = 0
    bytes: int = 0


class Index:
    """The index in the database `file`. The methods block; call them in a thread."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._database.executescript(_SCHEMA)

    def search(self, query: Query, limit: int, after: Cursor | None = None) -> list[Entry]:
        """The newest mails that the query finds, at most `limit`, of those older than `after`."""
        where, values = query.condition()
        if after:
            where, values = f"{where} AND (time, id) < (?, ?)", [*values, *after]
        rows = self._rows(f"{_SELECT} WHERE {where} ORDER BY time DESC, id DESC LIMIT ?", *values, limit)
        return [_entry(row) for row in rows]

    def all(self, query: Query) -> Iterator[Entry]:
        """All mails that the query finds, the newest first."""
        after = None
        while page := self.search(query, _PAGE, after):
            yield from page
            after = Cursor(page[-1].time.timestamp(), page[-1].id)

    def count(self, query: Query) -> int:
        """How many mails the query finds."""
        return self.amount(query).messages

    def amount(self, query: Query) -> Count:
        """How much mail the query finds."""
        where, values = query.condition()
        # The condition holds no value.
        rows = self._rows(f"SELECT count(*), coalesce(sum(size), 0) FROM held WHERE {where}", *values)  # noqa: S608
        return Count(*rows[0])

    def get(self, quarantine_id: str) -> Entry | None:
        """One mail."""
        rows = self._rows(f"{_SELECT} WHERE id = ?", quarantine_id)
        return _entry(rows[0]) if rows else None

    def waiting_recipients(self, kinds: Collection[str], since: float, until: float) -> list[str]:
        """Who has mail of these kinds that was stored after one time and up to the other."""
        rows = self._rows(
            "SELECT DISTINCT recipient.address FROM held JOIN recipient USING (id) "
            "WHERE held.time > ? AND held.time <= ? AND held.kind IN (SELECT value FROM json_each(?)) ORDER BY 1",
            *(since, until, json.dumps(list(kinds))),
        )
        return [address for (address,) in rows]

    def waiting(
        self, address: str, kinds: Collection[str], since: float, until: float, limit: int
    ) -> tuple[list[Entry], int]:
        """What an address was not given of these kinds, stored after one time and up to the other: the newest, and how
        many there are. Nothing infected."""
        values = (address, json.dumps(list(kinds)), since, until, address)
        # The condition holds no value.
        rows = self._rows(f"{_SELECT} WHERE {_WAITING} ORDER BY time DESC, id DESC LIMIT ?", *values, limit)
        ((number,),) = self._rows(f"SELECT count(*) FROM held WHERE {_WAITING}", *values)  # noqa: S608
        return [_entry(row) for row in rows], number

    def counts(self) -> dict[str, Count]:
        """How much is held, by kind."""
        rows = self._rows("SELECT kind, count(*), sum(size) FROM held GROUP BY kind")
        return dict.fromkeys(map(str, KINDS), Count()) | {kind: Count(number, size) for kind, number, size in rows}

    def ages(self, now: float) -> dict[str, list[Count]]:
        """How much is held by kind, and by age: younger than each of AGES, then the rest."""
        older = [now - days * 86400 for days in AGES]
        rows = self._rows(
            "SELECT kind, (time < ?) + (time < ?) + (time < ?), count(*), sum(size) FROM held GROUP BY 1, 2", *older
        )
        found = {kind: [Count()] * (len(AGES) + 1) for kind in map(str, KINDS)}
        for kind, age, number, size in rows:
            found[kind][age] = Count(number, size)
        return found

    def oldest(self, before: float, kind: str | None = None) -> Iterator[tuple[str, int]]:
        """Ids and sizes of what was stored before a time, the oldest first."""
        # In parts: the whole may be long, and what was handed out may be deleted meanwhile.
        after = (-1.0, "")
        while rows := self._rows(
            "SELECT time, id, size FROM held WHERE time < ? AND kind = coalesce(?, kind) AND (time, id) > (?, ?) "
            "ORDER BY time, id LIMIT 500",
            *(before, kind, *after),
        ):
            for stored, one, size in rows:
                after = (stored, one)
                yield one, size

    def known(self, directory: str) -> dict[str, tuple[int, int]]:
        """Id → stamp and size of the directory's mails."""
        rows = self._rows("SELECT id, stamp, size FROM held WHERE directory = ?", directory)
        return {one: (stamp, size) for one, stamp, size in rows}

    def known_records(self) -> dict[str, int]:
        """Name → stamp of the records of releases."""
        return dict(self._rows("SELECT name, stamp FROM record"))

    def records_of(self, mail_id: str) -> list[str]:
        """Names of the records of a mail's releases."""
        return [name for (name,) in self._rows("SELECT name FROM record WHERE mail_id = ? ORDER BY name", mail_id)]

    def orphaned_records(self) -> list[tuple[str, int]]:
        """Name and stamp of records whose mail is not held any more."""
        return self._rows("SELECT name, stamp FROM record WHERE mail_id NOT IN (SELECT mail_id FROM held)")

    def store(self, mails: Iterable[Stored]) -> None:
        """Takes up mails, in place of what is known of them."""
        with self._transaction() as database:
            for one in mails:
                _remove(database, one.id)
                _insert(database, one)

    def remove(self, ids: Iterable[str]) -> None:
        """Forgets mails."""
        with self._transaction() as database:
            for one in ids:
                _remove(database, one)

    def keep_directories(self, directories: Collection[str]) -> None:
        """Forgets the mails of all other directories."""
        others = "SELECT id FROM held WHERE directory NOT IN (SELECT value FROM json_each(?))"
        self.remove(one for (one,) in self._rows(others, json.dumps(list(directories))))

    def store_record(self, name: str, stamp: int, mail_id: str, released: Iterable[str]) -> None:
        """Takes up the record of a release: who was given the mail."""
        with self._transaction() as database:
            _remove_record(database, name)
            database.execute("INSERT INTO record VALUES (?, ?, ?)", (name, stamp, mail_id))
            database.executemany("INSERT INTO released VALUES (?, ?, ?)", [(mail_id, name, who) for who in released])

    def given(self, mail_id: str, besides: str) -> set[str]:
        """Who was given a mail, by whatever record but this one."""
        with self._transaction() as database:
            query = "SELECT address FROM released WHERE mail_id = ? AND record != ?"
            return {address for (address,) in database.execute(query, (mail_id, besides))}

    def remove_records(self, names: Iterable[str]) -> None:
        """Forgets records of releases."""
        with self._transaction() as database:
            for name in names:
                _remove_record(database, name)

    def set_seen(self, mail_ids: Iterable[str]) -> None:
        """These mails, and no others, have been looked at."""
        with self._transaction() as database:
            database.execute("DELETE FROM seen")
            database.executemany("INSERT INTO seen VALUES (?)", [(one,) for one in mail_ids])

    def add_seen(self, mail_id: str) -> None:
        """Somebody has looked at the mail."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO seen VALUES (?)", (mail_id,))

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._database:
            self._database.execute("BEGIN")
            yield self._database


def _insert(database: sqlite3.Connection, one: Stored) -> None:
    mail, kind = one.mail, one.id.partition("/")[0]
    sender = key(mail.sender) if mail else ""
    held_for = mail.held_for if mail else ()
    subject = mail.letter.get("subject", "") if mail else ""
    details = {
        "sender": mail.sender if mail else "",
        "recipients": held_for,
        "author": mail.letter.get("from", "") if mail else "",
        "subject": subject,
        "alerts": mail.alerts if mail else (),
        "infected": mail.infected if mail else kind == "virus",
        "problem": one.problem,
    }
    row = (
        one.id,
        one.id.rpartition("/")[0],
        one.mail_id,
        kind,
        one.stamp,
        # Exactly what a datetime keeps, so that a cursor made of one is met again.
        one.stamp // 1000 / 10**6,
        one.size,
        sender,
        _domain(sender),
        subject.casefold(),
        mail.score if mail else None,
        json.dumps(details),
    )
    database.execute("INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    addresses = {key(address) for address in held_for}
    database.executemany("INSERT INTO recipient VALUES (?, ?, ?)", [(one.id, who, _domain(who)) for who in addresses])


def _remove(database: sqlite3.Connection, quarantine_id: str) -> None:
    database.execute("DELETE FROM held WHERE id = ?", (quarantine_id,))
    database.execute("DELETE FROM recipient WHERE id = ?", (quarantine_id,))


def _remove_record(database: sqlite3.Connection, name: str) -> None:
    database.execute("DELETE FROM record WHERE name = ?", (name,))
    database.execute("DELETE FROM released WHERE record = ?", (name,))


def _domain(address: str) -> str:
    return "@" + address.rpartition("@")[2]


def _entry(row: tuple[Any, ...]) -> Entry:
    one, kind, stamp, size, score, details, released, seen = row
    facts = json.loads(details) | {"released": json.loads(released), "seen": bool(seen)}
    return Entry(id=one, kind=kind, time=datetime.fromtimestamp(stamp, UTC), size=size, score=score, **facts)
