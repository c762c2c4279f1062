"""
The pages of a damaged SQLite file, read without SQLite.

SQLite reaches a row by way of the header, the root of its table and the pages between; where one
of these is gone it reaches nothing. The rows lie in pages that can be told by their first byte, so
they can be found without what led to them. The format: https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAGIC: Final = b"SQLite format 3\0"
_WAL_MAGIC: Final = (0x377F0682, 0x377F0683)
_WAL_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_PAGE_SIZE: Final = 4096
_HEADER_BYTES: Final = 100

_LEAF_TABLE, _LEAF_INDEX, _INNER_TABLE, _INNER_INDEX = 0x0D, 0x0A, 0x05, 0x02

#: The deepest that a tree of a real file goes; pages of a damaged one may point in a circle.
_DEPTH: Final = 20

#: Serial types of numbers, and the bytes that they take.
_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_FLOAT: Final = 7


class Row(NamedTuple):
    """A record of a table, and its row id; an index has none."""

    number: int | None
    values: tuple[Any, ...]


class Pages:
    """
    What can be read of a database file and its write-ahead log.

    Args:
        read: Returns so many bytes of the file from a place on; fewer at its end.

        size: The file's length.

        wal: The write-ahead log.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int, wal: bytes = b"") -> None:
        self._read = read
        self._wal = wal
        header = read(0, _HEADER_BYTES)
        self.page_size = _page_size(header, wal)
        self._usable = self.page_size - (header[20] if header.startswith(_MAGIC) else 0)
        self._count = -(-size // self.page_size)
        self._frames = list(_frames(wal, self.page_size))
        #: Where in the log the newest whole version of a page is.
        self._newest = {number: place for number, place, valid in self._frames if valid}

    def rows(self) -> Iterator[Row]:
        """Yield the rows of all tables with row ids, from every version of every page."""
        for number in range(1, self._count + 1):
            yield from self._leaf(number, self._from_file(number))
        for number, place, _ in self._frames:
            yield from self._leaf(number, self._from_wal(place))

    def tree(self, root: int) -> Iterator[Row]:
        """Yield the rows of one table or index, as far as they can be reached from its root."""
        pending = [(root, 0)]
        while pending:
            number, depth = pending.pop()
            page = self.page(number)
            start = _HEADER_BYTES if number == 1 else 0
            kind = page[start] if len(page) > start else 0
            if kind in (_INNER_TABLE, _INNER_INDEX) and depth < _DEPTH:
                pending += [(child, depth + 1) for child in _children(page, start)]
            if kind == _LEAF_TABLE:
                yield from self._leaf(number, page)
            elif kind in (_LEAF_INDEX, _INNER_INDEX):
                yield from self._index(page, start, inner=kind == _INNER_INDEX)

    def page(self, number: int) -> bytes:
        """Return the newest version of a page; nothing if there is no such page."""
        place = self._newest.get(number)
        return self._from_file(number) if place is None else self._from_wal(place)

    def _from_file(self, number: int) -> bytes:
        if not 1 <= number <= self._count:
            return b""
        return self._read((number - 1) * self.page_size, self.page_size)

    def _from_wal(self, place: int) -> bytes:
        return self._wal[place : place + self.page_size]

    def _leaf(self, number: int, page: bytes) -> Iterator[Row]:
        start = _HEADER_BYTES if number == 1 else 0
        if len(page) <= start or page[start] != _LEAF_TABLE:
            return
        for cell in _cells(page, start, 8):
            try:
                size, at = _varint(page, cell)
                row_id, at = _varint(page, at)
                values = _record(self._payload(page, at, size, self._usable - 35))
            except (IndexError, ValueError, struct.error):
                continue
            yield Row(row_id, values)

    def _index(self, page: bytes, start: int, *, inner: bool) -> Iterator[Row]:
        most = (self._usable - 12) * 64 // 255 - 23
        for cell in _cells(page, start, 12 if inner else 8):
            try:
                size, at = _varint(page, cell + (4 if inner else 0))
                values = _record(self._payload(page, at, size, most))
            except (IndexError, ValueError, struct.error):
                continue
            yield Row(None, values)

    def _payload(self, page: bytes, at: int, size: int, most: int) -> bytes:
        """Return a record of *size* bytes, of which at most so many are on its own page."""
        if size > self._count * self.page_size + len(self._wal):
            raise ValueError(size)
        if size <= most:
            return page[at : at + size]
        least = (self._usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (self._usable - 4)
        local = local if local <= most else least
        parts = [page[at : at + local]]
        (following,) = struct.unpack_from(">I", page, at + local)
        left = size - local
        while left > 0:
            overflow = self.page(following)
            (following,) = struct.unpack_from(">I", overflow)
            parts.append(overflow[4 : 4 + min(left, self._usable - 4)])
            left -= self._usable - 4
        return b"".join(parts)


def _page_size(header: bytes, wal: bytes) -> int:
    found = 0
    if header.startswith(_MAGIC):
        found = int.from_bytes(header[16:18], "big")
        found = 65536 if found == 1 else found
    elif len(wal) >= _WAL_HEADER.size:
        magic, _, found, *_ = _WAL_HEADER.unpack_from(wal)
        found = found if magic in _WAL_MAGIC else 0
    return found if found.bit_count() == 1 and 512 <= found <= 65536 else _PAGE_SIZE


def _frames(wal: bytes, page_size: int) -> Iterator[tuple[int, int, bool]]:
    """
    Yield each frame's page number, the place of its page, and whether it is what was written.

    A checksum follows from the one before, as that was written: so one frame that is wrong says
    nothing about the next. Frames behind the last commit are not counted as written.
    """
    step = _FRAME.size + page_size
    places = range(_WAL_HEADER.size, len(wal) - step + 1, step)
    heads = [_FRAME.unpack_from(wal, place) for place in places]
    if not heads:
        return
    magic, _, _, _, first_salt, second_salt, *start = _WAL_HEADER.unpack_from(wal)
    salts = (first_salt, second_salt)
    if magic not in _WAL_MAGIC:
        magic, salts = _WAL_MAGIC[0], Counter(head[2:4] for head in heads).most_common(1)[0][0]
    order, before = ">" if magic & 1 else "<", tuple(start)
    commits = [index for index, head in enumerate(heads) if head[1] and head[2:4] == salts]
    for index, (place, head) in enumerate(zip(places, heads, strict=True)):
        valid = head[2:4] == salts and bool(commits) and index <= commits[-1]
        if valid:
            data = wal[place : place + 8] + wal[place + _FRAME.size : place + step]
            valid = _checksum(order, data, before) == head[4:]
        before = head[4:]
        yield head[0], place + _FRAME.size, valid


def _checksum(order: str, data: bytes, before: tuple[int, ...]) -> tuple[int, int]:
    first, second = before
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even, odd in zip(words, words, strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _cells(page: bytes, start: int, header: int) -> list[int]:
    """Return where the cells of a page begin."""
    (count,) = struct.unpack_from(">H", page, start + 3)
    if start + header + 2 * count > len(page):
        return []
    return list(struct.unpack_from(f">{count}H", page, start + header))


def _children(page: bytes, start: int) -> list[int]:
    (last,) = struct.unpack_from(">I", page, start + 8)
    cells = [cell for cell in _cells(page, start, 12) if cell + 4 <= len(page)]
    return [*(struct.unpack_from(">I", page, cell)[0] for cell in cells), last]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length, and the place behind it."""
    value = 0
    for _ in range(8):
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    value = value << 8 | data[at]
    return value - (1 << 64) if value >> 63 else value, at + 1


def _record(payload: bytes) -> tuple[Any, ...]:
    """Return the values of a record, or raise `ValueError` or `IndexError`."""
    end, at = _varint(payload, 0)
    types = []
    while at < end:
        kind, at = _varint(payload, at)
        types.append(kind)
    values = []
    for kind in types:
        value, end = _value(payload, end, kind)
        values.append(value)
    if end > len(payload):
        raise ValueError(end)
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (0, 8, 9):
        return (None, 0, 1)[max(kind - 7, 0)], at
    if kind in _INTEGERS:
        end = at + _INTEGERS[kind]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if kind == _FLOAT:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if kind < 12:
        raise ValueError(kind)
    end = at + (kind - 12) // 2
    data = payload[at:end]
    return (data.decode() if kind % 2 else data), end
