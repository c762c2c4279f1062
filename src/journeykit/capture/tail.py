"""
The tail: what this process has accepted and the store has not yet.

`Tail` is the seam; `MemoryTail` keeps it in memory, and `capture.spool` in files.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from journeykit import native
from journeykit.capture.records import unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from journeykit.model.event import Entry

#: What a record takes beside its bytes: the object, its place in the queue.
_OVERHEAD = 64

#: How far a file of events has been read: its name, and the byte behind the last one in the Log;
#: None once the file is gone.
Watermark = tuple[str, int | None]


class Taken(NamedTuple):
    """
    The oldest entries of a tail.

    `mark` tells `release` how far they reach; `watermarks` are written with them, in one
    transaction; `again` says that they were taken and released before.
    """

    entries: Sequence[Entry]
    mark: Any
    watermarks: tuple[Watermark, ...] = ()
    again: bool = False


class Dropped:
    """
    Counts the oldest entries that went so that new ones could come.

    One that was being committed meanwhile is lost only if that fails.
    """

    def __init__(self) -> None:
        self.count = 0
        self._in_doubt = 0
        self._taken = 0

    def taken(self, until: int) -> None:
        """Note that the entries up to number *until* are being committed; those before were not."""
        self.count += self._in_doubt
        self._in_doubt = 0
        self._taken = until

    def committed(self) -> None:
        """Note that what was taken is in the Log."""
        self._in_doubt = 0

    def drop(self, number: int) -> None:
        """Count the entry *number*."""
        if number < self._taken:
            self._in_doubt += 1
        else:
            self.count += 1


class Orphan(Protocol):
    """What a dead process left behind, held by this one until it is settled."""

    name: str

    def take(self, place: int | None, limit: int) -> tuple[Sequence[Entry], int]:
        """Return up to *limit* of its entries behind *place*, with the place behind them."""

    def again(self, place: int | None) -> bool:
        """Return whether what `take` gives there came to the store once already."""


class Tail(Protocol):
    """
    Where `track()` puts events, and where the committer finds them.

    `take` leaves the entries in place: they go with `release`, after the store has them.
    """

    #: Entries appended and released since this process began; `dropped` ones count as released.
    appended: int
    released: int
    dropped: Dropped

    def append(self, record: bytes) -> str | None:
        """Keep an event's *record*; returns None, or the reason for refusing it."""

    def take(self, limit: int) -> Taken:
        """Return up to *limit* of the oldest entries, which stay."""

    def release(self, mark: Any) -> None:
        """Let go of everything up to *mark*; a second time does nothing."""

    def rewind(self) -> None:
        """Go back to the oldest entry there still is: what the store had may be lost."""

    def tend(self) -> None:
        """Prepare for what comes; called from the background."""

    def turn(self) -> None:
        """Leave no bytes of what was released behind, as soon as that is possible."""

    def orphaned(self) -> bool:
        """Return whether a dead process has left something behind."""

    def orphans(self) -> Sequence[Orphan]:
        """Return what dead processes have left behind, now held by this one."""

    def settle(self, orphan: Orphan) -> bool:
        """Delete *orphan*, all of which is in the Log; returns whether it is gone."""

    def gone(self, files: Iterable[str]) -> Sequence[str]:
        """Return those of these files that are there no more, whoever they belonged to."""

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

        drop_old: Drop the oldest entries instead.
    """

    def __init__(self, limit_bytes: int, *, drop_old: bool = False) -> None:
        self._limit = limit_bytes
        self._drop_old = drop_old
        self.reset_after_fork()

    def append(self, record: bytes) -> str | None:
        """Keep an event's *record*; returns None, or `"full"`."""
        size = len(record) + _OVERHEAD
        with self._lock:
            while self._drop_old and self._records and self._bytes + size > self._limit:
                self.dropped.drop(self.released)
                self._forget_oldest()
            if self._bytes + size > self._limit:
                return "full"
            self._bytes += size
            self._records.append(record)
            self.appended += 1
        return None

    def take(self, limit: int) -> Taken:
        """Return up to *limit* of the oldest entries, which stay."""
        with self._lock:
            records = tuple(itertools.islice(self._records, limit))
            mark = self.released + len(records)
            self.dropped.taken(mark)
        return Taken([unpack(record) for record in records], mark)

    def release(self, mark: int) -> None:
        """Let go of everything up to *mark*; a second time does nothing."""
        with self._lock:
            for _ in range(mark - self.released):
                self._forget_oldest()
            self.dropped.committed()

    def _forget_oldest(self) -> None:
        self._bytes -= len(self._records.popleft()) + _OVERHEAD
        self.released += 1

    def rewind(self) -> None:
        """Do nothing: what was released is gone."""

    def tend(self) -> None:
        """Do nothing: memory needs no preparation."""

    def turn(self) -> None:
        """Do nothing: what was released is gone."""

    def orphaned(self) -> bool:
        """Return False: memory goes with its process."""
        return False

    def orphans(self) -> Sequence[Orphan]:
        """Return nothing: memory goes with its process."""
        return ()

    def settle(self, orphan: Orphan) -> bool:
        """Do nothing: there are no orphans."""
        return False

    def gone(self, files: Iterable[str]) -> Sequence[str]:
        """Return nothing: there are no files."""
        return ()

    def adopt(self, *, allowed: bool) -> None:
        """Do nothing: there are no orphans."""

    def close(self) -> None:
        """Do nothing: nobody else could have it."""

    def reset_after_fork(self) -> None:
        """Forget the parent process's entries, which are the parent's to commit."""
        # Another thread of the parent may have held the lock; and an app's signal handler may
        # track while it interrupts an append.
        self._lock = native.rlock()
        self._records: deque[bytes] = deque()
        self._bytes = 0
        self.appended = self.released = 0
        self.dropped = Dropped()

    def __len__(self) -> int:
        """Return how many entries wait."""
        return len(self._records)
