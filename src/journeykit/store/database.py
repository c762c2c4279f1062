"""
One SQLite file and this process's connections to it: opened, read, written, repaired.

Readers never wait.
Writers take a file lock before SQLite's own, which is unfair when several processes want it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import sqlite3
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final

from journeykit import native
from journeykit.exceptions import StoreDamaged, StoreError, StoreReplaced
from journeykit.model.times import to_datetime
from journeykit.store import versions, wal
from journeykit.store.connection import Connection, explained, identity_of, means_damage
from journeykit.store.locks import LockDirectory
from journeykit.store.repair import Repair, confirmed, has_all
from journeykit.store.schema import APPLICATION
from journeykit.store.tally import Tally, TallyFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journeykit.store.connection import Identity

#: How long to wait for somebody who locks the file without our file lock, in seconds.
_BUSY_TIMEOUT: Final = 5.0

#: How long to wait for somebody who is making the file, or commits to it, in seconds.
_OPEN_TIMEOUT: Final = 0.3

_log = logging.getLogger("journeykit")


class Database:
    """
    The SQLite file at *path*, read and written in transactions.

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
        self._wal = wal.WriteAheadLog(self._path)
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
        self._closing = native.rlock()

    @property
    def name(self) -> str:
        """The file's path."""
        return self._file

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
            StoreError: It cannot be written, or is another program's.
        """
        self._opened()

    def _opened(self) -> Identity:
        """Return which file there is, having made sure that it is ours."""
        with self._translate():
            if self._checked is not None and self._checked == identity_of(self._file):
                return self._checked
            return self._open()

    def _open(self) -> Identity:
        self._checked = None
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._locks.open()
        lease = self._locks.lease_within("commit", _OPEN_TIMEOUT)
        # Who has the lock may have been stopped: nobody waits for it who only wants to read.
        if lease is not None:
            with lease, native.unforked():
                self._make()
        elif not self._is_made():
            with self._locks.hold("commit"), native.unforked():
                self._make()
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
        with native.unforked():
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

    # Connections and transactions

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        file = self._opened()
        self._knowing.__dict__.setdefault("file", file)
        with self._translate(), self._connected(file) as db:
            yield db

    @contextlib.contextmanager
    def _write(self, *, follows: bool = True) -> Iterator[sqlite3.Connection]:
        """Open a transaction; one that *follows* from what was read needs the file that had it."""
        file = self._opened()
        with self._translate(), self._locks.hold("commit"):
            with native.unforked():
                self._stand_before(file, follows=follows)
                with self._transaction(file) as db:
                    yield db
            self._wal.tend(functools.partial(self._connected, file))

    @contextlib.contextmanager
    def _transaction(self, file: Identity) -> Iterator[sqlite3.Connection]:
        with self._connected(file) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                versions.check_writer(db, self._path)
                yield db
                tally = Tally.of(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        # Somebody else may have put another file there meanwhile, without any lock of ours.
        self._stand_before(file, follows=False)
        self._tally.write(tally)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[sqlite3.Connection]:
        """Hold the writers' lock, with a connection that remembers no page and never waits."""
        file = self._opened()
        with self._translate(), self._locks.hold("commit"), native.unforked():
            self._stand_before(file, follows=False)
            with self._swapping(shared=True):
                connection = Connection(self._connect(), file, self._closing)
            try:
                with connection.used() as db:
                    versions.check_writer(db, self._path)
                    db.execute("PRAGMA busy_timeout = 0")
                    yield db
            finally:
                connection.close()

    @contextlib.contextmanager
    def _connected(self, file: Identity) -> Iterator[sqlite3.Connection]:
        with native.unforked(), self._connection(file).used() as db:
            yield db

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
    def _swapping(self, *, shared: bool = False) -> Iterator[None]:
        """Hold what keeps files from being opened, closed or renamed; *shared*, to open one."""
        with self._closing, self._naming.hold("file", shared=shared):
            yield

    def _connection(self, identity: Identity) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None and connection.identity != identity:
            connection.close()
            connection = None
        if connection is None:
            # Another process may be stopped while it opens the file too.
            with self._swapping(shared=True):
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
            # What is deleted is overwritten; not everywhere is that SQLite's default.
            connection.execute("PRAGMA secure_delete = ON")
            # What a statement would need to take itself back is in no file, which is faster, and
            # leaves nothing of anybody there.
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute(f"PRAGMA journal_size_limit = {wal.SOFT_BYTES}")
            # Opens the write-ahead log as well, while it surely belongs to this file.
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _make(self) -> None:
        """Make the file and its tables where they are missing; the caller holds the lock."""
        self._make_file()
        self._look()
        with self._connected(identity_of(self._file)) as db:
            version = self._check(db)
            db.execute("PRAGMA journal_mode = WAL")
            versions.upgrade(db, version)

    def _is_made(self) -> bool:
        """Return whether the tables are there, and new enough; somebody may be making them."""
        standing = identity_of(self._file)
        if standing is None or not self._path.stat().st_size:
            return False
        try:
            self._look()
            with self._connected(standing) as db:
                return self._has_tables(db)
        except sqlite3.OperationalError as error:
            if means_damage(error):
                raise
            return False

    def _has_tables(self, db: sqlite3.Connection) -> bool:
        db.execute("BEGIN")
        try:
            made = self._check(db) >= versions.SCHEMA_VERSION
            return made and db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")

    def _look(self) -> None:
        # Before it is opened for writing: to close that would cut off what is behind a damaged
        # place of the write-ahead log.
        if not has_all(self._path, self._tally.read()):
            raise self._damaged("it has less than it had")

    def _make_file(self) -> None:
        """Create the file where it is missing; one that was emptied is damaged."""
        noted = self._tally.read()
        if identity_of(self._file) is None:
            with self._swapping():
                self._repair.finish()
        if identity_of(self._file) is not None:
            if self._path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not self._path.stat().st_size and self._had_content(noted):
                raise self._damaged("it is empty")
            # Not opened: to close a file that SQLite has open too would cost this process all its
            # locks on it, and another process would delete what this one writes to.
            return
        if noted is not None and noted.position:
            # Somebody has taken it away: what is left of it would mean nothing to a new one.
            _log.warning("journeykit.store_missing", extra={"file": str(self._path)})
            self._tally.write(Tally(versions.SCHEMA_VERSION, 0, 0))
        # Unless another process makes it at this very moment.
        with contextlib.suppress(FileExistsError):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(self._path, flags, 0o600))

    def _had_content(self, noted: Tally | None) -> bool:
        if noted is not None and noted.position:
            return True
        return self._wal.size() > 0

    def _check(self, db: sqlite3.Connection) -> int:
        """Return the version of the tables, 0 for none; changes nothing in a file of others."""
        owner = db.execute("PRAGMA application_id").fetchone()[0]
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if owner != APPLICATION and (owner or version or tables):
            msg = f"store {self._path}: it is another program's database; name another file"
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
