"""
A disk whose power may fail: notes what SQLite writes and syncs, and says what would be left of it.

The `sqlite3` of the standard library has no such thing, so this goes below it: a VFS of SQLite,
registered through ctypes in the library that `_sqlite3` itself has loaded, hands every call on to
the ordinary one and notes writes, truncations and syncs of files on their way.

What was synced is surely there after a cut. Of what came later, each sector of 512 bytes is as it
was after some of the writes to it, and the file has one of the lengths that it went through.
"""

from __future__ import annotations

import ctypes
import os
import random
import stat
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECTOR = 512

_OPEN_RECORDED = 0x100 | 0x800 | 0x80000  # a database, its rollback journal, its WAL
_IOERR = 10

# Names are handed on as they come: SQLite keeps pointing at them.
_pointer = ctypes.c_void_p
_OPEN = ctypes.CFUNCTYPE(
    ctypes.c_int, _pointer, _pointer, _pointer, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, _pointer, ctypes.c_int)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, _pointer, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, ctypes.c_int)


def _fields(numbers: str, names: str) -> list[tuple[str, Any]]:
    fields: list[tuple[str, Any]] = [(name, ctypes.c_int) for name in numbers.split()]
    return fields + [(name, _pointer) for name in names.split()]


class _Vfs(ctypes.Structure):
    _fields_ = _fields(
        "iVersion szOsFile mxPathname",
        "pNext zName pAppData xOpen xDelete xAccess xFullPathname xDlOpen xDlError xDlSym xDlClose "
        "xRandomness xSleep xCurrentTime xGetLastError xCurrentTimeInt64 xSetSystemCall "
        "xGetSystemCall xNextSystemCall",
    )


class _Methods(ctypes.Structure):
    _fields_ = _fields(
        "iVersion",
        "xClose xRead xWrite xTruncate xSync xFileSize xLock xUnlock xCheckReservedLock "
        "xFileControl xSectorSize xDeviceCharacteristics xShmMap xShmLock xShmBarrier xShmUnmap",
    )


class _File(ctypes.Structure):
    _fields_ = [("pMethods", ctypes.POINTER(_Methods))]


class Unreachable(Exception):
    """The library that `_sqlite3` uses cannot be reached from here; the message says why."""


class _Content:
    """A file: what is surely on the disk, and what was done since: (offset, bytes or None)."""

    def __init__(self, data: bytes = b"", *, known: bool = False) -> None:
        self.synced = bytearray(data)
        self.later: list[tuple[int, bytes | None]] = []
        #: Whether its directory has it for sure, and what may still stand in its place if not.
        self.known = known
        self.before: bytes | None = None

    def sync(self, count: int) -> None:
        """Bring the first *count* later operations to the disk."""
        for operation in self.later[:count]:
            _apply(self.synced, operation)
        del self.later[:count]

    def left(self, luck: random.Random) -> bytes | None:
        """Return what a cut leaves of it; None where it leaves no file."""
        if not self.known and luck.random() < 0.5:
            return self.before
        sizes = [len(self.synced)]
        touched: dict[int, list[tuple[int, bytes | None]]] = defaultdict(list)
        for offset, data in self.later:
            if data is None:
                sizes.append(offset)
                for sector in range(offset // SECTOR, max(sizes) // SECTOR + 1):
                    touched[sector].append((offset, None))
            else:
                sizes.append(max(sizes[-1], offset + len(data)))
                for sector in range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1):
                    touched[sector].append((offset, data))
        size = sizes[-1] if luck.random() < 0.5 else luck.choice(sizes)
        image = bytearray(self.synced[:size].ljust(size, b"\0"))
        for sector, operations in touched.items():
            start = sector * SECTOR
            if start < size:
                piece = _survivor(self.synced[start : start + SECTOR], start, operations, luck)
                image[start : start + SECTOR] = piece[: size - start]
        return bytes(image)


def _apply(data: bytearray, operation: tuple[int, bytes | None]) -> None:
    offset, new = operation
    if new is None:
        del data[offset:]
    else:
        data.extend(bytes(max(0, offset - len(data))))
        data[offset : offset + len(new)] = new


def _survivor(
    synced: bytes, start: int, operations: list[tuple[int, bytes | None]], luck: random.Random
) -> bytes:
    """Return a sector as it was after some of the *operations* on it."""
    # Half of all sectors come through as they are, and half of the others not at all.
    luckier = luck.random()
    count = len(operations)
    if luckier < 0.5:
        count = 0 if luckier < 0.25 else luck.randrange(count + 1)
    piece = bytearray(synced.ljust(SECTOR, b"\0"))
    for offset, data in operations[:count]:
        if data is None:
            keep = max(0, offset - start)
            piece[keep:] = bytes(SECTOR - keep)
            continue
        first, last = max(start, offset), min(start + SECTOR, offset + len(data))
        piece[first - start : last - start] = data[first - offset : last - offset]
    return bytes(piece)


class Disk:
    """
    Notes what happens to SQLite's files, and to others, below *base*.

    Args:
        mapped: The suffix of files that are written through a mapping and never synced.

        noted: Called after each operation, with the lock held: the moment for a cut.

    Raises:
        Unreachable: SQLite cannot be watched here.
    """

    def __init__(self, base: Path, *, mapped: str, noted: Callable[[Disk], None]) -> None:
        self.base = base
        self.lock = threading.RLock()
        self.errors: list[str] = []
        self._mapped = mapped
        self._noted = noted
        self._files: dict[str, _Content] = {}
        self._paths: dict[int, str] = {}
        self._methods: dict[int, tuple[Any, ...]] = {}
        #: Mapped files that were deleted, while their directory may not know it yet.
        self._removed: dict[Path, bytes] = {}
        self._register()
        self._watch_directory()

    @property
    def watches(self) -> bool:
        """Whether SQLite has written anything through this."""
        return bool(self._files)

    def cut(self, target: Path, luck: random.Random) -> None:
        """Write to *target* what would be left if the power failed now."""
        with self.lock:
            target.mkdir(parents=True)
            for path, content in self._files.items():
                data = content.left(luck)
                if data is not None:
                    (target / Path(path).name).write_bytes(data)
            for path, data in self._mapped_files(luck).items():
                place = target / path.relative_to(self.base)
                place.parent.mkdir(exist_ok=True)
                place.write_bytes(data)

    def _mapped_files(self, luck: random.Random) -> dict[Path, bytes]:
        files = {path: data for path, data in self._removed.items() if luck.random() < 0.5}
        for path in self.base.rglob(f"*{self._mapped}"):
            # Its name is not synced either; mostly it is there.
            if luck.random() < 0.9:
                files[path] = path.read_bytes()
        return {path: _torn(data, luck) for path, data in files.items()}

    def _watch_directory(self) -> None:
        fsync = os.fsync

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "os.remove" and str(arguments[0]).endswith(self._mapped):
                path = Path(arguments[0])
                with self.lock:
                    self._removed[path] = path.read_bytes()

        def synced(descriptor: int) -> None:
            fsync(descriptor)
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                with self.lock:
                    for path in list(self._removed):
                        if os.path.samestat(found, path.parent.stat()):
                            del self._removed[path]

        sys.addaudithook(audit)
        os.fsync = synced

    # SQLite

    def _register(self) -> None:
        library = _library()
        library.sqlite3_vfs_find.restype = _pointer
        library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
        library.sqlite3_vfs_register.argtypes = [_pointer, ctypes.c_int]
        found = library.sqlite3_vfs_find(None)
        if not found:
            raise Unreachable("the SQLite library has no file system")
        original = _Vfs.from_address(found)
        copy = _Vfs.from_buffer_copy(original)
        name = ctypes.create_string_buffer(b"journeykit-disk")
        opened, deleted = _OPEN(original.xOpen), _DELETE(original.xDelete)
        on_open = _OPEN(self._guarded(lambda *args: self._open(opened, *args)))
        on_delete = _DELETE(self._guarded(lambda *args: self._delete(deleted, *args)))
        copy.zName = ctypes.addressof(name)
        copy.xOpen = ctypes.cast(on_open, _pointer)
        copy.xDelete = ctypes.cast(on_delete, _pointer)
        # SQLite keeps pointers to all of these.
        self._kept = (library, copy, name, on_open, on_delete)
        if library.sqlite3_vfs_register(ctypes.addressof(copy), 1) != 0:
            raise Unreachable("SQLite took no other file system")

    def _guarded(self, call: Callable[..., int]) -> Callable[..., int]:
        def guarded(*arguments: Any) -> int:
            try:
                return call(*arguments)
            except BaseException as error:  # noqa: BLE001 - SQLite cannot take an exception
                self.errors.append(repr(error))
                return _IOERR

        return guarded

    def _open(
        self, original: Any, vfs: int, name: int | None, file: int, flags: int, out: Any
    ) -> int:
        code: int = original(vfs, name, file, flags, out)
        if code == 0 and name is not None and flags & _OPEN_RECORDED:
            path = os.fsdecode(ctypes.string_at(name))
            if path.startswith(str(self.base)):
                with self.lock:
                    self._paths[file] = path
                    if path not in self._files:
                        self._files[path] = _Content(Path(path).read_bytes())
                opened = _File.from_address(file)
                opened.pMethods = self._wrapped(opened.pMethods)
        return code

    def _delete(self, original: Any, vfs: int, name: int, sync: int) -> int:
        with self.lock:
            code: int = original(vfs, name, sync)
            path = os.fsdecode(ctypes.string_at(name))
            gone = self._files.pop(path, None)
            if gone is not None and not sync:
                # Not even the new file of the same name is there until its directory is synced.
                self._files[path] = left = _Content()
                left.before = bytes(gone.synced) if gone.known else gone.before
            self._noted(self)
        return code

    def _wrapped(self, methods: Any) -> Any:
        address = ctypes.addressof(methods.contents)
        known = self._methods.get(address)
        if known is None:
            original = methods.contents
            copy = _Methods.from_buffer_copy(original)
            # Behind version 2 come mappings of the file, which would bypass `xWrite`.
            copy.iVersion = min(copy.iVersion, 2)
            calls = (
                _WRITE(self._guarded(self._writer(_WRITE(original.xWrite)))),
                _TRUNCATE(self._guarded(self._truncater(_TRUNCATE(original.xTruncate)))),
                _SYNC(self._guarded(self._syncer(_SYNC(original.xSync)))),
            )
            copy.xWrite, copy.xTruncate, copy.xSync = (ctypes.cast(c, _pointer) for c in calls)
            pointer = ctypes.pointer(copy)
            known = self._methods[address] = (pointer, copy, calls)
            self._methods[ctypes.addressof(copy)] = known
        return known[0]

    def _writer(self, original: Any) -> Callable[..., int]:
        def write(file: int, data: int, size: int, offset: int) -> int:
            with self.lock:
                code: int = original(file, data, size, offset)
                later = self._files[self._paths[file]].later
                later.append((offset, ctypes.string_at(data, size)))
                self._noted(self)
            return code

        return write

    def _truncater(self, original: Any) -> Callable[..., int]:
        def truncate(file: int, size: int) -> int:
            with self.lock:
                code: int = original(file, size)
                self._files[self._paths[file]].later.append((size, None))
                self._noted(self)
            return code

        return truncate

    def _syncer(self, original: Any) -> Callable[..., int]:
        def sync(file: int, flags: int) -> int:
            with self.lock:
                path = self._paths[file]
                content = self._files[path]
                count = len(content.later)
            code: int = original(file, flags)
            with self.lock:
                content.sync(count)
                # With the first sync of a new file SQLite syncs its directory.
                for each in self._files.values():
                    each.known = each.known or each is content or path.endswith("-wal")
                content.before = None
                self._noted(self)
            return code

        return sync


def _torn(data: bytes, luck: random.Random) -> bytes:
    """Return a mapped file with each of its sectors as it may be on the disk."""
    image = bytearray(data)
    for start in range(0, len(data.rstrip(b"\0")), SECTOR):
        end = start + SECTOR
        piece = data[start:end]
        if luck.random() < 0.4:
            # Nothing of it, or what was there when the kernel last wrote it back.
            kept = 0 if luck.random() < 0.8 else luck.randrange(SECTOR)
            image[start:end] = piece[:kept].ljust(len(piece), b"\0")
    return bytes(image)


def _library() -> ctypes.CDLL:
    import _sqlite3  # what `sqlite3` is made of, which knows where it came from

    for place in (getattr(_sqlite3, "__file__", None), None):
        try:
            library = ctypes.CDLL(place)
        except OSError:
            continue
        if hasattr(library, "sqlite3_vfs_register"):
            return library
    raise Unreachable("the SQLite library that _sqlite3 uses is not reachable through ctypes")
