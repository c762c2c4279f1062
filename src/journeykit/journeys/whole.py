"""
All that a customer did, folded again from its beginning.

Where two customers turn out to be one person, or not to be, no checkpoint helps: what one of them
did lies between what the other did.
The trail is read once in Log order, and only a light tuple of each moment is kept; then the events
are read again in fold order, a page at a time.
So memory stays small however long the history is, and nothing of it is left out.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.journeys.advance import advance, expire
from journeykit.journeys.checkpoint import EVERY_MOMENTS, MOST_MOMENTS, Checkpoint
from journeykit.journeys.meaning import EVERY
from journeykit.journeys.run import NOWHERE, Moment, Run
from journeykit.model.event import HISTORICAL, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from journeykit.journeys.meaning import Meaning
    from journeykit.model.event import Stored
    from journeykit.store.view import View

#: Moments read at a time.
PAGE: Final = 500

#: The most that are kept from the first reading, so that most histories are read once.
MOST_KEPT: Final = MOST_MOMENTS

#: What an event means to an instance, with the event.
Pair = tuple[Moment, "Stored"]


class Light(NamedTuple):
    """
    A moment without its event.

    `number` is its place in the trail, that is in the Log; `under` stands for the key that it was
    recorded under.
    """

    number: int
    at: int
    position: Any
    under: int
    is_historical: bool


class Folded(NamedTuple):
    """
    An instance folded from its beginning.

    `checkpoint` is None where nothing is settled yet; `completed_by` is the event that met the
    goal.
    """

    run: Run
    checkpoint: Checkpoint | None
    completed_by: Stored | None


class Whole:
    """Every moment of *customers*, taken for one person, in the journey of *meaning*."""

    def __init__(self, view: View, meaning: Meaning, customers: Sequence[str]) -> None:
        self._view = view
        self._meaning = meaning
        self._own: dict[str, list[Light]] = {}
        self._every: list[Light] = []
        #: The pairs by position, while they are few.
        self._kept: dict[Any, Pair] | None = {}
        self._read(customers)

    @property
    def values(self) -> list[str]:
        """What tells the instances apart, in order."""
        return sorted(self._own)

    def has(self, value: str) -> bool:
        """Return whether there is anything of the instance *value*."""
        return value in self._own

    def fold(self, value: str, voter: Callable[[Stored], Any] | None) -> Folded:
        """
        Return the instance *value*, as far as events alone bring it.

        Args:
            voter: Asks plugins for the stage of an event; None if nobody is asked.
        """
        plan = self._meaning.plan
        moments = self._in_time(value)
        cut, settled = cut_of(moments, plan.late)
        run, checkpoint, completed_by = Run.empty(len(plan.keys)), None, None
        for number, (moment, stored) in enumerate(self._in_order(moments)):
            if number == settled > 0:
                expire(plan, run, cut - 1)
                checkpoint = checkpoint_at(moments, cut, run)
            vote = voter(stored) if voter is not None else None
            signals = advance(plan, run, moment, vote)
            if any(signal.name == "journey.completed" for signal in signals):
                completed_by = stored
        run.count = len(moments) - settled
        run.look = run.count + EVERY_MOMENTS if checkpoint is not None else 0
        return Folded(run, checkpoint, completed_by)

    def _read(self, customers: Sequence[str]) -> None:
        view, meaning = self._view, self._meaning
        unders = {customer: number for number, customer in enumerate(customers)}
        for number, stored in enumerate(view.history(customers)):
            value = None
            if stored.entry.kind is not Kind.DERIVED:
                value = meaning.instance_value(view, stored)
            moment = meaning.moment(view, stored) if value is not None else None
            if value is None or moment is None:
                continue
            historical = bool(stored.entry.flags & HISTORICAL)
            under = unders[stored.entry.customer_key]
            light = Light(number, moment.at, stored.position, under, historical)
            (self._every if value is EVERY else self._own.setdefault(value, [])).append(light)
            if self._kept is not None:
                self._kept[stored.position] = moment, stored
                if len(self._kept) > MOST_KEPT:
                    self._kept = None

    def _in_time(self, value: str) -> list[Light]:
        """
        Return what of the instance *value* was not too late, by when it occurred.

        An event is late behind newer ones that were recorded under the same key: what came in time
        to one customer is not lost when they turn out to be another.
        """
        late, highest = self._meaning.plan.late, dict[int, int]()
        found = []
        for light in heapq.merge(self._own[value], self._every):
            newest = highest.get(light.under, light.at)
            if light.is_historical or light.at >= newest - late:
                found.append(light)
            highest[light.under] = max(newest, light.at)
        return sorted(found, key=lambda light: light.at)

    def _in_order(self, moments: Sequence[Light]) -> Iterator[Pair]:
        """Yield the pairs of *moments* in fold order."""
        for page in pages(moments):
            yield from sorted(self._pairs(page), key=lambda pair: pair[0].place)

    def _pairs(self, page: Sequence[Light]) -> Iterable[Pair]:
        if self._kept is not None:
            return [self._kept[light.position] for light in page]
        fetched = self._view.fetch([light.position for light in page])
        # What meant something when the trail was read does so again.
        pairs = [(self._meaning.moment(self._view, stored), stored) for stored in fetched]
        return [(moment, stored) for moment, stored in pairs if moment is not None]


def pages(moments: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield *moments* in pages; those of the same instant stay together, to be ordered."""
    start = 0
    while start < len(moments):
        end = min(start + PAGE, len(moments))
        while end < len(moments) and moments[end].at == moments[end - 1].at:
            end += 1
        yield moments[start:end]
        start = end


def cut_of(moments: Sequence[Any], late: int) -> tuple[int, int]:
    """Return the instant before which all is settled, and how many moments that are."""
    cut = moments[-1].at - late
    if len(moments) > MOST_MOMENTS:
        # More than may be folded again lie in the window: the older part of them is settled.
        cut = max(cut, moments[-MOST_MOMENTS // 2].at)
    return cut, sum(light.at < cut for light in moments)


def checkpoint_at(moments: Sequence[Any], cut: int, run: Run) -> Checkpoint:
    """
    Return where folding begins from now on: at *cut*, as far as *run* has come there.

    Time has brought the run to the cut already: what it brings behind a checkpoint comes at the cut
    or later.
    """
    floor = min(light for light in moments if light.at >= cut)
    highest = max((light.at for light in moments if light.number < floor.number), default=0)
    base = Run.decode(run.encode())
    # Before all that occurred at the cut itself.
    base.newest = (cut, NOWHERE - 2, "")
    return Checkpoint(floor.position, highest, base.encode())
