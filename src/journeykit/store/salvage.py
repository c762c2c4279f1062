"""
Takes what can still be read out of a damaged database, and makes a new one of it.

The Log and what is parked are read by ranges of their numbers, which are halved around what SQLite
cannot read. What is missing then is looked for in the pages themselves. Positions stay as they are,
and none is given twice. State is not taken over: the projector makes it again from the Log.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.model import jsonbytes
from journeykit.model.event import PUBLICATION, Kind
from journeykit.store import versions
from journeykit.store.brought_back import find_requests, take_out
from journeykit.store.connection import means_damage
from journeykit.store.erasure import DELETED_COUNT
from journeykit.store.kept import PREFIX as KEPT
from journeykit.store.protocol import PROJECTOR, REBUILDING, WATCHER
from journeykit.store.rows import ENTRY_COLUMNS, KIND_NUMBERS, KINDS
from journeykit.store.schema import LOST, SALVAGED, SET_ASIDE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journeykit.store.hashes import Hashes
    from journeykit.store.pages import Pages
    from journeykit.store.tally import Tally

#: Beyond so many unreadable ranges of one table, the rest is left to the pages.
_FAILURES: Final = 2_000

#: A cursor so far behind the last position that is known is no cursor any more.
_SLACK: Final = 100_000

_LARGEST: Final = 2**62

#: Rows that are held in memory at a time.
_BATCH: Final = 1_000

_DERIVED: Final = KIND_NUMBERS[Kind.DERIVED]

#: In the order of the tables, which is that of the records in the pages.
_LOG: Final = (
    "position, id, kind, name, user_id, anonymous_id, session_id, occurred_at, recorded_at, flags, "
    "body"
)
_LOG_WIDTH: Final = _LOG.count(",") + 1
_PARKED: Final = f"number, owner, reason, parked_at, replay, {ENTRY_COLUMNS}"
_PARKED_WIDTH: Final = _PARKED.count(",") + 1

#: Tables of a text and a number, where of two versions of a row the higher number is the later one.
_SMALL: Final = {
    "cursor": ("name", "position"),
    "watermark": ("file", "place"),
    "counter": ("name", "value"),
    "meta": ("key", "value"),
    "erased": ("hash", "erased_at"),
    "sqlite_sequence": ("name", "seq"),
}

#: What is taken over otherwise, or made again.
_KNOWN: Final = {"log", "parked", "state", "person", "trail", *_SMALL}


def _is_kept(row: tuple[Any, ...]) -> bool:
    """Return whether *row* is a piece that a sink keeps; the status of readers is told anew."""
    kinds = [type(value) for value in row]
    return kinds == [str, bytes] and row[0].startswith(KEPT)


class Salvaged(NamedTuple):
    """How many events were taken over, and how many were lost; derived ones are not counted."""

    events: int
    lost: int


class Salvage:
    """
    Fills the database *target*, which is empty, from the damaged one.

    Args:
        source: A connection to the damaged database; None if there can be none.

        pages: Its pages.

        tally: What it is known to have had.

        label: What the counters are to call the damaged file.

        hashes: Tell who was erased.
    """

    def __init__(
        self,
        source: sqlite3.Connection | None,
        pages: Pages,
        target: sqlite3.Connection,
        *,
        tally: Tally | None,
        label: str,
        hashes: Hashes,
    ) -> None:
        self._source = source
        self._pages = pages
        self._target = target
        self._tally = tally
        self._label = label
        self._hashes = hashes
        self._small: dict[str, dict[str, int]] = {name: {} for name in _SMALL}
        #: Whether SQLite could read all there was.
        self._whole = source is not None
        self._folded: int | None = None

    def run(self) -> Salvaged:
        """Do it."""
        target = self._target
        versions.upgrade(target, 0)
        target.execute("BEGIN")
        for table in _SMALL:
            self._read_small(table)
        for row in target.execute("SELECT key, value FROM meta").fetchall():
            self._note("meta", *row)
        tops = {table: self._top(table, key) for table, key in _KEYS.items()}
        self._insert_log(self._ranges("log", "position", _LOG, tops["log"]))
        self._insert_parked(self._ranges("parked", "number", _PARKED, tops["parked"]))
        self._copy_others()
        searches = not self._whole or self._count() < self._expected(0)
        if searches:
            self._search_pages()
        self._write_table("erased")
        if searches:
            self._take_out_erased()
        self._write_positions()
        salvaged = self._write_counters()
        if not salvaged.lost:
            # Otherwise the spool is read again from its beginning: it may still have what is lost.
            self._write_table("watermark")
        self._write_table("meta")
        self._write_rebuilding()
        target.execute("COMMIT")
        if searches and self._hashes.known:
            # Without what was taken out again.
            target.execute("VACUUM")
        return salvaged

    # What SQLite reads

    def _read_small(self, table: str) -> None:
        columns = ", ".join(_SMALL[table])
        for name, value in self._select(f"SELECT {columns} FROM {table}"):
            self._note(table, name, value)

    def _note(self, table: str, name: object, value: object) -> None:
        if isinstance(name, str) and isinstance(value, int) and 0 <= value < _LARGEST:
            known = self._small[table]
            known[name] = max(value, known.get(name, 0))

    def _select(self, query: str, values: Iterable[int] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield rows as long as they can be read."""
        if self._source is None:
            return
        try:
            yield from self._source.execute(query, tuple(values))
        except sqlite3.DatabaseError as error:
            if not means_damage(error):
                raise
            self._whole = False

    def _top(self, table: str, key: str) -> int:
        """Return the highest number that a row of *table* may have."""
        found = self._small["sqlite_sequence"].get(table, 0)
        for (last,) in self._select(f"SELECT max({key}) FROM {table}"):
            found = max(found, last if isinstance(last, int) and last < _LARGEST else 0)
        return max(found, self._tally.position if self._tally and table == "log" else 0)

    def _ranges(self, table: str, key: str, columns: str, top: int) -> Iterator[tuple[Any, ...]]:
        """Yield the rows up to *top*, halving the ranges that cannot be read."""
        query = f"SELECT {columns} FROM {table} WHERE {key} > ? AND {key} <= ? ORDER BY {key}"
        pending, failures = [(0, top)], 0
        while pending and self._source is not None and failures < _FAILURES:
            low, high = pending.pop()
            try:
                for row in self._source.execute(query, (low, high)):
                    yield row
                    low = max(low, row[0])
            except sqlite3.DatabaseError as error:
                if not means_damage(error):
                    raise
                self._whole = False
                failures += 1
                middle = (low + high) // 2
                if high - low > 1:
                    pending += [(middle, high), (low, middle)]

    def _copy_others(self) -> None:
        """Copy tables that later versions have added, as far as they are in both."""
        names = self._target.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in [row for row in names if row[0] not in _KNOWN]:
            info = self._target.execute(f"SELECT name FROM pragma_table_info('{table}')")
            columns = [name for (name,) in info]
            listed, marks = ", ".join(columns), ", ".join("?" * len(columns))
            for row in self._select(f"SELECT {listed} FROM {table}"):
                with contextlib.suppress(sqlite3.IntegrityError):
                    insert = f"INSERT OR REPLACE INTO {table} ({listed}) VALUES ({marks})"
                    self._target.execute(insert, row)

    # What only the pages have

    def _search_pages(self) -> None:
        log, parked = [], []
        for number, values in self._pages.rows():
            # The number of a row stands in front of its record, and nothing in its place there.
            row = (number, *values[1:])
            if len(values) == 2 and values[0] in _KEYS:
                self._note("sqlite_sequence", *values)
            elif _is_log_row(row[:_LOG_WIDTH]):
                log.append(row[:_LOG_WIDTH])
            elif _is_parked_row(row[:_PARKED_WIDTH]):
                parked.append(row[:_PARKED_WIDTH])
            if len(log) >= _BATCH:
                self._insert_log(log)
                log.clear()
        self._insert_log(log)
        self._insert_parked(parked)
        roots = self._roots()
        find_requests(self._target, self._pages, roots["erasure"])
        for table in ("cursor", "watermark", "counter", "meta", "erased"):
            for row in self._pages.tree(roots[table]):
                if len(row.values) == 2:
                    self._note(table, *row.values)
        insert = "INSERT OR IGNORE INTO status (name, status) VALUES (?, ?)"
        rows = (tuple(row.values) for row in self._pages.tree(roots["status"]))
        self._target.executemany(insert, (row for row in rows if _is_kept(row)))

    def _take_out_erased(self) -> None:
        """Delete again what the pages had of people who were erased."""
        surplus = max(0, self._count() - self._expected(self._count()))
        gone = take_out(self._target, self._hashes)
        # What had not been deleted before is not lost either.
        if gone > surplus:
            self._small["counter"][DELETED_COUNT] = self._erased() + gone - surplus

    def _roots(self) -> dict[str, int]:
        """Return where the tables begin: as the file says, or else as in every new file."""
        query = "SELECT name, rootpage FROM sqlite_master"
        roots = dict(self._target.execute(query).fetchall())
        for row in self._pages.tree(1):
            if len(row.values) == 5 and row.values[1] in roots and isinstance(row.values[3], int):
                roots[row.values[1]] = row.values[3]
        return roots

    # What is written

    def _insert_log(self, rows: Iterable[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" * _LOG_WIDTH)
        self._target.executemany(
            f"INSERT OR IGNORE INTO log ({_LOG}) VALUES ({marks})",
            (row for row in rows if _is_log_row(row)),
        )

    def _insert_parked(self, rows: Iterable[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" * _PARKED_WIDTH)
        self._target.executemany(
            f"INSERT OR IGNORE INTO parked ({_PARKED}) VALUES ({marks})",
            (row for row in rows if _is_parked_row(row)),
        )

    def _count(self) -> int:
        """Return how many events, without derived ones and publications, were taken over."""
        query = "SELECT count(*) FROM log WHERE kind <> ? AND flags & ? = 0"
        found: int = self._target.execute(query, (_DERIVED, PUBLICATION)).fetchone()[0]
        return found

    def _last(self, table: str) -> int:
        """Return the highest number that a row had, as far as anything tells."""
        query = f"SELECT max({_KEYS[table]}) FROM {table}"
        kept = self._target.execute(query).fetchone()[0] or 0
        known = self._tally.position if self._tally and table == "log" else 0
        return max(kept, known, self._small["sqlite_sequence"].get(table, 0))

    def _expected(self, otherwise: int) -> int:
        """Return how many events there were, derived ones apart; *otherwise* if nothing tells."""
        counted = self._small["counter"].get("events", 0)
        # There is never more than one event at a position.
        counted = counted if counted <= self._last("log") else 0
        noted = self._tally.events if self._tally else 0
        return max(max(counted, noted) - self._erased(), 0) or otherwise

    def _erased(self) -> int:
        """Return how many of them were deleted because somebody was erased."""
        return self._small["counter"].get(DELETED_COUNT, 0)

    def _write_positions(self) -> None:
        last, target = self._last("log"), self._target
        cursors = self._small["cursor"]
        self._small["cursor"] = {
            name: place for name, place in cursors.items() if place <= last + _SLACK
        }
        sequences = {"log": max([last, *self._small["cursor"].values()])}
        sequences["parked"] = self._last("parked")
        target.execute("DELETE FROM sqlite_sequence")
        target.executemany("INSERT INTO sqlite_sequence VALUES (?, ?)", sequences.items())
        self._folded = self._small["cursor"].pop(PROJECTOR, None)
        self._small["cursor"].pop(WATCHER, None)
        self._write_table("cursor")

    def _write_counters(self) -> Salvaged:
        kept, counters = self._count(), self._small["counter"]
        lost = max(0, self._expected(kept + self._missing()) - kept)
        counters["events"] = kept + self._erased()
        counters[SALVAGED] = counters.get(SALVAGED, 0) + kept
        counters[LOST] = counters.get(LOST, 0) + lost
        counters[SET_ASIDE + self._label] = lost
        self._write_table("counter")
        return Salvaged(kept, lost)

    def _missing(self) -> int:
        """Return how many positions have no event: all that tells of losses if nobody counted."""
        rows: int = self._target.execute("SELECT count(*) FROM log").fetchone()[0]
        return self._last("log") - rows

    def _write_table(self, table: str) -> None:
        columns = ", ".join(_SMALL[table])
        self._target.executemany(
            f"INSERT OR REPLACE INTO {table} ({columns}) VALUES (?, ?)",
            self._small[table].items(),
        )

    def _write_rebuilding(self) -> None:
        """
        Let the projector know up to where it makes State again.

        What it derives up to there is no news. Without its cursor, nobody knows what is news, and
        what is still in the Log is not written again.
        """
        # The projector passes over derived events.
        query = "SELECT max(position) FROM log WHERE position <= ? AND kind <> ?"
        values = (self._folded, _DERIVED)
        until = self._folded and self._target.execute(query, values).fetchone()[0]
        if until:
            self._target.execute(
                "INSERT INTO state (space, key, data) VALUES (?, ?, ?)",
                (*REBUILDING, jsonbytes.dumps(until)),
            )


#: The tables with numbered rows, and what the number is called.
_KEYS: Final = {"log": "position", "parked": "number"}


def _is_log_row(row: tuple[Any, ...]) -> bool:
    if len(row) != _LOG_WIDTH:
        return False
    position, *entry, recorded_at, flags, body = row
    numbers = all(isinstance(each, int) for each in (position, recorded_at))
    return numbers and position > 0 and _is_entry([*entry, flags, body])


def _is_parked_row(row: tuple[Any, ...]) -> bool:
    if len(row) != _PARKED_WIDTH:
        return False
    number, owner, reason, parked_at, replay, *entry = row
    return (
        all(isinstance(each, int) for each in (number, parked_at, replay))
        and all(isinstance(each, str) for each in (owner, reason))
        and number > 0
        and _is_entry(entry)
    )


def _is_entry(columns: list[Any]) -> bool:
    """Return whether an event's columns are what was written: its body has its id as well."""
    event_id, kind, name, *ids, occurred_at, flags, body = columns
    if not (isinstance(event_id, str) and isinstance(name, str) and isinstance(body, bytes)):
        return False
    if any(each is not None and not isinstance(each, str) for each in ids):
        return False
    if not (isinstance(kind, int) and isinstance(occurred_at, int) and isinstance(flags, int)):
        return False
    try:
        wire = jsonbytes.loads(body)
    except ValueError:
        return False
    known = 0 <= kind < len(KINDS)
    return known and isinstance(wire, dict) and wire.get("id", event_id) == event_id
