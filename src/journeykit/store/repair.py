"""
Puts a new database in the place of a damaged one, which is set aside and stays.

The new one is made beside it, and takes its place when it is complete. The moment that counts is
when the damaged file gets its other name: before it, a new file that is left over is nothing; after
it, whoever comes finishes what was begun. All of this happens under the lock on commits, and no
connection is opened or closed while files change their names.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from journeykit import native
from journeykit.exceptions import StoreBusy, StoreDamaged
from journeykit.store import versions
from journeykit.store.connection import means_damage
from journeykit.store.hashes import Hashes
from journeykit.store.pages import Pages
from journeykit.store.salvage import Salvage
from journeykit.store.schema import APPLICATION, TABLES
from journeykit.store.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from journeykit.store.salvage import Salvaged
    from journeykit.store.tally import TallyFile

try:
    import fcntl
except ImportError:  # not on this platform; `LockDirectory` says so
    fcntl = None  # type: ignore[assignment]

_ASIDE: Final = ".damaged-"
_UNFINISHED: Final = ".salvaging-"
_COMPLETE: Final = ".salvaged-"
_BESIDE: Final = ("-wal", "-shm")
_STAMP: Final = "%Y%m%dT%H%M%S.%fZ"

#: Where SQLite locks a file that somebody reads: https://www.sqlite.org/src/file/src/os.h
_SHARED_FIRST: Final = 0x40000002
_SHARED_SIZE: Final = 510

#: How long to wait for somebody who is just closing the file, in seconds.
_PATIENCE: Final = 5.0

#: A disk that damages one file after the other is not to be filled with them: the pause after a
#: repair doubles with each one of the last day, from a second to an hour.
_FIRST_PAUSE, _LAST_PAUSE = timedelta(seconds=1), timedelta(hours=1)
_DAY: Final = timedelta(days=1)

_log = logging.getLogger("journeykit")


def has_all(path: Path, tally: Tally | None) -> bool:
    """
    Return whether the database at *path* has what *tally* says.

    Raises:
        sqlite3.Error: It cannot be read.
    """
    if tally is None or not tally.position:
        return True
    with contextlib.closing(_reader(path)) as db:
        others = db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION
        return (others and _has_tables(db)) or Tally.of(db).covers(tally)


def confirmed(path: Path, tally: Tally | None) -> bool:
    """
    Return whether the database at *path* is damaged, whatever a connection believes.

    Raises:
        sqlite3.Error: It cannot be told: the disk does not answer, or the file is locked.
    """
    if not path.stat().st_size:
        return True
    try:
        with contextlib.closing(_reader(path)) as db:
            whole = db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
            others = db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION
            if whole and others and _has_tables(db):
                return False
            names = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        return not (whole and names >= TABLES and has_all(path, tally))
    except sqlite3.DatabaseError as error:
        if not means_damage(error):
            raise
        return True


def _has_tables(db: sqlite3.Connection) -> bool:
    found: int = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return found > 0


class Repair:
    """
    Repairs the database at *path*; whoever calls this holds the lock on commits.

    Args:
        tally: What the database is known to have had; noted anew with the new one.

        swapping: What to hold while files change their names: nobody opens or closes them then.
    """

    def __init__(
        self,
        path: Path,
        tally: TallyFile,
        swapping: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._path = path
        self._tally = tally
        self._swapping = swapping
        #: A closed descriptor takes SQLite's locks on its file with it, so it stays until the file
        #: has been set aside.
        self._descriptor: int | None = None

    def run(self, now: datetime) -> Salvaged:
        """
        Make a new database of what can be read, and set the damaged one aside.

        Raises:
            StoreDamaged: A newer journeykit made it, or there were too many repairs lately.

            StoreBusy: Somebody is just closing it.

            sqlite3.Error, OSError: There is no room, or the disk does not answer.
        """
        # What SQLite puts beside a file stands beside what a link leads to.
        self._path = self._path.resolve()
        self._check(now)
        stamp = now.strftime(_STAMP)
        aside = self._beside(f"{_ASIDE}{stamp}")
        for left_over in self._all(_UNFINISHED, _COMPLETE):
            left_over.unlink()
        descriptor = self._hold()
        salvaged = self._salvage(self._beside(f"{_UNFINISHED}{stamp}"), descriptor, aside.name)
        self._beside(f"{_UNFINISHED}{stamp}").rename(self._beside(f"{_COMPLETE}{stamp}"))
        with self._swapping():
            self._lock(descriptor)
            self._path.rename(aside)
            self.finish()
        self.let_go()
        _log.error(
            "journeykit.store_damaged",
            extra={"file": str(aside), "salvaged": salvaged.events, "lost": salvaged.lost},
        )
        return salvaged

    def finish(self) -> None:
        """Give the new database its place, if the damaged one has left it; also after a crash."""
        self._path = self._path.resolve()
        complete = None if self._path.exists() else next(self._all(_COMPLETE), None)
        if complete is None:
            return
        stamp = complete.name.partition(_COMPLETE)[2]
        for suffix in _BESIDE:
            with contextlib.suppress(FileNotFoundError):
                self._beside(suffix).rename(self._beside(f"{_ASIDE}{stamp}{suffix}"))
        with contextlib.closing(sqlite3.connect(complete)) as db:
            self._tally.write(Tally.of(db))
        complete.rename(self._path)
        _sync(self._path.parent)

    def _check(self, now: datetime) -> None:
        noted = self._tally.read()
        if noted is not None and noted.version > versions.SCHEMA_VERSION:
            msg = f"store {self._path}: it is damaged, and a newer journeykit's; upgrade this one"
            raise StoreDamaged(msg)
        recent = [each for each in self._repairs() if timedelta() <= now - each < _DAY]
        if recent:
            pause = min(_FIRST_PAUSE * 2 ** (len(recent) - 1), _LAST_PAUSE)
            if now - max(recent) < pause:
                msg = (
                    f"store {self._path}: it is damaged for the {len(recent) + 1}. time in a day; "
                    f"the disk may be failing; the next repair is {pause.seconds} s after the last"
                )
                raise StoreDamaged(msg)

    def _repairs(self) -> Iterator[datetime]:
        for path in self._all(_ASIDE):
            stamp = path.name.partition(_ASIDE)[2]
            with contextlib.suppress(ValueError):
                yield datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)

    def _salvage(self, path: Path, descriptor: int, label: str) -> Salvaged:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            with contextlib.ExitStack() as stack:
                target = sqlite3.connect(path, isolation_level=None)
                stack.enter_context(contextlib.closing(target))
                # It is nothing before it is complete, and then it is written to the disk.
                target.execute("PRAGMA journal_mode = OFF")
                target.execute("PRAGMA synchronous = OFF")
                source = self._source()
                if source is not None:
                    stack.enter_context(contextlib.closing(source))
                salvage = Salvage(
                    source,
                    self._pages(descriptor),
                    target,
                    tally=self._tally.read(),
                    label=label,
                    hashes=Hashes(self._path),
                )
                salvaged = salvage.run()
                target.execute("PRAGMA journal_mode = WAL")
            _sync(path)
        except BaseException:
            path.unlink()
            raise
        return salvaged

    def _source(self) -> sqlite3.Connection | None:
        """Return a connection to the damaged database; None if SQLite cannot read it at all."""
        # Of an empty file SQLite would delete the write-ahead log.
        if not self._path.stat().st_size:
            return None
        db = _reader(self._path)
        try:
            owner = db.execute("PRAGMA application_id").fetchone()[0]
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError as error:
            db.close()
            if not means_damage(error):
                raise
            return None
        if owner != APPLICATION:
            db.close()
            return None
        return db

    def _pages(self, descriptor: int) -> Pages:
        try:
            wal = self._beside("-wal").read_bytes()
        except FileNotFoundError:
            wal = b""
        size = os.fstat(descriptor).st_size
        return Pages(lambda place, length: os.pread(descriptor, length, place), size, wal)

    def _hold(self) -> int:
        descriptor = self._descriptor
        if descriptor is not None and not os.path.samestat(os.fstat(descriptor), self._path.stat()):
            self.let_go()
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return self._descriptor

    def _lock(self, descriptor: int) -> None:
        """Keep other processes from cleaning up as the last one that closes the file."""
        how = fcntl.LOCK_SH | fcntl.LOCK_NB
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.lockf(descriptor, how, _SHARED_SIZE, _SHARED_FIRST)
            except OSError as error:
                if time.monotonic() > deadline:
                    msg = f"store {self._path}: another process has locked it; end that"
                    raise StoreBusy(msg) from error
                native.sleep(0.01)
            else:
                return

    def let_go(self) -> None:
        """Close the damaged file; also what a child does with its parent's."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)

    def _all(self, *kinds: str) -> Iterator[Path]:
        names = tuple(self._path.name + kind for kind in kinds)
        for path in self._path.parent.iterdir():
            if path.name.startswith(names) and not path.name.endswith(_BESIDE):
                yield path


def _reader(path: Path) -> sqlite3.Connection:
    """Return a connection that changes nothing, and takes text that is none for bytes."""
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    db.text_factory = _text
    return db


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
