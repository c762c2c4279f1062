"""
A store in one SQLite file, shared by all processes of a host.

Readers never wait.
Writers take a file lock before SQLite's own, which is unfair when several processes want it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from journeykit import native
from journeykit.exceptions import StoreError, Superseded
from journeykit.model.event import Entry, Kind, Stored
from journeykit.store import versions
from journeykit.store.connection import Connection, explained
from journeykit.store.locks import LockDirectory
from journeykit.store.protocol import (
    PROJECTOR,
    Commit,
    Committed,
    Parked,
    Parking,
    Projection,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from journeykit.capture.tail import Watermark
    from journeykit.store.protocol import Lease, Position, StateKey

#: What tells a store of ours from any other SQLite file ("jkit").
_APPLICATION: Final = 0x6A6B6974

#: How long to wait for somebody who locks the file without our file lock, in seconds.
_BUSY_TIMEOUT: Final = 5.0

#: How long to wait for somebody who is making the file, or commits to it, in seconds.
_OPEN_TIMEOUT: Final = 0.3

_KINDS: Final = tuple(Kind)
_KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(_KINDS)}

_ENTRY_COLUMNS: Final = (
    "id, kind, name, user_id, anonymous_id, session_id, occurred_at, flags, body"
)

_SCHEMA: Final = """
CREATE TABLE log (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    user_id TEXT,
    anonymous_id TEXT,
    session_id TEXT,
    occurred_at INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE state (
    space TEXT NOT NULL,
    key TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (space, key)
) WITHOUT ROWID;
CREATE TABLE trail (
    customer TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (customer, position)
) WITHOUT ROWID;
CREATE TABLE cursor (
    name TEXT PRIMARY KEY,
    position INTEGER
) WITHOUT ROWID;
CREATE TABLE parked (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    reason TEXT NOT NULL,
    parked_at INTEGER NOT NULL,
    replay INTEGER NOT NULL DEFAULT 0,
    id TEXT NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    user_id TEXT,
    anonymous_id TEXT,
    session_id TEXT,
    occurred_at INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX parked_once ON parked (owner, id);
CREATE INDEX parked_replay ON parked (replay, owner);
CREATE TABLE watermark (
    file TEXT PRIMARY KEY,
    place INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
"""

_INSERT_LOG: Final = (
    f"INSERT INTO log (recorded_at, {_ENTRY_COLUMNS}) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
)
_INSERT_PARKED: Final = (
    f"INSERT INTO parked (owner, reason, parked_at, {_ENTRY_COLUMNS}) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (owner, id) DO UPDATE SET reason = excluded.reason, replay = 0"
)
_ADD_COUNT: Final = (
    "INSERT INTO counter (name, value) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"
)
_SET_CURSOR: Final = (
    "INSERT INTO cursor (name, position) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET position = excluded.position"
)
_INSERT_TRAIL: Final = "INSERT OR IGNORE INTO trail (customer, position) VALUES (?, ?)"
_SELECT_LOG: Final = f"SELECT position, recorded_at, {_ENTRY_COLUMNS} FROM log"


class SQLiteStore:
    """
    Keeps everything in the SQLite file at *path*; its positions are integers.

    The file and its lock files can be read by their owner only.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path).absolute()
        self._locks = LockDirectory(self._path.with_name(f"{self._path.name}-locks"))
        #: A thread holds its own connection, and closes it by ending.
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._inherited: list[object] = []
        self._local = native.local()
        #: Never held by who waits for another process.
        self._opening = native.lock()
        self._ready = False

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self._path)

    # Opening and closing

    def open(self) -> None:
        """
        Create the file and its tables where they are missing.

        Raises:
            StoreError: It cannot be written, or is another program's.
        """
        if self._ready:
            return
        with self._translate():
            with self._opening:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._touch()
                self._locks.open()
            lease = self._locks.lease_within("commit", _OPEN_TIMEOUT)
            # Who has the lock may have been stopped: nobody waits for it who only wants to read.
            if lease is not None:
                with lease:
                    self._create()
            elif not self._is_made():
                with self._locks.hold("commit"):
                    self._create()
            self._ready = True

    def close(self) -> None:
        """Close this process's connections."""
        with native.unforked():
            self._ready = False
            for connection in list(self._connections):
                connection.close()
            self._connections.clear()
            self._local = native.local()
            self._locks.close()

    def reset_after_fork(self) -> None:
        """Forget, without closing, what the parent process has open."""
        # Closing an inherited connection would clean up files that the parent still uses.
        self._inherited.extend(self._connections)
        self._connections = weakref.WeakSet()
        self._local = native.local()
        self._opening = native.lock()
        self._locks.reset_after_fork()
        self._ready = False

    @property
    def spool(self) -> Path:
        """The directory beside the file where processes keep what they have not committed."""
        return self._path.with_name(f"{self._path.name}-spool")

    # The Log

    def watermark(self, file: str) -> int | None:
        """Return how far a file of events was read; None if not at all."""
        query = "SELECT place FROM watermark WHERE file = ?"
        with self._read() as db:
            row = db.execute(query, (file,)).fetchone()
        return row[0] if row else None

    def commit(self, commit: Commit, now: int) -> Committed:
        """Write *commit*; its entries are recorded at *now*, or later if the Log is later."""
        with self._write() as db:
            added = _append(db, commit.entries, now)
            _park(db, commit.parked, now)
            _count(db, {**commit.counts, "events": commit.counts.get("events", 0) + added})
            db.executemany("DELETE FROM parked WHERE number = ?", _rows(commit.unparked))
            _mark(db, commit.watermarks)
        return Committed(added, len(commit.entries) - added)

    def read(self, after: Position, limit: int) -> list[Stored]:
        """Return up to *limit* events behind *after*, in Log order."""
        query = f"{_SELECT_LOG} WHERE position > ? ORDER BY position LIMIT ?"
        with self._read() as db:
            return [_stored(row) for row in db.execute(query, (after or 0, limit))]

    def fetch(self, positions: Sequence[Position]) -> list[Stored]:
        """Return the events at *positions*, in Log order."""
        query = f"{_SELECT_LOG} WHERE position = ?"
        with self._read() as db:
            found = [db.execute(query, (position,)).fetchone() for position in sorted(positions)]
        return [_stored(row) for row in found if row is not None]

    def signal(self) -> object:
        """Return a number that changes when anybody else has written to the file."""
        with self._read() as db:
            return db.execute("PRAGMA data_version").fetchone()[0]

    # State

    def state(self, key: StateKey) -> bytes | None:
        """Return one piece of State."""
        with self._read() as db:
            row = db.execute("SELECT data FROM state WHERE space = ? AND key = ?", key).fetchone()
        return row[0] if row else None

    def scan(self, space: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield the keys that begin with *prefix*, and their State, in order of keys."""
        query = "SELECT key, data FROM state WHERE space = ? AND key >= ? ORDER BY key"
        with self._read() as db:
            for key, data in db.execute(query, (space, prefix)):
                if not key.startswith(prefix):
                    return
                yield key, data

    def trail(self, customer: str) -> list[Position]:
        """Return the positions of a customer's events, in Log order."""
        query = "SELECT position FROM trail WHERE customer = ? ORDER BY position"
        with self._read() as db:
            return [row[0] for row in db.execute(query, (customer,))]

    def project(self, projection: Projection, now: int) -> None:
        """Write *projection*, or raise `Superseded`."""
        state = projection.state
        with self._write() as db:
            if _cursor(db, projection.cursor) != projection.expected:
                msg = f"the cursor {projection.cursor!r} has moved"
                raise Superseded(msg)
            db.executemany(
                "INSERT INTO state (space, key, data) VALUES (?, ?, ?) "
                "ON CONFLICT (space, key) DO UPDATE SET data = excluded.data",
                [(*key, data) for key, data in state.items() if data is not None],
            )
            db.executemany(
                "DELETE FROM state WHERE space = ? AND key = ?",
                [key for key, data in state.items() if data is None],
            )
            db.executemany(_INSERT_TRAIL, projection.trail)
            _append(db, projection.derived, now)
            _count(db, projection.counts)
            db.execute(_SET_CURSOR, (projection.cursor, projection.position))

    def forget_state(self, keep: Mapping[StateKey, bytes]) -> None:
        """Replace all State by *keep*, and set the projector's cursor to the beginning."""
        with self._write() as db:
            db.execute("DELETE FROM state")
            db.executemany(
                "INSERT INTO state (space, key, data) VALUES (?, ?, ?)",
                [(*key, data) for key, data in keep.items()],
            )
            db.execute("DELETE FROM trail")
            db.execute("DELETE FROM cursor WHERE name = ?", (PROJECTOR,))

    # Readers

    def cursor(self, name: str) -> Position:
        """Return where the reader *name* is; None at the beginning."""
        with self._read() as db:
            return _cursor(db, name)

    def advance(self, name: str, position: Position, parked: Sequence[Parking], now: int) -> None:
        """Move the reader *name*, and set aside what it could not deliver."""
        with self._write() as db:
            _park(db, parked, now)
            db.execute(_SET_CURSOR, (name, position))

    def check_writer(self) -> None:
        """Raise `Outdated` where a newer journeykit does not let this one write."""
        with self._read() as db:
            versions.check_writer(db, self._path)

    def lead(self, role: str) -> Lease | None:
        """Return the leadership of *role*, or None while another process has it."""
        self.open()
        with self._translate(), native.unforked():
            return self._locks.lease(f"lead-{role}")

    # Parked events and counters

    def parked(
        self, owner: str | None = None, *, replay: bool | None = None, limit: int = 1000
    ) -> list[Parked]:
        """Return parked events, oldest first."""
        query = (
            f"SELECT number, owner, reason, parked_at, replay, {_ENTRY_COLUMNS} FROM parked "
            "WHERE (:owner IS NULL OR owner = :owner) AND (:replay IS NULL OR replay = :replay) "
            "ORDER BY number LIMIT :limit"
        )
        with self._read() as db:
            return [
                _parked(row)
                for row in db.execute(query, {"owner": owner, "replay": replay, "limit": limit})
            ]

    def parked_counts(self) -> dict[str, int]:
        """Return how many events each owner has parked."""
        with self._read() as db:
            return dict(db.execute("SELECT owner, count(*) FROM parked GROUP BY owner"))

    def replay(self, owner: str | None = None) -> int:
        """Mark parked events for another try; returns how many."""
        query = (
            "UPDATE parked SET replay = 1 WHERE replay = 0 AND (:owner IS NULL OR owner = :owner)"
        )
        with self._write() as db:
            return db.execute(query, {"owner": owner}).rowcount

    def settle(self, numbers: Sequence[int], failed: Mapping[int, str]) -> None:
        """Remove replayed events; those in *failed* stay parked, with a new reason."""
        with self._write() as db:
            db.executemany("DELETE FROM parked WHERE number = ?", _rows(numbers))
            db.executemany(
                "UPDATE parked SET replay = 0, reason = ? WHERE number = ?",
                [(reason, number) for number, reason in failed.items()],
            )

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the counters."""
        with self._write() as db:
            _count(db, counts)

    def counters(self) -> dict[str, int]:
        """Return the counters."""
        with self._read() as db:
            return {"events": 0, **dict(db.execute("SELECT name, value FROM counter"))}

    # Connections and transactions

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        self.open()
        with self._translate(), native.unforked(), self._connection().used() as db:
            yield db

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        self.open()
        with (
            self._translate(),
            self._locks.hold("commit"),
            native.unforked(),
            self._connection().used() as db,
        ):
            db.execute("BEGIN IMMEDIATE")
            try:
                versions.check_writer(db, self._path)
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = Connection(self._connect())
            self._connections.add(connection)
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _touch(self) -> None:
        # Closing a file that SQLite has open too would cost this process all its locks on it, and
        # another process would delete what this one writes to: only a new file is opened here.
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            os.close(os.open(self._path, flags, 0o600))
        except FileExistsError:
            if self._path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)) from None

    def _is_made(self) -> bool:
        """Return whether the tables are there, and new enough; somebody may be making them."""
        with native.unforked(), self._connection().used() as db:
            try:
                db.execute("BEGIN")
                made = self._check(db) >= versions.SCHEMA_VERSION
                return made and db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            except sqlite3.OperationalError:
                return False
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def _create(self) -> None:
        with native.unforked(), self._connection().used() as db:
            version = self._check(db)
            db.execute("PRAGMA journal_mode = WAL")
            create = f"{_SCHEMA} PRAGMA application_id = {_APPLICATION};"
            versions.upgrade(db, version, create)

    def _check(self, db: sqlite3.Connection) -> int:
        """Return the version of the tables, 0 for none; changes nothing in a file of others."""
        owner = db.execute("PRAGMA application_id").fetchone()[0]
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if owner != _APPLICATION and (owner or version or tables):
            msg = f"store {self._path}: it is another program's database; name another file"
            raise StoreError(msg)
        return version

    @contextlib.contextmanager
    def _translate(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise explained(error, self._path) from error
        except OSError as error:
            hint = "make its directory writable for this user, or name another place"
            msg = f"store {self._path}: {error.strerror}; {hint}"
            raise StoreError(msg) from error


def _append(db: sqlite3.Connection, entries: Sequence[Entry], now: int) -> int:
    if not entries:
        return 0
    last = db.execute("SELECT recorded_at FROM log ORDER BY position DESC LIMIT 1").fetchone()
    recorded_at = max(now, last[0]) if last else now
    before = db.total_changes
    db.executemany(_INSERT_LOG, [(recorded_at, *_row(entry)) for entry in entries])
    return db.total_changes - before


def _park(db: sqlite3.Connection, parkings: Sequence[Parking], now: int) -> None:
    db.executemany(
        _INSERT_PARKED, [(owner, reason, now, *_row(entry)) for owner, entry, reason in parkings]
    )


def _mark(db: sqlite3.Connection, watermarks: Sequence[Watermark]) -> None:
    db.executemany(
        "INSERT INTO watermark (file, place) VALUES (?, ?) "
        "ON CONFLICT (file) DO UPDATE SET place = max(place, excluded.place)",
        [mark for mark in watermarks if mark[1] is not None],
    )
    gone = [(file,) for file, place in watermarks if place is None]
    db.executemany("DELETE FROM watermark WHERE file = ?", gone)


def _count(db: sqlite3.Connection, counts: Mapping[str, int]) -> None:
    db.executemany(_ADD_COUNT, [(name, value) for name, value in counts.items() if value])


def _cursor(db: sqlite3.Connection, name: str) -> Position:
    row = db.execute("SELECT position FROM cursor WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def _rows(numbers: Iterable[int]) -> list[tuple[int]]:
    return [(number,) for number in numbers]


def _row(entry: Entry) -> tuple[Any, ...]:
    return (entry.id, _KIND_NUMBERS[entry.kind], *entry[2:])


def _entry(columns: tuple[Any, ...]) -> Entry:
    return Entry(columns[0], _KINDS[columns[1]], *columns[2:])


def _stored(row: tuple[Any, ...]) -> Stored:
    return Stored(row[0], row[1], _entry(row[2:]))


def _parked(row: tuple[Any, ...]) -> Parked:
    number, owner, reason, parked_at, replay = row[:5]
    return Parked(number, owner, _entry(row[5:]), reason, parked_at, bool(replay))
