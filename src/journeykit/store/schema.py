"""The tables of the SQLite store, and what is written and read of them by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from journeykit.store.protocol import Position

#: What tells a store of ours from any other SQLite file ("jkit").
APPLICATION: Final = 0x6A6B6974

#: What makes a new file one of ours.
SCHEMA: Final = f"""
PRAGMA application_id = {APPLICATION};
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

#: What came with the second version; some files of the first have it too.
ADDED: Final = """
CREATE TABLE IF NOT EXISTS status (
    name TEXT PRIMARY KEY,
    status BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS parked_user ON parked (owner, user_id);
CREATE INDEX IF NOT EXISTS parked_visitor ON parked (owner, anonymous_id);
"""

#: What came with the third version.
ERASING: Final = """
CREATE TABLE IF NOT EXISTS erasure (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    position INTEGER NOT NULL,
    erased_at INTEGER NOT NULL,
    ids TEXT NOT NULL,
    until INTEGER,
    reached INTEGER NOT NULL DEFAULT 0,
    swept INTEGER NOT NULL DEFAULT 0,
    cleared INTEGER NOT NULL DEFAULT 0,
    purged INTEGER NOT NULL DEFAULT 0,
    counts TEXT NOT NULL DEFAULT '{}',
    sinks TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS erasure_open ON erasure (number) WHERE cleared = 0 OR purged = 0;
CREATE TABLE IF NOT EXISTS erased (
    hash TEXT PRIMARY KEY,
    erased_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS erased_latest ON erased (erased_at);
"""

#: What came with the fourth version: facts that versions of journeys are published are few.
PUBLISHING: Final = """
CREATE INDEX IF NOT EXISTS log_published ON log (name) WHERE name = 'journey.published';
"""

#: What came with the fifth version: which erasures late events have led to, and the fact of the
#: request that each of them follows.
FOLLOWING: Final = """
CREATE TABLE IF NOT EXISTS following (
    number INTEGER PRIMARY KEY,
    follows TEXT NOT NULL
);
"""

#: What came with the sixth version: what State has of customers, each customer's together.
#: The table `trail` stays, since older versions read it; so do the columns of `state`.
PERSON: Final = """
CREATE TABLE IF NOT EXISTS person (
    customer TEXT NOT NULL,
    space TEXT NOT NULL,
    key NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (customer, space, key)
) WITHOUT ROWID;
"""

#: The tables without which a file is not whole.
TABLES: Final = frozenset(
    (
        *("log", "state", "trail", "cursor", "parked", "watermark", "counter", "status", "meta"),
        *("erasure", "erased", "following", "person", "sqlite_sequence"),
    )
)

#: Counters of repairs: events that were taken over, those that were lost, and in front of the name
#: of each file that was set aside, what was lost with it.
SALVAGED: Final = "salvaged"
LOST: Final = "lost_to_damage"
SET_ASIDE: Final = "damaged:"

ADD_COUNT: Final = (
    "INSERT INTO counter (name, value) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"
)
SET_CURSOR: Final = (
    "INSERT INTO cursor (name, position) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET position = excluded.position"
)
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


def count(db: sqlite3.Connection, counts: Mapping[str, int]) -> None:
    """Add to the counters."""
    db.executemany(ADD_COUNT, [(name, value) for name, value in counts.items() if value])


def cursor_of(db: sqlite3.Connection, name: str) -> Position:
    """Return where a reader is."""
    row = db.execute("SELECT position FROM cursor WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def one_column(values: Iterable[int | str]) -> list[tuple[int | str]]:
    """Return *values* as rows."""
    return [(value,) for value in values]
