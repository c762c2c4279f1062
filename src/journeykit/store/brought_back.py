"""
Keeps out of a salvaged database who was erased before it was damaged.

Old versions of pages have events that were deleted since, and cannot be told from those that were
not. The hashes tell them; where these are lost, the facts in the Log have them too.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.model import jsonbytes
from journeykit.model.customer import Customer
from journeykit.model.event import ERASURE, Entry, Kind
from journeykit.store.erasure import ids_of, without
from journeykit.store.rows import ENTRY_COLUMNS, KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from journeykit.store.erasure import Id
    from journeykit.store.hashes import Hashes
    from journeykit.store.pages import Pages

#: Rows that are looked at in one step.
_ROWS: Final = 1_000

#: Each table's key, and the instant that counts for a row.
_TABLES: Final = {
    "log": ("position", "occurred_at"),
    "parked": ("number", "min(occurred_at, parked_at)"),
}


class _Row(NamedTuple):
    number: int
    at: int
    entry: Entry


class _Known(NamedTuple):
    """When each id was erased, and before which position of the Log all of theirs goes."""

    erased_at: Mapping[Id, int]
    before: Mapping[Id, int]

    def goes(self, one: Id, at: int, position: int) -> bool:
        return self.erased_at.get(one, -1) >= at or position < self.before.get(one, 0)


def find_requests(db: sqlite3.Connection, pages: Pages, root: int) -> None:
    """Add the erasures that the pages of the table at *root* have still."""
    columns = [name for _, name, *_ in db.execute("PRAGMA table_info(erasure)")]
    marks = ", ".join("?" * len(columns))
    insert = f"INSERT OR IGNORE INTO erasure ({', '.join(columns)}) VALUES ({marks})"
    for number, values in pages.tree(root):
        row = (number, *values[1:], *[None] * len(columns))[: len(columns)]
        with contextlib.suppress(sqlite3.IntegrityError):
            if _is_request(dict(zip(columns, row, strict=True))):
                db.execute(insert, row)


def _is_request(row: Mapping[str, Any]) -> bool:
    """Return whether the columns are what was written."""
    texts = [row[name] for name in ("id", "ids", "counts", "sinks")]
    numbers = [row[name] for name in ("position", "erased_at", "reached", "swept", "cleared")]
    if not all(isinstance(each, str) for each in texts):
        return False
    try:
        found = [type(jsonbytes.loads(each)) for each in texts[1:]]
    except ValueError:
        return False
    return found == [list, dict, dict] and all(isinstance(each, int) for each in numbers)


def take_out(db: sqlite3.Connection, hashes: Hashes) -> int:
    """Delete what is about people who were erased; returns how many events, derived ones apart."""
    positions = _restore_hashes(db)
    if not hashes.known or db.execute("SELECT count(*) FROM erased").fetchone()[0] == 0:
        return 0
    observed = 0
    for table, (key, _) in _TABLES.items():
        for rows in _pages(db, table):
            known = _known(db, hashes, rows, positions)
            observed += sum([_take_out(db, table, key, row, known) for row in rows])
    # Where the ids are known still, the eraser looks once more.
    db.execute("UPDATE erasure SET swept = 0, reached = 0 WHERE cleared = 0")
    return observed


def _restore_hashes(db: sqlite3.Connection) -> dict[str, int]:
    """Add the hashes that facts have, and return before which position all of these ids goes."""
    add = (
        "INSERT INTO erased (hash, erased_at) VALUES (?, ?) ON CONFLICT (hash) "
        "DO UPDATE SET erased_at = max(erased_at, excluded.erased_at)"
    )
    query = "SELECT position, id, occurred_at, body FROM log WHERE flags & ? ORDER BY position"
    positions: dict[str, int] = {}
    for position, event, erased_at, body in db.execute(query, (ERASURE,)).fetchall():
        properties = jsonbytes.loads(body)["properties"]
        db.executemany(add, [(digest, erased_at) for digest in properties["ids"]])
        if "follows" in properties:
            query = "INSERT OR IGNORE INTO following SELECT number, ? FROM erasure WHERE id = ?"
            db.execute(query, (properties["follows"], event))
        else:
            positions.update(dict.fromkeys(properties["ids"], position))
    return positions


def _pages(db: sqlite3.Connection, table: str) -> Iterator[list[_Row]]:
    key, at = _TABLES[table]
    query = (
        f"SELECT {key}, {at}, {ENTRY_COLUMNS} FROM {table} WHERE {key} > ? "
        f"AND (user_id IS NOT NULL OR anonymous_id IS NOT NULL) ORDER BY {key} LIMIT {_ROWS}"
    )
    after = 0
    while found := [_row(*row) for row in db.execute(query, (after,))]:
        yield found
        after = found[-1].number


def _row(number: int, at: int, event: str, kind: int, *columns: Any) -> _Row:
    return _Row(number, at, Entry(event, KINDS[kind], *columns))


def _known(
    db: sqlite3.Connection, hashes: Hashes, rows: Iterable[_Row], positions: Mapping[str, int]
) -> _Known:
    whose = [Customer(row.entry.user_id, row.entry.anonymous_id) for row in rows]
    digests = hashes.of({one for customer in whose for one in ids_of(customer)})
    before = {one: positions[digest] for one, digest in digests.items() if digest in positions}
    return _Known(hashes.erased(db, digests), before)


def _take_out(db: sqlite3.Connection, table: str, key: str, row: _Row, known: _Known) -> bool:
    """Delete what goes of a row; returns whether that was an event that is not derived."""
    number, at, entry = row
    position = number if table == "log" else 2**63

    def goes(one: Id) -> bool:
        return known.goes(one, at, position)

    left = without(entry, goes)
    if left is None:
        db.execute(f"DELETE FROM {table} WHERE {key} = ?", (number,))
        return table == "log" and entry.kind is not Kind.DERIVED
    if left is not entry:
        change = f"UPDATE {table} SET anonymous_id = NULL, body = ? WHERE {key} = ?"
        db.execute(change, (left.body, number))
    return False
