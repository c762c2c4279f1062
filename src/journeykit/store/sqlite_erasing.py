"""How a store in SQLite forgets a customer."""

from __future__ import annotations

import functools
import json
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.model import jsonbytes
from journeykit.model.event import Entry, Kind
from journeykit.store import late, pieces, rows
from journeykit.store.erasure import (
    DELETED_COUNT,
    QUEUED,
    Erasure,
    Resolved,
    key_of,
    with_hashes,
    without_visitor,
)
from journeykit.store.free_space import FreeSpace
from journeykit.store.hashes import Hashes
from journeykit.store.rows import ENTRY_COLUMNS, KINDS
from journeykit.store.schema import count
from journeykit.store.versions import ERASING_VERSION, FOLLOWING_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from journeykit.store.erasure import Id
    from journeykit.store.late import Screened

#: Positions of the Log looked at in one step: some milliseconds, during which nobody waits.
_SPAN: Final = 20_000

#: Rows deleted in one transaction, and the seconds that one slice looks for some.
_ROWS: Final = 500
_SLICE: Final = 0.1

_COLUMNS: Final = (
    "number, id, position, erased_at, ids, until, reached, swept, cleared, purged, counts, sinks, "
    "follows, (SELECT first.position FROM erasure AS first WHERE first.id = follows)"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM erasure LEFT JOIN following USING (number)"
#: Of erasures that follow another: whose ids nobody has resolved yet; and the request itself.
_UNRESOLVED: Final = (
    "SELECT ids FROM following JOIN erasure USING (number) WHERE until IS NULL AND erased_at >= ?"
)
_REQUEST: Final = (
    "SELECT id, sinks FROM erasure LEFT JOIN following USING (number) "
    "WHERE erased_at = ? AND follows IS NULL ORDER BY number LIMIT 1"
)
_FIND: Final = (
    "position > :after AND position <= :last AND ("
    "user_id IN (SELECT value FROM json_each(:users)) OR "
    "anonymous_id IN (SELECT value FROM json_each(:visitors)))"
)
#: Bodies only of what it takes them for: whether a derived event follows from one that stays.
_LOOKED_AT: Final = (
    "position, kind, name, user_id, anonymous_id, occurred_at, "
    f"CASE WHEN kind = {KINDS.index(Kind.DERIVED)} AND occurred_at > :erased_at THEN body END"
)


class SQLiteErasing:
    """
    The erasures of the store in the file at *path*.

    Args:
        read, write: Open a transaction.

        locked: Holds the writers' lock, and gives a connection that nobody else has.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[], AbstractContextManager[sqlite3.Connection]],
        write: Callable[[], AbstractContextManager[sqlite3.Connection]],
        locked: Callable[[], AbstractContextManager[sqlite3.Connection]],
    ) -> None:
        self._path = path
        self._hashes = Hashes(path)
        self._read = read
        self._write = write
        self._free_space = FreeSpace(path, read, locked)

    def reset_after_fork(self) -> None:
        """Close this process's copy of the parent's descriptor."""
        self._free_space.reset_after_fork()

    def screen(
        self, db: sqlite3.Connection, entries: Sequence[Entry], latest: int | None
    ) -> Screened:
        """Leave out what is about people who were erased since; *latest* is when somebody was."""
        return late.screen(entries, latest, functools.partial(self._hashes.erased, db))

    # Erasures

    def begin(self, fact: Entry, ids: Collection[Id], sinks: Collection[str], now: int) -> None:
        """Append *fact* and note whom it is about; from now on older events are refused."""
        with self._write() as db:
            self._begin(db, fact, ids, sinks, now)

    def follow(self, db: sqlite3.Connection, screened: Screened, now: int) -> None:
        """Begin to erase under the ids that late events told, in somebody else's transaction."""
        for user, visitor, erased_at, _ in screened.parted:
            self._hashes.add(db, [late.apart(user, visitor)], erased_at)
        if not screened.told:
            return
        others = self._hashes.erased(db, [late.apart(*told[:2]) for told in screened.told])
        told = [each for each in screened.told if each.sure or late.apart(*each[:2]) not in others]
        for erased_at, ids in late.by_request(told).items():
            known = db.execute(_UNRESOLVED, (erased_at,))
            if any(ids <= _ids(text) for (text,) in known.fetchall()):
                continue
            # It may be lost to damage.
            follows, sinks = db.execute(_REQUEST, (erased_at,)).fetchone() or ("", "{}")
            number = db.execute("SELECT coalesce(max(number), 0) + 1 FROM erasure").fetchone()[0]
            fact = late.following_fact(follows, number, erased_at)
            self._begin(db, fact, ids, json.loads(sinks), now, follows)

    def _begin(
        self,
        db: sqlite3.Connection,
        fact: Entry,
        ids: Collection[Id],
        sinks: Collection[str],
        now: int,
        follows: str | None = None,
    ) -> None:
        # Whose an id is that a late event told, is known when the fact folds.
        sure = [one for one in ids if follows is None or one[0] == "user"]
        digests = self._hashes.add(db, sure, fact.occurred_at)
        fact = fact._replace(body=with_hashes(fact.body, digests))
        rows.append(db, [fact], rows.standing(db).recorded_at, now)
        known = db.execute("SELECT name FROM cursor WHERE name LIKE 'sink:%'")
        asked = {*sinks, *(name.removeprefix("sink:") for (name,) in known)}
        db.execute(
            "INSERT INTO erasure (id, position, erased_at, ids, sinks) "
            "SELECT id, position, ?, ?, ? FROM log WHERE id = ?",
            (
                fact.occurred_at,
                json.dumps(sorted(ids)),
                json.dumps({sink: [QUEUED, ""] for sink in sorted(asked)}),
                fact.id,
            ),
        )
        if follows is not None:
            query = "INSERT INTO following SELECT number, ? FROM erasure WHERE id = ?"
            db.execute(query, (follows, fact.id))
        # A version that knows nothing of it would bring people back, or erase others.
        version = ERASING_VERSION if follows is None else FOLLOWING_VERSION
        db.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'min_writer'", (version,))
        count(db, {"events": 1})

    def progress(self) -> int:
        """Return a number that grows when an erasure begins, and when it is known who that is."""
        with self._read() as db:
            found: int = db.execute("SELECT count(*) + count(until) FROM erasure").fetchone()[0]
        return found

    def pending(self) -> list[Erasure]:
        """Return those that have not come to their end, oldest first."""
        return self._select(f"{_SELECT} WHERE cleared = 0 OR purged = 0 ORDER BY number")

    def find(self, event: str) -> Erasure | None:
        """Return the erasure whose fact has the id *event*."""
        return next(iter(self._select(f"{_SELECT} WHERE id = ?", event)), None)

    def recent(self, limit: int) -> list[Erasure]:
        """Return the last requests, the latest first."""
        query = f"{_SELECT} WHERE coalesce(follows, '') = '' ORDER BY number DESC LIMIT ?"
        return self._select(query, limit)

    def following(self, event: str) -> list[Erasure]:
        """Return those that follow the request whose fact has the id *event*."""
        return self._select(f"{_SELECT} WHERE follows = ? ORDER BY number", event)

    def resolve(self, resolved: Resolved) -> None:
        """Note who the customer is, where no projector does so."""
        with self._write() as db:
            self.note(db, resolved)
            self.close_window(db, [resolved])

    def note(self, db: sqlite3.Connection, resolved: Resolved) -> None:
        """Note who the customer is, in somebody else's transaction."""
        found = db.execute(f"{_SELECT} WHERE id = ? AND cleared = 0", (resolved.event,)).fetchone()
        if found is None:
            return
        erasure = _erasure(found)
        ids = late.resolved_ids(erasure, resolved)
        digests = self._hashes.add(db, ids, erasure.erased_at)
        self._hashes.add(db, late.not_theirs(erasure, ids), erasure.erased_at)
        trail = _forget_trails(db, erasure, ids)
        _note_counts(db, erasure.number, {"state": resolved.pieces, "trail": trail})
        query = "UPDATE erasure SET ids = ? WHERE number = ?"
        db.execute(query, (json.dumps(sorted(ids)), erasure.number))
        body = db.execute("SELECT body FROM log WHERE id = ?", (erasure.event,)).fetchone()
        if body is not None:
            fact = with_hashes(bytes(body[0]), digests)
            db.execute("UPDATE log SET body = ? WHERE id = ?", (fact, erasure.event))

    @staticmethod
    def close_window(db: sqlite3.Connection, erased: Sequence[Resolved]) -> None:
        """Note that older events are refused from here on, under all ids."""
        query = (
            "UPDATE erasure SET until = (SELECT max(position) FROM log) "
            "WHERE id = ? AND until IS NULL"
        )
        db.executemany(query, [(resolved.event,) for resolved in erased])

    def links(self, ids: Collection[Id], after: Any, until: Any) -> tuple[list[Entry], Any]:
        """Return events behind *after* that name two ids, one of *ids* among them."""
        after = after or 0
        last = min(after + _SPAN, until)
        query = (
            f"SELECT {ENTRY_COLUMNS} FROM log WHERE {_FIND} "
            "AND user_id IS NOT NULL AND anonymous_id IS NOT NULL ORDER BY position"
        )
        with self._read() as db:
            found = db.execute(query, _values(ids, after, last)).fetchall()
        return [Entry(row[0], KINDS[row[1]], *row[2:]) for row in found], last

    def answer(self, number: int, sink: str, status: str, detail: str) -> None:
        """Note what *sink* has answered."""
        with self._write() as db:
            query = "SELECT sinks FROM erasure WHERE number = ?"
            sinks = json.loads(db.execute(query, (number,)).fetchone()[0])
            sinks[sink] = [status, detail]
            db.execute("UPDATE erasure SET sinks = ? WHERE number = ?", (json.dumps(sinks), number))

    def clear(self, number: int) -> None:
        """Forget the ids: everybody has been asked."""
        query = "UPDATE erasure SET ids = '[]', cleared = 1, purged = 0 WHERE number = ?"
        with self._write() as db:
            db.execute(query, (number,))

    # The sweep

    def sweep(self, erasure: Erasure) -> None:
        """Delete a slice of what the Log has of a customer; at its end what is parked."""
        reached, deadline = erasure.reached, time.monotonic() + _SLICE
        found: list[_Found] = []
        while not found and reached < erasure.until and time.monotonic() < deadline:
            found, reached = self._look(erasure, reached)
        with self._write() as db:
            taken, cut = _sorted_out(erasure, found, _staying(db, erasure, found))
            observed = db.execute(
                "SELECT count(*) FROM log WHERE kind <> ? "
                "AND position IN (SELECT value FROM json_each(?))",
                (KINDS.index(Kind.DERIVED), json.dumps(taken)),
            ).fetchone()[0]
            apart = late.apart_by(each.entry for each in found)
            self._hashes.add(db, apart, erasure.erased_at)
            gone = "DELETE FROM log WHERE position IN (SELECT value FROM json_each(?))"
            deleted = db.execute(gone, (json.dumps(taken),)).rowcount
            _cut(db, "log", "position", cut)
            counts = {"log": deleted}
            done = reached >= erasure.until
            if done:
                counts["trail"] = _forget_trails(db, erasure, erasure.ids)
                counts["parked"] = _sweep_parked(db, erasure)
            db.execute(
                "UPDATE erasure SET reached = ?, swept = ? WHERE number = ?",
                (reached, done, erasure.number),
            )
            _note_counts(db, erasure.number, counts)
            count(db, {DELETED_COUNT: observed})

    def _look(self, erasure: Erasure, after: int) -> tuple[list[_Found], int]:
        last = min(after + _SPAN, erasure.until)
        query = f"SELECT {_LOOKED_AT} FROM log WHERE {_FIND} ORDER BY position LIMIT {_ROWS}"
        values = {**_values(erasure.ids, after, last), "erased_at": erasure.erased_at}
        with self._read() as db:
            found = [_Found.of(*row) for row in db.execute(query, values)]
        return found, found[-1].position if len(found) == _ROWS else last

    # Free space

    def purge(self) -> bool:
        """Overwrite what deleted rows have left behind; returns False where it must wait."""
        waiting = frozenset(
            (each.number, each.cleared) for each in self.pending() if each.swept and not each.purged
        )
        numbers = [number for number, _ in waiting]
        return self._free_space.purge(
            waiting,
            note="UPDATE erasure SET purged = 1 WHERE number IN (SELECT value FROM json_each(?))",
            values=(json.dumps(numbers),),
        )

    def set_aside(self) -> Sequence[Path]:
        """Return files that were set aside and cannot be edited."""
        return sorted(self._path.parent.glob(f"{self._path.name}.damaged-*"))

    def _select(self, query: str, *values: Any) -> list[Erasure]:
        with self._read() as db:
            return [_erasure(row) for row in db.execute(query, values)]


def _erasure(row: tuple[Any, ...]) -> Erasure:
    number, event, position, erased_at, ids, until, reached, *done, counts, sinks = row[:-2]
    return Erasure(
        number=number,
        event=event,
        position=position,
        erased_at=erased_at,
        ids=_ids(ids),
        until=until,
        reached=reached,
        swept=bool(done[0]),
        cleared=bool(done[1]),
        purged=bool(done[2]),
        counts=json.loads(counts),
        sinks={name: (said[0], said[1]) for name, said in json.loads(sinks).items()},
        follows=row[-2],
        since=row[-1],
    )


def _ids(text: str) -> frozenset[Id]:
    return frozenset((kind, value) for kind, value in json.loads(text))


def _values(ids: Collection[Id], after: int, last: int) -> dict[str, Any]:
    users = [value for kind, value in ids if kind == "user"]
    visitors = [value for kind, value in ids if kind == "anonymous"]
    texts = {"users": json.dumps(users), "visitors": json.dumps(visitors)}
    return {**texts, "after": after, "last": last}


class _Found(NamedTuple):
    """An event that names one of the ids; `cause` is what it follows from, where that matters."""

    position: int
    entry: Entry
    cause: str

    @classmethod
    def of(cls, position: int, kind: int, *columns: Any) -> _Found:
        name, user, visitor, occurred_at, body = columns
        entry = Entry("", KINDS[kind], name, user, visitor, None, occurred_at, 0, b"")
        return cls(position, entry, _cause(body))


def _cause(body: bytes | None) -> str:
    try:
        return str(jsonbytes.loads(body)["caused_by"]) if body is not None else ""
    except (ValueError, LookupError, TypeError):
        return ""


def _staying(db: sqlite3.Connection, erasure: Erasure, found: Sequence[_Found]) -> set[str]:
    """Return which events stay of those that *found* follows from."""
    causes = [each.cause for each in found if each.cause]
    if not causes:
        return set()
    query = (
        "SELECT id FROM log WHERE id IN (SELECT value FROM json_each(?)) "
        "AND occurred_at > ? AND position >= ?"
    )
    since = erasure.position if erasure.follows is None else erasure.since or 0
    return {each for (each,) in db.execute(query, (json.dumps(causes), erasure.erased_at, since))}


def _sorted_out(
    erasure: Erasure, found: Sequence[_Found], staying: Collection[str]
) -> tuple[list[int], list[int]]:
    """
    Return the positions to delete, and those of others' events that name one of the ids.

    What follows from the events *staying* stays.
    """
    taken: list[int] = []
    cut: list[int] = []
    for position, entry, cause in found:
        if not erasure.takes(entry, position, stays=cause in staying):
            continue
        user = entry.user_id
        theirs = ("user", user) in erasure.ids if user else True
        (taken if theirs else cut).append(position)
    return taken, cut


def _cut(db: sqlite3.Connection, table: str, key: str, numbers: Collection[int]) -> None:
    """Take the anonymous id out of events of others."""
    for number in numbers:
        found = db.execute(f"SELECT body FROM {table} WHERE {key} = ?", (number,)).fetchone()
        if found is not None:
            db.execute(
                f"UPDATE {table} SET anonymous_id = NULL, body = ? WHERE {key} = ?",
                (without_visitor(bytes(found[0])), number),
            )


def _forget_trails(db: sqlite3.Connection, erasure: Erasure, ids: Collection[Id]) -> int:
    """Delete what the trails have of events that go; returns how many that were."""
    since = erasure.position if erasure.follows is None else erasure.since or 0
    span = pieces.Span(erasure.position, since, erasure.erased_at)
    return pieces.forget_trails(db, map(key_of, ids), span)


def _sweep_parked(db: sqlite3.Connection, erasure: Erasure) -> int:
    """Delete what is parked of a customer, of every owner."""
    taken: list[int] = []
    cut: list[int] = []
    for kind, value in erasure.ids:
        column = "user_id" if kind == "user" else "anonymous_id"
        found = db.execute(
            "SELECT number, user_id FROM parked "
            f"WHERE owner IN (SELECT DISTINCT owner FROM parked) AND {column} = ? "
            "AND (occurred_at <= ? OR parked_at <= ?)",
            (value, erasure.erased_at, erasure.erased_at),
        )
        for number, user in found:
            theirs = ("user", user) in erasure.ids if user else True
            (taken if theirs else cut).append(number)
    gone = "DELETE FROM parked WHERE number IN (SELECT value FROM json_each(?))"
    deleted: int = db.execute(gone, (json.dumps(taken),)).rowcount
    _cut(db, "parked", "number", set(cut) - set(taken))
    return deleted


def _note_counts(db: sqlite3.Connection, number: int, counts: Mapping[str, int]) -> None:
    query = "SELECT counts FROM erasure WHERE number = ?"
    known = json.loads(db.execute(query, (number,)).fetchone()[0])
    for place, more in counts.items():
        known[place] = known.get(place, 0) + more
    db.execute("UPDATE erasure SET counts = ? WHERE number = ?", (json.dumps(known), number))
