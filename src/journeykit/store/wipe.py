"""
Overwrites what SQLite leaves behind in the free space of its pages.

SQLite with `secure_delete` overwrites a row that is deleted, but no copy of it that stayed where
the row was before it moved to another page.
A new database (`VACUUM`) would be without them; it takes long, and nobody could commit meanwhile.

Only bytes are written that SQLite gives no meaning to: those between the pointers of a page and the
first of its cells.
The format: https://www.sqlite.org/fileformat2.html#b_tree_pages
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The kind of page, its first free block, the number of its cells, and where these begin.
_PAGE: Final = struct.Struct(">BHHH")
_FILE_HEADER: Final = 100
_PAGE_SIZE_AT: Final = 16

#: Kinds of pages → the bytes of their header: interior and leaf, of indexes and of tables.
_HEADERS: Final = {2: 12, 5: 12, 10: 8, 13: 8}

#: From this number of pages on, another kind of page could be taken for one of these.
MOST_PAGES: Final = 2**25

#: Pages read at a time.
_AT_ONCE: Final = 256


def page_size(descriptor: int) -> int:
    """Return the size of the database's pages."""
    size = int.from_bytes(os.pread(descriptor, 2, _PAGE_SIZE_AT), "big")
    return 65536 if size == 1 else size


def dirty(descriptor: int, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Yield where in the pages from *first* to before *last* there are left-overs: page, span."""
    size = page_size(descriptor)
    for start in range(first, last, _AT_ONCE):
        count = min(_AT_ONCE, last - start)
        data = os.pread(descriptor, count * size, start * size)
        for index in range(len(data) // size):
            number = start + index
            begin, end = _gap(data, index * size, size, _FILE_HEADER if number == 0 else 0)
            if begin < end and data[begin:end].strip(b"\0"):
                yield number, begin - index * size, end - index * size


def wipe(descriptor: int, numbers: list[int]) -> None:
    """
    Overwrite the left-overs in these pages.

    The caller keeps everybody else from writing, and the write-ahead log is empty.
    """
    size = page_size(descriptor)
    for number in numbers:
        for page, begin, end in dirty(descriptor, number, number + 1):
            os.pwrite(descriptor, bytes(end - begin), page * size + begin)
    os.fsync(descriptor)


def _gap(data: bytes, place: int, size: int, skipped: int) -> tuple[int, int]:
    """Return where the unused bytes of the page at *place* begin and end; nowhere if in doubt."""
    start = place + skipped
    kind, _, cells, content = _PAGE.unpack_from(data, start)
    header = _HEADERS.get(kind)
    if header is None:
        return 0, 0
    begin = start + header + 2 * cells
    end = place + (content or 65536)
    if not begin <= end <= place + size:
        return 0, 0
    pointers = struct.unpack_from(f">{cells}H", data, start + header)
    if any(place + (pointer or 65536) < end for pointer in pointers):
        return 0, 0
    return begin, end
