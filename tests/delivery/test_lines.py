from __future__ import annotations

import gzip
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journeykit import Customer
from journeykit.delivery import Batch
from journeykit.delivery.file import FileSettings, FileSink
from journeykit.delivery.lines import erase_lines
from journeykit.exceptions import DeliveryError

MakeStored = Callable[..., Any]
ADA = Customer('ada "é"', "cookie")


def names(path: Path) -> list[str]:
    """Return the names of the events in a file."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line)["name"] for line in data.splitlines()]


@pytest.fixture
def lines(make_stored: MakeStored) -> bytes:
    """Return lines of the person, of their browser, and of others."""
    batch = Batch(
        [
            make_stored(1, "Mine", user_id=ADA.user_id),
            make_stored(2, "Browser", user_id=None, anonymous_id="cookie"),
            make_stored(3, "Shared", user_id="bob", anonymous_id="cookie"),
            make_stored(4, "Named", {"friend": ADA.user_id}, user_id="bob"),
            make_stored(5, "Other", user_id="carol", anonymous_id="else"),
        ]
    )
    return b"".join(line + b"\n" for line in batch.lines)


def test_file_and_what_it_was_rotated_to_are_written_anew(tmp_path: Path, lines: bytes) -> None:
    """Lines of the person go everywhere; who shared the browser loses only its id."""
    path = tmp_path / "events.jsonl"
    escaped = b"".join(json.dumps(json.loads(line)).encode() + b"\n" for line in lines.splitlines())
    path.write_bytes(lines)
    path.chmod(0o640)
    (tmp_path / "events.jsonl.1").write_bytes(escaped)
    (tmp_path / "events.jsonl-2026.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "events.jsonl.2").write_text("no JSON, but cookie\n")
    (tmp_path / "events.txt").write_bytes(lines)

    result = erase_lines(path, ADA)

    assert (result.status, result.detail) == ("erased", "9 lines in 3 files")
    for name in ("events.jsonl", "events.jsonl.1", "events.jsonl-2026.gz"):
        assert names(tmp_path / name) == ["Shared", "Named", "Other"]
    assert b"cookie" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert (tmp_path / "events.jsonl.2").read_text() == "no JSON, but cookie\n"
    assert (tmp_path / "events.txt").read_bytes() == lines
    assert erase_lines(path, ADA).detail == "0 lines in 0 files"


def test_what_cannot_be_read_is_named(tmp_path: Path, lines: bytes) -> None:
    """A rotation in a form that is not known here is left alone, and named."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(lines)
    (tmp_path / "events.jsonl.1.zst").write_bytes(b"packed")
    result = erase_lines(path, ADA)
    assert result.status == "failed"
    assert "events.jsonl.1.zst" in result.detail
    assert names(path) == ["Shared", "Named", "Other"]


def test_left_over_of_a_crash_is_deleted(tmp_path: Path, lines: bytes) -> None:
    """A file that was being written when the process died is taken away."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(lines)
    (tmp_path / "events.jsonl.erasing").write_bytes(lines)
    erase_lines(path, ADA)
    assert [file.name for file in tmp_path.iterdir()] == ["events.jsonl"]


def test_sink_goes_on_behind_an_erasure(tmp_path: Path, make_stored: MakeStored) -> None:
    """The sink appends to the new file, and an erasure without a file is none."""
    sink = FileSink("archive", FileSettings(tmp_path / "var" / "events.jsonl"))
    assert sink.erase(ADA).status == "erased"
    sink.deliver(Batch([make_stored(1, "Mine", user_id=ADA.user_id), make_stored(2, "Other")]))
    sink.erase(ADA)
    sink.deliver(Batch([make_stored(3, "New", user_id=ADA.user_id)]))
    sink.close()
    assert names(tmp_path / "var" / "events.jsonl") == ["Other", "New"]


def test_disk_that_refuses_is_an_outage(tmp_path: Path, lines: bytes) -> None:
    """Where the file cannot be written anew it stays, and the relay asks again."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(lines)
    (tmp_path / "events.jsonl.erasing").mkdir()
    sink = FileSink("archive", FileSettings(path))
    with pytest.raises(DeliveryError):
        sink.erase(ADA)
    assert path.read_bytes() == lines
