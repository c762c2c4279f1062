"""
The spool: a tail that survives the death of its process.

Each process appends to segments of its own: files that are allocated before they are mapped, so
that a full disk is an error and never a signal, and locked as long as their process lives.
An append is a copy into mapped memory; the kernel keeps it whatever becomes of the process.
Segments that nobody locks belong to dead processes, and any living one adopts them.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from journeykit import native
from journeykit.capture.segment import FRAME, HEADER, adopt, new_segment, sync
from journeykit.capture.tail import Dropped, Taken
from journeykit.exceptions import StoreError
from journeykit.model.event import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from journeykit.capture.segment import OrphanSegment, Segment
    from journeykit.capture.tail import Orphan, Watermark

try:
    import fcntl
except ImportError:  # not on this platform; `Spool` says so
    fcntl = None  # type: ignore[assignment]

#: The size of a segment: an hour of a small shop, a fifth of a second of the largest burst.
SEGMENT_BYTES: Final = 4 * 2**20

#: After a disk refused a segment, the next try comes after this many seconds.
_RETRY_SECONDS: Final = 1.0

#: Another process may take a file that is not yet locked for a dead one's; then another is made.
_TRIES: Final = 5

_log = logging.getLogger("journeykit")


class Mark(NamedTuple):
    """
    How far `take` has read: into which segment, to which byte.

    `released` and `freed` are the entries and bytes that the spool will have let go of by then.
    `gone` are the deleted files that its watermarks tell the store to forget.
    """

    segment: str
    place: int
    released: int
    freed: int
    gone: tuple[str, ...]


class Spool:
    """
    A tail in mapped files under *directory*.

    Args:
        limit_bytes: Beyond this many bytes of this process's new entries are refused as `full`.

        drop_old: Drop the oldest entries instead.

    Raises:
        StoreError: This platform has no `flock`.
    """

    def __init__(self, directory: Path, limit_bytes: int, *, drop_old: bool = False) -> None:
        if fcntl is None:
            msg = f'spool {directory}: this platform has no flock; use store = "memory://"'
            raise StoreError(msg)
        self._directory = directory
        self._limit = limit_bytes
        self._drop_old = drop_old
        self._begin()

    def _begin(self) -> None:
        # Held by every append: files are opened and deleted outside, except to make room.
        # An app's signal handler may track while it interrupts an append.
        self._lock = native.rlock()
        # Held while looking after the files of others.
        self._adopting = native.lock()
        self._not_before = 0.0
        self._closed = False
        self._adopts = True
        self._forget()

    def _forget(self) -> None:
        self._segments: list[Segment] = []
        self._next: Segment | None = None
        self._adopted: dict[str, OrphanSegment] = {}
        #: Files that are gone, and those of which the disk may not know that yet.
        self._gone: list[str] = []
        self._deleted: list[str] = []
        self._bytes = self._freed = 0
        self._writing = self._reading = False
        self._unread: list[Segment] = []
        self.appended = self.released = 0
        self.dropped = Dropped()

    def append(self, record: bytes) -> str | None:
        """Keep an event's *record*; returns None, `"full"`, or `"disk_full"`."""
        size = len(record) + FRAME.size
        with self._lock.lock:
            if self._bytes - self._freed + size > self._limit and not self._make_room(size):
                return "full"
            segment = self._segments[-1] if self._segments else None
            # Who interrupts a write, leaves the segment to it.
            if segment is None or self._writing or not segment.fits(size):
                segment = self._turn(size)
                if segment is None:
                    return "disk_full"
            self._writing = True
            try:
                segment.write(record)
                # No call between these: what a signal handler raises comes before all, or behind.
                segment.end += size
                self._bytes += size
                self.appended += 1
            finally:
                self._writing = False
        return None

    def _turn(self, size: int) -> Segment | None:
        """Begin the next segment, one with room for *size* bytes."""
        segment, self._next = self._next, None
        if segment is not None:
            self._segments.append(segment)
        if segment is None or not segment.fits(size):
            with native.unforked():
                segment = self._create(size)
            if segment is None:
                return None
            self._segments.append(segment)
        return segment

    def _make_room(self, size: int) -> bool:
        """Drop the oldest entries, if that is the policy, until *size* more bytes fit."""
        while self._drop_old and self._bytes - self._freed + size > self._limit:
            oldest = next((each for each in self._segments if each.read < each.end), None)
            if oldest is None:
                break
            behind = oldest.behind(oldest.read)
            # What came to the store once already is lost with that, and counted there.
            if oldest.read >= oldest.again:
                self.dropped.drop(self.released)
            self.released += 1
            self._freed += behind - oldest.read
            oldest.read = oldest.first = behind
            self._drop_empty()
        return self._bytes - self._freed + size <= self._limit

    def _drop_empty(self) -> None:
        while len(self._segments) > 1 and self._segments[0].read == self._segments[0].end:
            done = self._segments.pop(0)
            if self._reading:
                self._unread.append(done)
            else:
                self._delete(done)

    def _delete(self, segment: Segment) -> None:
        if segment.remove():
            self._deleted.append(segment.name)

    def _note_deleted(self) -> None:
        """Let the store forget deleted files: once the disk knows, for they could come back."""
        with self._lock:
            deleted = self._deleted[:]
        if not deleted:
            return
        with contextlib.suppress(OSError):
            sync(self._directory)
            with self._lock:
                self._gone += deleted
                self._deleted = [name for name in self._deleted if name not in deleted]

    def take(self, limit: int) -> Taken:
        """Return up to *limit* of the oldest entries, which stay."""
        with self._lock:
            spans = [(segment, segment.read, segment.end) for segment in self._segments]
            released, freed, gone = self.released, self._freed, tuple(self._gone)
            self.dropped.taken(released + limit)
            self._reading = True
        again = bool(spans) and spans[0][1] < spans[0][0].again
        if again:
            # What comes again is not mixed with what is new.
            spans = [(segment, start, segment.again) for segment, start, _ in spans[:1]]
        watermarks: list[Watermark] = [(name, None) for name in gone]
        entries: list[Entry] = []
        mark = None
        for segment, start, end in spans:
            if start == end or len(entries) == limit:
                continue
            found, place = segment.written(start, end, limit - len(entries))
            entries += found
            freed += place - start
            mark = Mark(segment.name, place, released + len(entries), freed, gone)
            watermarks.append((segment.name, place))
        self._read_out()
        return Taken(entries, mark, tuple(watermarks), again)

    def _read_out(self) -> None:
        """Let go of what was dropped while somebody read from it."""
        with self._lock:
            self._reading = False
            unread, self._unread = self._unread, []
        for segment in unread:
            self._delete(segment)

    def release(self, mark: Mark | None) -> None:
        """Let go of everything up to *mark*, and of files that are read to their end."""
        with self._lock:
            if mark is not None:
                self.dropped.committed()
            names = [segment.name for segment in self._segments]
            # A mark of before: of another process, or released by another thread meanwhile.
            if mark is None or mark.segment not in names or mark.released <= self.released:
                return
            last = names.index(mark.segment)
            segment = self._segments[last]
            segment.read, segment.again = mark.place, max(mark.place, segment.again)
            self.released, self._freed = mark.released, mark.freed
            # Of one that takes nothing more, nobody would delete what it has.
            last += segment.full and segment.read == segment.end
            done, self._segments = self._segments[:last], self._segments[last:]
            self._gone = [name for name in self._gone if name not in mark.gone]
        for each in done:
            self._delete(each)
        self._note_deleted()

    def rewind(self) -> None:
        """Go back to the oldest entry there still is: what the store had may be lost."""
        with self._lock:
            # Only the oldest one is read in part, for what is read to its end is deleted.
            segment = next(iter(self._segments), None)
            if segment is None:
                return
            first, read = segment.first, segment.read
            self._reading = True
        count = segment.count(first, read)
        with self._lock:
            # Nothing is being committed now; and what was dropped meanwhile is gone.
            self.dropped.taken(self.released)
            if segment.read == read:
                segment.read = first
                self.released -= count
                self._freed -= read - first
        self._read_out()

    def tend(self) -> None:
        """Have the next segment, and the next pages of this one, ready before they are needed."""
        with self._lock:
            current = self._segments[-1] if self._segments else None
            used = 0 if current is None else current.end
            wanted = self._next is None and used > SEGMENT_BYTES // 4
        if current is not None:
            current.touch()
        self._note_deleted()
        segment = self._create() if wanted else None
        if segment is not None:
            with self._lock:
                if self._next is None and not self._closed:
                    self._next = segment
                    return
            segment.remove()

    def turn(self) -> None:
        """Begin a new file, so that the old one, and what was released of it, is soon deleted."""
        with self._lock:
            if self._writing:
                return
            ahead, self._next = self._next, None
            left = [segment for segment in self._segments if segment.read < segment.end]
            done = [segment for segment in self._segments if segment.read == segment.end]
            self._gone += [segment.name for segment in done]
            self._segments = left
            # With no room left, so that the next entry goes elsewhere.
            for segment in left:
                segment.full = True
            if self._reading:
                self._unread += done
                done = []
        for segment in [*done, *([ahead] if ahead is not None else [])]:
            segment.remove()

    def orphaned(self) -> bool:
        """Return whether a dead process has left something behind."""
        return bool(self.orphans())

    def orphans(self) -> Sequence[OrphanSegment]:
        """Return the segments of dead processes, which stay locked until they are settled."""
        with self._adopting:
            if self._adopts and not self._closed:
                self._look()
            found = [self._adopted[name] for name in sorted(self._adopted)]
        return [orphan for orphan in found if not orphan.stuck]

    def _look(self) -> None:
        try:
            paths = list(self._directory.iterdir())
        except OSError:
            return
        with self._lock:
            own = {segment.name for segment in self._own()}
        for path in paths:
            # This process's own are locked too: skipping them only saves the attempt.
            if path.name not in own and path.name not in self._adopted:
                orphan = adopt(path)
                if orphan is not None:
                    self._adopted[path.name] = orphan

    def settle(self, orphan: Orphan) -> bool:
        """Delete *orphan*, all of which is in the Log; returns whether it is gone."""
        with self._adopting:
            known = self._adopted.get(orphan.name)
            if known is None:
                return False
            try:
                known.settle()
            except OSError as error:
                # Stays locked, so that nobody tries again until this process ends.
                known.stuck = True
                _log.error("journeykit.segment_stays", extra={"error": type(error).__name__})
                return False
            del self._adopted[orphan.name]
            return True

    def adopt(self, *, allowed: bool) -> None:
        """Take what dead processes leave, as at first, or leave it to other processes."""
        with self._adopting:
            self._adopts = allowed
            while not allowed and self._adopted:
                self._adopted.popitem()[1].segment.let_go()

    def gone(self, files: Iterable[str]) -> Sequence[str]:
        """Return those of these files that are there no more, whoever they belonged to."""
        found = [name for name in files if not (self._directory / name).exists()]
        try:
            if found:
                sync(self._directory)
        except OSError:
            return []
        return found

    def close(self) -> None:
        """Unlock what waits, for another process to adopt; delete what is read to its end."""
        with self._adopting, self._lock:
            self._closed = True
            for segment in self._own():
                if segment.read == segment.end:
                    segment.remove()
                else:
                    segment.let_go()
            for orphan in self._adopted.values():
                orphan.segment.let_go()
            # What it has counted stays true.
            appended, dropped = self.appended, self.dropped
            self._forget()
            self.appended = self.released = appended
            self.dropped = dropped

    def reset_after_fork(self) -> None:
        """Unmap the parent's segments, which the parent goes on using."""
        inherited = [*self._own(), *(orphan.segment for orphan in self._adopted.values())]
        # Another thread of the parent may have held its locks.
        self._begin()
        for segment in inherited:
            # Closing this process's copies of the descriptors leaves the parent its locks.
            segment.let_go()

    def __len__(self) -> int:
        """Return how many entries wait."""
        return self.appended - self.released

    def _own(self) -> list[Segment]:
        return [*self._segments, *([self._next] if self._next is not None else [])]

    def _create(self, size: int = 0) -> Segment | None:
        """Return a new segment, with room for *size* bytes; None if the disk refuses."""
        if time.monotonic() < self._not_before:
            return None
        size = max(SEGMENT_BYTES, HEADER.size + size + FRAME.size)
        for _ in range(_TRIES):
            try:
                return new_segment(self._directory, size)
            except FileNotFoundError:
                continue
            except OSError as error:
                _log.error("journeykit.spool_refused", extra={"error": type(error).__name__})
                break
        self._not_before = time.monotonic() + _RETRY_SECONDS
        return None
