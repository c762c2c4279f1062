"""
A store in one SQLite file, shared by all processes of a host.

Readers never wait.
Writers take a file lock before SQLite's own, which is unfair when several processes want it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sqlite3
import weakref
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from journeykit import native
from journeykit.exceptions import StoreError, Superseded
from journeykit.store import rows, wal
from journeykit.store.connection import Connection, explained
from journeykit.store.erasure import DELETED_COUNT, LATE_COUNT, screen
from journeykit.store.locks import LockDirectory
from journeykit.store.protocol import (
    PROJECTOR,
    Commit,
    Committed,
    Parked,
    Parking,
    Projection,
)
from journeykit.store.sqlite_erasing import TABLES as ERASING_TABLES
from journeykit.store.sqlite_erasing import SQLiteErasing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from journeykit.model.event import Entry, Outgoing, Stored
    from journeykit.store.erasure import Id
    from journeykit.store.protocol import Lease, Position, StateKey

#: Counts up with each change that older versions of journeykit cannot read.
SCHEMA_VERSION: Final = 1

#: What tells a store of ours from any other SQLite file ("jkit").
_APPLICATION: Final = 0x6A6B6974

#: Events of a history read at a time: no reader keeps the write-ahead log from being emptied.
_PAGE: Final = 500

#: How long to wait for somebody who locks the file without our file lock, in seconds.
_BUSY_TIMEOUT: Final = 5.0

#: Pieces of State that a scan reads at a time.
PAGE: Final = 500

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

#: What came after the first tables; older versions of journeykit leave it alone.
_ADDED: Final = """
CREATE TABLE IF NOT EXISTS status (
    name TEXT PRIMARY KEY,
    status BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS parked_user ON parked (owner, user_id);
CREATE INDEX IF NOT EXISTS parked_visitor ON parked (owner, anonymous_id);
"""

_SET_CURSOR: Final = (
    "INSERT INTO cursor (name, position) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET position = excluded.position"
)


class SQLiteStore:
    """
    Keeps everything in the SQLite file at *path*; its positions are integers.

    The file and its lock files can be read by their owner only.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path).absolute()
        self._locks = LockDirectory(self._path.with_name(f"{self._path.name}-locks"))
        self._wal = wal.WriteAheadLog(self._path)
        self.erasing = SQLiteErasing(self._path, self._read, self._write, self._alone)
        #: A thread holds its own connection, and closes it by ending.
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._inherited: list[object] = []
        self._local = native.local()
        self._opening = native.lock()
        self._ready = False

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self._path)

    def sizes(self) -> dict[str, int]:
        """Return how many bytes the file has, and what SQLite writes ahead of it."""
        try:
            database = self._path.stat().st_size
        except OSError:
            database = 0
        return {"database": database, "write_ahead": self._wal.size()}

    # Opening and closing

    def open(self) -> None:
        """
        Create the file and its tables where they are missing.

        Raises:
            StoreError: It cannot be written, or a newer journeykit made it.
        """
        with self._opening, self._translate():
            if self._ready:
                return
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._locks.open()
            with self._locks.hold("commit"):
                self._create()
            self._ready = True

    def close(self) -> None:
        """Close this process's connections."""
        with self._opening, native.unforked():
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
        self.erasing.reset_after_fork()
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

    def watermarks(self) -> list[str]:
        """Return the files of events that were read from."""
        with self._read() as db:
            return [file for (file,) in db.execute("SELECT file FROM watermark ORDER BY file")]

    def commit(self, commit: Commit, now: int) -> Committed:
        """Write *commit*; its entries are recorded at *now*, or later if the Log is later."""
        with self._write() as db:
            standing = rows.standing(db)
            entries = self._screen(db, commit.entries, standing.erased_at)
            added = rows.append(db, entries, standing.recorded_at, now)
            self._park(db, commit.parked, standing.erased_at, now)
            erased = len(commit.entries) - len(entries)
            counts = Counter(commit.counts)
            counts.update({"events": added, LATE_COUNT: erased})
            rows.count(db, counts)
            db.executemany("DELETE FROM parked WHERE number = ?", _numbered(commit.unparked))
            rows.mark(db, commit.watermarks)
        return Committed(added, len(entries) - added, erased)

    def _screen(
        self, db: sqlite3.Connection, entries: Sequence[Entry], erased_at: int | None
    ) -> Sequence[Entry]:
        """Leave out what is about people who were erased since."""
        return screen(entries, erased_at, functools.partial(self.erasing.erased, db))

    def _park(
        self, db: sqlite3.Connection, parked: Sequence[Parking], erased_at: int | None, now: int
    ) -> None:
        for owner, entry, reason in parked:
            left = self._screen(db, [entry], erased_at)
            rows.park(db, [Parking(owner, one, reason) for one in left], now)

    def read(self, after: Position, limit: int, *, derived: bool = True) -> list[Stored]:
        """Return up to *limit* events behind *after*, in Log order."""
        query = rows.READ if derived else rows.READ_OBSERVED
        with self._read() as db:
            return rows.stored(db, query, {"after": after or 0, "limit": limit})

    def outgoing(self, after: Position, limit: int) -> list[Outgoing]:
        """Return up to *limit* events behind *after*, in Log order, as a relay reads them."""
        with self._read() as db:
            return rows.outgoing(db, {"after": after or 0, "limit": limit})

    def fetch(self, positions: Sequence[Position]) -> list[Stored]:
        """Return the events at *positions*, in Log order."""
        with self._read() as db:
            return rows.stored(db, rows.FETCH, {"positions": json.dumps(list(positions))})

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

    def states(self, keys: Collection[StateKey]) -> dict[StateKey, bytes]:
        """Return pieces of State, as far as they are there."""
        query = (
            "SELECT key, data FROM state "
            "WHERE space = ? AND key IN (SELECT value FROM json_each(?))"
        )
        wanted: dict[str, list[str]] = {}
        for space, key in keys:
            wanted.setdefault(space, []).append(key)
        with self._read() as db:
            return {
                (space, key): data
                for space, names in wanted.items()
                for key, data in db.execute(query, (space, json.dumps(names)))
            }

    def page(self, space: str, after: str, limit: int) -> list[tuple[str, bytes]]:
        """Return up to *limit* keys behind *after*, and their State, in order of keys."""
        query = "SELECT key, data FROM state WHERE space = ? AND key > ? ORDER BY key LIMIT ?"
        with self._read() as db:
            return db.execute(query, (space, after, limit)).fetchall()

    def scan(self, space: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield the keys that begin with *prefix*, and their State, in order of keys."""
        place, compare = prefix, ">="
        while True:
            # A page at a time: as long as somebody reads, the write-ahead log cannot begin anew.
            query = (
                f"SELECT key, data FROM state WHERE space = ? AND key {compare} ? "
                f"ORDER BY key LIMIT {PAGE}"
            )
            with self._read() as db:
                page = db.execute(query, (space, place)).fetchall()
            for key, data in page:
                if not key.startswith(prefix):
                    return
                yield key, data
            if len(page) < PAGE:
                return
            place, compare = page[-1][0], ">"

    def find(self, space: str, part: str) -> list[str]:
        """Return the keys of *space* that contain *part*; it looks at all of them."""
        query = "SELECT key FROM state WHERE space = ? AND instr(key, ?) ORDER BY key"
        with self._read() as db:
            return [key for (key,) in db.execute(query, (space, part))]

    def trail(self, customer: str) -> list[Position]:
        """Return the positions of a customer's events, in Log order."""
        query = "SELECT position FROM trail WHERE customer = ? ORDER BY position"
        with self._read() as db:
            return [row[0] for row in db.execute(query, (customer,))]

    def history(self, customers: Sequence[str], since: Position = None) -> Iterator[Stored]:
        """Yield the events of these customers from the position *since* on, in Log order."""
        names, after = json.dumps(list(customers)), (since or 0) - 1
        while True:
            values = {"customers": names, "after": after, "limit": _PAGE}
            with self._read() as db:
                found = rows.stored(db, rows.READ_HISTORY, values)
            yield from found
            if len(found) < _PAGE:
                return
            after = found[-1].position

    def project(self, projection: Projection, now: int) -> None:
        """Write *projection*, or raise `Superseded`."""
        state = projection.state
        with self._write() as db:
            if _cursor(db, projection.cursor) != projection.expected:
                msg = f"the cursor {projection.cursor!r} has moved"
                raise Superseded(msg)
            rows.insert(
                db,
                rows.SET_STATE,
                [(*key, data) for key, data in state.items() if data is not None],
            )
            db.executemany(
                "DELETE FROM state WHERE space = ? AND key = ?",
                [key for key, data in state.items() if data is None],
            )
            for resolved in projection.erased:
                self.erasing.note(db, resolved)
            rows.insert(db, rows.ADD_TRAIL, projection.trail)
            standing = rows.standing(db)
            derived = self._screen(db, projection.derived, standing.erased_at)
            rows.append(db, derived, standing.recorded_at, now)
            self.erasing.close_window(db, projection.erased)
            rows.count(db, projection.counts)
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
            if parked:
                self._park(db, parked, rows.standing(db).erased_at, now)
            db.execute(_SET_CURSOR, (name, position))

    def tell_status(self, name: str, status: bytes) -> None:
        """Keep what the reader *name* says of itself, for other processes."""
        with self._write() as db:
            db.execute("INSERT OR REPLACE INTO status (name, status) VALUES (?, ?)", (name, status))

    def told_status(self, name: str) -> bytes | None:
        """Return what the reader *name* has said of itself last."""
        with self._read() as db:
            row = db.execute("SELECT status FROM status WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def lead(self, role: str) -> Lease | None:
        """Return the leadership of *role*, or None while another process has it."""
        self.open()
        with self._translate(), native.unforked():
            return self._locks.lease(f"lead-{role}")

    # Parked events and counters

    def parked(
        self,
        owner: str | None = None,
        *,
        replay: bool | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[Parked]:
        """Return parked events, oldest first, those behind the number *after*."""
        with self._read() as db:
            return rows.parked(db, owner, replay=replay, after=after, limit=limit)

    def with_parked(self, owner: str, customers: Collection[Id]) -> set[Id]:
        """Return those of *customers* of whom *owner* has parked an event."""
        with self._read() as db:
            return rows.with_parked(db, owner, customers)

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
            count = db.execute(query, {"owner": owner}).rowcount
            rows.count(db, {"replayed": count})
        return count

    def settle(self, numbers: Sequence[int], failed: Mapping[int, str]) -> None:
        """Remove replayed events; those in *failed* stay parked, with a new reason."""
        with self._write() as db:
            db.executemany("DELETE FROM parked WHERE number = ?", _numbered(numbers))
            db.executemany(
                "UPDATE parked SET replay = 0, reason = ? WHERE number = ?",
                [(reason, number) for number, reason in failed.items()],
            )

    def drop(self, numbers: Sequence[int]) -> int:
        """Delete parked events, and count them as `dropped`; returns how many there were."""
        with self._write() as db:
            before = db.total_changes
            db.executemany("DELETE FROM parked WHERE number = ?", _numbered(numbers))
            count = db.total_changes - before
            rows.count(db, {"dropped": count})
        return count

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the counters."""
        with self._write() as db:
            rows.count(db, counts)

    def counters(self) -> dict[str, int]:
        """Return the counters."""
        with self._read() as db:
            counters = {"events": 0, **dict(db.execute("SELECT name, value FROM counter"))}
        # That one never falls: it tells how far the Log has come.
        counters["events"] -= counters.get(DELETED_COUNT, 0)
        return counters

    # Connections and transactions

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        self.open()
        with self._translate(), self._connected() as db:
            yield db

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        self.open()
        with self._translate(), self._locks.hold("commit"):
            with self._connected() as db:
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                    db.execute("COMMIT")
                except BaseException:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    raise
            self._wal.tend(self._connected)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[sqlite3.Connection]:
        """Hold the writers' lock, with a connection that remembers no page."""
        self.open()
        with self._translate(), self._locks.hold("commit"), native.unforked():
            connection = Connection(self._connect())
            try:
                with connection.used() as db:
                    db.execute("PRAGMA busy_timeout = 0")
                    yield db
            finally:
                connection.close()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with native.unforked(), self._connection().used() as db:
            yield db

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
            # What is deleted is overwritten; not everywhere is that SQLite's default.
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(f"PRAGMA journal_size_limit = {wal.SOFT_BYTES}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self) -> None:
        with native.unforked(), self._connection().used() as db:
            version = self._check(db)
            db.execute("PRAGMA journal_mode = WAL")
            if version == 0:
                script = (
                    f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {_APPLICATION}; "
                    f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                )
                db.executescript(script)
            db.executescript(_ADDED + ERASING_TABLES)

    def _check(self, db: sqlite3.Connection) -> int:
        """Return the version of the tables, 0 for none; changes nothing in a file of others."""
        owner = db.execute("PRAGMA application_id").fetchone()[0]
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if owner != _APPLICATION and (owner or version or tables):
            msg = f"store {self._path}: it is another program's database; name another file"
            raise StoreError(msg)
        if version > SCHEMA_VERSION:
            msg = (
                f"store {self._path}: a newer journeykit made it (schema {version}, this one reads "
                f"{SCHEMA_VERSION}); upgrade journeykit"
            )
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


def _cursor(db: sqlite3.Connection, name: str) -> Position:
    row = db.execute("SELECT position FROM cursor WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def _numbered(numbers: Iterable[int]) -> list[tuple[int]]:
    return [(number,) for number in numbers]
