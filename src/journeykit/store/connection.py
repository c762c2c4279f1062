"""A thread's connection to SQLite, and what its errors mean."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, ClassVar

from journeykit import native
from journeykit.exceptions import StoreBusy, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

#: What the path of a file leads to: the device and the number on it; None for nothing.
Identity = tuple[int, int] | None

#: Messages that have no code of their own, and come of tables that are not as they were made.
_OUT_OF_SHAPE = ("no such table", "no such column", "Could not decode", "JSON cannot hold BLOB")


class Connection:
    """
    One thread's connection, which another thread may ask to close.

    To close it in the middle of a statement would end the process, so it is closed by whoever is
    last: the closing thread, or its own when it is done.

    Args:
        identity: The file that it has opened.

        closing: Held while it closes: the last one of a file cleans up by the file's name.
    """

    #: Connections that came with a fork, kept so that nobody closes them.
    _inherited: ClassVar[list[sqlite3.Connection]] = []

    def __init__(
        self,
        connection: sqlite3.Connection,
        identity: Identity,
        closing: AbstractContextManager[object],
    ) -> None:
        #: The file that it has opened.
        self.identity = identity
        self._connection = connection
        self._closing_lock = closing
        self._process = os.getpid()
        self._lock = native.lock()
        self._uses = 0
        self._closing = False

    @contextlib.contextmanager
    def used(self) -> Iterator[sqlite3.Connection]:
        """Keep the connection open."""
        with self._lock:
            self._uses += 1
        try:
            yield self._connection
        finally:
            with self._lock:
                self._uses -= 1
                self._close_unused()

    def close(self) -> None:
        """Close the connection, now or when it is no longer used."""
        with self._lock:
            self._closing = True
            self._close_unused()

    def __del__(self) -> None:
        if os.getpid() == self._process:
            with self._closing_lock:
                self._connection.close()
        else:
            # A forked child has only its own thread; to close the others' connections here would
            # clean up files that the parent still uses.
            self._inherited.append(self._connection)

    def _close_unused(self) -> None:
        if self._closing and not self._uses:
            with self._closing_lock:
                self._connection.close()


def identity_of(path: str | Path) -> Identity:
    """Return which file *path* leads to; a text costs half of what a `Path` does."""
    try:
        found = os.stat(path)  # noqa: PTH116 - asked at each use of the store
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def means_damage(error: sqlite3.Error) -> bool:
    """Return whether *error* comes of a file that is not as it was written."""
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return True
    return str(error).startswith(_OUT_OF_SHAPE)


def explained(error: sqlite3.Error, path: Path) -> StoreError:
    """Return *error* as one of ours: what is wrong with the store at *path*, and what to do."""
    code = getattr(error, "sqlite_errorname", "") or type(error).__name__
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreBusy(f"store {path}: another process has locked it; end that, or try again")
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return StoreError(
            f"store {path}: it cannot be written; make the file and its directory writable for "
            f"this user, or name another place"
        )
    if code.startswith("SQLITE_FULL"):
        return StoreError(f"store {path}: the disk is full; make room")
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreError(f"store {path}: it is damaged or no SQLite file; move it away ({error})")
    return StoreError(f"store {path}: {error} ({code})")
