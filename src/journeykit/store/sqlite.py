"""
A store in one SQLite file, shared by all processes of a host.

Readers never wait.
Writers take a file lock before SQLite's own, which is unfair when several processes want it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final

from journeykit import native
from journeykit.exceptions import StoreDamaged, StoreError, StoreReplaced, Superseded
from journeykit.model.times import to_datetime
from journeykit.store.connection import Connection, explained, identity_of, means_damage
from journeykit.store.locks import LockDirectory
from journeykit.store.protocol import (
    PROJECTOR,
    Commit,
    Committed,
    Parked,
    Parking,
    Projection,
)
from journeykit.store.repair import Repair, confirmed, has_all
from journeykit.store.schema import (
    APPLICATION,
    CREATE,
    ENTRY_COLUMNS,
    FOUND_AGAIN,
    LOST,
    SCHEMA_VERSION,
    SELECT_LOG,
    SET_CURSOR,
    append,
    count,
    cursor_of,
    mark,
    one_column,
    park,
    parked_of,
    stored_of,
)
from journeykit.store.tally import Tally, TallyFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from journeykit.model.event import Stored
    from journeykit.store.connection import Identity
    from journeykit.store.protocol import Lease, Position, StateKey

#: How long to wait for somebody who locks the file without our file lock, in seconds.
_BUSY_TIMEOUT: Final = 5.0

_log = logging.getLogger("journeykit")


class SQLiteStore:
    """
    Keeps everything in the SQLite file at *path*; its positions are integers.

    The file and its lock files can be read by their owner only.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path).absolute()
        self._file = str(self._path)
        beside = self._path.with_name(f"{self._path.name}-locks")
        self._locks = LockDirectory(beside)
        #: For the moments in which files are opened, or change their names.
        self._naming = LockDirectory(beside)
        self._tally = TallyFile(beside / "tally")
        self._repair = Repair(self._path, self._tally, self._swapping)
        self._inherited: list[object] = []
        #: The file that was found to be ours and whole; None before.
        self._checked: Identity = None
        #: The file that was found damaged, and the one that turned out to be whole then.
        self._suspected: Identity = None
        self._doubted: Identity = None
        self._begin()

    def _begin(self) -> None:
        #: A thread holds its own connection, and closes it by ending.
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._local = native.local()
        #: Which file a thread's last writing went to.
        self._knowing = native.local()
        self._opening = native.lock()
        self._closing = native.rlock()

    @property
    def name(self) -> str:
        """The file's path."""
        return self._file

    # Opening and closing

    def open(self) -> None:
        """
        Create the file and its tables where they are missing.

        Raises:
            StoreError: It cannot be written, or a newer journeykit made it.
        """
        self._opened()

    def _opened(self) -> Identity:
        """Return which file there is, having made sure that it is ours."""
        with self._translate():
            if self._checked is not None and self._checked == identity_of(self._file):
                return self._checked
            with self._opening:
                return self._open()

    def _open(self) -> Identity:
        if self._checked is not None and self._checked == identity_of(self._file):
            return self._checked
        self._checked = None
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._locks.open()
        with self._locks.hold("commit"), native.unforked():
            self._make_file()
            self._create()
            self._checked = checked = identity_of(self._file)
        return checked

    def mend(self, now: int) -> bool:
        """Repair the file, if somebody of this process has found it damaged; returns if it did."""
        suspected = self._suspected
        if suspected is None:
            return False
        with self._translate(), self._locks.hold("commit"), native.unforked():
            mine = suspected == identity_of(self._file)
            mended = mine and self._is_damaged(suspected)
            if mended:
                self._repair.run(to_datetime(now))
            self._drop_connections()
            self._checked = self._suspected = None
        return mended

    def _is_damaged(self, suspected: Identity) -> bool:
        """Return whether the file is, or is said to be once more, after it was found whole."""
        again = suspected == self._doubted
        if again or confirmed(self._path, self._tally.read()):
            return True
        self._doubted = suspected
        return False

    def close(self) -> None:
        """Close this process's connections."""
        with self._opening, native.unforked():
            self._checked = None
            self._drop_connections()
            self._knowing = native.local()
            for part in (self._locks, self._naming, self._tally):
                part.close()

    def _drop_connections(self) -> None:
        for connection in list(self._connections):
            connection.close()
        self._connections.clear()
        self._local = native.local()

    def reset_after_fork(self) -> None:
        """Forget, without closing, what the parent process has open."""
        # Closing an inherited connection would clean up files that the parent still uses.
        self._inherited.extend(self._connections)
        self._begin()
        for locks in (self._locks, self._naming):
            locks.reset_after_fork()
        self._tally.close()
        self._repair.let_go()
        self._checked = None

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
            added = append(db, commit.entries, now)
            park(db, commit.parked, now)
            count(db, {**commit.counts, "events": commit.counts.get("events", 0) + added})
            if commit.again:
                db.execute(FOUND_AGAIN, (added, LOST))
            db.executemany("DELETE FROM parked WHERE number = ?", one_column(commit.unparked))
            mark(db, commit.watermarks)
        return Committed(added, len(commit.entries) - added)

    def read(self, after: Position, limit: int) -> list[Stored]:
        """Return up to *limit* events behind *after*, in Log order."""
        query = f"{SELECT_LOG} WHERE position > ? ORDER BY position LIMIT ?"
        with self._read() as db:
            return [stored_of(row) for row in db.execute(query, (after or 0, limit))]

    def fetch(self, positions: Sequence[Position]) -> list[Stored]:
        """Return the events at *positions*, in Log order."""
        query = f"{SELECT_LOG} WHERE position = ?"
        with self._read() as db:
            found = [db.execute(query, (position,)).fetchone() for position in sorted(positions)]
        return [stored_of(row) for row in found if row is not None]

    def signal(self) -> object:
        """Return what changes when anybody else has written to the file, or found it damaged."""
        if self._suspected is not None:
            return "suspected"
        with self._read() as db:
            return self._checked, db.execute("PRAGMA data_version").fetchone()[0]

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
            if cursor_of(db, projection.cursor) != projection.expected:
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
            db.executemany("INSERT OR IGNORE INTO trail VALUES (?, ?)", projection.trail)
            append(db, projection.derived, now)
            count(db, projection.counts)
            db.execute(SET_CURSOR, (projection.cursor, projection.position))

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
            return cursor_of(db, name)

    def advance(self, name: str, position: Position, parked: Sequence[Parking], now: int) -> None:
        """Move the reader *name*, and set aside what it could not deliver."""
        with self._write() as db:
            park(db, parked, now)
            db.execute(SET_CURSOR, (name, position))

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
            f"SELECT number, owner, reason, parked_at, replay, {ENTRY_COLUMNS} FROM parked "
            "WHERE (:owner IS NULL OR owner = :owner) AND (:replay IS NULL OR replay = :replay) "
            "ORDER BY number LIMIT :limit"
        )
        with self._read() as db:
            return [
                parked_of(row)
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
        with self._write(follows=False) as db:
            return db.execute(query, {"owner": owner}).rowcount

    def settle(self, numbers: Sequence[int], failed: Mapping[int, str]) -> None:
        """Remove replayed events; those in *failed* stay parked, with a new reason."""
        with self._write() as db:
            db.executemany("DELETE FROM parked WHERE number = ?", one_column(numbers))
            db.executemany(
                "UPDATE parked SET replay = 0, reason = ? WHERE number = ?",
                [(reason, number) for number, reason in failed.items()],
            )

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the counters."""
        with self._write(follows=False) as db:
            count(db, counts)

    def counters(self) -> dict[str, int]:
        """Return the counters."""
        with self._read() as db:
            return {"events": 0, **dict(db.execute("SELECT name, value FROM counter"))}

    # Connections and transactions

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        file = self._opened()
        self._knowing.__dict__.setdefault("file", file)
        with self._translate(), native.unforked(), self._connection(file).used() as db:
            yield db

    @contextlib.contextmanager
    def _write(self, *, follows: bool = True) -> Iterator[sqlite3.Connection]:
        """Open a transaction; one that *follows* from what was read needs the file that had it."""
        file = self._opened()
        with self._translate(), self._locks.hold("commit"), native.unforked():
            self._stand_before(file, follows=follows)
            with self._connection(file).used() as db:
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                    tally = Tally.of(db, SCHEMA_VERSION)
                    db.execute("COMMIT")
                except BaseException:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    raise
            # Somebody else may have put another file there meanwhile, without any lock of ours.
            self._stand_before(file, follows=False)
            self._tally.write(tally)

    def _stand_before(self, file: Identity, *, follows: bool) -> None:
        """Raise `StoreReplaced` if *file* is gone, or not the one that this thread wrote to."""
        # Nobody renames it while we hold the lock on commits, so nothing goes into another file.
        replaced = file != identity_of(self._file)
        if follows and not replaced:
            replaced = file != self._knowing.__dict__.setdefault("file", file)
            self._knowing.file = file
        if replaced:
            msg = f"store {self._path}: it was repaired or replaced meanwhile; try again"
            raise StoreReplaced(msg)

    @contextlib.contextmanager
    def _swapping(self) -> Iterator[None]:
        """Hold what keeps files from being opened, closed or renamed."""
        with self._closing, self._naming.hold("file"):
            yield

    def _connection(self, identity: Identity) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None and connection.identity != identity:
            connection.close()
            connection = None
        if connection is None:
            with self._swapping():
                found = identity_of(self._file)
                connection = Connection(self._connect(), found, self._closing)
            self._local.connection = connection
            self._connections.add(connection)
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            # Opens the write-ahead log as well, while it surely belongs to this file.
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_file(self) -> None:
        """Create the file where it is missing; one that was emptied is damaged."""
        noted = self._tally.read()
        with self._swapping():
            self._repair.finish()
        standing = identity_of(self._file)
        if standing is None and noted is not None and noted.position:
            # Somebody has taken it away: what is left of it would mean nothing to a new one.
            _log.warning("journeykit.store_missing", extra={"file": str(self._path)})
            self._tally.write(Tally(SCHEMA_VERSION, 0, 0))
        elif standing is not None and not self._path.stat().st_size and self._had_content(noted):
            raise self._damaged("it is empty")
        # To close it frees locks that SQLite may have on it.
        if not any(known.identity == standing for known in self._connections):
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _had_content(self, noted: Tally | None) -> bool:
        if noted is not None and noted.position:
            return True
        wal = self._path.with_name(f"{self._path.name}-wal")
        return wal.exists() and wal.stat().st_size > 0

    def _create(self) -> None:
        # Looked at before it is opened for writing: to close that would cut off what is behind a
        # damaged place of the write-ahead log.
        if not has_all(self._path, self._tally.read()):
            raise self._damaged("it has less than it had")
        with self._connection(identity_of(self._file)).used() as db:
            version = self._check(db)
            db.execute("PRAGMA journal_mode = WAL")
            if version == 0:
                db.executescript(CREATE)

    def _check(self, db: sqlite3.Connection) -> int:
        """Return the version of the tables, 0 for none; changes nothing in a file of others."""
        owner = db.execute("PRAGMA application_id").fetchone()[0]
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if owner != APPLICATION and (owner or version or tables):
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
            if means_damage(error) and self._is_ours():
                raise self._damaged(str(error)) from error
            raise explained(error, self._path) from error
        except OSError as error:
            hint = "make its directory writable for this user, or name another place"
            msg = f"store {self._path}: {error.strerror}; {hint}"
            raise StoreError(msg) from error

    def _is_ours(self) -> bool:
        """Return whether the file held a store, whatever it holds now."""
        noted = self._tally.read()
        return self._checked is not None or (noted is not None and noted.position > 0)

    def _damaged(self, detail: str) -> StoreDamaged:
        """Note that the file is damaged, for `mend`."""
        self._suspected = self._checked or identity_of(self._file)
        return StoreDamaged(
            f"store {self._path}: it is damaged ({detail}); a process that tracks repairs it, and "
            f"so does `journeykit drain`"
        )
