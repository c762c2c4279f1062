"""
Segments: the files that a spool consists of.

A segment is allocated before it is mapped, and locked as long as its process lives. Each record has
its length and its checksum, so that what a dead process left can be told from what it was writing.
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
from typing import TYPE_CHECKING, Final

from journeykit.capture.allocate import allocate
from journeykit.capture.records import unpack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from journeykit.model.event import Entry

try:
    import fcntl
except ImportError:  # not on this platform; `Spool` says so
    fcntl = None  # type: ignore[assignment]

#: So much of a segment is mapped ahead of what is written, and so much at once: about 50 µs.
_TOUCHED_AHEAD: Final = 2**20
_TOUCHED_AT_ONCE: Final = 2**16

#: Linux: map pages for writing now.
_POPULATE_WRITE: Final = 23

#: The form of records; a process leaves segments of a newer form to newer processes.
FORM: Final = 1

_SEGMENT: Final = ".seg"
_UNFINISHED: Final = ".new"
_DAMAGED: Final = ".damaged"
_MAGIC: Final = b"JKSPOOL"
#: In front of the records: the form of these.
HEADER: Final = struct.Struct("<7sBQ")
#: In the header: how far its records came to the store, for whoever has to read them again.
_AGAIN: Final = struct.Struct("<Q")
_AGAIN_PLACE: Final = HEADER.size - _AGAIN.size
#: Before each record: its length and its checksum. A length of zero ends the segment.
FRAME: Final = struct.Struct("<II")
_CHECKSUM: Final = struct.Struct("<I")

_log = logging.getLogger("journeykit")


class Segment:
    """
    A mapped file of records.

    `end` is where the next one goes, `read` where reading goes on, `first` where it begins anew:
    what was dropped is behind it.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.end = self.read = self.first = HEADER.size
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
        return max(place, HEADER.size) if place <= self._size else HEADER.size

    @again.setter
    def again(self, place: int) -> None:
        _AGAIN.pack_into(self.map, _AGAIN_PLACE, place)

    def fits(self, size: int) -> bool:
        """Return whether it takes a record of so many bytes, with the end behind it."""
        return not self.full and self.end + size + FRAME.size <= self._size

    def write(self, data: bytes) -> None:
        """Write one record at `end`, which stays: its checksum comes last, and makes it valid."""
        place, start = self.end, self.end + FRAME.size
        FRAME.pack_into(self.map, place, len(data), 0)
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
        length, _ = FRAME.unpack_from(self.map, place)
        return place + FRAME.size + int(length)

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
            start, place = place + FRAME.size, self.behind(place)
            entries.append(unpack(self.map[start:place]))
        return entries, place

    def records(self, place: int) -> Iterator[tuple[int, Entry]]:
        """
        Yield each entry from *place* on that was written whole, with the place behind it.

        Raises:
            Damaged: The bytes are not what was written.
        """
        while True:
            start = place + FRAME.size
            if start > len(self.map):
                raise Damaged(place)
            length, checksum = FRAME.unpack_from(self.map, place)
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
        behind = start = place or HEADER.size
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
        return (place or HEADER.size) < self.segment.again

    def settle(self) -> None:
        """Delete the file, or keep it beside the others as `.damaged`, for a person to look at."""
        path = self.segment.path
        if self.damaged is None:
            path.unlink(missing_ok=True)
            sync(path.parent)
        else:
            aside = path.rename(path.with_suffix(_DAMAGED))
            sync(path.parent)
            _log.error(
                "journeykit.segment_damaged", extra={"file": str(aside), "byte": self.damaged}
            )
        self.segment.let_go()


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


def new_segment(directory: Path, size: int) -> Segment:
    """Return a new segment of *size* bytes, locked by this process."""
    path = directory / f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}{_UNFINISHED}"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # Locked before it has the name of a segment: none is ever seen without its owner.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        allocate(descriptor, size)
        segment = Segment(path.with_suffix(_SEGMENT), descriptor)
        HEADER.pack_into(segment.map, 0, _MAGIC, FORM, 0)
        path.rename(segment.path)
    except OSError:
        _clean(path, descriptor)
        raise
    return segment


def adopt(path: Path) -> OrphanSegment | None:
    """Lock the segment at *path* if its process is dead; what was never one is deleted."""
    descriptor = _lock(path) if path.suffix in (_SEGMENT, _UNFINISHED) else None
    if descriptor is None:
        return None
    if path.suffix == _UNFINISHED or os.fstat(descriptor).st_size < HEADER.size:
        _clean(path, descriptor)
        return None
    try:
        segment = Segment(path, descriptor)
    except OSError:
        os.close(descriptor)
        return None
    magic, form, _ = HEADER.unpack_from(segment.map)
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


def sync(directory: Path) -> None:
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
