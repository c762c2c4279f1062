"""
What is folded again of an instance that has gone through several versions of a journey.

Behind a checkpoint for an event that comes late; from the beginning, a page at a time, where two
customers turn out to be one person, or not to be.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from journeykit.journeys.checkpoint import EVERY_MOMENTS, MOST_MOMENTS
from journeykit.journeys.course import Course, Item, by_instant, in_order
from journeykit.journeys.meaning import EVERY
from journeykit.journeys.run import Run
from journeykit.journeys.whole import MOST_KEPT, checkpoint_at, cut_of, pages
from journeykit.model.event import HISTORICAL, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from journeykit.journeys.checkpoint import Checkpoint, Instance
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
    instance: Instance,
    most: int = MOST_MOMENTS,
) -> Reading:
    """Return what there is of one instance of these customers."""
    return read_all(view, line, customers, [instance], most)[instance.value]


def read_all(
    view: View,
    line: Line,
    customers: Sequence[str],
    instances: Sequence[Instance],
    most: int = MOST_MOMENTS,
) -> dict[str, Reading]:
    """Return what there is of instances of these customers by their values, in one reading."""
    gathered = {each.value: _Gathered(each, most) for each in instances}
    everyone = tuple(gathered.values())
    floors = [each.floor for each in instances]
    for stored in view.history(customers, None if None in floors else min(floors)):
        if stored.entry.kind is Kind.DERIVED:
            continue
        value = line.value(view, stored)
        if value is EVERY:
            concerned: Sequence[_Gathered] = everyone
        else:
            one = gathered.get(value) if value is not None else None
            concerned = () if one is None else (one,)
        item = Item(view, line, stored) if concerned else None
        if item is None or not item.matters:
            continue
        for each in concerned:
            each.add(item)
        if all(each.overflows for each in everyone):
            break
    return {value: each.reading() for value, each in gathered.items()}


class _Gathered:
    """What was read of one instance."""

    def __init__(self, instance: Instance, most: int) -> None:
        checkpoint = instance.checkpoint
        self._floor, self._most = instance.floor, most
        self._begin = Run.decode(checkpoint.run).newest if checkpoint is not None else None
        self._highest = checkpoint.highest if checkpoint is not None else 0
        self._found: list[Item] = []
        self._late: list[Item] = []

    @property
    def overflows(self) -> bool:
        return len(self._found) > self._most

    def add(self, item: Item) -> None:
        """Add the next event in Log order, if it is behind the checkpoint."""
        if self.overflows or (self._floor is not None and item.stored.position < self._floor):
            return
        if item.at < self._highest - item.late and not item.stored.entry.flags & HISTORICAL:
            self._late.append(item)
            return
        self._highest = max(self._highest, item.at)
        if self._begin is None or item.at >= self._begin[0]:
            self._found.append(item)

    def reading(self) -> Reading:
        return Reading(self._found, self._late, self.overflows)


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
                course.settle(cut - 1, passed=True)
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
