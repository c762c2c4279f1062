"""
Keeps SQLite's write-ahead log short.

SQLite begins it anew when nobody reads from it; while somebody always does, it grows without end.
Our own readers are short, but a person's report or a backup is not.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING, Final

from journeykit import native

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

#: Beyond this many bytes it is cut off as soon as nobody reads from it.
#: Four times what SQLite leaves by itself, so that this stays the exception.
SOFT_BYTES: Final = 16 * 2**20

#: Beyond this many bytes the writer waits for readers, and so do the other writers behind it.
HARD_BYTES: Final = 32 * 2**20

#: How much it grows between two tries that do not wait.
STEP_BYTES: Final = 4 * 2**20

#: How long it waits, and how long between two looks, in seconds.
#: Readers of half a second, one behind the other, are waited out: for those that read what is not
#: in the database yet, and then for those that began meanwhile.
PATIENCE: Final = 1.2
_LOOK: Final = 0.01


class WriteAheadLog:
    """The write-ahead log of the database at *database*."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-wal")
        #: The size from which on to try, and for how long after a try that was in vain.
        self._try_at = SOFT_BYTES

    def size(self) -> int:
        """Return how many bytes it has."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def tend(self, connected: Callable[[], AbstractContextManager[sqlite3.Connection]]) -> None:
        """
        Cut it off if it is too long.

        The caller holds the writers' lock, and has committed.
        Between two looks no connection is used, so that a fork need not wait.
        """
        size = self.size()
        if size <= SOFT_BYTES:
            # SQLite has begun it anew, or another process has cut it off.
            self._try_at = SOFT_BYTES
            return
        if size < self._try_at:
            return
        waits = size >= HARD_BYTES
        deadline = time.monotonic() + (PATIENCE if waits else 0.0)
        # Who reads for minutes costs a try now and then, not one for each commit.
        self._try_at = size + (HARD_BYTES if waits else STEP_BYTES)
        # What was committed stays committed, whatever comes of this.
        with contextlib.suppress(sqlite3.Error):
            while not self._cut(connected):
                if time.monotonic() >= deadline:
                    return
                native.sleep(_LOOK)
            self._try_at = SOFT_BYTES

    def _cut(self, connected: Callable[[], AbstractContextManager[sqlite3.Connection]]) -> bool:
        with connected() as db:
            timeout = db.execute("PRAGMA busy_timeout").fetchone()[0]
            db.execute("PRAGMA busy_timeout = 0")
            try:
                blocked: int = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                db.execute(f"PRAGMA busy_timeout = {timeout}")
        return not blocked
