"""The tables of the SQLite store, and what writes and reads their rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from journeykit.model.event import Entry, Kind, Stored
from journeykit.store.protocol import Parked

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from journeykit.capture.tail import Watermark
    from journeykit.store.protocol import Parking, Position

#: Counts up with each change that older versions of journeykit cannot read.
SCHEMA_VERSION: Final = 1

#: What tells a store of ours from any other SQLite file ("jkit").
APPLICATION: Final = 0x6A6B6974

KINDS: Final = tuple(Kind)
KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(KINDS)}

ENTRY_COLUMNS: Final = "id, kind, name, user_id, anonymous_id, session_id, occurred_at, flags, body"

SCHEMA: Final = """
CREATE TABLE log (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    user_id TEXT,
    anonymous_id TEXT,
    session_id TEXT,
    occurred_at INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE state (
    space TEXT NOT NULL,
    key TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (space, key)
) WITHOUT ROWID;
CREATE TABLE trail (
    customer TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (customer, position)
) WITHOUT ROWID;
CREATE TABLE cursor (
    name TEXT PRIMARY KEY,
    position INTEGER
) WITHOUT ROWID;
CREATE TABLE parked (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    reason TEXT NOT NULL,
    parked_at INTEGER NOT NULL,
    replay INTEGER NOT NULL DEFAULT 0,
    id TEXT NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    user_id TEXT,
    anonymous_id TEXT,
    session_id TEXT,
    occurred_at INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX parked_once ON parked (owner, id);
CREATE INDEX parked_replay ON parked (replay, owner);
CREATE TABLE watermark (
    file TEXT PRIMARY KEY,
    place INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
"""

#: What makes a new file one of ours.
CREATE: Final = (
    f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA application_id = {APPLICATION}; "
    f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
)

#: The tables without which a file is not whole.
TABLES: Final = frozenset(
    ("log", "state", "trail", "cursor", "parked", "watermark", "counter", "sqlite_sequence")
)

#: Counters of repairs: events that were taken over, those that were lost, and in front of the name
#: of each file that was set aside, what was lost with it.
SALVAGED: Final = "salvaged"
LOST: Final = "lost_to_damage"
SET_ASIDE: Final = "damaged:"

INSERT_LOG: Final = (
    f"INSERT INTO log (recorded_at, {ENTRY_COLUMNS}) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
)
INSERT_PARKED: Final = (
    f"INSERT INTO parked (owner, reason, parked_at, {ENTRY_COLUMNS}) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (owner, id) DO UPDATE SET reason = excluded.reason, replay = 0"
)
ADD_COUNT: Final = (
    "INSERT INTO counter (name, value) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"
)
SET_CURSOR: Final = (
    "INSERT INTO cursor (name, position) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET position = excluded.position"
)
SELECT_LOG: Final = f"SELECT position, recorded_at, {ENTRY_COLUMNS} FROM log"
#: Events that come to the Log once more, after they had been counted as lost.
FOUND_AGAIN: Final = "UPDATE counter SET value = max(0, value - ?) WHERE name = ?"


def damage(counters: Mapping[str, int], store: str) -> dict[str, Any] | None:
    """Return what repairs of *store* have kept and lost, as JSON values; None if there was none."""
    names = [name.removeprefix(SET_ASIDE) for name in counters if name.startswith(SET_ASIDE)]
    if not names:
        return None
    return {
        "salvaged": counters.get(SALVAGED, 0),
        "lost": counters.get(LOST, 0),
        "files": [str(Path(store).with_name(name)) for name in sorted(names)],
    }


def append(db: sqlite3.Connection, entries: Sequence[Entry], now: int) -> int:
    """Add *entries* to the Log, unless they are there; returns how many were added."""
    if not entries:
        return 0
    last = db.execute("SELECT recorded_at FROM log ORDER BY position DESC LIMIT 1").fetchone()
    recorded_at = max(now, last[0]) if last else now
    before = db.total_changes
    db.executemany(INSERT_LOG, [(recorded_at, *row_of(entry)) for entry in entries])
    return db.total_changes - before


def park(db: sqlite3.Connection, parkings: Sequence[Parking], now: int) -> None:
    """Set aside."""
    db.executemany(
        INSERT_PARKED, [(owner, reason, now, *row_of(entry)) for owner, entry, reason in parkings]
    )


def mark(db: sqlite3.Connection, watermarks: Sequence[Watermark]) -> None:
    """Move watermarks on, and forget those of files that are gone."""
    db.executemany(
        "INSERT INTO watermark (file, place) VALUES (?, ?) "
        "ON CONFLICT (file) DO UPDATE SET place = max(place, excluded.place)",
        [mark for mark in watermarks if mark[1] is not None],
    )
    gone = [(file,) for file, place in watermarks if place is None]
    db.executemany("DELETE FROM watermark WHERE file = ?", gone)


def count(db: sqlite3.Connection, counts: Mapping[str, int]) -> None:
    """Add to the counters."""
    db.executemany(ADD_COUNT, [(name, value) for name, value in counts.items() if value])


def cursor_of(db: sqlite3.Connection, name: str) -> Position:
    """Return where a reader is."""
    row = db.execute("SELECT position FROM cursor WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def one_column(numbers: Iterable[int]) -> list[tuple[int]]:
    """Return *numbers* as rows."""
    return [(number,) for number in numbers]


def row_of(entry: Entry) -> tuple[Any, ...]:
    """Return an event's columns, in the order of `ENTRY_COLUMNS`."""
    return (entry.id, KIND_NUMBERS[entry.kind], *entry[2:])


def entry_of(columns: tuple[Any, ...]) -> Entry:
    """Return the event of such columns."""
    return Entry(columns[0], KINDS[columns[1]], *columns[2:])


def stored_of(row: tuple[Any, ...]) -> Stored:
    """Return a row of `SELECT_LOG`."""
    return Stored(row[0], row[1], entry_of(row[2:]))


def parked_of(row: tuple[Any, ...]) -> Parked:
    """Return a row of parked events: its own columns, then those of the event."""
    number, owner, reason, parked_at, replay = row[:5]
    return Parked(number, owner, entry_of(row[5:]), reason, parked_at, bool(replay))
