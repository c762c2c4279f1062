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
import mmap
import os
import secrets
import struct
import threading
import time
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from journeykit.capture.tail import Taken
from journeykit.exceptions import StoreError
from journeykit.model.event import Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from journeykit.capture.tail import Orphan, Watermark

try:
    import fcntl
except ImportError:  # not on this platform; `Spool` says so
    fcntl = None  # type: ignore[assignment]

#: The size of a segment: an hour of a small shop, a fifth of a second of the largest burst.
SEGMENT_BYTES: Final = 4 * 2**20

#: The form of records; a process leaves segments of a newer form to newer processes.
FORM: Final = 1

#: After a disk refused a segment, the next try comes after this many seconds.
_RETRY_SECONDS: Final = 1.0

_SEGMENT: Final = ".seg"
_UNFINISHED: Final = ".new"
_MAGIC: Final = b"JKSPOOL"
_HEADER: Final = struct.Struct("<7sB8x")
_FRAME: Final = struct.Struct("<II")
_COLUMNS: Final = struct.Struct("<BBqHHHHH")
_KINDS: Final = tuple(Kind)
_KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(_KINDS)}
_NONE: Final = 0xFFFF

_log = logging.getLogger("journeykit")


class Mark(NamedTuple):
    """
    How far `take` has read: into which segment, to which byte, over how much.

    `gone` are the deleted files that its watermarks tell the store to forget.
    """

    segment: str
    place: int
    entries: int
    size: int
    gone: tuple[str, ...]


class Segment:
    """A mapped file of records; `end` is where the next one goes, `read` where reading goes on."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.end = self.read = _HEADER.size
        self._descriptor = descriptor
        self.map = mmap.mmap(descriptor, os.fstat(descriptor).st_size)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def fits(self, size: int) -> bool:
        """Return whether a record of so many bytes, and the end behind it, have room."""
        return self.end + size + _FRAME.size <= len(self.map)

    def append(self, data: bytes) -> None:
        """Write one record; its frame comes last, so that half a record is none."""
        place, start = self.end, self.end + _FRAME.size
        self.map[start : start + len(data)] = data
        _FRAME.pack_into(self.map, place, len(data), zlib.crc32(data))
        self.end = start + len(data)

    def records(self, place: int, end: int) -> Iterator[tuple[int, Entry]]:
        """
        Yield each entry from *place* on, with the place behind it.

        Raises:
            Damaged: The bytes are not what was written.
        """
        while place + _FRAME.size <= end:
            length, checksum = _FRAME.unpack_from(self.map, place)
            if length == 0:
                return
            start = place + _FRAME.size
            data = self.map[start : start + length]
            if len(data) < length or zlib.crc32(data) != checksum:
                raise Damaged(place)
            place = start + length
            yield place, unpack(data)

    def let_go(self) -> None:
        """Unmap and unlock; the file stays."""
        self.map.close()
        os.close(self._descriptor)

    def remove(self) -> None:
        """Delete the file, then let go of it."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        self.let_go()


class Damaged(Exception):
    """A segment's bytes are not what was written; `place` says from where on."""

    def __init__(self, place: int) -> None:
        self.place = place
        super().__init__(f"damaged at byte {place}")


class OrphanSegment:
    """A dead process's segment, locked by this one."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.name = segment.name

    def groups(self, place: int | None, limit: int) -> Iterator[tuple[list[Entry], int]]:
        """
        Yield its entries behind *place* in groups, each with the place behind it.

        What is damaged ends it; then a copy stays beside the others, as `.damaged`.
        """
        group: list[Entry] = []
        start = behind = place or _HEADER.size
        try:
            for behind, entry in self.segment.records(start, len(self.segment.map)):
                group.append(entry)
                if len(group) == limit:
                    yield group, behind
                    group = []
        except Damaged as damaged:
            aside = self.segment.path.with_suffix(".damaged")
            aside.write_bytes(self.segment.map)
            _log.error(
                "journeykit.segment_damaged", extra={"file": str(aside), "byte": damaged.place}
            )
        if group:
            yield group, behind


class Spool:
    """
    A tail in mapped files under *directory*.

    Args:
        limit_bytes: Beyond this many bytes of this process's new entries are refused as `full`.

    Raises:
        StoreError: This platform has no `flock`.
    """

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        if fcntl is None:
            msg = f'spool {directory}: this platform has no flock; use store = "memory://"'
            raise StoreError(msg)
        self._directory = directory
        self._limit = limit_bytes
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._segments: list[Segment] = []
        self._next: Segment | None = None
        self._adopted: dict[str, OrphanSegment] = {}
        self._gone: list[str] = []
        self._not_before = 0.0
        self._bytes = 0
        self.appended = self.released = 0

    def append(self, entry: Entry) -> str | None:
        """Keep *entry*; returns None, or `"full"`, or `"disk_full"` where the disk refused."""
        data = pack(entry)
        size = len(data) + _FRAME.size
        with self._lock:
            if self._bytes + size > self._limit:
                return "full"
            if not self._segments or not self._segments[-1].fits(size):
                segment, self._next = self._next or self._create(), None
                if segment is None:
                    return "disk_full"
                self._segments.append(segment)
            self._segments[-1].append(data)
            self._bytes += size
            self.appended += 1
        return None

    def take(self, limit: int) -> Taken:
        """Return up to *limit* of the oldest entries, which stay."""
        with self._lock:
            spans = [(segment, segment.read, segment.end) for segment in self._segments]
            gone = tuple(self._gone)
        watermarks: list[Watermark] = [(name, None) for name in gone]
        entries: list[Entry] = []
        size = 0
        mark = None
        for segment, start, end in spans:
            place = start
            for behind, entry in segment.records(start, end):
                entries.append(entry)
                place = behind
                if len(entries) == limit:
                    break
            size += place - start
            mark = Mark(segment.name, place, len(entries), size, gone)
            watermarks.append((segment.name, place))
            if len(entries) == limit:
                break
        return Taken(entries, mark, tuple(watermarks))

    def release(self, mark: Mark | None) -> None:
        """Let go of everything up to *mark*, and of files that are read to their end."""
        with self._lock:
            names = [segment.name for segment in self._segments]
            last = names.index(mark.segment) if mark and mark.segment in names else None
            if mark is None or last is None or mark.place <= self._segments[last].read:
                return
            self._segments[last].read = mark.place
            self.released += mark.entries
            self._bytes -= mark.size
            done, self._segments = self._segments[:last], self._segments[last:]
            self._gone = [name for name in self._gone if name not in mark.gone]
            self._gone += [segment.name for segment in done]
        for segment in done:
            segment.remove()

    def tend(self) -> None:
        """Have the next segment ready before it is needed."""
        with self._lock:
            used = self._segments[-1].end if self._segments else 0
            wanted = self._next is None and used > SEGMENT_BYTES // 4
        segment = self._create() if wanted else None
        if segment is not None:
            with self._lock:
                self._next, spare = (self._next or segment), self._next
            if spare is not None:
                segment.remove()

    def orphaned(self) -> bool:
        """Return whether a dead process has left something behind."""
        return bool(self.orphans())

    def orphans(self) -> Sequence[OrphanSegment]:
        """Return the segments of dead processes, which stay locked until they are settled."""
        try:
            paths = list(self._directory.iterdir())
        except FileNotFoundError:
            return ()
        with self._lock:
            own = {segment.name for segment in self._own()}
            for path in paths:
                if path.name not in own and path.name not in self._adopted:
                    orphan = _adopt(path)
                    if orphan is not None:
                        self._adopted[path.name] = orphan
            return [self._adopted[name] for name in sorted(self._adopted)]

    def settle(self, orphan: Orphan) -> None:
        """Delete *orphan*, all of which is in the Log."""
        with self._lock:
            known = self._adopted.pop(orphan.name, None)
            if known is not None:
                known.segment.remove()
                self._gone.append(known.name)

    def close(self) -> None:
        """Unlock what waits, for another process to adopt; delete what is read to its end."""
        with self._lock:
            for segment in self._own():
                if segment.read == segment.end:
                    segment.remove()
                else:
                    segment.let_go()
            for orphan in self._adopted.values():
                orphan.segment.let_go()
        self._begin()

    def reset_after_fork(self) -> None:
        """Unmap the parent's segments, which the parent goes on using."""
        inherited = [*self._own(), *(orphan.segment for orphan in self._adopted.values())]
        self._begin()
        for segment in inherited:
            # Closing this process's copies of the descriptors leaves the parent its locks.
            segment.let_go()

    def __len__(self) -> int:
        """Return how many entries wait."""
        return self.appended - self.released

    def _own(self) -> list[Segment]:
        return [*self._segments, *([self._next] if self._next is not None else [])]

    def _create(self) -> Segment | None:
        if time.monotonic() < self._not_before:
            return None
        path = self._directory / f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}.new"
        descriptor = None
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            # Locked before it has the name of a segment: none is ever seen without its owner.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _allocate(descriptor, SEGMENT_BYTES)
            segment = Segment(path.with_suffix(_SEGMENT), descriptor)
            _HEADER.pack_into(segment.map, 0, _MAGIC, FORM)
            path.rename(segment.path)
        except OSError as error:
            self._not_before = time.monotonic() + _RETRY_SECONDS
            _clean(path, descriptor)
            _log.error("journeykit.spool_refused", extra={"error": type(error).__name__})
            return None
        return segment


def _adopt(path: Path) -> OrphanSegment | None:
    """Lock the segment at *path* if its process is dead; what was never one is deleted."""
    descriptor = _lock(path) if path.suffix in (_SEGMENT, _UNFINISHED) else None
    if descriptor is None:
        return None
    if path.suffix == _UNFINISHED or os.fstat(descriptor).st_size < _HEADER.size:
        _clean(path, descriptor)
        return None
    segment = Segment(path, descriptor)
    magic, form = _HEADER.unpack_from(segment.map)
    if magic != _MAGIC or form > FORM:
        segment.let_go()
        return None
    return OrphanSegment(segment)


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


def _clean(path: Path, descriptor: int | None) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    if descriptor is not None:
        os.close(descriptor)


def pack(entry: Entry) -> bytes:
    """Return *entry* as the bytes of a record."""
    # Written out, for each event pays for this in its caller.
    event_id, kind, name, user_id, anonymous_id, session_id, occurred_at, flags, body = entry
    id_text, name_text = event_id.encode(), name.encode()
    user = b"" if user_id is None else user_id.encode()
    anonymous = b"" if anonymous_id is None else anonymous_id.encode()
    session = b"" if session_id is None else session_id.encode()
    columns = _COLUMNS.pack(
        _KIND_NUMBERS[kind],
        flags,
        occurred_at,
        len(id_text),
        len(name_text),
        _NONE if user_id is None else len(user),
        _NONE if anonymous_id is None else len(anonymous),
        _NONE if session_id is None else len(session),
    )
    return b"".join((columns, id_text, name_text, user, anonymous, session, body))


def unpack(data: bytes) -> Entry:
    """Return the entry of a record's bytes."""
    kind, flags, occurred_at, *lengths = _COLUMNS.unpack_from(data)
    place = _COLUMNS.size
    texts: list[str | None] = []
    for length in lengths:
        if length == _NONE:
            texts.append(None)
        else:
            texts.append(data[place : place + length].decode())
            place += length
    event_id, name, user_id, anonymous_id, session_id = texts
    return Entry(
        event_id or "",
        _KINDS[kind],
        name or "",
        user_id,
        anonymous_id,
        session_id,
        occurred_at,
        flags,
        data[place:],
    )


def _allocate(descriptor: int, size: int) -> None:
    """Give the file real blocks: a hole that cannot be filled would kill the process later."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    block = bytes(2**16)
    for _ in range(0, size, len(block)):
        view = memoryview(block)
        while view:
            view = view[os.write(descriptor, view) :]
