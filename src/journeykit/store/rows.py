"""
Events as rows of SQLite's tables, many of them in one step.

Each step of SQLite lets go of the interpreter and has to get it back, which beside a thread that
computes takes milliseconds.
So a batch is written and read in a few steps, whatever its length.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.model import jsonbytes
from journeykit.model.event import PUBLICATION, PUBLISHED, Entry, Kind, Outgoing, Stored
from journeykit.store.protocol import Parked, Parking

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from journeykit.capture.tail import Watermark
    from journeykit.store.erasure import Id

KINDS: Final = tuple(Kind)
KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(KINDS)}

#: The columns of an entry, as the log and the parked events have them.
ENTRY_COLUMNS: Final = "id, kind, name, user_id, anonymous_id, session_id, occurred_at, flags, body"

#: How many rows one statement inserts or looks for: few sizes, for each is compiled and kept.
#: Eighty rows of twelve values stay below the 999 values that SQLite takes before 3.32.
_SIZES: Final = (80, 16, 4, 1)

#: The rows of a query as one JSON array, and their bodies behind each other.
#: The array has the length of each body; JSON could not hold what is no text.
_IN_ONE_STEP: Final = (
    "SELECT json_group_array(json_array({0}, length(body))), "
    "CAST(group_concat(body, '') AS BLOB) FROM (SELECT {0}, body FROM log {1})"
)
_STORED: Final = (
    "position, recorded_at, id, kind, name, user_id, anonymous_id, session_id, occurred_at, flags"
)
_OUTGOING: Final = "position, recorded_at, id, user_id, anonymous_id, flags"

_BEHIND: Final = "WHERE position > :after ORDER BY position LIMIT :limit"
READ: Final = _IN_ONE_STEP.format(_STORED, _BEHIND)
READ_OUTGOING: Final = _IN_ONE_STEP.format(_OUTGOING, _BEHIND)
FETCH: Final = _IN_ONE_STEP.format(
    _STORED, "WHERE position IN (SELECT value FROM json_each(:positions)) ORDER BY position"
)
READ_NAMED: Final = _IN_ONE_STEP.format(
    _STORED, "WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY position"
)

READ_OBSERVED: Final = _IN_ONE_STEP.format(
    _STORED,
    f"WHERE position > :after AND kind <> {KIND_NUMBERS[Kind.DERIVED]} "
    "ORDER BY position LIMIT :limit",
)
#: By an index of only these: without it, this fails rather than reads the whole Log.
READ_PUBLISHED: Final = _IN_ONE_STEP.format(
    _STORED,
    f"INDEXED BY log_published WHERE name = '{PUBLISHED}' AND flags & {PUBLICATION} "
    "ORDER BY position",
)
READ_HISTORY: Final = _IN_ONE_STEP.format(
    _STORED,
    "WHERE position IN (SELECT -key FROM person "
    "WHERE customer IN (SELECT value FROM json_each(:customers)) "
    "AND space = 'trail' AND key < -:after "
    "ORDER BY key DESC LIMIT :limit) ORDER BY position",
)

_ADD: Final = (
    f"INSERT INTO log (recorded_at, {ENTRY_COLUMNS}) VALUES {{}} ON CONFLICT (id) DO NOTHING"
)
_PARK: Final = (
    f"INSERT INTO parked (owner, reason, parked_at, {ENTRY_COLUMNS}) VALUES {{}} "
    "ON CONFLICT (owner, id) DO UPDATE SET reason = excluded.reason, replay = 0"
)

_WITH_PARKED: Final = {
    kind: "SELECT value FROM json_each(?) WHERE EXISTS "
    f"(SELECT 1 FROM parked WHERE owner = ? AND {column} = value)"
    for kind, column in (("user", "user_id"), ("anonymous", "anonymous_id"))
}

_STANDING: Final = (
    "SELECT (SELECT recorded_at FROM log ORDER BY position DESC LIMIT 1), "
    "(SELECT max(erased_at) FROM erased)"
)

#: The constructor of a named tuple without its check of the count, which is what takes the time.
_new: Final = tuple.__new__


def insert(db: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Execute *statement*, whose `{}` stands for the values, with all of *rows*."""
    for text, values in _pieces(statement, rows):
        db.execute(text, values)


def select(
    db: sqlite3.Connection, query: str, rows: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[Any, ...]]:
    """Yield what *query* finds, whose `{}` stands for values, for all of *rows*."""
    for text, values in _pieces(query, rows):
        yield from db.execute(text, values).fetchall()


def _pieces(
    statement: str, rows: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    start = 0
    for size in _SIZES:
        while len(rows) - start >= size:
            piece = rows[start : start + size]
            yield _for_rows(statement, len(piece[0]), size), tuple(chain.from_iterable(piece))
            start += size


@functools.lru_cache(maxsize=64)
def _for_rows(statement: str, width: int, count: int) -> str:
    row = f"({', '.join('?' * width)})"
    return statement.format(", ".join([row] * count))


def stored(db: sqlite3.Connection, query: str, values: Mapping[str, Any]) -> list[Stored]:
    """Return the events that `READ` or `FETCH` finds."""
    heads, bodies = db.execute(query, values).fetchone()
    rows = jsonbytes.loads(heads)
    rows.reverse()
    found, start = [], 0
    # Each row is let go of at once: the collector of garbage looks at all that is alive.
    while rows:
        row = rows.pop()
        end = start + row[-1]
        row[3], row[-1] = KINDS[row[3]], bodies[start:end]
        found.append(_new(Stored, (row[0], row[1], _new(Entry, row[2:]))))
        start = end
    return found


def outgoing(db: sqlite3.Connection, values: Mapping[str, Any]) -> list[Outgoing]:
    """Return the events that `READ_OUTGOING` finds."""
    heads, bodies = db.execute(READ_OUTGOING, values).fetchone()
    found, start = [], 0
    for position, recorded_at, event, user, anonymous, flags, length in jsonbytes.loads(heads):
        end = start + length
        columns = (position, recorded_at, event, user, anonymous, flags, bodies[start:end])
        found.append(_new(Outgoing, columns))
        start = end
    return found


class Standing(NamedTuple):
    """When the last event was recorded, and when somebody was erased last; None for never."""

    recorded_at: int | None
    erased_at: int | None


def standing(db: sqlite3.Connection) -> Standing:
    """Return what has to be known before anything is appended."""
    return Standing(*db.execute(_STANDING).fetchone())


def append(db: sqlite3.Connection, entries: Sequence[Entry], last: int | None, now: int) -> int:
    """
    Append to the Log those of *entries* that it does not have; returns how many.

    They are recorded at *now*, but not before *last*.
    """
    if not entries:
        return 0
    recorded_at = now if last is None else max(now, last)
    before = db.total_changes
    insert(db, _ADD, [(recorded_at, *_row(entry)) for entry in entries])
    return db.total_changes - before


def peek_published(path: Path) -> list[Stored]:
    """Return the facts that versions are published, if the file at *path* tells them at once."""
    # Where nobody writes ahead nobody has it open, and to look at the file alone leaves no trace.
    ahead = path.with_name(f"{path.name}-wal")
    try:
        still = not ahead.exists() or not ahead.stat().st_size
        if not path.stat().st_size:
            return []
        mode = "immutable=1" if still else "mode=ro"
        uri = f"{path.as_uri()}?{mode}"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=0.0)) as db:
            return stored(db, READ_PUBLISHED, {})
    except (sqlite3.Error, OSError, ValueError, TypeError, LookupError):
        return []


def park(db: sqlite3.Connection, parkings: Sequence[Parking], now: int) -> None:
    """Set events aside."""
    insert(
        db,
        _PARK,
        [(owner, reason, now, *_row(entry)) for owner, entry, reason in parkings],
    )


def mark(db: sqlite3.Connection, watermarks: Sequence[Watermark]) -> None:
    """Note how far files of events were read."""
    db.executemany(
        "INSERT INTO watermark (file, place) VALUES (?, ?) "
        "ON CONFLICT (file) DO UPDATE SET place = max(place, excluded.place)",
        [mark for mark in watermarks if mark[1] is not None],
    )
    gone = [(file,) for file, place in watermarks if place is None]
    db.executemany("DELETE FROM watermark WHERE file = ?", gone)


def _row(entry: Entry) -> tuple[Any, ...]:
    """Return *entry* in the order of `ENTRY_COLUMNS`."""
    return (entry[0], KIND_NUMBERS[entry[1]], *entry[2:])


def parked(
    db: sqlite3.Connection, owner: str | None, *, replay: bool | None, after: int, limit: int
) -> list[Parked]:
    """Return parked events, oldest first."""
    query = (
        "SELECT number, owner, reason, parked_at, replay, "
        "(SELECT recorded_at FROM log WHERE log.id = parked.id), "
        f"{ENTRY_COLUMNS} FROM parked WHERE number > :after "
    )
    # Only what is asked for, so that an index finds it.
    query += "AND owner = :owner " if owner is not None else ""
    query += "AND replay = :replay " if replay is not None else ""
    values = {"owner": owner, "replay": replay, "after": after, "limit": limit}
    found = db.execute(f"{query} ORDER BY number LIMIT :limit", values).fetchall()
    return [_parked(row) for row in found]


def _parked(row: tuple[Any, ...]) -> Parked:
    number, owner, reason, parked_at, replay, recorded_at, *columns = row
    entry = Entry(columns[0], KINDS[columns[1]], *columns[2:])
    return Parked(number, owner, entry, reason, parked_at, bool(replay), recorded_at)


def with_parked(db: sqlite3.Connection, owner: str, customers: Collection[Id]) -> set[Id]:
    """Return those of *customers* of whom *owner* has parked an event."""
    found: set[Id] = set()
    for kind, query in _WITH_PARKED.items():
        ids = json.dumps([value for its_kind, value in customers if its_kind == kind])
        found |= {(kind, value) for (value,) in db.execute(query, (ids, owner))}
    return found
