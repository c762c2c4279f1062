"""
State and trails as rows of SQLite's tables.

An event touches several pieces of State of one customer, and the customer's trail. Each in a table
by spaces is a page of its own, which is read, written ahead and written again. So what is kept of
one customer lies together, and is written in that order.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.store import rows
from journeykit.store.protocol import BY_CUSTOMER, SEPARATOR, by_space

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from journeykit.store.protocol import Position, StateKey

#: The space of trails in the table of customers.
#: Its keys are positions below zero, so that the newest is nearest to what else the event changes.
_TRAIL: Final = "trail"

_PIECE: Final = "SELECT data FROM state WHERE space = ? AND key = ?"
_PIECE_OF: Final = "SELECT data FROM person WHERE customer = ? AND space = ? AND key = ?"

_SOME: Final = (
    "SELECT key, data FROM state WHERE space = ? AND key IN (SELECT value FROM json_each(?))"
)
_SOME_OF: Final = (
    "WITH wanted (its_customer, its_space, its_key) AS (VALUES {}) "
    "SELECT space, customer || key, data FROM wanted CROSS JOIN person "
    "ON customer = its_customer AND space = its_space AND key = its_key"
)

_PAGE: Final = "SELECT key, data FROM state WHERE space = ? AND key {} ? ORDER BY key LIMIT ?"
_PAGE_OF_ONE: Final = (
    "SELECT customer || key, data FROM person WHERE customer = ? AND space = ? AND key {} ? "
    "ORDER BY key LIMIT ?"
)
_PAGE_OF_ALL: Final = (
    "SELECT customer || key, data FROM person WHERE (customer, space, key) {} (?, ?, ?) "
    "AND +space = ? ORDER BY customer, space, key LIMIT ?"
)
_PAGE_BEFORE: Final = (
    "SELECT key, data FROM state WHERE space = ? AND key < ? ORDER BY key DESC LIMIT ?"
)
_PAGE_OF_ALL_BEFORE: Final = (
    "SELECT customer || key, data FROM person WHERE (customer, space, key) < (?, ?, ?) "
    "AND +space = ? ORDER BY customer DESC, space DESC, key DESC LIMIT ?"
)

_FIND: Final = "SELECT key FROM state WHERE space = ? AND instr(key, ?) ORDER BY key"
_FIND_OF: Final = (
    "SELECT customer || key FROM person WHERE +space = ? AND instr(customer || key, ?) "
    "ORDER BY customer, space, key"
)

# To replace a row whose key is known takes one search for its place, and an upsert two.
_SET: Final = "INSERT OR REPLACE INTO state (space, key, data) VALUES {}"
_SET_OF: Final = "INSERT OR REPLACE INTO person (customer, space, key, data) VALUES {}"
_DELETE: Final = "DELETE FROM state WHERE space = ? AND key = ?"
_DELETE_OF: Final = "DELETE FROM person WHERE customer = ? AND space = ? AND key = ?"

_POSITIONS: Final = (
    f"SELECT -key FROM person WHERE customer = ? AND space = '{_TRAIL}' ORDER BY key DESC"
)
_FORGET_TRAILS: Final = (
    (
        f"DELETE FROM person WHERE customer = :customer AND space = '{_TRAIL}' AND key > -:before "
        "AND (key > -:since OR NOT EXISTS (SELECT 1 FROM log "
        "WHERE log.position = -person.key AND log.occurred_at > :erased_at))"
    ),
    # Where those of before the sixth version have not been made again.
    (
        "DELETE FROM trail WHERE customer = :customer AND position < :before "
        "AND (position < :since OR NOT EXISTS (SELECT 1 FROM log "
        "WHERE log.position = trail.position AND log.occurred_at > :erased_at))"
    ),
)


class Span(NamedTuple):
    """Which events of a customer go: those before `since`, and of the others what is not newer."""

    before: int
    since: int
    erased_at: int


def piece(db: sqlite3.Connection, key: StateKey) -> bytes | None:
    """Return one piece of State."""
    space, name = key
    if space in BY_CUSTOMER:
        customer, rest = _split(name)
        row = db.execute(_PIECE_OF, (customer, space, rest)).fetchone()
    else:
        row = db.execute(_PIECE, key).fetchone()
    return row[0] if row else None


def some(
    db: sqlite3.Connection, wanted: Mapping[str, Collection[str]]
) -> dict[str, dict[str, bytes]]:
    """Return those pieces that are there of the *wanted* keys of each space."""
    found: dict[str, dict[str, bytes]] = {space: {} for space in wanted}
    people: list[tuple[str, str, str]] = []
    for space, keys in wanted.items():
        if space in BY_CUSTOMER:
            people += [(customer, space, rest) for customer, rest in map(_split, keys)]
        else:
            found[space] = dict(db.execute(_SOME, (space, json.dumps(list(keys)))))
    # In the order of the table, so that each page is read once.
    people.sort()
    for space, key, data in rows.select(db, _SOME_OF, people):
        found[space][key] = data
    return found


def page(
    db: sqlite3.Connection, space: str, compare: str, place: str, limit: int, prefix: str = ""
) -> list[tuple[str, bytes]]:
    """
    Return up to *limit* keys that *compare* (`>` or `>=`) to *place*, and their State.

    A *prefix* only tells where nothing is to be looked for: keys without it may be among them.
    """
    if space not in BY_CUSTOMER:
        return db.execute(_PAGE.format(compare), (space, place, limit)).fetchall()
    customer, rest = _split(place)
    if SEPARATOR in prefix:
        # All are one customer's: behind them it would go through everybody else.
        of_one = (customer, space, rest, limit)
        return db.execute(_PAGE_OF_ONE.format(compare), of_one).fetchall()
    of_all = (customer, space, rest, space, limit)
    return db.execute(_PAGE_OF_ALL.format(compare), of_all).fetchall()


def page_before(
    db: sqlite3.Connection, space: str, place: str, limit: int
) -> list[tuple[str, bytes]]:
    """Return up to *limit* keys before *place*, and their State, the last one first."""
    if space not in BY_CUSTOMER:
        return db.execute(_PAGE_BEFORE, (space, place, limit)).fetchall()
    customer, rest = _split(place)
    of_all = (customer, space, rest, space, limit)
    return db.execute(_PAGE_OF_ALL_BEFORE, of_all).fetchall()


def find(db: sqlite3.Connection, space: str, part: str) -> list[str]:
    """Return the keys of *space* that contain *part*, in order."""
    query = _FIND_OF if space in BY_CUSTOMER else _FIND
    return [key for (key,) in db.execute(query, (space, part))]


def write(
    db: sqlite3.Connection,
    state: Mapping[StateKey, bytes | None],
    trail: Sequence[tuple[str, Position]] = (),
) -> None:
    """Set pieces of State, None removes, and add to trails."""
    there: list[tuple[Any, ...]] = []
    people: list[tuple[Any, ...]] = [(customer, _TRAIL, -at, b"") for customer, at in trail]
    gone: list[tuple[str, ...]] = []
    people_gone: list[tuple[str, ...]] = []
    for space, changed in by_space(state).items():
        if space not in BY_CUSTOMER:
            there += [(space, key, data) for key, data in changed.items() if data is not None]
            gone += [(space, key) for key, data in changed.items() if data is None]
            continue
        for key, data in changed.items():
            customer, rest = _split(key)
            if data is None:
                people_gone.append((customer, space, rest))
            else:
                people.append((customer, space, rest, data))
    there.sort()
    people.sort()
    rows.insert(db, _SET, there)
    rows.insert(db, _SET_OF, people)
    db.executemany(_DELETE, gone)
    db.executemany(_DELETE_OF, people_gone)


def clear(db: sqlite3.Connection) -> None:
    """Delete all State and every trail."""
    for table in ("state", "person", "trail"):
        db.execute(f"DELETE FROM {table}")


def trail(db: sqlite3.Connection, customer: str) -> list[Position]:
    """Return the positions of a customer's events, in Log order."""
    return [position for (position,) in db.execute(_POSITIONS, (customer,))]


def forget_trails(db: sqlite3.Connection, customers: Iterable[str], span: Span) -> int:
    """Delete what trails have of events that go; returns how many that were."""
    return sum(
        db.execute(query, {"customer": customer, **span._asdict()}).rowcount
        for customer in customers
        for query in _FORGET_TRAILS
    )


def _split(key: str) -> tuple[str, str]:
    """Return the customer, and the rest with what stands in front of it."""
    at = key.find(SEPARATOR)
    return (key, "") if at < 0 else (key[:at], key[at:])
