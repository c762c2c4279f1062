"""
How far the database has come, noted beside it.

A database that is destroyed cannot tell what it held, and one that has lost its last commits looks
like any other. This note tells both: it is written behind each commit, so the database has never
less than it says, unless something took it.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

_FORM: Final = struct.Struct("<4sIQQ")
_MAGIC: Final = b"JKT1"
_CHECKSUM: Final = struct.Struct("<I")

_QUERY: Final = (
    "SELECT (SELECT user_version FROM pragma_user_version), "
    "(SELECT seq FROM sqlite_sequence WHERE name = 'log'), "
    "(SELECT value FROM counter WHERE name = 'events')"
)


class Tally(NamedTuple):
    """
    What a database has.

    `version` is that of its tables, `position` the last one that an event got, `events` how many
    the Log has that are not derived.
    """

    version: int
    position: int
    events: int

    @classmethod
    def of(cls, db: sqlite3.Connection) -> Tally:
        """Return how far the database behind *db* is."""
        version, position, events = db.execute(_QUERY).fetchone()
        return cls(version, position or 0, events or 0)

    def covers(self, other: Tally) -> bool:
        """Return whether this is as far as *other*."""
        return self.position >= other.position and self.events >= other.events


class TallyFile:
    """The note in the file at *path*; whoever reads or writes it holds the lock on commits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._written: Tally | None = None

    def read(self) -> Tally | None:
        """Return what was noted; None if nothing was, or nothing that can be trusted."""
        try:
            data = self._path.read_bytes()
            magic, *figures = _FORM.unpack_from(data)
            (checksum,) = _CHECKSUM.unpack_from(data, _FORM.size)
        except (OSError, struct.error):
            return None
        if magic != _MAGIC or zlib.crc32(data[: _FORM.size]) != checksum:
            return None
        return Tally(*figures)

    def write(self, tally: Tally) -> None:
        """Note *tally*; a disk that refuses costs the note, not the commit."""
        if tally == self._written:
            return
        data = _FORM.pack(_MAGIC, *tally)
        with contextlib.suppress(OSError):
            if self._descriptor is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o600)
            os.pwrite(self._descriptor, data + _CHECKSUM.pack(zlib.crc32(data)), 0)
            self._written = tally

    def close(self) -> None:
        """Close the file; also what a child does with its parent's."""
        descriptor, self._descriptor, self._written = self._descriptor, None, None
        if descriptor is not None:
            os.close(descriptor)
