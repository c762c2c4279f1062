"""
State as folds see it while a batch lasts, and what is kept of it between batches.

Pieces are found by their space and their key, in a dictionary a space: a tuple for each look would
cost the collector of garbage more than the look.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from journeykit.model import jsonbytes
from journeykit.store.protocol import Changes, by_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from journeykit.model.event import Stored
    from journeykit.store.protocol import Position, Store

#: When a timer goes off and what it is for → the timer.
TIMERS: Final = "timer"

#: Between the two: below every character of a key.
BEHIND_TIME: Final = "\x1e"

#: How a timer's instant is written, and where its key begins.
_DIGITS: Final = 20
_KEY_AT: Final = _DIGITS + len(BEHIND_TIME)

#: Later than any timer.
NEVER: Final = 2**63

#: Timers read at a time.
_PAGE: Final = 100

#: The most pieces of State kept in memory from one batch to the next, as packed bytes (about 100 MB
#: of the largest ones).
CACHED_PIECES: Final = 50_000

#: The most pieces of State that stay decoded from one event to the next.
#: What lives for a whole batch is looked at by the collector of garbage again and again.
DECODED_PIECES: Final = 500

#: The most events whose properties are kept decoded while a batch lasts.
DECODED_PROPERTIES: Final = 10_000


def next_deadline(store: Store) -> int | None:
    """Return when the next timer of State goes off, in microseconds; None if none is set."""
    first = store.page(TIMERS, "", 1)
    return int(first[0][0][:20]) if first else None


@attrs.define
class Alarm:
    """When the next timer goes off at the earliest, in microseconds; None if nobody has looked."""

    at: int | None = None


class Kept:
    """
    Pieces of one space as bytes, in two generations.

    What is written joins the new one. Once that is full, it becomes the old one, and what was in
    that is let go of: whatever is written again and again stays.
    To take single pieces out of one dictionary would cost more than to write them.
    """

    __slots__ = ("new", "old")

    def __init__(self) -> None:
        self.new: dict[str, bytes | None] = {}
        self.old: dict[str, bytes | None] = {}

    def __len__(self) -> int:
        return len(self.new) + len(self.old)

    def get(self, key: str) -> bytes | Literal[False] | None:
        """Return a piece, None where it is known to be absent, False where nothing is known."""
        new = self.new
        return new[key] if key in new else self.old.get(key, False)

    def age(self) -> None:
        """Let go of what was not written for long."""
        self.old, self.new = self.new, {}


class Cache:
    """Pieces of State as bytes, those that were written last."""

    def __init__(self) -> None:
        self._spaces: defaultdict[str, Kept] = defaultdict(Kept)
        #: What folds note for themselves, for as long as nobody else leads.
        self.notes: dict[str, Any] = {}

    def __len__(self) -> int:
        return sum(map(len, self._spaces.values()))

    def space(self, space: str) -> Kept:
        """Return what is kept of *space*."""
        return self._spaces[space]

    def add(self, space: str, pieces: Mapping[str, bytes]) -> None:
        """Keep *pieces* of the store, until the next `update` at least."""
        self._spaces[space].new.update(pieces)

    def update(self, state: Changes) -> None:
        """Keep what was written, and let go of what was not for long."""
        for space, changed in by_space(state).items():
            self._spaces[space].new.update(changed)
        if sum(len(kept.new) for kept in self._spaces.values()) > CACHED_PIECES // 2:
            self._age()
        if len(self) > CACHED_PIECES:
            self._age()

    def _age(self) -> None:
        for kept in self._spaces.values():
            kept.age()


class _Space:
    """
    What a view has of one space, by key.

    Args:
        cached: Pieces as they are in the store.
    """

    __slots__ = ("absent", "cached", "changed", "encode", "packed", "pieces", "wanted")

    def __init__(self, cached: Kept) -> None:
        self.cached = cached
        #: Decoded; None is absent.
        self.pieces: dict[str, Any] = {}
        #: Those of them that were replaced, and how they are encoded.
        self.changed: dict[str, Any] = {}
        self.encode: Callable[[Any], bytes] = jsonbytes.dumps
        #: Replaced and encoded again; None is absent.
        self.packed: dict[str, bytes | None] = {}
        self.absent: set[str] = set()
        self.wanted: set[str] = set()


class View:
    """
    State as it is after the events folded so far, written or not.

    Pieces are kept decoded from one event to the next, and encoded once there are many of them, or
    when the batch ends. All pieces of a space are encoded alike.
    """

    def __init__(self, store: Store, cache: Cache, alarm: Alarm) -> None:
        self._store = store
        self._cache = cache
        self._alarm = alarm
        self._spaces: dict[str, _Space] = {}
        #: How many pieces may be decoded.
        self._decoded = 0
        #: By customer: where the first event of this batch is, and the others.
        self._seen: dict[str, Position] = {}
        self._seen_again: dict[str, list[Position]] = {}
        #: Those of them that somebody has looked at again, and those that the Log has otherwise.
        self._again: dict[Position, Stored] = {}
        self._properties: dict[str, dict[str, Any]] = {}
        #: Timers that were set in this batch, and a page of those in the store.
        self._timers: list[str] = []
        self._page: list[tuple[str, bytes]] = []
        self._paged = ""
        self.counts: Counter[str] = Counter()
        #: Customers who were erased → the position of the fact.
        self.forgotten: dict[str, Position] = {}

    def _space(self, space: str) -> _Space:
        found = self._spaces.get(space)
        if found is None:
            found = self._spaces[space] = _Space(self._cache.space(space))
        return found

    def prefetch(self, space: str, keys: Iterable[str]) -> None:
        """Have pieces that will be wanted read in one go, with the first of them."""
        at = self._space(space)
        new, old, packed = at.cached.new, at.cached.old, at.packed
        at.wanted.update(
            key for key in keys if key not in new and key not in old and key not in packed
        )

    def _fetch(self) -> None:
        """Read what will be wanted, of all spaces at once: a customer's pieces lie together."""
        wanted = {space: at.wanted for space, at in self._spaces.items() if at.wanted}
        for space, found in self._store.states(wanted).items():
            at = self._spaces[space]
            self._cache.add(space, found)
            at.absent.update(at.wanted.difference(found))
            at.wanted = set()

    def get(self, space: str, key: str, decode: Callable[[bytes], Any]) -> Any:
        """Return one piece of State, or None."""
        spaces = self._spaces
        at = spaces[space] if space in spaces else self._space(space)
        pieces = at.pieces
        if key in pieces:
            return pieces[key]
        data = at.packed[key] if key in at.packed else self._kept(at, space, key)
        piece = pieces[key] = None if data is None else decode(data)
        self._decoded += 1
        return piece

    def _kept(self, at: _Space, space: str, key: str) -> bytes | None:
        """Return one piece as the store has it."""
        known = at.cached.get(key)
        if known is False and key in at.wanted:
            self._fetch()
            known = at.cached.get(key)
        if known is False:
            return None if key in at.absent else self._store.state((space, key))
        return known

    def put(self, space: str, key: str, piece: Any, encode: Callable[[Any], bytes]) -> None:
        """Replace one piece of State; None removes it."""
        spaces = self._spaces
        at = spaces[space] if space in spaces else self._space(space)
        pieces = at.pieces
        if key not in pieces:
            self._decoded += 1
        pieces[key] = at.changed[key] = piece
        at.encode = encode

    def let_go(self, stored: Stored) -> None:
        """Keep no more decoded than should stay so, now that *stored* is folded."""
        self._properties.pop(stored.entry.id, None)
        self.pack()

    def pack(self) -> None:
        """Encode what has changed, where there is more of it than should stay decoded."""
        if self._decoded > DECODED_PIECES:
            self._pack()

    def _pack(self) -> None:
        for at in self._spaces.values():
            packed, encode = at.packed, at.encode
            for key, piece in at.changed.items():
                packed[key] = None if piece is None else encode(piece)
            at.changed.clear()
            at.pieces.clear()
        self._decoded = 0

    def _changed(self, space: str) -> Iterator[tuple[str, bool]]:
        """Yield the keys of what was replaced, and whether there is anything in their place."""
        at = self._space(space)
        for key, data in at.packed.items():
            yield key, data is not None
        for key, piece in at.changed.items():
            yield key, piece is not None

    def keys(self, space: str, prefix: str) -> list[str]:
        """Return the keys that begin with *prefix*."""
        found = {key for key, _ in self._store.scan(space, prefix)}
        for key, exists in self._changed(space):
            if key.startswith(prefix):
                (found.add if exists else found.discard)(key)
        return sorted(found)

    def find(self, space: str, part: str) -> list[str]:
        """Return the keys that contain *part*."""
        found = set(self._store.find(space, part))
        for key, exists in self._changed(space):
            if part in key:
                (found.add if exists else found.discard)(key)
        return sorted(found)

    def behind(self, space: str, after: str, limit: int) -> tuple[list[str], str | None]:
        """Return some keys behind *after* in their order, and where to go on; None at the end."""
        page = self._store.page(space, after, limit)
        last = page[-1][0] if len(page) == limit else None
        found = {key for key, _ in page}
        for key, exists in self._changed(space):
            if key > after and (last is None or key <= last):
                (found.add if exists else found.discard)(key)
        return sorted(found), last

    def properties(self, stored: Stored) -> dict[str, Any]:
        """Return an event's properties, decoded once."""
        entry = stored.entry
        known = self._properties.get(entry.id)
        if known is None:
            if len(self._properties) >= DECODED_PROPERTIES:
                # A long history passes through here, and is not kept.
                self._properties = {}
            known = self._properties[entry.id] = jsonbytes.loads(entry.body)["properties"]
        return known

    @property
    def notes(self) -> dict[str, Any]:
        """What folds note for themselves: lost with the process, and with leadership."""
        return self._cache.notes

    # What was folded

    def history(self, customers: Sequence[str], since: Position = None) -> Iterator[Stored]:
        """Yield every event of these customers that was folded so far, in Log order."""
        for stored in self._store.history(customers, since):
            erased = self.forgotten.get(stored.entry.customer_key)
            if erased is None or stored.position > erased:
                yield stored
        found = [position for key in customers for position in self._seen_of(key)]
        yield from self._read_again(sorted(found) if len(customers) > 1 else found)

    def latest(self, customers: Sequence[str], limit: int) -> Iterator[Stored]:
        """Yield the newest events of these customers, about *limit* of each, in Log order."""
        trails = [self._store.trail(key)[-limit:] for key in customers]
        since = min((trail[0] for trail in trails if trail), default=None)
        return self.history(customers, since)

    def fetch(self, positions: Sequence[Position]) -> list[Stored]:
        """Return events of a history by their positions, in Log order."""
        return self._store.fetch(positions)

    def saw(self, customer: str, stored: Stored, *, is_cut: bool = False) -> None:
        """
        Add an event to the trail of its customer.

        Args:
            is_cut: It is not as the Log has it.
        """
        # Their places only, for most are never looked at again: the collector of garbage would
        # look at the events themselves as long as the batch lasts.
        position = stored.position
        if self._seen.setdefault(customer, position) != position:
            self._seen_again.setdefault(customer, []).append(position)
        if is_cut:
            self._again[position] = stored

    def _seen_of(self, customer: str) -> Sequence[Position]:
        if customer not in self._seen:
            return ()
        return self._seen[customer], *self._seen_again.get(customer, ())

    def _read_again(self, positions: Sequence[Position]) -> Iterator[Stored]:
        """Yield events of this batch."""
        known = self._again
        unknown = [position for position in positions if position not in known]
        if unknown:
            known.update((stored.position, stored) for stored in self._store.fetch(unknown))
        return (known[position] for position in positions if position in known)

    def forget(self, customers: Iterable[str], position: Position) -> None:
        """End the trail of *customers*, who were erased at *position*."""
        for customer in customers:
            self._seen.pop(customer, None)
            self._seen_again.pop(customer, None)
            self.forgotten[customer] = position

    # Timers

    def put_timer(self, at: int, key: str, timer: tuple[Any, ...]) -> None:
        """Have `next_timer` return *timer* once it is *at*."""
        place = f"{at:0{_DIGITS}d}{BEHIND_TIME}{key}"
        self.put(TIMERS, place, timer, jsonbytes.dumps)
        heapq.heappush(self._timers, place)
        if self._alarm.at is not None:
            self._alarm.at = min(self._alarm.at, at)

    def next_timer(self, until: int) -> Sequence[Any] | None:
        """Remove and return the earliest timer, if it goes off by the instant *until*."""
        if self._alarm.at is not None and self._alarm.at > until:
            return None
        place = self._earliest()
        self._alarm.at = NEVER if place is None else int(place[:_DIGITS])
        if place is None or self._alarm.at > until:
            return None
        timer: Sequence[Any] = self.get(TIMERS, place, jsonbytes.loads)
        self.put(TIMERS, place, None, jsonbytes.dumps)
        return timer

    def coming(self, until: int, limit: int) -> list[str]:
        """Return what timers are for that the store has, and that go off by *until*; some."""
        if self._alarm.at is None or self._alarm.at > until:
            return []
        # Those before have gone off, though the store has them as long as the batch lasts.
        page = self._store.page(TIMERS, f"{self._alarm.at:0{_DIGITS}d}", limit)
        self._cache.add(TIMERS, dict(page))
        return [place[_KEY_AT:] for place, _ in page if int(place[:_DIGITS]) <= until]

    def _earliest(self) -> str | None:
        while self._timers and self.get(TIMERS, self._timers[0], jsonbytes.loads) is None:
            heapq.heappop(self._timers)
        stored = self._earliest_stored()
        set_here = self._timers[0] if self._timers else None
        return min((place for place in (stored, set_here) if place is not None), default=None)

    def _earliest_stored(self) -> str | None:
        while True:
            while self._page:
                place = self._page[-1][0]
                if self.get(TIMERS, place, jsonbytes.loads) is not None:
                    return place
                self._page.pop()
            self._page = self._store.page(TIMERS, self._paged, _PAGE)[::-1]
            self._cache.add(TIMERS, dict(self._page))
            if not self._page:
                return None
            self._paged = self._page[0][0]

    # What is written

    def changes(self) -> Changes:
        """Return what has changed, encoded."""
        self._pack()
        return Changes({space: at.packed for space, at in self._spaces.items() if at.packed})

    def steps(self) -> list[tuple[str, Position]]:
        """Return what joins the trails."""
        return [(key, position) for key in self._seen for position in self._seen_of(key)]
