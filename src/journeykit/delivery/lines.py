"""Takes a customer out of files that have one JSON object a line."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

from journeykit.delivery.sink import ErasureResult, ErasureStatus
from journeykit.model import jsonbytes
from journeykit.store.erasure import without_visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journeykit.model.customer import Customer

_UNFINISHED: Final = ".erasing"

#: What others make of files that they set aside, and cannot be read here.
_CLOSED: Final = (".zst", ".xz", ".bz2", ".lz4", ".zip", ".Z")


def erase_lines(path: Path, customer: Customer) -> ErasureResult:
    """
    Write the file at *path*, and those set aside beside it, anew without the lines of *customer*.

    A line of somebody else who used the same browser loses only the browser's id.
    """
    lines, files, closed = 0, 0, []
    for file in _files(path):
        if file.suffix in _CLOSED:
            closed.append(str(file))
        elif count := _erase(file, customer):
            lines, files = lines + count, files + 1
    detail = f"{lines:,} lines in {files:,} files"
    if closed:
        return ErasureResult(
            ErasureStatus.FAILED, f"{detail}; not read, so see to them: {', '.join(closed)}"
        )
    return ErasureResult(ErasureStatus.ERASED, detail)


def _files(path: Path) -> list[Path]:
    """Return the file and those that it was rotated to, by us or by others."""
    try:
        beside = sorted(path.parent.iterdir())
    except FileNotFoundError:
        return []
    found = []
    for file in beside:
        if file.name.endswith(_UNFINISHED) and file.name.startswith(path.name):
            # A crash has left it: the file itself is as it was.
            file.unlink()
        elif file.is_file() and _is_rotation(file.name, path.name):
            found.append(file)
    return found


def _is_rotation(name: str, of: str) -> bool:
    return name == of or name.startswith((f"{of}.", f"{of}-"))


def _erase(file: Path, customer: Customer) -> int:
    """Write *file* anew, if it has lines of *customer*; returns how many."""
    with contextlib.closing(_open(file, "rb")) as source:
        if not any(_left(line, customer) != line for line in source):
            return 0
    unfinished = file.with_name(f"{file.name}{_UNFINISHED}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, file.stat().st_mode & 0o777)
    count = 0
    with os.fdopen(descriptor, "wb") as raw:
        with contextlib.closing(_open(file, "rb")) as source, _writing(raw, file) as target:
            for line in source:
                left = _left(line, customer)
                count += left != line
                target.write(left)
        raw.flush()
        os.fsync(raw.fileno())
    unfinished.replace(file)
    _sync(file.parent)
    return count


def _open(file: Path, mode: str) -> IO[bytes]:
    if file.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(file, mode))
    return cast("IO[bytes]", file.open(mode))


@contextlib.contextmanager
def _writing(raw: IO[bytes], file: Path) -> Iterator[IO[bytes]]:
    if file.suffix != ".gz":
        yield raw
        return
    with gzip.GzipFile(fileobj=raw, mode="wb", filename="") as packed:
        yield cast("IO[bytes]", packed)


def _left(line: bytes, customer: Customer) -> bytes:
    """Return what is left of *line*: itself, nothing, or itself without the browser's id."""
    whose = _customer(line) if any(each in line for each in _forms(customer)) else {}
    user, visitor = whose.get("user_id"), whose.get("anonymous_id")
    is_user = bool(user) and user == customer.user_id
    is_visitor = bool(visitor) and visitor == customer.anonymous_id
    if is_user or (is_visitor and not user):
        return b""
    if not is_visitor:
        return line
    return without_visitor(line) + b"\n"


def _customer(line: bytes) -> dict[str, object]:
    """Return whose event a line is; nothing where it is no event."""
    try:
        found = jsonbytes.loads(line)["customer"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _forms(customer: Customer) -> list[bytes]:
    """Return how the ids may be written: as they are, and with escapes."""
    found = []
    for value in (customer.user_id, customer.anonymous_id):
        if value is not None:
            found += [json.dumps(value, ensure_ascii=each)[1:-1].encode() for each in (False, True)]
    return found


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
