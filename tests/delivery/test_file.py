from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.delivery import Batch
from journeykit.delivery.file import FILE, FileSettings, FileSink
from journeykit.exceptions import DeliveryError
from journeykit.model import Stored

MakeStored = Callable[..., Stored]
MakeSink = Callable[..., FileSink]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the file is to be."""
    return tmp_path / "var" / "events.jsonl"


@pytest.fixture
def make_sink(path: Path) -> Iterator[MakeSink]:
    """Return a function that makes sinks, closed at the end."""
    sinks = []

    def make_sink(**more: Any) -> FileSink:
        sinks.append(FILE.build("archive", FileSettings(path, **more)))
        return sinks[-1]

    yield make_sink
    for sink in sinks:
        sink.close()


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the events in a file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def ids(path: Path) -> list[str]:
    """Return the ids in a file."""
    return [event["id"] for event in lines(path)]


@pytest.fixture
def batch(make_stored: MakeStored) -> Callable[..., Batch]:
    """Return a function that makes batches of events with these one-letter ids."""
    return lambda ids, **more: Batch([make_stored(id=event, **more) for event in ids])


def test_building_opens_nothing(path: Path, make_sink: MakeSink) -> None:
    """A sink that was only built has made no file."""
    sink = make_sink()
    sink.close()

    assert sink.name == "archive"
    assert not path.parent.exists()


def test_one_event_a_line(path: Path, make_sink: MakeSink, make_stored: MakeStored) -> None:
    """Each event is one line of the wire form, behind those that were there."""
    stored = make_stored(properties={"text": "zwei\nZeilen", "ü": "€"}, recorded_at=0)
    sink = make_sink()
    sink.deliver(Batch([stored]))
    sink.deliver(Batch([make_stored(id="b"), make_stored(id="c")]))

    events = lines(path)
    assert [event["id"] for event in events] == [stored.entry.id, "b", "c"]
    assert events[0]["properties"] == {"text": "zwei\nZeilen", "ü": "€"}
    assert events[0]["recorded_at"] == "1970-01-01T00:00:00.000000Z"
    assert events[0]["historical"] is False
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_goes_on_after_a_restart(path: Path, make_sink: MakeSink, batch: Any) -> None:
    """Closing keeps the file, and another sink goes on at its end."""
    sink = make_sink()
    sink.deliver(batch("a"))
    sink.close()
    sink.deliver(batch("b"))
    sink.close()
    make_sink().deliver(batch("c"))

    assert ids(path) == ["a", "b", "c"]


@given(cut=st.integers(0, 10**6), before=st.integers(0, 3), size=st.sampled_from([10, 70_000]))
def test_unfinished_line_is_cut(
    tmp_path_factory: pytest.TempPathFactory,
    make_stored: MakeStored,
    cut: int,
    before: int,
    size: int,
) -> None:
    """Wherever a crash has torn the last line, what is left is whole lines, and comes again."""
    path = tmp_path_factory.mktemp("file") / "events.jsonl"
    stored = [make_stored(id=f"e{n}", properties={"x": "y" * size}) for n in range(before + 1)]
    sink = FileSink("archive", FileSettings(path, rotate_bytes=2**30))
    sink.deliver(Batch(stored))
    sink.close()
    whole = path.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    kept = start + cut % (len(whole) - start)
    os.truncate(path, kept)

    sink.deliver(Batch(stored[-1:]))
    sink.close()

    assert path.read_bytes() == whole


def test_rotates(path: Path, make_sink: MakeSink, batch: Any) -> None:
    """A file beyond its size is set aside; the latest one has the lowest number."""
    sink = make_sink(rotate_bytes=4096)
    for event in "abcd":
        sink.deliver(batch(event, properties={"x": "y" * 5000}))

    files = {item.name: ids(item) for item in path.parent.iterdir()}
    assert files == {
        "events.jsonl": ["d"],
        "events.jsonl.1": ["c"],
        "events.jsonl.2": ["b"],
        "events.jsonl.3": ["a"],
    }


def test_keeps_so_many_files(path: Path, make_sink: MakeSink, batch: Any) -> None:
    """With `keep` only so many files are set aside, and the oldest go."""
    sink = make_sink(rotate_bytes=4096, keep=2)
    for event in "abcdef":
        sink.deliver(batch(event, properties={"x": "y" * 5000}))

    files = {item.name: ids(item) for item in path.parent.iterdir()}
    assert files == {"events.jsonl": ["f"], "events.jsonl.1": ["e"], "events.jsonl.2": ["d"]}


@pytest.mark.parametrize("replaced", [False, True])
def test_file_that_was_moved_away(
    path: Path, make_sink: MakeSink, batch: Any, replaced: bool
) -> None:
    """Where somebody has moved the file away, the next batch goes into the one of its name."""
    sink = make_sink()
    sink.deliver(batch("a"))
    path.rename(path.with_name("moved"))
    if replaced:
        path.touch()
    sink.deliver(batch("b"))

    assert ids(path.with_name("moved")) == ["a"]
    assert ids(path) == ["b"]


def test_moved_file_that_was_due_to_rotate(path: Path, make_sink: MakeSink, batch: Any) -> None:
    """A large file that was moved away at the wrong moment costs one try at most."""
    sink = make_sink(rotate_bytes=4096)
    sink.deliver(batch("a", properties={"x": "y" * 5000}))
    path.rename(path.with_name("moved"))
    with pytest.raises(DeliveryError):
        sink.deliver(batch("b"))
    sink.deliver(batch("b"))

    assert ids(path) == ["b"]


def test_place_that_cannot_be_written(path: Path, make_sink: MakeSink, batch: Any) -> None:
    """A place that will not take the file is a failure that names it, and passes when mended."""
    path.parent.write_text("a file where the directory should be")
    sink = make_sink()
    with pytest.raises(DeliveryError, match=r"events\.jsonl: ") as caught:
        sink.deliver(batch("a"))
    assert caught.value.retryable

    path.parent.unlink()
    sink.deliver(batch("a"))
    assert ids(path) == ["a"]


def test_full_disk_leaves_whole_lines(
    monkeypatch: pytest.MonkeyPatch, path: Path, make_sink: MakeSink, batch: Any
) -> None:
    """A disk that fills up in the middle of a batch leaves no half of it, and it comes again."""
    sink = make_sink()
    sink.deliver(batch("a"))
    write = os.write

    def short(descriptor: int, data: Any) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(DeliveryError, match="No space left"):
            sink.deliver(batch("bc"))
    assert ids(path) == ["a"]

    sink.deliver(batch("bc"))
    assert ids(path) == ["a", "b", "c"]


@pytest.mark.parametrize("wrong", [{"rotate_bytes": 10}, {"keep": -1}])
def test_senseless_settings_are_refused(path: Path, wrong: dict[str, int]) -> None:
    """A size too small for one event, or a negative number of files, is a mistake."""
    with pytest.raises(ValueError, match="must be >="):
        FileSettings(path, **wrong)


def test_forked_child_writes_behind_what_others_wrote(
    path: Path, make_sink: MakeSink, batch: Callable[..., Batch]
) -> None:
    """A child that goes on where its parent and others wrote overwrites nothing of theirs."""
    parents, others = make_sink(), make_sink()
    parents.deliver(batch("a"))
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.read(reading, 1)
        parents.reset_after_fork()
        parents.deliver(batch("c"))
        os._exit(0)
    others.deliver(batch("b"))
    os.write(writing, b"x")
    os.close(writing)
    os.close(reading)

    assert os.waitpid(pid, 0)[1] == 0
    assert ids(path) == ["a", "b", "c"]
