"""
The reader that runs folds over the Log and keeps what they add up to.

A fold sees one event at a time through a `View` of State.
All folds and hooks of a batch run first; then one short transaction writes what changed.
Only the leader runs this, so it may keep State in memory.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from journeykit.exceptions import Superseded
from journeykit.model import jsonbytes
from journeykit.model.event import Entry, Kind, Stored
from journeykit.store.protocol import PROJECTOR, REBUILDING, Projection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from journeykit.store.protocol import Position, StateKey, Store

#: In State: what the folds were declared by.
_DECLARATION: Final = ("projector", "declaration")

#: Events read at a time: enough to share a transaction, few enough to be visible soon.
BATCH_EVENTS: Final = 2000

#: The most pieces of State kept in memory, as packed bytes (about 100 MB of the largest ones).
CACHED_PIECES: Final = 50_000


@attrs.define
class Step:
    """
    One event on its way through the folds.

    Args:
        stored: The event.

        customer: The key of the customer whom it concerns; the identity fold sets it.

        joined: Keys of customers who turned out, with this event, to be the same person.
    """

    stored: Stored
    customer: str
    joined: tuple[str, ...] = ()


class Fold(Protocol):
    """
    Changes State by one event and returns the derived events that follow.

    It depends on *view* and *step* only, so that the same Log gives the same State.
    """

    def __call__(self, view: View, step: Step) -> Iterable[Entry]:
        """Fold one event."""


class View:
    """
    State as it is after the events folded so far, written or not.

    Pieces are kept decoded while a batch lasts, and encoded once at its end.
    """

    def __init__(self, store: Store, cache: dict[StateKey, bytes]) -> None:
        self._store = store
        self._cache = cache
        self._pieces: dict[StateKey, Any] = {}
        self._encoders: dict[StateKey, Callable[[Any], bytes]] = {}
        self._seen: list[Stored] = []
        self.counts: Counter[str] = Counter()

    def get(self, space: str, key: str, decode: Callable[[bytes], Any]) -> Any:
        """Return one piece of State, or None."""
        place = (space, key)
        if place in self._pieces:
            return self._pieces[place]
        data = self._cache.get(place)
        if data is None:
            data = self._store.state(place)
        piece = self._pieces[place] = None if data is None else decode(data)
        return piece

    def put(self, space: str, key: str, piece: Any, encode: Callable[[Any], bytes]) -> None:
        """Replace one piece of State; None removes it."""
        self._pieces[space, key] = piece
        self._encoders[space, key] = encode

    def keys(self, space: str, prefix: str) -> list[str]:
        """Return the keys that begin with *prefix*."""
        found = {key for key, _ in self._store.scan(space, prefix)}
        for (written_space, key), piece in self._pieces.items():
            if written_space == space and key.startswith(prefix):
                (found.discard if piece is None else found.add)(key)
        return sorted(found)

    def history(self, customers: Sequence[str]) -> Iterator[Stored]:
        """Yield every event of these customers that was folded so far, in Log order."""
        positions = [position for key in customers for position in self._store.trail(key)]
        yield from self._store.fetch(positions)
        wanted = set(customers)
        yield from (stored for stored in self._seen if stored.entry.customer_key in wanted)

    def saw(self, stored: Stored) -> None:
        """Add an event to its customer's trail."""
        self._seen.append(stored)

    def changes(self) -> dict[StateKey, bytes | None]:
        """Return what has changed, encoded."""
        return {
            place: None if self._pieces[place] is None else encode(self._pieces[place])
            for place, encode in self._encoders.items()
        }

    def steps(self) -> list[tuple[str, Position]]:
        """Return what joins the trails."""
        return [(stored.entry.customer_key, stored.position) for stored in self._seen]


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
        self._position: Position = None
        self._known = False
        self._silent_until: Position = None
        #: The last event that was folded, for reports of what a tripped plugin missed.
        self.reading: Position = None

    def step(self) -> float | None:
        """Fold one batch; returns 0 if there may be more, None if not."""
        if not self._known:
            self._find_position()
        batch = self._store.read(self._position, BATCH_EVENTS)
        if not batch:
            return self._idle()
        view = View(self._store, self._cache)
        derived = list(self._news(view, batch))
        state = view.changes()
        projection = Projection(
            PROJECTOR, self._position, batch[-1].position, state, view.steps(), derived, view.counts
        )
        try:
            with self.right():
                self._store.project(projection, self._now())
        except Superseded:
            self.forget()
            raise
        self._position = batch[-1].position
        if REBUILDING in state:
            self._silent_until = None
        self._remember(state)
        self._projected()
        return 0.0

    def _idle(self) -> float | None:
        """Return None, unless the cursor is elsewhere: the database may have been repaired."""
        if self._store.cursor(PROJECTOR) == self._position:
            return None
        self.forget()
        return 0.0

    def forget(self) -> None:
        """Read everything anew: somebody else may have led meanwhile."""
        self._cache = {}
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

    def _news(self, view: View, batch: Sequence[Stored]) -> Iterator[Entry]:
        """Yield what is derived, from behind the last event that is folded for the second time."""
        # What ends the silence counts once it is written: the batch may have to be folded again.
        silent_until = self._silent_until
        for stored in batch:
            derived = list(self._fold(view, stored))
            if silent_until is None:
                yield from derived
            elif stored.position == silent_until:
                silent_until = None
                view.put(*REBUILDING, None, jsonbytes.dumps)

    def _fold(self, view: View, stored: Stored) -> Iterator[Entry]:
        entry = stored.entry
        if entry.kind is Kind.DERIVED:
            return
        self.reading = stored.position
        step = Step(stored, entry.customer_key)
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
