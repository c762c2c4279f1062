"""The file sink: one JSON object a line, in files that rotate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from journeykit.delivery.lines import erase_lines
from journeykit.exceptions import DeliveryError
from journeykit.model.extension import SinkType

if TYPE_CHECKING:
    from journeykit.delivery.sink import Batch, ErasureResult
    from journeykit.model.customer import Customer


@attrs.frozen
class FileSettings:
    """
    Settings of `[sinks.NAME] type = "file"`.

    Args:
        path: The file; relative to `journeykit.toml`.

        rotate_bytes: Beyond this size the file is set aside as `path.1` (64 MiB: opens in any
            editor).

        keep: How many files set aside are kept; 0 keeps all of them.
    """

    path: Path
    rotate_bytes: int = attrs.field(
        default=64 * 2**20, kw_only=True, validator=attrs.validators.ge(4096)
    )
    keep: int = attrs.field(default=0, kw_only=True, validator=attrs.validators.ge(0))


class FileSink:
    """
    Appends the wire form of events to a file.

    A batch is on the disk when `deliver` returns.
    What a crash left unfinished at the end of the file is cut off, and comes again as a whole.
    """

    third_party = False

    def __init__(self, name: str, settings: FileSettings) -> None:
        self.name = name
        self._settings = settings
        self._descriptor: int | None = None
        self._size = 0

    def deliver(self, batch: Batch) -> None:
        """Append *batch*; raises `DeliveryError` if the disk will not take it."""
        data = b"".join(line + b"\n" for line in batch.lines)
        try:
            if self._descriptor is not None and self._size > self._settings.rotate_bytes:
                self._rotate()
            descriptor = self._open()
            self._write(descriptor, data)
        except OSError as error:
            self.close()
            msg = f"{self._settings.path}: {error.strerror}"
            raise DeliveryError(msg) from error

    def erase(self, customer: Customer) -> ErasureResult:
        """Write the file, and those set aside, anew without the lines of *customer*."""
        self.close()
        try:
            return erase_lines(self._settings.path, customer)
        except OSError as error:
            msg = f"{self._settings.path}: {error.strerror}"
            raise DeliveryError(msg) from error

    def reset_after_fork(self) -> None:
        """Close this process's copy of the file, whose place is shared with the parent's."""
        self.close()

    def close(self) -> None:
        """Close the file; the next batch opens it again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> int:
        path = self._settings.path
        if self._descriptor is None or _moved(self._descriptor, path):
            self.close()
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._size = _cut_unfinished_line(self._descriptor)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
        return self._descriptor

    def _write(self, descriptor: int, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError:
            os.ftruncate(descriptor, self._size)
            raise
        os.fsync(descriptor)
        self._size += len(data)

    def _rotate(self) -> None:
        self.close()
        path, keep = self._settings.path, self._settings.keep
        count = 1
        while _numbered(path, count).exists():
            count += 1
        for number in range(count, 0, -1):
            older = _numbered(path, number - 1) if number > 1 else path
            if keep and number > keep:
                older.unlink()
            else:
                older.rename(_numbered(path, number))


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _moved(descriptor: int, path: Path) -> bool:
    """Return whether somebody (logrotate, say) has put another file in this one's place."""
    try:
        return not os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return True


def _cut_unfinished_line(descriptor: int) -> int:
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        start = max(0, end - 65536)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)
    return end


FILE: SinkType = SinkType("file", FileSettings, FileSink)
