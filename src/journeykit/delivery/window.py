"""The part of the Log that a relay is working on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from journeykit.model.event import Entry, Outgoing
    from journeykit.store.protocol import Position

#: Where a window stands before it has begun: no position equals it.
_NOWHERE: Final = object()

#: Ids of customers, each with its kind.
Ids = set[tuple[str, str]]


def ids_of(entry: Entry | Outgoing) -> Ids:
    """Return what tells that two events are of one customer."""
    found = {("user", entry.user_id), ("anonymous", entry.anonymous_id)}
    return {(kind, value) for kind, value in found if value is not None}


@attrs.define(eq=False)
class Item:
    """
    An event on its way to the sink.

    Args:
        done: It was taken, parked, or is not for the sink.

        stopped: It would be, had its customer agreed.

        answers: How often the sink has said "later"; if it has, the event is held back.

        tries: How many of these answers came while the sink took others.

        successes: How often the sink had taken something by the last of these tries.

        not_before: When it may be tried again.
    """

    event: Outgoing
    done: bool = False
    stopped: bool = False
    answers: int = 0
    tries: int = 0
    successes: int = 0
    not_before: float = 0.0


class Window:
    """
    Events behind the cursor, in Log order, up to where the relay has read.

    It is longer than a batch only while some of its first events are held back.

    Args:
        strict: Whether an event of a customer waits until the one before it is settled.
    """

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self.begin(_NOWHERE)

    def begin(self, position: Position) -> None:
        """Begin anew behind *position*."""
        self._items: list[Item] = []
        self._halves: list[list[Item]] = []
        self._cursor = self.reached = position
        self._stopped = 0

    def stands_at(self, position: Position) -> bool:
        """Return whether the window begins behind *position*."""
        return bool(self._cursor == position)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def held(self) -> int:
        """How many events the sink wants to have later."""
        return sum(1 for item in self._items if item.answers and not item.done)

    @property
    def ready(self) -> int:
        """How many events are neither settled nor held back."""
        return sum(1 for item in self._items if not item.done and not item.answers)

    def add(
        self,
        events: Sequence[Outgoing],
        wanted: Callable[[Outgoing], bool],
        stops: Callable[[Outgoing], bool] = lambda _: False,
    ) -> list[Item]:
        """Append *events*, and return them; what is not *wanted*, or stopped, is settled."""
        added = []
        for event in events:
            item = Item(event, done=not wanted(event))
            item.stopped = not item.done and stops(event)
            item.done |= item.stopped
            added.append(item)
        self._items += added
        if events:
            self.reached = events[-1].position
        return added

    def skip(self, events: Sequence[Outgoing], stopped: int = 0) -> None:
        """Move on behind *events*, all of which are settled; the window is empty."""
        self.reached = events[-1].position
        self._stopped += stopped

    def stopped(self, position: Position) -> int:
        """Return how many events up to *position* were stopped."""
        count = self._stopped
        for item in self._items:
            count += item.stopped
            if item.event.position == position:
                break
        return count

    def drop(self, erased: Collection[tuple[str, str]]) -> None:
        """Settle the events of people who were erased."""
        for item in self._items:
            whose = item.event
            user, visitor = whose.user_id, whose.anonymous_id
            item.done |= (("user", user) if user else ("anonymous", visitor)) in erased

    def customers(self) -> Ids:
        """Return the ids of all whose events wait."""
        return Ids().union(*(ids_of(item.event) for item in self._items if not item.done))

    def behind(self, parked: Ids) -> list[Item]:
        """Return the events of customers of whom an earlier one is parked, by their ids."""
        customers = set(parked)
        found = []
        for item in self._items if customers else ():
            ids = ids_of(item.event)
            if not item.done and not customers.isdisjoint(ids):
                customers |= ids
                found.append(item)
        return found

    def choose(self, most: int, now: float) -> list[Item]:
        """
        Return up to *most* events to deliver at *now*.

        A customer's events wait behind one that is held back.
        """
        chosen = self._pick(most, now)
        while not chosen and self._halves:
            self._halves.pop()
            chosen = self._pick(most, now)
        return chosen

    def _pick(self, most: int, now: float) -> list[Item]:
        half = set(map(id, self._halves[-1])) if self._halves else None
        chosen: list[Item] = []
        waiting: Ids = set()
        for item in self._items:
            if item.done:
                continue
            free = item.not_before <= now and (half is None or id(item) in half)
            if free and not waiting and not self._strict:
                chosen.append(item)
            else:
                ids = ids_of(item.event)
                free = free and waiting.isdisjoint(ids)
                if free:
                    chosen.append(item)
                if self._strict or not free:
                    waiting |= ids
            if len(chosen) == most:
                break
        return chosen

    def halve(self, items: Sequence[Item]) -> None:
        """Deliver the halves of *items* apart, to find what is refused."""
        middle = len(items) // 2
        if self._halves:
            self._halves.pop()
        self._halves += [list(items[middle:]), list(items[:middle])]

    def forget_halves(self) -> None:
        """Search no more."""
        self._halves.clear()

    def settled(self) -> Position:
        """Return the position of the last event before which all is settled."""
        position = self._cursor
        for item in self._items:
            if not item.done:
                return position
            position = item.event.position
        return self.reached

    def forget(self, position: Position) -> None:
        """Let go of what is settled, up to *position*."""
        for count, item in enumerate(self._items, 1):
            if item.event.position == position:
                del self._items[:count]
                break
        self._cursor, self._stopped = position, 0

    def wait(self, now: float) -> float | None:
        """Return the seconds until an event that is held back may be tried; None without any."""
        times = []
        waiting: Ids = set()
        for item in self._items:
            if item.done:
                continue
            ids = ids_of(item.event)
            # What waits for an earlier event of its customer is not due before that one.
            if waiting.isdisjoint(ids) and item.answers:
                times.append(item.not_before)
            if item.answers or not waiting.isdisjoint(ids):
                waiting |= ids
        return max(0.001, min(times) - now) if times else None
