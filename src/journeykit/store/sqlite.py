"""A store in one SQLite file, shared by all processes of a host: what it is asked, as SQL."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Final

from journeykit import native
from journeykit.exceptions import Superseded
from journeykit.store import pieces, rows, versions
from journeykit.store.database import Database
from journeykit.store.erasure import DELETED_COUNT, LATE_COUNT
from journeykit.store.protocol import (
    NOTHING,
    STATEFUL,
    Commit,
    Committed,
    Parked,
    Parking,
    Projection,
)
from journeykit.store.schema import FOUND_AGAIN, LOST, SET_CURSOR, count, cursor_of, one_column
from journeykit.store.sqlite_claims import SQLiteClaims
from journeykit.store.sqlite_erasing import SQLiteErasing

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from journeykit.model.event import Entry, Outgoing, Stored
    from journeykit.store.erasure import Id
    from journeykit.store.protocol import Lease, Position, StateKey

#: Events of a history read at a time: no reader keeps the write-ahead log from being emptied.
_PAGE: Final = 500

#: Pieces of State that a scan reads at a time.
PAGE: Final = 500


class SQLiteStore(Database):
    """
    Keeps everything in the SQLite file at *path*; its positions are integers.

    The file and its lock files can be read by their owner only.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.erasing = SQLiteErasing(self._path, self._read, self._write, self._alone)
        self.claims = SQLiteClaims(self._path.with_name(f"{self._path.name}-claims"))

    def close(self) -> None:
        """Close this process's connections."""
        super().close()
        self.claims.close()

    def sizes(self) -> dict[str, int]:
        """Return how many bytes the files have; that of claims, once there is one."""
        claims = self.claims.size()
        return {**super().sizes(), **({"claims": claims} if claims else {})}

    def reset_after_fork(self) -> None:
        """Forget, without closing, what the parent process has open."""
        super().reset_after_fork()
        self.erasing.reset_after_fork()
        self.claims.reset_after_fork()

    # The Log

    def watermark(self, file: str) -> int | None:
        """Return how far a file of events was read; None if not at all."""
        query = "SELECT place FROM watermark WHERE file = ?"
        with self._read() as db:
            row = db.execute(query, (file,)).fetchone()
        return row[0] if row else None

    def watermarks(self) -> list[str]:
        """Return the files of events that were read from."""
        with self._read() as db:
            return [file for (file,) in db.execute("SELECT file FROM watermark ORDER BY file")]

    def commit(self, commit: Commit, now: int) -> Committed:
        """Write *commit*; its entries are recorded at *now*, or later if the Log is later."""
        with self._write() as db:
            standing = rows.standing(db)
            screened = self.erasing.screen(db, commit.entries, standing.erased_at)
            self.erasing.follow(db, screened, now)
            added = rows.append(db, screened.kept, standing.recorded_at, now)
            aside = self._park(db, commit.parked, standing.erased_at, now)
            erased = len(commit.entries) - len(screened.kept)
            counts = Counter(commit.counts)
            counts.update({"events": added, LATE_COUNT: erased})
            count(db, counts)
            if commit.again:
                db.execute(FOUND_AGAIN, (added, LOST))
            db.executemany("DELETE FROM parked WHERE number = ?", one_column(commit.unparked))
            rows.mark(db, commit.watermarks)
        return Committed(
            added, len(screened.kept) - added, erased, screened=screened.changed or aside
        )

    def _park(
        self, db: sqlite3.Connection, parked: Sequence[Parking], erased_at: int | None, now: int
    ) -> bool:
        """Set aside; returns whether anything of that was about people who were erased since."""
        changed = False
        for owner, entry, reason in parked:
            screened = self.erasing.screen(db, [entry], erased_at)
            self.erasing.follow(db, screened, now)
            rows.park(db, [Parking(owner, one, reason) for one in screened.kept], now)
            changed |= screened.changed
        return changed

    def read(self, after: Position, limit: int, *, derived: bool = True) -> list[Stored]:
        """Return up to *limit* events behind *after*, in Log order."""
        query = rows.READ if derived else rows.READ_OBSERVED
        with self._read() as db:
            return rows.stored(db, query, {"after": after or 0, "limit": limit})

    def outgoing(self, after: Position, limit: int) -> list[Outgoing]:
        """Return up to *limit* events behind *after*, in Log order, as a relay reads them."""
        with self._read() as db:
            return rows.outgoing(db, {"after": after or 0, "limit": limit})

    def fetch(self, positions: Sequence[Position]) -> list[Stored]:
        """Return the events at *positions*, in Log order."""
        with self._read() as db:
            return rows.stored(db, rows.FETCH, {"positions": json.dumps(list(positions))})

    def publish(self, fact: Entry, now: int) -> Stored:
        """Append a fact about what is declared; it is not counted among the `events`."""
        with self._write() as db:
            rows.append(db, [fact], rows.standing(db).recorded_at, now)
            position = db.execute("SELECT position FROM log WHERE id = ?", (fact.id,)).fetchone()[0]
        return self.fetch([position])[0]

    def named(self, ids: Collection[str]) -> list[Stored]:
        """Return the events with these ids, as far as there are any, in Log order."""
        with self._read() as db:
            return rows.stored(db, rows.READ_NAMED, {"ids": json.dumps(list(ids))})

    def published(self) -> list[Stored]:
        """Return every fact that a version is published, in Log order."""
        with self._read() as db:
            return rows.stored(db, rows.READ_PUBLISHED, {})

    def peek_published(self) -> list[Stored]:
        """Return every such fact, as far as that can be read now, without opening the store."""
        with native.unforked():
            return rows.peek_published(self._path)

    def signal(self) -> object:
        """Return what changes when anybody else has written to the file, or found it damaged."""
        if self._suspected is not None:
            return "suspected"
        with self._read() as db:
            return self._checked, db.execute("PRAGMA data_version").fetchone()[0]

    # State

    def state(self, key: StateKey) -> bytes | None:
        """Return one piece of State."""
        with self._read() as db:
            return pieces.piece(db, key)

    def states(self, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, bytes]]:
        """Return those pieces that are there of the *wanted* keys of each space."""
        with self._read() as db:
            return pieces.some(db, wanted)

    def page(
        self, space: str, after: str, limit: int, *, backwards: bool = False
    ) -> list[tuple[str, bytes]]:
        """Return up to *limit* keys behind *after*, or before it, and their State."""
        with self._read() as db:
            if backwards:
                return pieces.page_before(db, space, after, limit)
            return pieces.page(db, space, ">", after, limit)

    def scan(self, space: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield the keys that begin with *prefix*, and their State, in order of keys."""
        place, compare = prefix, ">="
        while True:
            # A page at a time: as long as somebody reads, the write-ahead log cannot begin anew.
            with self._read() as db:
                page = pieces.page(db, space, compare, place, PAGE, prefix)
            for key, data in page:
                if not key.startswith(prefix):
                    return
                yield key, data
            if len(page) < PAGE:
                return
            place, compare = page[-1][0], ">"

    def find(self, space: str, part: str) -> list[str]:
        """Return the keys of *space* that contain *part*; it looks at all of them."""
        with self._read() as db:
            return pieces.find(db, space, part)

    def trail(self, customer: str) -> list[Position]:
        """Return the positions of a customer's events, in Log order."""
        with self._read() as db:
            return pieces.trail(db, customer)

    def history(self, customers: Sequence[str], since: Position = None) -> Iterator[Stored]:
        """Yield the events of these customers from the position *since* on, in Log order."""
        names, after = json.dumps(list(customers)), (since or 0) - 1
        while True:
            values = {"customers": names, "after": after, "limit": _PAGE}
            with self._read() as db:
                found = rows.stored(db, rows.READ_HISTORY, values)
            yield from found
            if len(found) < _PAGE:
                return
            after = found[-1].position

    def project(self, projection: Projection, now: int) -> None:
        """Write *projection*, or raise `Superseded`."""
        with self._write() as db:
            if cursor_of(db, projection.cursor) != projection.expected:
                msg = f"the cursor {projection.cursor!r} has moved"
                raise Superseded(msg)
            for resolved in projection.erased:
                self.erasing.note(db, resolved)
            pieces.write(db, projection.state, projection.trail)
            standing = rows.standing(db)
            derived = self.erasing.screen(db, projection.derived, standing.erased_at).kept
            rows.append(db, derived, standing.recorded_at, now)
            self.erasing.close_window(db, projection.erased)
            count(db, projection.counts)
            db.execute(SET_CURSOR, (projection.cursor, projection.position))

    def forget_state(self, keep: Mapping[StateKey, bytes]) -> None:
        """Replace all State by *keep*, and begin at the beginning."""
        with self._write() as db:
            pieces.clear(db)
            pieces.write(db, keep)
            db.executemany("DELETE FROM cursor WHERE name = ?", one_column(STATEFUL))

    # Readers

    def cursor(self, name: str) -> Position:
        """Return where the reader *name* is; None at the beginning."""
        with self._read() as db:
            return cursor_of(db, name)

    def advance(
        self,
        name: str,
        position: Position,
        parked: Sequence[Parking],
        now: int,
        counts: Mapping[str, int] = NOTHING,
    ) -> None:
        """Move the reader *name*, and set aside what it could not deliver."""
        with self._write() as db:
            if parked:
                self._park(db, parked, rows.standing(db).erased_at, now)
            count(db, counts)
            db.execute(SET_CURSOR, (name, position))

    def tell_status(self, name: str, status: bytes) -> None:
        """Keep what the reader *name* says of itself, for other processes."""
        with self._write(follows=False) as db:
            db.execute("INSERT OR REPLACE INTO status (name, status) VALUES (?, ?)", (name, status))

    def told_status(self, name: str) -> bytes | None:
        """Return what the reader *name* has said of itself last."""
        with self._read() as db:
            row = db.execute("SELECT status FROM status WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def keep(self, name: str, value: bytes | None) -> None:
        """Keep *value* under *name*, or nothing if it is None."""
        with self._write(follows=False) as db:
            if value is None:
                db.execute("DELETE FROM status WHERE name = ?", (name,))
            else:
                row = name, value
                db.execute("INSERT OR REPLACE INTO status (name, status) VALUES (?, ?)", row)

    def kept(self, prefix: str) -> dict[str, bytes]:
        """Return what is kept under names that begin with *prefix*."""
        # Any character may follow; this one comes behind all of them.
        ends = f"{prefix}\U0010ffff"
        with self._read() as db:
            rows = db.execute(
                "SELECT name, status FROM status WHERE name >= ? AND name < ?", (prefix, ends)
            ).fetchall()
        return dict(rows)

    def check_writer(self) -> None:
        """Raise `Outdated` where a newer journeykit does not let this one write."""
        with self._read() as db:
            versions.check_writer(db, self._path)

    def lead(self, role: str) -> Lease | None:
        """Return the leadership of *role*, or None while another process has it."""
        self.open()
        with self._translate(), native.unforked():
            return self._locks.lease(f"lead-{role}")

    # Parked events and counters

    def parked(
        self,
        owner: str | None = None,
        *,
        replay: bool | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[Parked]:
        """Return parked events, oldest first, those behind the number *after*."""
        with self._read() as db:
            return rows.parked(db, owner, replay=replay, after=after, limit=limit)

    def with_parked(self, owner: str, customers: Collection[Id]) -> set[Id]:
        """Return those of *customers* of whom *owner* has parked an event."""
        with self._read() as db:
            return rows.with_parked(db, owner, customers)

    def parked_counts(self) -> dict[str, int]:
        """Return how many events each owner has parked."""
        with self._read() as db:
            return dict(db.execute("SELECT owner, count(*) FROM parked GROUP BY owner"))

    def replay(self, owner: str | None = None, numbers: Collection[int] | None = None) -> int:
        """Mark parked events for another try; returns how many."""
        query = (
            "UPDATE parked SET replay = 1 WHERE replay = 0 AND (:owner IS NULL OR owner = :owner)"
        )
        if numbers is not None:
            query += " AND number IN (SELECT value FROM json_each(:numbers))"
        wanted = json.dumps(list(numbers or ()))
        with self._write(follows=False) as db:
            marked = db.execute(query, {"owner": owner, "numbers": wanted}).rowcount
            count(db, {"replayed": marked})
        return marked

    def settle(self, numbers: Sequence[int], failed: Mapping[int, str]) -> None:
        """Remove replayed events; those in *failed* stay parked, with a new reason."""
        with self._write() as db:
            db.executemany("DELETE FROM parked WHERE number = ?", one_column(numbers))
            db.executemany(
                "UPDATE parked SET replay = 0, reason = ? WHERE number = ?",
                [(reason, number) for number, reason in failed.items()],
            )

    def drop(self, numbers: Sequence[int]) -> int:
        """Delete parked events, and count them as `dropped`; returns how many there were."""
        with self._write() as db:
            before = db.total_changes
            db.executemany("DELETE FROM parked WHERE number = ?", one_column(numbers))
            dropped = db.total_changes - before
            count(db, {"dropped": dropped})
        return dropped

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the counters."""
        with self._write(follows=False) as db:
            count(db, counts)

    def counters(self) -> dict[str, int]:
        """Return the counters."""
        with self._read() as db:
            counters = {"events": 0, **dict(db.execute("SELECT name, value FROM counter"))}
        # That one never falls: it tells how far the Log has come.
        counters["events"] -= counters.get(DELETED_COUNT, 0)
        return counters
