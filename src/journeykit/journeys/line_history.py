"""
What is folded again of an instance that has gone through several versions of a journey.

Behind a checkpoint for an event that comes late; from the beginning, a page at a time, where two
customers turn out to be one person, or not to be.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from journeykit.journeys.checkpoint import EVERY_MOMENTS, MOST_MOMENTS, Checkpoint
from journeykit.journeys.course import Course, Item, by_instant, in_order
from journeykit.journeys.meaning import EVERY
from journeykit.journeys.run import Run
from journeykit.journeys.whole import MOST_KEPT, checkpoint_at, cut_of, pages
from journeykit.model.event import HISTORICAL, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from journeykit.journeys.course import Line
    from journeykit.model.event import Stored
    from journeykit.store.view import View


@attrs.frozen
class Reading:
    """
    The events of an instance behind its checkpoint, in Log order.

    Args:
        overflows: There are more than may be folded again.

        late: Those that came too late to count.
    """

    items: Sequence[Item]
    late: Sequence[Item]
    overflows: bool = False


def read(
    view: View,
    line: Line,
    customers: Sequence[str],
    value: str,
    checkpoint: Checkpoint | None,
    most: int = MOST_MOMENTS,
) -> Reading:
    """Return what there is of the instance *value* of these customers."""
    found: list[Item] = []
    too_late: list[Item] = []
    floor, highest, begin = None, 0, None
    if checkpoint is not None:
        floor, highest = checkpoint.floor, checkpoint.highest
        begin = Run.decode(checkpoint.run).newest
    for stored in view.history(customers, floor):
        if stored.entry.kind is Kind.DERIVED or not line.owns(view, stored, value):
            continue
        item = Item(view, line, stored)
        if not item.matters:
            continue
        if item.at < highest - item.late and not stored.entry.flags & HISTORICAL:
            too_late.append(item)
            continue
        highest = max(highest, item.at)
        if begin is not None and item.at < begin[0]:
            continue
        found.append(item)
        if len(found) > most:
            return Reading(found, too_late, overflows=True)
    return Reading(found, too_late)


class _Light(NamedTuple):
    """
    An item without its event.

    `number` is its place in the trail, that is in the Log; `under` stands for the key that it was
    recorded under.
    """

    number: int
    at: int
    position: Any
    under: int
    late: int
    rank: int
    counts: bool


class Folded(NamedTuple):
    """
    An instance folded from its beginning.

    `checkpoint` is of the version `place`, or None where nothing is settled yet; `completed_by` has
    by version the event that met the goal.
    """

    course: Course
    place: int
    checkpoint: Checkpoint | None
    completed_by: dict[int, Stored]


class WholeLine:
    """Every event of *customers*, taken for one person, in the versions of *line*."""

    def __init__(self, view: View, line: Line, customers: Sequence[str]) -> None:
        self._view = view
        self._line = line
        self._own: dict[str, list[_Light]] = {}
        self._every: list[_Light] = []
        #: The items by position, while they are few.
        self._kept: dict[Any, Item] | None = {}
        self._read(customers)

    @property
    def values(self) -> list[str]:
        """What tells the instances apart, in order."""
        return sorted(self._own)

    def has(self, value: str) -> bool:
        """Return whether there is anything of the instance *value*."""
        return value in self._own

    def fold(self, value: str, vote: Callable[[Item], Any]) -> Folded:
        """Return the instance *value*, as far as events alone bring it."""
        order = self._in_time(value)
        cut, settled = cut_of(order, self._line.late)
        course, completed = Course(self._line), dict[int, Any]()
        place, checkpoint = course.place, None
        items = in_order(course, order, self._groups(order))
        for number, (item, rank) in enumerate(items):
            if number == settled > 0:
                course.pass_publications(cut)
                place, run = course.place, course.run
                checkpoint = None if run is None else checkpoint_at(order, cut, run)
            course.put(item, rank, vote(item))
            for version, signal in course.signals:
                if signal.name == "journey.completed":
                    completed[version] = item.stored
            course.signals.clear()
        if course.run is not None:
            course.run.count = len(order) - settled
            course.run.look = course.run.count + EVERY_MOMENTS if checkpoint is not None else 0
        return Folded(course, place, checkpoint, completed)

    def _read(self, customers: Sequence[str]) -> None:
        view, line = self._view, self._line
        unders = {customer: number for number, customer in enumerate(customers)}
        for number, stored in enumerate(view.history(customers)):
            if stored.entry.kind is Kind.DERIVED:
                continue
            value = line.value(view, stored)
            item = Item(view, line, stored)
            if value is None or not item.matters:
                continue
            # Of what was imported nothing is too late.
            late = 2**63 if stored.entry.flags & HISTORICAL else item.late
            under = unders[stored.entry.customer_key]
            light = _Light(number, item.at, stored.position, under, late, item.rank, item.counts)
            (self._every if value is EVERY else self._own.setdefault(value, [])).append(light)
            if self._kept is not None:
                self._kept[stored.position] = item
                if len(self._kept) > MOST_KEPT:
                    self._kept = None

    def _in_time(self, value: str) -> list[_Light]:
        """
        Return what of the instance *value* was not too late, by when it occurred.

        An event is late behind newer ones that were recorded under the same key.
        """
        highest = dict[int, int]()
        found = []
        for light in heapq.merge(self._own[value], self._every):
            newest = highest.get(light.under, light.at)
            if light.at >= newest - light.late:
                found.append(light)
            highest[light.under] = max(newest, light.at)
        return sorted(found, key=lambda light: light.at)

    def _groups(self, order: Sequence[_Light]) -> Iterator[list[Item]]:
        for page in pages(order):
            yield from by_instant(sorted(self._items(page), key=lambda item: item.at))

    def _items(self, page: Sequence[_Light]) -> list[Item]:
        if self._kept is not None:
            return [self._kept[light.position] for light in page]
        fetched = self._view.fetch([light.position for light in page])
        return [Item(self._view, self._line, stored) for stored in fetched]
