"""
The reader that runs folds over the Log and keeps what they add up to.

A fold sees one event at a time through a `View` of State.
All folds and hooks of a batch run first; then one short transaction writes what changed.
Only the leader runs this, so it may keep State in memory.
"""

from __future__ import annotations

import contextlib
import heapq
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from journeykit.exceptions import Superseded
from journeykit.model import jsonbytes
from journeykit.model.event import ERASURE, Entry, Stored
from journeykit.store.forgetting import Erasures
from journeykit.store.protocol import PROJECTOR, REBUILDING, Projection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from journeykit.store.protocol import Position, StateKey, Store

#: In State: what the folds were declared by.
_DECLARATION: Final = ("projector", "declaration")

#: Events read at a time: enough to share a transaction, few enough to be visible soon.
BATCH_EVENTS: Final = 2000

#: When a timer goes off and what it is for → the timer.
TIMERS: Final = "timer"

#: Between the two: below every character of a key.
_BEHIND_TIME: Final = "\x1e"

#: Later than any timer.
_NEVER: Final = 2**63

#: Timers read at a time.
_PAGE: Final = 100

#: The most pieces of State kept in memory, as packed bytes (about 100 MB of the largest ones).
CACHED_PIECES: Final = 50_000

#: The most events whose properties are kept decoded while a batch lasts.
DECODED_PROPERTIES: Final = 10_000


@attrs.define
class Step:
    """
    One event on its way through the folds.

    Args:
        stored: The event.

        customer: The key of the customer whom it concerns; the identity fold sets it.

        joined: Keys of customers who turned out, with this event, to be the same person.

        parted: Key of a person who turned out, with this event, to be somebody else.

        refolded: Whether a run was folded again because of it, so that the customer was elsewhere
            at some instant than was thought.
    """

    stored: Stored
    customer: str
    joined: tuple[str, ...] = ()
    parted: str | None = None
    refolded: bool = False


class Fold(Protocol):
    """
    Changes State by one event and returns the derived events that follow.

    It depends on *view* and *step* only, so that the same Log gives the same State.
    One that time alone moves has a `due(view, until)` too, one that knows what it will read a
    `wants(view, batch)`.
    One that keeps anything by customers has `forget(view, customers)`, which removes it and returns
    how many pieces that were; one that knows who is the same person `span(view, customers)`.
    """

    def __call__(self, view: View, step: Step) -> Iterable[Entry]:
        """Fold one event."""


@attrs.define
class Alarm:
    """When the next timer goes off at the earliest, in microseconds; None if nobody has looked."""

    at: int | None = None


class View:
    """
    State as it is after the events folded so far, written or not.

    Pieces are kept decoded while a batch lasts, and encoded once at its end.
    """

    def __init__(self, store: Store, cache: dict[StateKey, bytes], alarm: Alarm) -> None:
        self._store = store
        self._cache = cache
        self._alarm = alarm
        self._pieces: dict[StateKey, Any] = {}
        self._encoders: dict[StateKey, Callable[[Any], bytes]] = {}
        self._absent: set[StateKey] = set()
        self._seen: dict[str, list[Stored]] = {}
        self._properties: dict[str, dict[str, Any]] = {}
        #: Timers that were set in this batch, and a page of those in the store.
        self._timers: list[str] = []
        self._page: list[tuple[str, bytes]] = []
        self._paged = ""
        self.counts: Counter[str] = Counter()
        #: Customers who were erased → the position of the fact.
        self.forgotten: dict[str, Position] = {}

    def prefetch(self, places: Iterable[StateKey]) -> None:
        """Read pieces that will be wanted in one go."""
        cache, pieces, absent = self._cache, self._pieces, self._absent
        wanted = {
            place
            for place in places
            if place not in cache and place not in pieces and place not in absent
        }
        if wanted:
            found = self._store.states(wanted)
            cache.update(found)
            absent.update(wanted.difference(found))

    def get(self, space: str, key: str, decode: Callable[[bytes], Any]) -> Any:
        """Return one piece of State, or None."""
        place = (space, key)
        if place in self._pieces:
            return self._pieces[place]
        data = self._cache.get(place)
        if data is None and place not in self._absent:
            data = self._store.state(place)
        piece = self._pieces[place] = None if data is None else decode(data)
        return piece

    def put(self, space: str, key: str, piece: Any, encode: Callable[[Any], bytes]) -> None:
        """Replace one piece of State; None removes it."""
        place = (space, key)
        self._pieces[place] = piece
        self._encoders[place] = encode

    def keys(self, space: str, prefix: str) -> list[str]:
        """Return the keys that begin with *prefix*."""
        found = {key for key, _ in self._store.scan(space, prefix)}
        for (written_space, key), piece in self._pieces.items():
            if written_space == space and key.startswith(prefix):
                (found.discard if piece is None else found.add)(key)
        return sorted(found)

    def find(self, space: str, part: str) -> list[str]:
        """Return the keys that contain *part*."""
        found = set(self._store.find(space, part))
        for (written_space, key), piece in self._pieces.items():
            if written_space == space and part in key:
                (found.discard if piece is None else found.add)(key)
        return sorted(found)

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

    def saw(self, stored: Stored) -> None:
        """Add an event to its customer's trail."""
        self._seen.setdefault(stored.entry.customer_key, []).append(stored)

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
        self._alarm.at = _NEVER if place is None else int(place[:20])
        if place is None or self._alarm.at > until:
            return None
        timer: Sequence[Any] = self.get(TIMERS, place, jsonbytes.loads)
        self.put(TIMERS, place, None, jsonbytes.dumps)
        return timer

    def _earliest(self) -> str | None:
        while self._timers and self._pieces.get((TIMERS, self._timers[0])) is None:
            heapq.heappop(self._timers)
        stored = self._earliest_stored()
        set_here = self._timers[0] if self._timers else None
        return min((place for place in (stored, set_here) if place is not None), default=None)

    def _earliest_stored(self) -> str | None:
        while True:
            while self._page:
                place = self._page[-1][0]
                if (TIMERS, place) not in self._pieces or self._pieces[TIMERS, place] is not None:
                    return place
                self._page.pop()
            self._page = self._store.page(TIMERS, self._paged, _PAGE)[::-1]
            if not self._page:
                return None
            self._paged = self._page[0][0]

    # What is written

    def changes(self) -> dict[StateKey, bytes | None]:
        """Return what has changed, encoded, in the order in which a store has it."""
        pieces, encoders = self._pieces, self._encoders
        return {
            place: None if pieces[place] is None else encoders[place](pieces[place])
            for place in sorted(encoders)
        }

    def steps(self) -> list[tuple[str, Position]]:
        """Return what joins the trails."""
        return [(key, stored.position) for key, found in self._seen.items() for stored in found]


def _place(stored: Stored) -> Position:
    return stored.position


class Projector:
    """
    Runs *folds* over the Log of *store*.

    Where State was made by other declarations, it is made again from the Log.
    What that derives about events that had been folded before is no news, and is not written.

    Args:
        declaration: Tells what the folds were declared by.

        now: The clock for derived events, in microseconds.

        projected: Called after each batch.

        right: Held while committing; raises in a thread that was abandoned.
    """

    def __init__(
        self,
        store: Store,
        folds: Sequence[Fold],
        *,
        declaration: str,
        now: Callable[[], int],
        projected: Callable[[], None] = lambda: None,
        right: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._store = store
        self._folds = tuple(folds)
        self._declaration = jsonbytes.dumps(declaration)
        self._now = now
        self._projected = projected
        self.right = right
        self._cache: dict[StateKey, bytes] = {}
        self._alarm = Alarm()
        timed = [fold for fold in self._folds if getattr(fold, "has_timers", False)]
        self._due = [getattr(fold, "due") for fold in timed]  # noqa: B009 - not every fold has it
        self._wants = [getattr(fold, "wants") for fold in self._folds if hasattr(fold, "wants")]  # noqa: B009
        self._erasures = Erasures(store, self._folds)
        self._position: Position = None
        self._known = False
        self._silent_until: Position = None
        #: The last event that was folded, for reports of what a tripped plugin missed.
        self.reading: Position = None
        #: Whether the last batch was as long as it may be, so that there is likely more.
        self.filled = False

    def step(self) -> float | None:
        """
        Fold one batch, or let deadlines pass where nothing is left to fold.

        Returns the seconds until there is more to do: 0 for at once, None for unknown.
        """
        if not self._known:
            self._find_position()
        batch = self._store.read(self._position, BATCH_EVENTS, derived=False)
        self.filled = len(batch) == BATCH_EVENTS
        view = View(self._store, self._cache, self._alarm)
        # What a batch that failed has left.
        self._erasures.folded()
        if batch:
            derived, position = list(self._news(view, batch)), batch[-1].position
        elif self._store.cursor(PROJECTOR) != self._position:
            # Not by this one: the database may have been repaired.
            self.forget()
            return 0.0
        elif self._silent_until is not None:
            # The event that the silence was to last for was erased meanwhile.
            view.put(*REBUILDING, None, jsonbytes.dumps)
            derived, position = [], self._position
        elif self._due:
            derived, position = self._let_pass(view, self._now()), self._position
        else:
            return None
        state = view.changes()
        if not batch and not state:
            return self._until_alarm()
        self._write(view, derived, position, state)
        return 0.0

    def _write(
        self,
        view: View,
        derived: list[Entry],
        position: Position,
        state: dict[StateKey, bytes | None],
    ) -> None:
        projection = Projection(
            PROJECTOR,
            self._position,
            position,
            state,
            view.steps(),
            derived,
            view.counts,
            self._erasures.folded(),
        )
        try:
            with self.right():
                self._store.project(projection, self._now())
        except Superseded:
            self.forget()
            raise
        self._position = position
        if REBUILDING in state:
            self._silent_until = None
        self._remember(state)
        self._projected()

    def _let_pass(self, view: View, until: int) -> list[Entry]:
        return [entry for due in self._due for entry in due(view, until)]

    def _until_alarm(self) -> float | None:
        at = self._alarm.at
        return None if at is None or at == _NEVER else max(0.001, (at - self._now()) / 1e6)

    def forget(self) -> None:
        """Read everything anew: somebody else may have led meanwhile."""
        self._cache = {}
        self._alarm.at = None
        self._known = False

    def made_by(self) -> str | None:
        """Return the declaration that State was made by; None if there is no State."""
        data = self._store.state(_DECLARATION)
        return jsonbytes.loads(data) if data else None

    def rebuild(self) -> None:
        """Forget State; the next steps make it again from the Log."""
        known = self._store.state(REBUILDING)
        until = jsonbytes.loads(known) if known else self._store.cursor(PROJECTOR)
        keep = {_DECLARATION: self._declaration}
        if until is not None:
            keep[REBUILDING] = jsonbytes.dumps(until)
        self._store.forget_state(keep)
        self.forget()

    def _find_position(self) -> None:
        if self._store.state(_DECLARATION) != self._declaration:
            self.rebuild()
        known = self._store.state(REBUILDING)
        self._silent_until = jsonbytes.loads(known) if known else None
        self._position, self._known = self._store.cursor(PROJECTOR), True
        self._erasures.begin(self._position)

    def _news(self, view: View, batch: Sequence[Stored]) -> Iterator[Entry]:
        """Yield what is derived, from behind the last event that is folded for the second time."""
        # What ends the silence counts once it is written: the batch may have to be folded again.
        silent_until = self._silent_until
        self._prefetch(view, batch)
        for stored in batch:
            derived = [*self._let_pass(view, stored.recorded_at), *self._fold(view, stored)]
            if silent_until is None or stored.position > silent_until:
                yield from derived
            if silent_until is not None and stored.position >= silent_until:
                silent_until = None
                view.put(*REBUILDING, None, jsonbytes.dumps)

    def _prefetch(self, view: View, batch: Sequence[Stored]) -> None:
        for wants in self._wants:
            for places in wants(view, batch):
                view.prefetch(places)

    def _fold(self, view: View, stored: Stored) -> Iterator[Entry]:
        self.reading = stored.position
        if stored.entry.flags & ERASURE:
            self._erasures.fold(view, stored)
            return
        left = self._erasures.screen(stored)
        if left is None:
            return
        stored = left
        step = Step(stored, stored.entry.customer_key)
        view.saw(stored)
        for fold in self._folds:
            yield from fold(view, step)

    def _remember(self, state: dict[StateKey, bytes | None]) -> None:
        for place, data in state.items():
            self._cache.pop(place, None)
            if data is not None:
                self._cache[place] = data
        while len(self._cache) > CACHED_PIECES:
            del self._cache[next(iter(self._cache))]
