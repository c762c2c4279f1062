"""Claims in a SQLite file of their own, beside the database: no commit waits for them."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import weakref
from typing import TYPE_CHECKING, Final

from journeykit import native
from journeykit.exceptions import StoreError
from journeykit.store.claims import KEPT, Claim
from journeykit.store.connection import Connection, explained, identity_of, means_damage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

#: How long a page waits for another process that takes a claim, in seconds.
_BUSY_TIMEOUT: Final = 0.25

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS claim (
  impression TEXT PRIMARY KEY, customer TEXT NOT NULL, prompt TEXT NOT NULL, session TEXT,
  language TEXT NOT NULL, claimed_at INTEGER NOT NULL, due_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL, shown_at INTEGER, rank INTEGER NOT NULL, seq INTEGER NOT NULL,
  withdrawn INTEGER NOT NULL
) WITHOUT ROWID
"""
_INDEXES: Final = (
    "CREATE INDEX IF NOT EXISTS claim_of ON claim (customer)",
    "CREATE INDEX IF NOT EXISTS claim_at ON claim (claimed_at)",
)

_COLUMNS: Final = ", ".join(Claim._fields)
_OF: Final = (
    f"SELECT {_COLUMNS} FROM claim WHERE customer IN (SELECT value FROM json_each(?)) "
    "ORDER BY claimed_at, impression"
)
_PLACES: Final = ", ".join("?" * len(Claim._fields))
_PUT: Final = f"INSERT OR REPLACE INTO claim ({_COLUMNS}) VALUES ({_PLACES})"
_FIND: Final = f"SELECT {_COLUMNS} FROM claim WHERE impression = ?"


class SQLiteClaims:
    """
    Keeps claims in the SQLite file at *path*, which only its owner can read.

    A file that is damaged is replaced by an empty one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inherited: list[object] = []
        self._begin()

    def _begin(self) -> None:
        #: A thread holds its own connection, and closes it by ending.
        self._local = native.local()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._closing = native.rlock()
        self._process = os.getpid()

    def reset_after_fork(self) -> None:
        """Forget, without closing, what the parent process has open."""
        self._inherited.extend(self._connections)
        self._begin()

    def close(self) -> None:
        """Close this process's connections."""
        for connection in list(self._connections):
            connection.close()
        self._connections.clear()
        self._local = native.local()

    def size(self) -> int:
        """Return how many bytes the file has."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def of(self, customers: Collection[str]) -> list[Claim]:
        """Return the claims of customers by their keys, the oldest first."""
        with self._used() as db:
            return _claims(db.execute(_OF, (json.dumps(sorted(customers)),)))

    def find(self, impression: str) -> Claim | None:
        """Return the claim of this impression."""
        with self._used() as db:
            found = _claims(db.execute(_FIND, (impression,)))
        return found[0] if found else None

    def take(self, claim: Claim, customers: Collection[str], known: Sequence[Claim]) -> bool:
        """Take *claim*, unless the claims of *customers* are others by now than *known*."""
        old = claim.claimed_at - KEPT
        with self._written() as db:
            db.execute("DELETE FROM claim WHERE claimed_at < ?", (old,))
            now = _claims(db.execute(_OF, (json.dumps(sorted(customers)),)))
            if now != [each for each in known if each.claimed_at >= old]:
                return False
            waiting = [(each.impression,) for each in now if each.waits]
            db.executemany("UPDATE claim SET withdrawn = 1 WHERE impression = ?", waiting)
            db.execute(_PUT, claim)
        return True

    def change(self, before: Claim, after: Claim) -> bool:
        """Replace a claim by another of the same impression, if it still is *before*."""
        with self._written() as db:
            if _claims(db.execute(_FIND, (before.impression,))) != [before]:
                return False
            db.execute(_PUT, after)
        return True

    def forget(self, customers: Collection[str]) -> int:
        """Delete the claims of customers by their keys; returns how many there were."""
        if not self._path.exists():
            return 0
        query = "DELETE FROM claim WHERE customer IN (SELECT value FROM json_each(?))"
        with self._written() as db:
            return db.execute(query, (json.dumps(sorted(customers)),)).rowcount

    @contextlib.contextmanager
    def _written(self) -> Iterator[sqlite3.Connection]:
        with self._used() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    @contextlib.contextmanager
    def _used(self) -> Iterator[sqlite3.Connection]:
        try:
            with native.unforked(), self._connection().used() as db:
                yield db
        except sqlite3.Error as error:
            if means_damage(error):
                self._replace()
            raise explained(error, self._path) from error
        except OSError as error:
            hint = "make its directory writable for this user"
            msg = f"store {self._path}: {error.strerror}; {hint}"
            raise StoreError(msg) from error

    def _connection(self) -> Connection:
        if self._process != os.getpid():
            # A fork that Python was not told of.
            self.reset_after_fork()
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None and connection.identity != identity_of(self._path):
            # Somebody has put another file there, or none.
            connection.close()
            connection = None
        if connection is None:
            made = self._connect()
            connection = Connection(made, identity_of(self._path), self._closing)
            self._local.connection = connection
            self._connections.add(connection)
        return connection

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            # Made by us, so that nobody else can ever read it. Only where there is none: to close
            # a file that another thread has open too would cost this process all its locks.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            # A claim that the loss of power takes is one that has ended.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA secure_delete = ON")
            for statement in (_TABLE, *_INDEXES):
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _replace(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()


def _claims(rows: sqlite3.Cursor) -> list[Claim]:
    found = [Claim(*row) for row in rows]
    return [claim._replace(withdrawn=bool(claim.withdrawn)) for claim in found]
