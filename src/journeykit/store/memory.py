"""A store in memory: for tests, for trying things out, and as the measure of the others."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections import Counter
from typing import TYPE_CHECKING

from journeykit import native
from journeykit.exceptions import Superseded
from journeykit.model.event import PUBLICATION, PUBLISHED, Entry, Kind, Outgoing, Stored
from journeykit.store.claims import MemoryClaims
from journeykit.store.erasure import DELETED_COUNT, LATE_COUNT
from journeykit.store.memory_erasing import MemoryErasing
from journeykit.store.protocol import (
    NOTHING,
    STATEFUL,
    Commit,
    Committed,
    Parked,
    Parking,
    Projection,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from journeykit.store.erasure import Id
    from journeykit.store.protocol import Lease, Position, StateKey


class MemoryStore:
    """Keeps everything in this process; its positions are texts."""

    name = "memory://"
    spool = None

    def __init__(self) -> None:
        self.lock = native.rlock()
        self._log: list[Stored] = []
        self._ids: dict[str, int] = {}
        self._state: dict[str, dict[str, bytes]] = {}
        self._trail: dict[str, list[Position]] = {}
        self._cursors: dict[str, Position] = {}
        self._kept: dict[str, bytes] = {}
        self._told: dict[str, bytes] = {}
        self._parked: dict[int, Parked] = {}
        self._parked_count = 0
        self._watermarks: dict[str, int] = {}
        self._counters: Counter[str] = Counter()
        self._leaders: set[str] = set()
        self._appended = 0
        self.erasing = MemoryErasing(self)
        self.claims = MemoryClaims()

    def open(self) -> None:
        """Do nothing: it is ready."""

    def mend(self, now: int) -> bool:
        """Return False: there is no file that could be damaged."""
        return False

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def reset_after_fork(self) -> None:
        """Start anew: the parent's thread may have held the lock."""
        self.lock = native.rlock()
        self._leaders.clear()
        self.claims.reset_after_fork()

    def sizes(self) -> Mapping[str, int]:
        """Return nothing: it takes no disk."""
        return {}

    def watermark(self, file: str) -> int | None:
        """Return how far a file of events was read; None if not at all."""
        return self._watermarks.get(file)

    def watermarks(self) -> list[str]:
        """Return the files of events that were read from."""
        return sorted(self._watermarks)

    def commit(self, commit: Commit, now: int) -> Committed:
        """Write *commit*; its entries are recorded at *now*, or later if the Log is later."""
        with self.lock:
            screened = self.erasing.screen(commit.entries)
            self.erasing.follow(screened, now)
            added = [entry for entry in screened.kept if self._append(entry, now)]
            erased = len(commit.entries) - len(screened.kept)
            aside = self._park(commit.parked, now)
            self._counters.update(commit.counts)
            self._counters["events"] += len(added)
            if erased:
                self._counters[LATE_COUNT] += erased
            for number in commit.unparked:
                self._parked.pop(number, None)
            for file, place in commit.watermarks:
                if place is None:
                    self._watermarks.pop(file, None)
                else:
                    self._watermarks[file] = max(place, self._watermarks.get(file, 0))
        repeated = len(screened.kept) - len(added)
        return Committed(len(added), repeated, erased, screened=screened.changed or aside)

    def read(self, after: Position, limit: int, *, derived: bool = True) -> list[Stored]:
        """Return up to *limit* events behind *after*, in Log order."""
        with self.lock:
            start = self._index_behind(after)
            if derived:
                return self._log[start : start + limit]
            behind = itertools.islice(self._log, start, None)
            observed = (stored for stored in behind if stored.entry.kind is not Kind.DERIVED)
            return list(itertools.islice(observed, limit))

    def outgoing(self, after: Position, limit: int) -> list[Outgoing]:
        """Return up to *limit* events behind *after*, in Log order, as a relay reads them."""
        return [stored.outgoing() for stored in self.read(after, limit)]

    def fetch(self, positions: Sequence[Position]) -> list[Stored]:
        """Return the events at *positions*, in Log order."""
        with self.lock:
            wanted = sorted(set(positions))
            indexes = [self._index_behind(position) - 1 for position in wanted]
            found = zip(wanted, indexes, strict=True)
            return [
                self._log[index]
                for position, index in found
                if index >= 0 and self._log[index].position == position
            ]

    def named(self, ids: Collection[str]) -> list[Stored]:
        """Return the events with these ids, as far as there are any, in Log order."""
        with self.lock:
            wanted = set(ids)
            return [stored for stored in self._log if stored.entry.id in wanted]

    def publish(self, fact: Entry, now: int) -> Stored:
        """Append a fact about what is declared."""
        with self.lock:
            self._append(fact, now)
            return self._log[-1]

    def published(self) -> list[Stored]:
        """Return every fact that a version is published, in Log order."""
        with self.lock:
            return [
                stored
                for stored in self._log
                if stored.entry.flags & PUBLICATION and stored.entry.name == PUBLISHED
            ]

    def peek_published(self) -> list[Stored]:
        """Return every such fact, in Log order."""
        return self.published()

    def signal(self) -> object:
        """Return the length of the Log."""
        return self._appended, len(self._log), self._parked_count, self.erasing.changes

    def state(self, key: StateKey) -> bytes | None:
        """Return one piece of State."""
        space, name = key
        return self._state.get(space, {}).get(name)

    def states(self, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, bytes]]:
        """Return those pieces that are there of the *wanted* keys of each space."""
        with self.lock:
            spaces = {space: self._state.get(space, {}) for space in wanted}
            return {
                space: {key: pieces[key] for key in wanted[space] if key in pieces}
                for space, pieces in spaces.items()
            }

    def page(
        self, space: str, after: str, limit: int, *, backwards: bool = False
    ) -> list[tuple[str, bytes]]:
        """Return up to *limit* keys behind *after*, or before it, and their State."""
        if backwards:
            before = [item for item in self.scan(space) if item[0] < after]
            return before[::-1][:limit]
        behind = (item for item in self.scan(space) if item[0] > after)
        return list(itertools.islice(behind, limit))

    def scan(self, space: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield the keys that begin with *prefix*, and their State, in order of keys."""
        with self.lock:
            items = sorted(self._state.get(space, {}).items())
        return iter([item for item in items if item[0].startswith(prefix)])

    def find(self, space: str, part: str) -> list[str]:
        """Return the keys of *space* that contain *part*; it looks at all of them."""
        return [key for key, _ in self.scan(space) if part in key]

    def trail(self, customer: str) -> list[Position]:
        """Return the positions of a customer's events, in Log order."""
        with self.lock:
            return list(self._trail.get(customer, ()))

    def history(self, customers: Sequence[str], since: Position = None) -> Iterator[Stored]:
        """Yield the events of these customers from the position *since* on, in Log order."""
        positions = [position for customer in customers for position in self.trail(customer)]
        yield from self.fetch([place for place in positions if since is None or place >= since])

    def project(self, projection: Projection, now: int) -> None:
        """Write *projection*, or raise `Superseded`."""
        with self.lock:
            if self._cursors.get(projection.cursor) != projection.expected:
                msg = f"the cursor {projection.cursor!r} has moved"
                raise Superseded(msg)
            self._cursors[projection.cursor] = projection.position
            for (space, name), data in projection.state.items():
                keys = self._state.setdefault(space, {})
                if data is None:
                    keys.pop(name, None)
                else:
                    keys[name] = data
            for resolved in projection.erased:
                self.erasing.note(resolved)
            for customer, position in projection.trail:
                positions = self._trail.setdefault(customer, [])
                index = bisect_left(positions, position)
                if positions[index : index + 1] != [position]:
                    positions.insert(index, position)
            for entry in self.erasing.screen(projection.derived).kept:
                self._append(entry, now)
            self.erasing.close_window(projection.erased)
            self._counters.update(projection.counts)

    def forget_trail(self, customer: str, goes: Callable[[Position], bool]) -> int:
        """Delete what of a customer's trail *goes*; returns how many events that were."""
        positions = self._trail.get(customer, [])
        left = [position for position in positions if not goes(position)]
        if positions:
            self._trail[customer] = left
        return len(positions) - len(left)

    def forget_state(self, keep: Mapping[StateKey, bytes]) -> None:
        """Replace all State by *keep*, and begin at the beginning."""
        with self.lock:
            self._state.clear()
            for (space, name), data in keep.items():
                self._state.setdefault(space, {})[name] = data
            self._trail.clear()
            for name in STATEFUL:
                self._cursors.pop(name, None)

    def cursor(self, name: str) -> Position:
        """Return where the reader *name* is; None at the beginning."""
        return self._cursors.get(name)

    def advance(
        self,
        name: str,
        position: Position,
        parked: Sequence[Parking],
        now: int,
        counts: Mapping[str, int] = NOTHING,
    ) -> None:
        """Move the reader *name*, and set aside what it could not deliver."""
        with self.lock:
            self._cursors[name] = position
            self._park(parked, now)
            self._counters.update({key: count for key, count in counts.items() if count})

    def tell_status(self, name: str, status: bytes) -> None:
        """Keep what the reader *name* says of itself."""
        self._told[name] = status

    def told_status(self, name: str) -> bytes | None:
        """Return what the reader *name* has said of itself last."""
        return self._told.get(name)

    def keep(self, name: str, value: bytes | None) -> None:
        """Keep *value* under *name*, or nothing if it is None."""
        with self.lock:
            if value is None:
                self._kept.pop(name, None)
            else:
                self._kept[name] = value

    def kept(self, prefix: str) -> dict[str, bytes]:
        """Return what is kept under names that begin with *prefix*."""
        with self.lock:
            return {name: value for name, value in self._kept.items() if name.startswith(prefix)}

    def check_writer(self) -> None:
        """Do nothing: all that writes to memory is of one version."""

    def lead(self, role: str) -> Lease | None:
        """Return the leadership of *role*, or None while another kit has it."""
        with self.lock:
            if role in self._leaders:
                return None
            self._leaders.add(role)
        return _MemoryLease(self._leaders, role)

    def parked(
        self,
        owner: str | None = None,
        *,
        replay: bool | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[Parked]:
        """Return parked events, oldest first, those behind the number *after*."""
        with self.lock:
            found = [
                parked._replace(recorded_at=self._ids.get(parked.entry.id))
                for parked in self._parked.values()
                if owner in (None, parked.owner)
                and replay in (None, parked.replay)
                and parked.number > after
            ]
        return found[:limit]

    def with_parked(self, owner: str, customers: Collection[Id]) -> set[Id]:
        """Return those of *customers* of whom *owner* has parked an event."""
        with self.lock:
            entries = [item.entry for item in self._parked.values() if item.owner == owner]
        found = {("user", entry.user_id) for entry in entries}
        found |= {("anonymous", entry.anonymous_id) for entry in entries}
        return {customer for customer in customers if customer in found}

    def parked_counts(self) -> dict[str, int]:
        """Return how many events each owner has parked."""
        with self.lock:
            return dict(Counter(item.owner for item in self._parked.values()))

    def replay(self, owner: str | None = None, numbers: Collection[int] | None = None) -> int:
        """Mark parked events for another try; returns how many."""
        with self.lock:
            waiting = self.parked(owner, replay=False, limit=len(self._parked))
            found = [each for each in waiting if numbers is None or each.number in numbers]
            for parked in found:
                self._parked[parked.number] = parked._replace(replay=True)
            if found:
                self._counters["replayed"] += len(found)
        return len(found)

    def settle(self, numbers: Sequence[int], failed: Mapping[int, str]) -> None:
        """Remove replayed events; those in *failed* stay parked, with a new reason."""
        with self.lock:
            for number in numbers:
                self._parked.pop(number, None)
            for number, reason in failed.items():
                parked = self._parked.get(number)
                if parked is not None:
                    self._parked[number] = parked._replace(reason=reason, replay=False)

    def drop(self, numbers: Sequence[int]) -> int:
        """Delete parked events, and count them as `dropped`; returns how many there were."""
        with self.lock:
            found = [number for number in set(numbers) if self._parked.pop(number, None)]
            if found:
                self._counters["dropped"] += len(found)
        return len(found)

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the counters."""
        with self.lock:
            self._counters.update(counts)

    def counters(self) -> dict[str, int]:
        """Return the counters."""
        with self.lock:
            counters = {"events": 0, **self._counters}
        counters["events"] -= counters.get(DELETED_COUNT, 0)
        return counters

    # For erasures

    def append_fact(self, fact: Entry, now: int) -> Position:
        """Append *fact* to the Log; returns its position."""
        self._append(fact, now)
        self._counters["events"] += 1
        return self._log[-1].position

    def last_position(self) -> Position:
        """Return the position of the last event."""
        return self._log[-1].position

    def length(self) -> int:
        """Return how many events the Log has."""
        return len(self._log)

    def sinks(self) -> list[str]:
        """Return the names of the sinks that have a cursor."""
        names = (name.partition(":") for name in self._cursors)
        return [sink for kind, _, sink in names if kind == "sink"]

    def rewrite_log(self, change: Callable[[Stored], Stored | None]) -> tuple[int, int]:
        """Change the Log's events, None deletes; returns how many, and how many not derived."""
        kept, deleted, observed = [], 0, 0
        for stored in self._log:
            left = change(stored)
            if left is not None:
                kept.append(left)
                continue
            deleted += 1
            observed += stored.entry.kind is not Kind.DERIVED
            self._ids.pop(stored.id)
        self._log = kept
        return deleted, observed

    def rewrite_parked(self, change: Callable[[Parked], Parked | None]) -> int:
        """Change what is parked, None deletes; returns how many."""
        changed = {number: change(parked) for number, parked in self._parked.items()}
        self._parked = {number: left for number, left in changed.items() if left is not None}
        return len(changed) - len(self._parked)

    def _append(self, entry: Entry, now: int) -> bool:
        if entry.id in self._ids:
            return False
        recorded_at = max(now, self._log[-1].recorded_at) if self._log else now
        self._ids[entry.id] = recorded_at
        self._log.append(Stored(_position(self._appended), recorded_at, entry))
        self._appended += 1
        return True

    def _park(self, parkings: Sequence[Parking], now: int) -> bool:
        """Set aside; returns whether anything of that was about people who were erased since."""
        changed = False
        for owner, given, reason in parkings:
            screened = self.erasing.screen([given])
            self.erasing.follow(screened, now)
            changed |= screened.changed
            if not screened.kept:
                continue
            entry = screened.kept[0]
            self._parked_count += 1
            known = self._find_parked(owner, entry.id)
            if known is not None:
                self._parked[known.number] = known._replace(reason=reason, replay=False)
                continue
            number = self._parked_count
            self._parked[number] = Parked(number, owner, entry, reason, now, replay=False)
        return changed

    def _find_parked(self, owner: str, event_id: str) -> Parked | None:
        found = (item for item in self._parked.values() if item.owner == owner)
        return next((item for item in found if item.entry.id == event_id), None)

    def _index_behind(self, position: Position) -> int:
        return (
            0
            if position is None
            else bisect_right(self._log, position, key=lambda stored: stored.position)
        )


class _MemoryLease:
    def __init__(self, leaders: set[str], role: str) -> None:
        self._leaders = leaders
        self._role = role

    def release(self) -> None:
        """Let another kit lead; a second time does nothing."""
        self._leaders.discard(self._role)
        self._leaders = set()


def _position(index: int) -> str:
    return f"m{index:012d}"
