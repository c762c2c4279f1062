"""Where SQLite keeps State and trails, and what of it an older version has left."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from journeykit.exceptions import Outdated
from journeykit.model.event import Entry
from journeykit.store import pieces, versions
from journeykit.store.protocol import BY_CUSTOMER, PROJECTOR, Commit, Projection
from journeykit.store.sqlite import SQLiteStore
from journeykit.store.versions import PERSON_VERSION

MakeEntry = Callable[..., Entry]

#: What the version before has of two customers.
_BEFORE = f"""
DROP TABLE person;
UPDATE meta SET value = 1 WHERE key = 'min_writer';
INSERT INTO state (space, key, data) VALUES ('instance', 'shop@1' || char(31) || 'u:ada', x'31');
INSERT INTO state (space, key, data) VALUES ('customer', 'u:ada', x'31');
INSERT INTO trail (customer, position) VALUES ('u:ada', 1), ('u:ada', 2), ('u:bob', 3);
PRAGMA user_version = {PERSON_VERSION - 1};
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the store is."""
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path, make_entry: MakeEntry) -> Iterator[SQLiteStore]:
    """Return a store with the events a, b and c."""
    store = SQLiteStore(path)
    store.commit(Commit([make_entry(id=name) for name in "abc"]), 1)
    yield store
    store.close()


def project(store: SQLiteStore, state: Any, *trail: tuple[str, int]) -> None:
    """Write State and trails."""
    at = store.cursor(PROJECTOR)
    store.project(Projection(PROJECTOR, at, at, state, trail), 1)


def select(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what a query yields on a connection of its own."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def test_what_an_event_changes_lies_together(store: SQLiteStore, path: Path) -> None:
    """Between a customer's pieces and the newest of their trail there is nobody else's row."""
    state = {
        (space, f"u:{name}{rest}"): b"1"
        for name in ("ada", "bob", "eve")
        for space, rest in (("instance", "\x1fshop@1\x1f"), ("customer", ""))
    }
    names = ("u:eve", "u:ada", "u:bob")
    project(store, state, *[(name, at) for at in (1, 2, 3) for name in names])

    # The table is its own index: this is the order on the disk.
    rows = select(path, "SELECT customer, space, key FROM person")

    assert [row[0] for row in rows] == [name for name in sorted(names) for _ in range(5)]
    assert [row[1:] for row in rows[:5]] == [
        ("customer", ""),
        ("instance", "\x1fshop@1\x1f"),
        *[("trail", -3), ("trail", -2), ("trail", -1)],
    ]
    assert select(path, "SELECT count(*) FROM state") == [(0,)]


def test_other_spaces_lie_by_themselves(store: SQLiteStore, path: Path) -> None:
    """What is looked through as a whole is not scattered over customers."""
    assert "timer" not in BY_CUSTOMER
    project(store, {("timer", "1\x1eu:ada"): b"1", ("figures", "shop@1"): b"1"})

    assert select(path, "SELECT space FROM state ORDER BY space") == [("figures",), ("timer",)]
    assert select(path, "SELECT count(*) FROM person") == [(0,)]


def test_history_is_read_from_trails(store: SQLiteStore) -> None:
    """The events of several customers come in Log order, each once, from a position on."""
    a, b, c = (stored.position for stored in store.read(None, 3))
    project(store, {}, ("u:bob", c), ("u:bob", a), ("u:ada", a), ("u:ada", b), ("u:eve", c))

    def read(customers: list[str], since: Any = None) -> list[str]:
        return [stored.id for stored in store.history(customers, since)]

    assert read(["u:ada", "u:bob"]) == ["a", "b", "c"]
    assert read(["u:ada", "u:bob"], b) == ["b", "c"]
    assert read(["u:ada"], c) == []
    assert read(["u:ada"]) == ["a", "b"]


def test_long_history_is_read_page_by_page(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No page leaves out or repeats what another one has."""
    monkeypatch.setattr("journeykit.store.sqlite._PAGE", 2)
    positions = [stored.position for stored in store.read(None, 3)]
    project(store, {}, *[("u:ada", position) for position in positions])

    assert [stored.id for stored in store.history(["u:ada"])] == ["a", "b", "c"]


def test_trail_is_forgotten_up_to_a_position(store: SQLiteStore) -> None:
    """What comes before the position is counted and gone; what is there or behind it stays."""
    project(store, {}, *[(name, at) for name in ("u:ada", "u:bob") for at in (1, 2, 3)])

    with store._write() as db:
        assert pieces.forget_trails(db, ["u:ada", "u:eve"], pieces.Span(2, 2, 0)) == 1

    assert store.trail("u:ada") == [2, 3]
    assert store.trail("u:bob") == [1, 2, 3]


def test_long_projection_is_taken_back_without_a_file(store: SQLiteStore) -> None:
    """What a statement needs to be taken back stays in memory, and is taken back as a whole."""
    with store._read() as db:
        assert db.execute("PRAGMA temp_store").fetchone()[0] == 2
    state: dict[Any, Any] = {("instance", f"u:{n}\x1f"): b"x" * 900 for n in range(400)}
    project(store, state)
    broken = {**dict.fromkeys(state, b"y" * 900), ("instance", "u:zzz\x1f"): object()}
    with pytest.raises(Exception, match="type 'object' is not supported"):
        project(store, broken)

    assert dict(store.scan("instance")) == {key: b"x" * 900 for _, key in state}


# What an older version has left


@pytest.fixture
def older(store: SQLiteStore, path: Path) -> SQLiteStore:
    """Return a store that the version before has filled."""
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(_BEFORE)
    return store


def test_older_versions_are_shut_out(
    older: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once this version has opened a database, one that would erase nobody there cannot write."""
    older.open()
    again = SQLiteStore(path)
    monkeypatch.setattr(versions, "SCHEMA_VERSION", PERSON_VERSION - 1)
    with pytest.raises(Outdated):
        again.check_writer()
    with pytest.raises(Outdated):
        again.count({"c": 1})
    # What it reads is still there for it.
    assert select(path, "SELECT count(*) FROM trail") == [(3,)]
    again.close()


def test_state_of_an_older_version_is_forgotten_whole(older: SQLiteStore, path: Path) -> None:
    """When State is made again, nothing of the older form stays behind."""
    older.forget_state({("projector", "declaration"): b"1"})

    assert select(path, "SELECT space FROM state") == [("projector",)]
    assert select(path, "SELECT count(*) FROM trail") == [(0,)]


def test_trails_of_an_older_version_are_erased(older: SQLiteStore, path: Path) -> None:
    """Who is erased before State was made again is in no trail either, and is counted once."""
    with older._write() as db:
        assert pieces.forget_trails(db, ["u:ada"], pieces.Span(2, 2, 0)) == 1
        assert pieces.forget_trails(db, ["u:ada"], pieces.Span(2, 2, 0)) == 0

    assert select(path, "SELECT * FROM trail") == [("u:ada", 2), ("u:bob", 3)]
