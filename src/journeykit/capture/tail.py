"""
The tail: what this process has accepted and the store has not yet.

`Tail` is the seam; `MemoryTail` keeps it in memory, and `capture.spool` in files.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from journeykit import native

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journeykit.model.event import Entry

#: What an entry takes beside its body: the tuple, its texts, its place in the queue.
_OVERHEAD = 600

#: How far a file of events has been read: its name, and the byte behind the last one in the Log;
#: None once the file is gone.
Watermark = tuple[str, int | None]


class Taken(NamedTuple):
    """
    The oldest entries of a tail.

    `mark` tells `release` how far they reach; `watermarks` are written with them, in one
    transaction.
    """

    entries: Sequence[Entry]
    mark: Any
    watermarks: tuple[Watermark, ...] = ()


class Orphan(Protocol):
    """What a dead process left behind, held by this one until it is settled."""

    name: str

    def take(self, place: int | None, limit: int) -> tuple[Sequence[Entry], int]:
        """Return up to *limit* of its entries behind *place*, with the place behind them."""


class Tail(Protocol):
    """
    Where `track()` puts events, and where the committer finds them.

    `take` leaves the entries in place: they go with `release`, after the store has them.
    """

    #: Entries appended and released since this process began.
    appended: int
    released: int

    def append(self, entry: Entry) -> str | None:
        """Keep *entry*; returns None, or the reason for refusing it."""

    def take(self, limit: int) -> Taken:
        """Return up to *limit* of the oldest entries, which stay."""

    def release(self, mark: Any) -> None:
        """Let go of everything up to *mark*; a second time does nothing."""

    def tend(self) -> None:
        """Prepare for what comes; called from the background."""

    def orphaned(self) -> bool:
        """Return whether a dead process has left something behind."""

    def orphans(self) -> Sequence[Orphan]:
        """Return what dead processes have left behind, now held by this one."""

    def settle(self, orphan: Orphan) -> bool:
        """Delete *orphan*, all of which is in the Log; returns whether it is gone."""

    def adopt(self, *, allowed: bool) -> None:
        """Take what dead processes leave, as at first, or leave it to other processes."""

    def close(self) -> None:
        """Leave what waits to another process, where that is possible."""

    def reset_after_fork(self) -> None:
        """Forget the parent process's entries, which are the parent's to commit."""

    def __len__(self) -> int:
        """Return how many entries wait."""


class MemoryTail:
    """
    A tail in memory, bounded in bytes; it does not outlive the process.

    Args:
        limit_bytes: Beyond this many bytes new entries are refused as `full`.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self.appended = 0
        self.released = 0
        self.reset_after_fork()

    def append(self, entry: Entry) -> str | None:
        """Keep *entry*; returns None, or `"full"`."""
        size = len(entry.body) + _OVERHEAD
        with self._lock:
            if self._bytes + size > self._limit:
                return "full"
            self._bytes += size
            self._entries.append(entry)
            self.appended += 1
        return None

    def take(self, limit: int) -> Taken:
        """Return up to *limit* of the oldest entries, which stay."""
        with self._lock:
            entries = tuple(itertools.islice(self._entries, limit))
            return Taken(entries, self.released + len(entries))

    def release(self, mark: int) -> None:
        """Let go of everything up to *mark*; a second time does nothing."""
        with self._lock:
            for _ in range(mark - self.released):
                self._bytes -= len(self._entries.popleft().body) + _OVERHEAD
            self.released = max(self.released, mark)

    def tend(self) -> None:
        """Do nothing: memory needs no preparation."""

    def orphaned(self) -> bool:
        """Return False: memory goes with its process."""
        return False

    def orphans(self) -> Sequence[Orphan]:
        """Return nothing: memory goes with its process."""
        return ()

    def settle(self, orphan: Orphan) -> bool:
        """Do nothing: there are no orphans."""
        return False

    def adopt(self, *, allowed: bool) -> None:
        """Do nothing: there are no orphans."""

    def close(self) -> None:
        """Do nothing: nobody else could have it."""

    def reset_after_fork(self) -> None:
        """Forget the parent process's entries, which are the parent's to commit."""
        # Another thread of the parent may have held the lock.
        self._lock = native.lock()
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self.appended = self.released = 0

    def __len__(self) -> int:
        """Return how many entries wait."""
        return len(self._entries)
