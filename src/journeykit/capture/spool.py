"""
The spool: a tail that survives the death of its process.

Each process appends to segments of its own: files that are allocated before they are mapped, so
that a full disk is an error and never a signal, and locked as long as their process lives.
An append is a copy into mapped memory; the kernel keeps it whatever becomes of the process.
Segments that nobody locks belong to dead processes, and any living one adopts them.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import mmap
import os
import secrets
import struct
import time
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from journeykit import native
from journeykit.capture.allocate import allocate
from journeykit.capture.records import unpack
from journeykit.capture.tail import Dropped, Taken
from journeykit.exceptions import StoreError
from journeykit.model.event import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from journeykit.capture.tail import Orphan, Watermark

try:
    import fcntl
except ImportError:  # not on this platform; `Spool` says so
    fcntl = None  # type: ignore[assignment]

#: So much of a segment is mapped ahead of what is written, and so much at once: about 50 µs.
_TOUCHED_AHEAD: Final = 2**20
_TOUCHED_AT_ONCE: Final = 2**16

#: Linux: map pages for writing now.
_POPULATE_WRITE: Final = 23

#: The size of a segment: an hour of a small shop, a fifth of a second of the largest burst.
SEGMENT_BYTES: Final = 4 * 2**20

#: The form of records; a process leaves segments of a newer form to newer processes.
FORM: Final = 1

#: After a disk refused a segment, the next try comes after this many seconds.
_RETRY_SECONDS: Final = 1.0

_SEGMENT: Final = ".seg"
_UNFINISHED: Final = ".new"
_DAMAGED: Final = ".damaged"
_MAGIC: Final = b"JKSPOOL"
_HEADER: Final = struct.Struct("<7sBQ")
#: In the header: how far its records came to the store, for whoever has to read them again.
_AGAIN: Final = struct.Struct("<Q")
_AGAIN_PLACE: Final = _HEADER.size - _AGAIN.size
#: Before each record: its length and its checksum. A length of zero ends the segment.
_FRAME: Final = struct.Struct("<II")
_CHECKSUM: Final = struct.Struct("<I")

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


class Segment:
    """
    A mapped file of records.

    `end` is where the next one goes, `read` where reading goes on, `first` where it begins anew:
    what was dropped is behind it.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.end = self.read = self.first = _HEADER.size
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._touched = 0
        #: Nothing is to be written to it any more.
        self.full = False
        self.map = mmap.mmap(descriptor, self._size)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def again(self) -> int:
        """Before which place everything came to the store once already; kept in the file."""
        (place,) = _AGAIN.unpack_from(self.map, _AGAIN_PLACE)
        return max(place, _HEADER.size) if place <= self._size else _HEADER.size

    @again.setter
    def again(self, place: int) -> None:
        _AGAIN.pack_into(self.map, _AGAIN_PLACE, place)

    def fits(self, size: int) -> bool:
        """Return whether a record of so many bytes, and the end behind it, have room."""
        return not self.full and self.end + size + _FRAME.size <= self._size

    def write(self, data: bytes) -> None:
        """Write one record at `end`, which stays: its checksum comes last, and makes it valid."""
        place, start = self.end, self.end + _FRAME.size
        _FRAME.pack_into(self.map, place, len(data), 0)
        self.map[start : start + len(data)] = data
        _CHECKSUM.pack_into(self.map, start - _CHECKSUM.size, zlib.crc32(data))

    def touch(self) -> None:
        """Let the kernel map what is written next: in the caller that would double the cost."""
        wanted = min(self.end + _TOUCHED_AHEAD, self._size)
        while self._touched < wanted:
            length = min(_TOUCHED_AT_ONCE, self._size - self._touched)
            # Where the kernel does not know it, it maps each page when that is written.
            with contextlib.suppress(OSError, AttributeError, ValueError):
                self.map.madvise(_POPULATE_WRITE, self._touched, length)
            self._touched += length

    def behind(self, place: int) -> int:
        """Return the place behind the record at *place*."""
        length, _ = _FRAME.unpack_from(self.map, place)
        return place + _FRAME.size + int(length)

    def count(self, place: int, end: int) -> int:
        """Return how many entries this process wrote there."""
        count = 0
        while place < end:
            place, count = self.behind(place), count + 1
        return count

    def written(self, place: int, end: int, limit: int) -> tuple[list[Entry], int]:
        """Return up to *limit* entries that this process wrote there, and the place behind them."""
        entries: list[Entry] = []
        while place < end and len(entries) < limit:
            start, place = place + _FRAME.size, self.behind(place)
            entries.append(unpack(self.map[start:place]))
        return entries, place

    def records(self, place: int) -> Iterator[tuple[int, Entry]]:
        """
        Yield each entry from *place* on that was written whole, with the place behind it.

        Raises:
            Damaged: The bytes are not what was written.
        """
        while True:
            start = place + _FRAME.size
            if start > len(self.map):
                raise Damaged(place)
            length, checksum = _FRAME.unpack_from(self.map, place)
            data = self.map[start : start + length]
            if not data or len(data) < length or zlib.crc32(data) != checksum:
                # Its process died while it wrote this one, or before.
                if checksum == 0 and self.blank(start + length):
                    return
                raise Damaged(place)
            place = start + length
            yield place, unpack(data)

    def blank(self, place: int) -> bool:
        """Return whether nothing was ever written from *place* on."""
        return not self.map[place:].strip(b"\0")

    def let_go(self) -> None:
        """Unmap and unlock; the file stays."""
        self.map.close()
        os.close(self._descriptor)

    def remove(self) -> bool:
        """Delete the file, then let go of it; returns whether it is gone."""
        gone = False
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
            gone = True
        self.let_go()
        return gone


class Damaged(Exception):
    """A segment's bytes are not what was written; `place` says from where on."""

    def __init__(self, place: int) -> None:
        self.place = place
        super().__init__(f"damaged at byte {place}")


class OrphanSegment:
    """A dead process's segment, locked by this one; `damaged` is the first byte that is wrong."""

    def __init__(self, segment: Segment, damaged: int | None = None) -> None:
        self.segment = segment
        self.name = segment.name
        self.damaged = damaged
        #: Its entries are in the Log, but its file could not be deleted.
        self.stuck = False

    def take(self, place: int | None, limit: int) -> tuple[list[Entry], int]:
        """Return up to *limit* of its entries behind *place*, with the place behind them."""
        entries: list[Entry] = []
        behind = start = place or _HEADER.size
        again = self.again(place)
        try:
            for end, entry in itertools.islice(self.segment.records(start), limit):
                entries.append(entry)
                behind = end
                if again and end >= self.segment.again:
                    break
        except Damaged as damaged:
            self.damaged = damaged.place if self.damaged is None else self.damaged
        return entries, behind

    def again(self, place: int | None) -> bool:
        """Return whether what is behind *place* came to the store once already."""
        return (place or _HEADER.size) < self.segment.again

    def settle(self) -> None:
        """Delete the file, or keep it beside the others as `.damaged`, for a person to look at."""
        path = self.segment.path
        if self.damaged is None:
            path.unlink(missing_ok=True)
            _sync(path.parent)
        else:
            aside = path.rename(path.with_suffix(_DAMAGED))
            _sync(path.parent)
            _log.error(
                "journeykit.segment_damaged", extra={"file": str(aside), "byte": self.damaged}
            )
        self.segment.let_go()


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
        size = len(record) + _FRAME.size
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
            _sync(self._directory)
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
                orphan = _adopt(path)
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
                _sync(self._directory)
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
        size = max(SEGMENT_BYTES, _HEADER.size + size + _FRAME.size)
        for _ in range(_TRIES):
            try:
                return _new_segment(self._directory, size)
            except FileNotFoundError:
                continue
            except OSError as error:
                _log.error("journeykit.spool_refused", extra={"error": type(error).__name__})
                break
        self._not_before = time.monotonic() + _RETRY_SECONDS
        return None


def begun_before(directory: Path, micros: int) -> list[Path]:
    """Return the segments in *directory* that were begun before the instant *micros*."""
    try:
        names = sorted(path.name for path in directory.iterdir())
    except OSError:
        return []
    found = []
    for name in names:
        begun, _, rest = name.partition("-")
        if rest.endswith((_SEGMENT, _UNFINISHED)) and begun.isdecimal():
            found += [directory / name] if int(begun) // 1000 <= micros else []
    return found


def damaged_segments(directory: Path) -> list[Path]:
    """Return the segments in *directory* that were set aside."""
    return sorted(directory.glob(f"*{_DAMAGED}"))


def _new_segment(directory: Path, size: int) -> Segment:
    path = directory / f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}{_UNFINISHED}"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # Locked before it has the name of a segment: none is ever seen without its owner.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        allocate(descriptor, size)
        segment = Segment(path.with_suffix(_SEGMENT), descriptor)
        _HEADER.pack_into(segment.map, 0, _MAGIC, FORM, 0)
        path.rename(segment.path)
    except OSError:
        _clean(path, descriptor)
        raise
    return segment


def _adopt(path: Path) -> OrphanSegment | None:
    """Lock the segment at *path* if its process is dead; what was never one is deleted."""
    descriptor = _lock(path) if path.suffix in (_SEGMENT, _UNFINISHED) else None
    if descriptor is None:
        return None
    if path.suffix == _UNFINISHED or os.fstat(descriptor).st_size < _HEADER.size:
        _clean(path, descriptor)
        return None
    try:
        segment = Segment(path, descriptor)
    except OSError:
        os.close(descriptor)
        return None
    magic, form, _ = _HEADER.unpack_from(segment.map)
    if magic == _MAGIC and form > FORM:
        segment.let_go()
        return None
    # A checksum guards each record, so those of a damaged header can be read as well.
    wrong = (magic, form) != (_MAGIC, FORM) and not segment.blank(0)
    return OrphanSegment(segment, damaged=0 if wrong else None)


def _lock(path: Path) -> int | None:
    """Open and lock *path*; None while its process lives, or if it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its name may have gone, or changed, between opening and locking.
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _sync(directory: Path) -> None:
    """Bring to the disk which files there are: one that came back would be read again."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clean(path: Path, descriptor: int | None) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    if descriptor is not None:
        os.close(descriptor)
