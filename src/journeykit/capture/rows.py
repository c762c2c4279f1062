"""
Rows of a file: CSV or JSON lines, plain or gzipped, read as a stream.

A row that cannot be read is a `BadRow` among the others; only a file that cannot be read on is an
error.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from journeykit.capture.encode import is_utf8
from journeykit.exceptions import ImportFailed

if TYPE_CHECKING:
    from _csv import Reader
    from collections.abc import Callable

#: A field longer than this is no field: the file is broken, or no CSV.
FIELD_LIMIT = 64 * 2**20


class Row(NamedTuple):
    """One row: where it ends in the file, its text, its columns."""

    line: int
    text: str
    columns: Mapping[str, Any]


class BadRow(NamedTuple):
    """A row that could not be read, and why."""

    line: int
    text: str
    reason: str


def read_rows(path: Path) -> Iterator[Row | BadRow]:
    """
    Yield the rows of the file at *path*; its name tells the format.

    Raises:
        ImportFailed: The file is missing, of an unknown format, or broken from some line on.
    """
    read = _reader(path)
    line = 0
    try:
        with _open(path) as stream:
            for row in read(stream):
                line = row.line
                yield row
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        if line == 0 and isinstance(error, gzip.BadGzipFile):
            msg = f"{path}: it is not compressed by gzip; take .gz off its name if it is plain"
            raise ImportFailed(msg) from error
        hint = "what came before it was read; get the whole file and import it again"
        msg = f"{path}: the compressed data is broken or cut off behind line {line}; {hint}"
        raise ImportFailed(msg) from error
    except csv.Error as error:
        msg = f"{path}: the CSV is broken behind line {line}: {error}"
        raise ImportFailed(msg) from error
    except OSError as error:
        msg = f"{path}: {error.strerror or error}; name a file that can be read"
        raise ImportFailed(msg) from error


def has_header(path: Path) -> bool:
    """Return whether every row of such a file has the same columns, named in its first line."""
    return ".csv" in [suffix.lower() for suffix in path.suffixes[-2:]]


def rows_of(read: Callable[[], Iterable[Mapping[str, Any]]]) -> Iterator[Row | BadRow]:
    """
    Yield what a source reads as rows, numbered from 1.

    Raises:
        ImportFailed: The source failed.
    """
    line = 0
    try:
        for line, columns in enumerate(read(), start=1):
            text = json.dumps(columns, sort_keys=True, ensure_ascii=False, default=str)
            if isinstance(columns, Mapping):
                yield Row(line, text, columns)
            else:
                yield BadRow(line, text, f"the source gave a {type(columns).__name__}, no columns")
    except Exception as error:  # a plugin's own code
        msg = f"the source failed behind row {line}: {type(error).__name__}: {error}"
        raise ImportFailed(msg) from error


def _reader(path: Path) -> Callable[[IO[bytes]], Iterator[Row | BadRow]]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    reader = _FORMATS.get(suffixes[-1] if suffixes else "")
    if reader is None:
        msg = f"{path}: the name must end in .csv or .jsonl, or in one of these and .gz"
        raise ImportFailed(msg)
    return reader


def _open(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")


class _Lines:
    """Decodes lines, and keeps the text of those since the last `taken`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._texts: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for number, data in enumerate(self._stream):
            # Undecodable bytes become lone surrogates, so that only their row is refused.
            text = data.decode("utf-8-sig" if number == 0 else "utf-8", "surrogateescape")
            self._texts.append(text)
            yield text

    def taken(self) -> str:
        """Return the text of the lines since the last call."""
        text = "".join(self._texts)
        self._texts.clear()
        return text


def _csv_rows(stream: IO[bytes]) -> Iterator[Row | BadRow]:
    lines = _Lines(stream)
    before = csv.field_size_limit(FIELD_LIMIT)
    try:
        reader = csv.reader(lines, strict=True)
        header = _header(next(reader, []))
        lines.taken()
        yield from _csv_body(reader, lines, header)
    finally:
        csv.field_size_limit(before)


def _header(names: list[str]) -> list[str]:
    header = [name.strip() for name in names]
    if not any(header):
        msg = "its first line names no columns"
        raise csv.Error(msg)
    for name in header:
        if name and header.count(name) > 1:
            msg = f"its first line names the column {name!r} twice"
            raise csv.Error(msg)
    return header


def _csv_body(reader: Reader, lines: _Lines, header: list[str]) -> Iterator[Row | BadRow]:
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            text = lines.taken()
            if text.count("\n") > 1:
                # A quote that somebody forgot to close has eaten other rows.
                raise
            yield BadRow(reader.line_num, text, f"it is not valid CSV: {error}")
            continue
        if values is None:
            return
        text = lines.taken()
        if values:
            yield _csv_row(reader.line_num, text, header, values)


def _csv_row(line: int, text: str, header: list[str], values: list[str]) -> Row | BadRow:
    if not is_utf8(text):
        return BadRow(line, text, "it is not valid UTF-8")
    if len(values) != len(header):
        reason = f"it has {len(values)} columns, the header has {len(header)}"
        return BadRow(line, text, reason)
    return Row(line, text, dict(zip(header, values, strict=True)))


def _json_rows(stream: IO[bytes]) -> Iterator[Row | BadRow]:
    lines = _Lines(stream)
    for number, text in enumerate(lines, start=1):
        lines.taken()
        if text.strip():
            yield _json_row(number, text)


def _json_row(line: int, text: str) -> Row | BadRow:
    if not is_utf8(text):
        return BadRow(line, text, "it is not valid UTF-8")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return BadRow(line, text, "it is not valid JSON")
    if not isinstance(value, dict):
        return BadRow(line, text, "it is not a JSON object")
    return Row(line, text, value)


_FORMATS: Mapping[str, Callable[[IO[bytes]], Iterator[Row | BadRow]]] = {
    ".csv": _csv_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
}
