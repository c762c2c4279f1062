"""
The tail: what this process has accepted and the store has not yet.

`Tail` is the seam; `MemoryTail` keeps it in memory.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from journeykit.model.event import Entry

#: What an entry takes beside its body: the tuple, its texts, its place in the queue.
_OVERHEAD = 600


class Taken(NamedTuple):
    """The oldest entries of a tail; `mark` tells `release` how far they reach."""

    entries: tuple[Entry, ...]
    mark: int


class Tail(Protocol):
    """
    Where `track()` puts events, and where the committer finds them.

    `take` leaves the entries in place: they go with `release`, after the store has them.
    """

    def append(self, entry: Entry) -> str | None:
        """Keep *entry*; returns None, or the reason for refusing it."""

    def take(self, limit: int) -> Taken:
        """Return up to *limit* of the oldest entries, which stay."""

    def release(self, mark: int) -> None:
        """Let go of everything up to *mark*; a second time does nothing."""

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
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._released = 0
        self._lock = threading.Lock()

    def append(self, entry: Entry) -> str | None:
        """Keep *entry*; returns None, or `"full"`."""
        size = len(entry.body) + _OVERHEAD
        with self._lock:
            if self._bytes + size > self._limit:
                return "full"
            self._bytes += size
            self._entries.append(entry)
        return None

    def take(self, limit: int) -> Taken:
        """Return up to *limit* of the oldest entries, which stay."""
        with self._lock:
            entries = tuple(itertools.islice(self._entries, limit))
            return Taken(entries, self._released + len(entries))

    def release(self, mark: int) -> None:
        """Let go of everything up to *mark*; a second time does nothing."""
        with self._lock:
            for _ in range(mark - self._released):
                self._bytes -= len(self._entries.popleft().body) + _OVERHEAD
            self._released = max(self._released, mark)

    def reset_after_fork(self) -> None:
        """Forget the parent process's entries, which are the parent's to commit."""
        # Another thread of the parent may have held the lock.
        self._lock = threading.Lock()
        self._entries = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """Return how many entries wait."""
        return len(self._entries)
