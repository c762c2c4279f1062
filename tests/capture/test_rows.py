from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import string
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.capture.rows import BadRow, Row, has_header, read_rows, rows_of
from journeykit.exceptions import ImportFailed

#: Whatever can stand in a text file, and what CSV and JSON have trouble with above all.
CELLS = st.text(st.characters(codec="utf-8") | st.sampled_from("\",'\r\n\0\t \u2028\ufeff"))
TABLES = st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=6)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory for files that the next example may replace."""
    return tmp_path_factory.mktemp("rows")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Return a function that makes a file."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def _csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["a", "b", "c"], *rows])
    return text.getvalue().encode()


def _columns(rows: Iterator[Row | BadRow]) -> list[Mapping[str, Any]]:
    found = []
    for row in rows:
        assert isinstance(row, Row), row
        found.append(row.columns)
    return found


@given(TABLES)
def test_every_text_in_a_cell_comes_back(scratch: Path, table: list[list[str]]) -> None:
    """Whatever a cell holds, a CSV file that Python wrote gives it back."""
    path = scratch / "cells.csv"
    path.write_bytes(_csv(table))

    assert _columns(read_rows(path)) == [dict(zip("abc", row, strict=True)) for row in table]


@given(TABLES)
def test_json_lines_and_csv_say_the_same(scratch: Path, table: list[list[str]]) -> None:
    """The same table as CSV, as JSON lines, plain or compressed, gives the same columns."""
    lines = "".join(json.dumps(dict(zip("abc", row, strict=True))) + "\n" for row in table)
    (scratch / "table.csv.gz").write_bytes(gzip.compress(_csv(table)))
    (scratch / "table.jsonl").write_text(lines)
    (scratch / "table.ndjson.gz").write_bytes(gzip.compress(lines.encode()))

    expected = _columns(read_rows(scratch / "table.csv.gz"))
    assert _columns(read_rows(scratch / "table.jsonl")) == expected
    assert _columns(read_rows(scratch / "table.ndjson.gz")) == expected
    assert len(expected) == len(table)


@given(st.binary() | st.text('",\n\r ab', max_size=40).map(str.encode), st.sampled_from("cj"))
def test_any_bytes_are_read_or_refused(scratch: Path, data: bytes, format: str) -> None:
    """Of arbitrary bytes every line becomes a row or a refusal, or the file is refused."""
    path = scratch / ("bytes.csv" if format == "c" else "bytes.jsonl")
    content = b"a,b\n" * (format == "c") + data
    path.write_bytes(content)
    rows = []

    with contextlib.suppress(ImportFailed):
        rows.extend(read_rows(path))

    lines = content.split(b"\n")
    for row in rows:
        assert isinstance(row, Row) or row.reason
        last = row.text.rstrip("\n").split("\n")[-1].encode("utf-8", "surrogateescape")
        assert lines[row.line - 1].removeprefix(b"\xef\xbb\xbf") == last


@given(st.lists(st.text(string.ascii_letters), min_size=1, max_size=8), st.data())
def test_one_bad_line_costs_only_itself(
    scratch: Path, words: list[str], data: st.DataObject
) -> None:
    """A line that is no CSV, no UTF-8, or too short is refused by its number; the others are read."""
    bad = data.draw(st.sampled_from([b'"x"y,2', b"\xff,2", b"1", b"1,2,3", b"x\ry,2"]))
    at = data.draw(st.integers(0, len(words)))
    lines = [f"{word},1".encode() for word in words]
    lines.insert(at, bad)
    path = scratch / "one-bad.csv"
    path.write_bytes(b"a,b\n" + b"\n".join(lines) + b"\n")

    rows = list(read_rows(path))

    assert [row.line for row in rows if isinstance(row, BadRow)] == [at + 2]
    assert [row.columns["a"] for row in rows if isinstance(row, Row)] == words


def test_rows_know_their_line(write: Callable[..., Path]) -> None:
    """A row carries the line where it ends and its own text, also behind a cell of two lines."""
    path = write("lines.csv", 'a,b\n"1\n2",3\n\n4,5\n')

    assert list(read_rows(path)) == [
        Row(3, '"1\n2",3\n', {"a": "1\n2", "b": "3"}),
        Row(5, "4,5\n", {"a": "4", "b": "5"}),
    ]


@pytest.mark.parametrize("name", ["bom.csv", "bom.csv.gz", "BOM.CSV"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(
    write: Callable[..., Path], name: str
) -> None:
    """A file that a spreadsheet saved as UTF-8 begins with a mark, which is left out."""
    data = "\ufeffa,b\r\n1,2\r\n".encode()
    path = write(name, gzip.compress(data) if name.endswith("gz") else data)

    assert _columns(read_rows(path)) == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "it is not valid JSON"),
        ("[" * 100_000, "it is not valid JSON"),
        ("1" * 5000, "it is not valid JSON"),
        ("[1]", "it is not a JSON object"),
        ("null", "it is not a JSON object"),
        (b'{"a": "\xff"}', "it is not valid UTF-8"),
    ],
)
def test_a_line_that_is_no_json_object_is_refused(
    write: Callable[..., Path], line: str | bytes, reason: str
) -> None:
    """A bad line of a JSON file is refused with its number; the lines around it are read."""
    data = line if isinstance(line, bytes) else line.encode()
    path = write("bad.jsonl", b'{"a": 1}\n\n' + data + b'\n{"a": 2}')

    first, bad, last = read_rows(path)

    assert isinstance(bad, BadRow)
    assert (bad.line, bad.reason) == (3, reason)
    assert (first, last) == (Row(1, '{"a": 1}\n', {"a": 1}), Row(4, '{"a": 2}', {"a": 2}))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("rows.txt", "a\n1\n", "the name must end in .csv or .jsonl"),
        ("rows", "a\n1\n", "the name must end in .csv or .jsonl"),
        ("rows.gz", "a\n1\n", "the name must end in .csv or .jsonl"),
        ("rows.csv.gz", "a\n1\n", "it is not compressed by gzip; take .gz off its name"),
        ("rows.csv", "", "its first line names no columns"),
        ("rows.csv", "\n1,2\n", "its first line names no columns"),
        ("rows.csv", "a,b, a\n1,2,3\n", "its first line names the column 'a' twice"),
        ("rows.csv", 'a\n1\n"2\n3\n4\n', "the CSV is broken behind line 2: unexpected end"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    write: Callable[..., Path], name: str, content: str, problem: str
) -> None:
    """What is wrong with a whole file is said together with its name."""
    path = write(name, content)

    with pytest.raises(ImportFailed) as caught:
        list(read_rows(path))

    assert str(caught.value).startswith(f"{path}: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_missing_file_and_a_directory_are_named(tmp_path: Path, suffix: str) -> None:
    """What is no file that can be opened is refused with the system's own words."""
    missing, directory = tmp_path / f"missing{suffix}", tmp_path / f"directory{suffix}"
    directory.mkdir()

    with pytest.raises(ImportFailed, match="No such file or directory; name a file that can"):
        list(read_rows(missing))
    with pytest.raises(ImportFailed, match="Is a directory; name a file that can"):
        list(read_rows(directory))


@given(st.data())
def test_what_comes_before_a_cut_is_read(scratch: Path, data: st.DataObject) -> None:
    """A compressed file that ends early gives a beginning of its rows, then says so."""
    table = [[f"cell {number * 7919 % 1000}", "x", "y"] for number in range(400)]
    whole = gzip.compress(_csv(table))
    path = scratch / "cut.csv.gz"
    path.write_bytes(whole[: data.draw(st.integers(2, len(whole) - 1))])
    rows: list[Row | BadRow] = []

    with pytest.raises(ImportFailed, match="broken or cut off behind line") as caught:
        _keep(read_rows(path), rows)

    assert [row["a"] for row in _columns(iter(rows))] == [row[0] for row in table[: len(rows)]]
    assert f"behind line {len(rows) + 1 if rows else 0};" in str(caught.value)


def _keep(rows: Iterator[Row | BadRow], kept: list[Row | BadRow]) -> None:
    for row in rows:
        kept.append(row)  # noqa: PERF402 - those before an error count


def test_compressed_data_that_is_broken_is_an_error(write: Callable[..., Path]) -> None:
    """A flipped bit in a compressed file is told as such."""
    data = bytearray(gzip.compress(_csv([[str(number), "x", "y"] for number in range(99)])))
    data[-6] ^= 1

    with pytest.raises(ImportFailed, match="broken or cut off"):
        list(read_rows(write("flipped.csv.gz", bytes(data))))


def test_reading_a_csv_leaves_the_field_limit_of_the_process_alone(
    write: Callable[..., Path],
) -> None:
    """The limit that the csv module keeps for the process is put back, read to the end or not."""
    csv.field_size_limit(131_072)
    path = write("long.csv", "a\n" + "x" * 200_000 + "\n1\n")

    rows = read_rows(path)
    first = next(rows)
    rows.close()  # type: ignore[attr-defined]

    assert len(first.text) == 200_001
    assert csv.field_size_limit() == 131_072


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", True),
        ("a.CSV.gz", True),
        ("a.jsonl", False),
        ("crm", False),
        ("a.csv.jsonl", True),
    ],
)
def test_a_csv_has_a_header(name: str, expected: bool) -> None:
    """Only a CSV file names its columns once for all rows."""
    assert has_header(Path(name)) is expected


def test_what_a_source_reads_becomes_rows() -> None:
    """Mappings of a source are rows numbered from 1, with a text that does not depend on their order."""
    rows = list(rows_of(lambda: [{"b": 1, "a": "ü"}, {"a": "ü", "b": 1}]))

    assert [(row.line, row.text) for row in rows] == [
        (1, '{"a": "ü", "b": 1}'),
        (2, '{"a": "ü", "b": 1}'),
    ]


def test_what_a_source_gives_besides_mappings_is_refused() -> None:
    """Rubbish among the rows of a source is refused by its number; the others are kept."""
    bad, good = rows_of(lambda: [["a"], {"a": 1}])  # type: ignore[list-item]

    assert bad == BadRow(1, '["a"]', "the source gave a list, no columns")
    assert good == Row(2, '{"a": 1}', {"a": 1})


def test_a_source_that_fails_is_an_error() -> None:
    """A source that breaks, at once or later, ends the rows with where and why."""

    def read() -> Iterator[dict[str, int]]:
        yield {"a": 1}
        raise ConnectionError("gone")

    with pytest.raises(ImportFailed, match="the source failed behind row 1: ConnectionError: gone"):
        list(rows_of(read))
    with pytest.raises(ImportFailed, match="the source failed behind row 0: KeyError: 'token'"):
        list(rows_of(lambda: {}["token"]))
