"""
State as folds see it while a batch lasts, and what is kept of it between batches.

Pieces are found by their space and their key, in a dictionary a space: a tuple for each look would
cost the collector of garbage more than the look.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.model import jsonbytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from journeykit.model.event import Stored
    from journeykit.store.protocol import Position, StateKey, Store

#: When a timer goes off and what it is for → the timer.
TIMERS: Final = "timer"

#: Between the two: below every character of a key.
_BEHIND_TIME: Final = "\x1e"

#: Later than any timer.
NEVER: Final = 2**63

#: Timers read at a time.
_PAGE: Final = 100

#: The most pieces of State kept in memory, as packed bytes (about 100 MB of the largest ones).
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


class Cache:
    """Pieces of State as bytes, those that were written last."""

    def __init__(self) -> None:
        self._spaces: defaultdict[str, dict[str, bytes]] = defaultdict(dict)

    def __len__(self) -> int:
        return sum(map(len, self._spaces.values()))

    def space(self, space: str) -> Mapping[str, bytes]:
        """Return what is kept of *space*."""
        return self._spaces[space]

    def add(self, space: str, pieces: Mapping[str, bytes]) -> None:
        """Keep *pieces*, until the next `update`."""
        self._spaces[space].update(pieces)

    def update(self, state: Mapping[StateKey, bytes | None]) -> None:
        """Keep what was written, and let go of what was not for the longest time."""
        spaces = self._spaces
        for (space, key), data in state.items():
            pieces = spaces[space]
            pieces.pop(key, None)
            if data is not None:
                pieces[key] = data
        excess = len(self) - CACHED_PIECES
        while excess > 0:
            largest = max(spaces.values(), key=len)
            for key in [key for key, _ in zip(largest, range(excess), strict=False)]:
                del largest[key]
                excess -= 1


class View:
    """
    State as it is after the events folded so far, written or not.

    Pieces are kept decoded while a batch lasts, and encoded once at its end.
    """

    def __init__(self, store: Store, cache: Cache, alarm: Alarm) -> None:
        self._store = store
        self._cache = cache
        self._alarm = alarm
        #: By space and key; None is absent.
        self._pieces: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        self._encoders: defaultdict[str, dict[str, Callable[[Any], bytes]]] = defaultdict(dict)
        self._packed: defaultdict[str, dict[str, bytes | None]] = defaultdict(dict)
        self._absent: defaultdict[str, set[str]] = defaultdict(set)
        self._seen: dict[str, list[Stored]] = {}
        self._properties: dict[str, dict[str, Any]] = {}
        #: Timers that were set in this batch, and a page of those in the store.
        self._timers: list[str] = []
        self._page: list[tuple[str, bytes]] = []
        self._paged = ""
        self.counts: Counter[str] = Counter()
        #: Customers who were erased → the position of the fact.
        self.forgotten: dict[str, Position] = {}

    def prefetch(self, space: str, keys: Iterable[str]) -> None:
        """Read pieces that will be wanted in one go."""
        cached, packed = self._cache.space(space), self._packed[space]
        wanted = {key for key in keys if key not in cached and key not in packed}
        if wanted:
            found = self._store.states(space, wanted)
            self._cache.add(space, found)
            self._absent[space].update(wanted.difference(found))

    def get(self, space: str, key: str, decode: Callable[[bytes], Any]) -> Any:
        """Return one piece of State, or None."""
        pieces = self._pieces[space]
        if key in pieces:
            return pieces[key]
        data = self._data(space, key)
        piece = pieces[key] = None if data is None else decode(data)
        return piece

    def _data(self, space: str, key: str) -> bytes | None:
        packed = self._packed[space]
        if key in packed:
            return packed[key]
        data = self._cache.space(space).get(key)
        if data is None and key not in self._absent[space]:
            return self._store.state((space, key))
        return data

    def put(self, space: str, key: str, piece: Any, encode: Callable[[Any], bytes]) -> None:
        """Replace one piece of State; None removes it."""
        self._pieces[space][key] = piece
        self._encoders[space][key] = encode

    def pack(self) -> None:
        """Encode what has changed, where there is more of it than should stay decoded."""
        if sum(map(len, self._pieces.values())) > DECODED_PIECES:
            self._pack()

    def _pack(self) -> None:
        for space, encoders in self._encoders.items():
            pieces, packed = self._pieces[space], self._packed[space]
            for key, encode in encoders.items():
                piece = pieces[key]
                packed[key] = None if piece is None else encode(piece)
        self._encoders.clear()
        self._pieces.clear()

    def _changed(self, space: str) -> Iterator[tuple[str, bool]]:
        """Yield the keys of what was replaced, and whether there is anything in their place."""
        for key, data in self._packed[space].items():
            yield key, data is not None
        for key, piece in self._pieces[space].items():
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

    # What was folded

    def history(self, customers: Sequence[str], since: Position = None) -> Iterator[Stored]:
        """Yield every event of these customers that was folded so far, in Log order."""
        for stored in self._store.history(customers, since):
            erased = self.forgotten.get(stored.entry.customer_key)
            if erased is None or stored.position > erased:
                yield stored
        found = [stored for key in customers for stored in self._seen.get(key, ())]
        yield from sorted(found, key=_place) if len(customers) > 1 else found

    def fetch(self, positions: Sequence[Position]) -> list[Stored]:
        """Return events of a history by their positions, in Log order."""
        return self._store.fetch(positions)

    def saw(self, customer: str, stored: Stored) -> None:
        """Add an event to the trail of its customer."""
        self._seen.setdefault(customer, []).append(stored)

    def forget(self, customers: Iterable[str], position: Position) -> None:
        """End the trail of *customers*, who were erased at *position*."""
        for customer in customers:
            self._seen.pop(customer, None)
            self.forgotten[customer] = position

    # Timers

    def put_timer(self, at: int, key: str, timer: tuple[Any, ...]) -> None:
        """Have `next_timer` return *timer* once it is *at*."""
        place = f"{at:020d}{_BEHIND_TIME}{key}"
        self.put(TIMERS, place, timer, jsonbytes.dumps)
        heapq.heappush(self._timers, place)
        if self._alarm.at is not None:
            self._alarm.at = min(self._alarm.at, at)

    def next_timer(self, until: int) -> Sequence[Any] | None:
        """Remove and return the earliest timer, if it goes off by the instant *until*."""
        if self._alarm.at is not None and self._alarm.at > until:
            return None
        place = self._earliest()
        self._alarm.at = NEVER if place is None else int(place[:20])
        if place is None or self._alarm.at > until:
            return None
        timer: Sequence[Any] = self.get(TIMERS, place, jsonbytes.loads)
        self.put(TIMERS, place, None, jsonbytes.dumps)
        return timer

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
            if not self._page:
                return None
            self._paged = self._page[0][0]

    # What is written

    def changes(self) -> dict[StateKey, bytes | None]:
        """Return what has changed, encoded, in the order in which a store has it."""
        self._pack()
        return {
            (space, key): packed[key]
            for space, packed in sorted(self._packed.items())
            for key in sorted(packed)
        }

    def steps(self) -> list[tuple[str, Position]]:
        """Return what joins the trails."""
        return [(key, stored.position) for key, found in self._seen.items() for stored in found]


def _place(stored: Stored) -> Position:
    return stored.position
