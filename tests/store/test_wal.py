from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from journeykit.model.event import Entry
from journeykit.store import sqlite
from journeykit.store import wal as module
from journeykit.store.protocol import PROJECTOR, Commit, Projection
from journeykit.store.sqlite import SQLiteStore

MakeEntry = Callable[..., Entry]

MEBIBYTE = 2**20


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SQLiteStore]:
    """Return a store with small bounds; SQLite itself begins anew at 4 MiB."""
    monkeypatch.setattr(module, "SOFT_BYTES", 5 * MEBIBYTE)
    monkeypatch.setattr(module, "STEP_BYTES", MEBIBYTE)
    monkeypatch.setattr(module, "HARD_BYTES", 8 * MEBIBYTE)
    made = SQLiteStore(tmp_path / "store.db")
    made.open()
    yield made
    made.close()


def write(store: SQLiteStore, make_entry: MakeEntry, number: int) -> None:
    """Commit a mebibyte of events."""
    body = b'{"text":"%b"}' % (b"x" * 20_000)
    entries = [make_entry(id=f"{number}-{i}")._replace(body=body) for i in range(50)]
    store.commit(Commit(entries), 1)


@contextlib.contextmanager
def snapshot(path: Path) -> Iterator[None]:
    """Read from the database while the block lasts."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM log").fetchone()
        yield


def read_on(path: Path, stop: threading.Event) -> None:
    """Hold one snapshot after the other."""
    while not stop.is_set():
        with snapshot(path):
            stop.wait(0.1)


def test_it_stays_short_beside_slow_readers(
    store: SQLiteStore, make_entry: MakeEntry, tmp_path: Path
) -> None:
    """While two readers take turns without a gap, what is written ahead keeps within its bound."""
    stop = threading.Event()
    path = tmp_path / "store.db"
    readers = [threading.Thread(target=read_on, args=(path, stop)) for _ in range(2)]
    for reader in readers:
        reader.start()
        time.sleep(0.05)
    sizes = []
    for number in range(40):
        write(store, make_entry, number)
        sizes.append(store.sizes()["write_ahead"])
    stop.set()
    for reader in readers:
        reader.join()

    assert max(sizes) <= 11 * MEBIBYTE
    assert len(store.read(None, 10_000)) == 2000


def test_a_reader_that_stays_costs_few_waits(
    store: SQLiteStore, make_entry: MakeEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a reader that does not end, commits go on; what has grown is cut off when it ends."""
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    looks: list[float] = []
    monkeypatch.setattr(module.native, "sleep", looks.append)
    monkeypatch.setattr(module.time, "monotonic", lambda: float(len(looks)))
    with snapshot(tmp_path / "store.db"):
        for number in range(20):
            write(store, make_entry, number)
        assert store.sizes()["write_ahead"] > 20 * MEBIBYTE
        assert 1 <= len(looks) <= 3

    for number in range(20, 30):
        write(store, make_entry, number)
    assert store.sizes()["write_ahead"] <= 9 * MEBIBYTE


def test_a_scan_keeps_nobody_waiting(
    store: SQLiteStore, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan that somebody has begun and not gone on with does not let it grow."""
    monkeypatch.setattr(sqlite, "PAGE", 10)
    state = {("s", str(number)): b"1" for number in range(100)}
    store.project(Projection(PROJECTOR, None, None, state), 1)
    scan = store.scan("s")
    next(scan)
    for number in range(20):
        write(store, make_entry, number)

    assert store.sizes()["write_ahead"] <= 6 * MEBIBYTE
    assert len(list(scan)) == 99
