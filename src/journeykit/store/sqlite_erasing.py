"""How a store in SQLite forgets a customer."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

from journeykit import native
from journeykit.model.event import Entry, Kind
from journeykit.store import pieces, rows, wipe
from journeykit.store.erasure import (
    DELETED_COUNT,
    KEY_BYTES,
    QUEUED,
    Erasure,
    Resolved,
    hashed,
    key_of,
    with_hashes,
    without_visitor,
)
from journeykit.store.rows import ENTRY_COLUMNS, KINDS
from journeykit.store.schema import count
from journeykit.store.versions import ERASING_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from journeykit.store.erasure import Id

#: Positions of the Log looked at in one step: some milliseconds, during which nobody waits.
_SPAN: Final = 20_000

#: Rows deleted in one transaction, and the seconds that one slice looks for some.
_ROWS: Final = 500
_SLICE: Final = 0.1

#: Pages overwritten while nobody else may write: about a millisecond, and the disk's own time.
_PAGES: Final = 500

#: Pages that one look for left-overs reads.
_LOOK: Final = 2**15

_COLUMNS: Final = (
    "number, id, position, erased_at, ids, until, reached, swept, cleared, purged, counts, sinks"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM erasure"
_FIND: Final = (
    "position > :after AND position <= :last AND ("
    "user_id IN (SELECT value FROM json_each(:users)) OR "
    "anonymous_id IN (SELECT value FROM json_each(:visitors)))"
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
        self._key_path = path.with_name(f"{path.name}-key")
        self._read = read
        self._write = write
        self._locked = locked
        self._key: bytes | None = None
        self._descriptor: int | None = None
        self._wiped = 0

    def reset_after_fork(self) -> None:
        """Close this process's copy of the parent's descriptor."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    # Erasures

    def begin(self, fact: Entry, ids: Collection[Id], sinks: Collection[str], now: int) -> None:
        """Append *fact* and note whom it is about; from now on older events are refused."""
        hashes = self._hashes(ids)
        fact = fact._replace(body=with_hashes(fact.body, hashes.values()))
        with self._write() as db:
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
            _add_hashes(db, hashes.values(), fact.occurred_at)
            # A version that knows nothing of erasures would bring people back.
            db.execute(
                "UPDATE meta SET value = max(value, ?) WHERE key = 'min_writer'",
                (ERASING_VERSION,),
            )
            count(db, {"events": 1})

    def newest(self) -> int:
        """Return the number of the last erasure, 0 without any."""
        with self._read() as db:
            return db.execute("SELECT max(number) FROM erasure").fetchone()[0] or 0

    def pending(self) -> list[Erasure]:
        """Return those that have not come to their end, oldest first."""
        return self._select(f"{_SELECT} WHERE cleared = 0 OR purged = 0 ORDER BY number")

    def find(self, event: str) -> Erasure | None:
        """Return the erasure whose fact has the id *event*."""
        return next(iter(self._select(f"{_SELECT} WHERE id = ?", event)), None)

    def recent(self, limit: int) -> list[Erasure]:
        """Return the last ones, the latest first."""
        return self._select(f"{_SELECT} ORDER BY number DESC LIMIT ?", limit)

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
        ids = erasure.ids | set(resolved.ids)
        hashes = self._hashes(ids)
        _add_hashes(db, hashes.values(), erasure.erased_at)
        trail = pieces.forget_trails(db, map(key_of, ids), erasure.position)
        _note_counts(db, erasure.number, {"state": resolved.pieces, "trail": trail})
        query = "UPDATE erasure SET ids = ? WHERE number = ?"
        db.execute(query, (json.dumps(sorted(ids)), erasure.number))
        body = db.execute("SELECT body FROM log WHERE id = ?", (erasure.event,)).fetchone()
        if body is not None:
            fact = with_hashes(bytes(body[0]), hashes.values())
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
        self._wiped = 0
        with self._write() as db:
            db.execute(query, (number,))

    # The sweep

    def sweep(self, erasure: Erasure) -> None:
        """Delete a slice of what the Log has of a customer; at its end what is parked."""
        self._wiped = 0
        reached, deadline = erasure.reached, time.monotonic() + _SLICE
        found: list[tuple[Any, ...]] = []
        while not found and reached < erasure.until and time.monotonic() < deadline:
            found, reached = self._look(erasure, reached)
        taken, cut = _sorted_out(erasure, found)
        with self._write() as db:
            observed = db.execute(
                "SELECT count(*) FROM log WHERE kind <> ? "
                "AND position IN (SELECT value FROM json_each(?))",
                (KINDS.index(Kind.DERIVED), json.dumps(taken)),
            ).fetchone()[0]
            gone = "DELETE FROM log WHERE position IN (SELECT value FROM json_each(?))"
            deleted = db.execute(gone, (json.dumps(taken),)).rowcount
            _cut(db, "log", "position", cut)
            counts = {"log": deleted}
            done = reached >= erasure.until
            if done:
                customers = map(key_of, erasure.ids)
                counts["trail"] = pieces.forget_trails(db, customers, erasure.position)
                counts["parked"] = _sweep_parked(db, erasure)
            db.execute(
                "UPDATE erasure SET reached = ?, swept = ? WHERE number = ?",
                (reached, done, erasure.number),
            )
            _note_counts(db, erasure.number, counts)
            count(db, {DELETED_COUNT: observed})

    def _look(self, erasure: Erasure, after: int) -> tuple[list[tuple[Any, ...]], int]:
        last = min(after + _SPAN, erasure.until)
        columns = "position, kind, user_id, anonymous_id, occurred_at, name"
        query = f"SELECT {columns} FROM log WHERE {_FIND} ORDER BY position LIMIT {_ROWS}"
        with self._read() as db:
            found = db.execute(query, _values(erasure.ids, after, last)).fetchall()
        return found, found[-1][0] if len(found) == _ROWS else last

    # Free space

    def purge(self) -> bool:
        """Overwrite what deleted rows have left behind; returns False where it must wait."""
        pages = self._pages()
        if pages >= wipe.MOST_PAGES:
            return self._vacuum()
        if not self._wiped and not self._bring_in():
            return False
        while self._wiped < pages:
            until = min(self._wiped + _LOOK, pages)
            dirty = [page for page, _, _ in wipe.dirty(self._open(), self._wiped, until)]
            for start in range(0, len(dirty), _PAGES):
                if not self._wipe(dirty[start : start + _PAGES]):
                    return False
            self._wiped = until
        if not self._finish():
            return False
        self._wiped = 0
        return True

    def _pages(self) -> int:
        with self._read() as db:
            pages: int = db.execute("PRAGMA page_count").fetchone()[0]
        return pages

    def _wipe(self, pages: list[int]) -> bool:
        with self._locked() as db:
            if not _empty_wal(db):
                return False
            # With the lock of SQLite too, for those who do not know ours.
            db.execute("BEGIN IMMEDIATE")
            wipe.wipe(self._open(), pages)
            # What is committed makes everybody read the pages anew that they remember.
            db.execute("UPDATE erasure SET purged = 0 WHERE purged = 0")
            db.execute("COMMIT")
        return True

    def _bring_in(self) -> bool:
        """Bring all that was committed into the database, for only that is looked at."""
        with self._locked() as db:
            return _empty_wal(db)

    def _finish(self) -> bool:
        """Note that nothing is left, if that is so."""
        with self._locked() as db:
            if not _empty_wal(db):
                return False
            db.execute("UPDATE erasure SET purged = 1 WHERE swept = 1 AND purged = 0")
        return True

    def _vacuum(self) -> bool:
        with self._locked() as db:
            # It makes a whole database beside this one, which no memory holds.
            db.execute("PRAGMA temp_store = FILE")
            db.execute("VACUUM")
        return self._finish()

    def _open(self) -> int:
        known = self._descriptor
        if known is None or not os.path.samestat(os.fstat(known), self._path.stat()):
            # Never closed: that would free the locks that SQLite has on the file.
            known = self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        return known

    def set_aside(self) -> Sequence[Path]:
        """Return files that were set aside and cannot be edited."""
        return sorted(self._path.parent.glob(f"{self._path.name}.damaged-*"))

    # Hashes

    def erased(self, db: sqlite3.Connection, ids: Collection[Id]) -> Mapping[Id, int]:
        """Return which of *ids* were erased, and when."""
        by_hash = {digest: one for one, digest in self._hashes(ids).items()}
        query = "SELECT hash, erased_at FROM erased WHERE hash IN (SELECT value FROM json_each(?))"
        found = db.execute(query, (json.dumps(list(by_hash)),))
        return {by_hash[digest]: erased_at for digest, erased_at in found}

    def _hashes(self, ids: Collection[Id]) -> dict[Id, str]:
        key = self._key = self._key or self._read_key()
        return {one: hashed(key, one) for one in ids}

    def _read_key(self) -> bytes:
        """Return the key of the hashes, which is in a file of its own beside the database."""
        with contextlib.suppress(FileNotFoundError):
            return self._key_path.read_bytes()
        unfinished = self._key_path.with_name(f"{self._key_path.name}.{secrets.token_hex(4)}")
        with native.unforked():
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(descriptor, secrets.token_bytes(KEY_BYTES))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        # Whoever comes first has made it.
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, self._key_path)
        unfinished.unlink()
        return self._key_path.read_bytes()

    def _select(self, query: str, *values: Any) -> list[Erasure]:
        with self._read() as db:
            return [_erasure(row) for row in db.execute(query, values)]


def _erasure(row: tuple[Any, ...]) -> Erasure:
    number, event, position, erased_at, ids, until, reached, *done, counts, sinks = row
    return Erasure(
        number=number,
        event=event,
        position=position,
        erased_at=erased_at,
        ids=frozenset((kind, value) for kind, value in json.loads(ids)),
        until=until,
        reached=reached,
        swept=bool(done[0]),
        cleared=bool(done[1]),
        purged=bool(done[2]),
        counts=json.loads(counts),
        sinks={name: (said[0], said[1]) for name, said in json.loads(sinks).items()},
    )


def _values(ids: Collection[Id], after: int, last: int) -> dict[str, Any]:
    users = [value for kind, value in ids if kind == "user"]
    visitors = [value for kind, value in ids if kind == "anonymous"]
    texts = {"users": json.dumps(users), "visitors": json.dumps(visitors)}
    return {**texts, "after": after, "last": last}


def _sorted_out(erasure: Erasure, found: list[tuple[Any, ...]]) -> tuple[list[int], list[int]]:
    """Return the positions to delete, and those of others' events that name one of the ids."""
    taken: list[int] = []
    cut: list[int] = []
    for position, kind, user, visitor, occurred_at, name in found:
        entry = Entry("", KINDS[kind], name, user, visitor, None, occurred_at, 0, b"")
        if not erasure.takes(entry, position, derived=entry.kind is Kind.DERIVED):
            continue
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


def _add_hashes(db: sqlite3.Connection, hashes: Collection[str], erased_at: int) -> None:
    db.executemany(
        "INSERT INTO erased (hash, erased_at) VALUES (?, ?) ON CONFLICT (hash) "
        "DO UPDATE SET erased_at = max(erased_at, excluded.erased_at)",
        [(digest, erased_at) for digest in hashes],
    )


def _note_counts(db: sqlite3.Connection, number: int, counts: Mapping[str, int]) -> None:
    query = "SELECT counts FROM erasure WHERE number = ?"
    known = json.loads(db.execute(query, (number,)).fetchone()[0])
    for place, more in counts.items():
        known[place] = known.get(place, 0) + more
    db.execute("UPDATE erasure SET counts = ? WHERE number = ?", (json.dumps(known), number))


def _empty_wal(db: sqlite3.Connection) -> bool:
    """Bring all that was committed into the database, and cut the write-ahead log off."""
    blocked: int = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return not blocked
