"""Overwrites what deleted rows have left in the free space of a database, while others use it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from journeykit.store import wipe

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

#: Pages overwritten while nobody else may write: about a millisecond, and the disk's own time.
_PAGES: Final = 500

#: Pages that one look for left-overs reads.
_LOOK: Final = 2**15


class FreeSpace:
    """
    The free space of the database at *path*.

    Args:
        read: Opens a transaction.

        locked: Holds the writers' lock, and gives a connection that nobody else has.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[], AbstractContextManager[sqlite3.Connection]],
        locked: Callable[[], AbstractContextManager[sqlite3.Connection]],
    ) -> None:
        self._path = path
        self._read = read
        self._locked = locked
        self._descriptor: int | None = None
        #: Up to which page was looked, and for what.
        self._looked = 0
        self._looked_for: object = None

    def reset_after_fork(self) -> None:
        """Close this process's copy of the parent's descriptor."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def purge(self, what: object, *, note: str, values: Sequence[Any]) -> bool:
        """
        Leave nothing behind of rows that were deleted before; returns False where it must wait.

        Args:
            what: Tells one deletion from another: called again with the same, it goes on.

            note: The statement that notes the end, with its *values*.
        """
        pages = self._pages()
        if pages >= wipe.MOST_PAGES:
            self._vacuum()
        elif not self._overwrite(pages, what):
            return False
        with self._locked() as db:
            if not _empty_wal(db):
                return False
            db.execute(note, values)
        self._looked_for = None
        return True

    def _overwrite(self, pages: int, what: object) -> bool:
        if self._looked_for != what:
            # Others may have deleted meanwhile, also in pages that were looked at.
            self._looked, self._looked_for = 0, what
        if not self._looked and not self._bring_in():
            return False
        while self._looked < pages:
            until = min(self._looked + _LOOK, pages)
            dirty = [page for page, _, _ in wipe.dirty(self._open(), self._looked, until)]
            for start in range(0, len(dirty), _PAGES):
                if not self._wipe(dirty[start : start + _PAGES]):
                    return False
            self._looked = until
        return True

    def _pages(self) -> int:
        with self._read() as db:
            pages: int = db.execute("PRAGMA page_count").fetchone()[0]
        return pages

    def _bring_in(self) -> bool:
        """Bring all that was committed into the database, for only that is looked at."""
        with self._locked() as db:
            return _empty_wal(db)

    def _wipe(self, pages: list[int]) -> bool:
        with self._locked() as db:
            if not _empty_wal(db):
                return False
            # With the lock of SQLite too, for those who do not know ours.
            db.execute("BEGIN IMMEDIATE")
            wipe.wipe(self._open(), pages)
            # What is committed makes everybody read the pages anew that they remember.
            db.execute("UPDATE erasure SET purged = 0 WHERE purged = 0")
            db.execute("COMMIT")
        return True

    def _vacuum(self) -> None:
        with self._locked() as db:
            # It makes a whole database beside this one, which no memory holds.
            db.execute("PRAGMA temp_store = FILE")
            db.execute("VACUUM")

    def _open(self) -> int:
        known = self._descriptor
        if known is None or not os.path.samestat(os.fstat(known), self._path.stat()):
            # Never closed: that would free the locks that SQLite has on the file.
            known = self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        return known


def _empty_wal(db: sqlite3.Connection) -> bool:
    """Bring all that was committed into the database, and cut the write-ahead log off."""
    blocked: int = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return not blocked
