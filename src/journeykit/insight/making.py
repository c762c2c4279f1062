"""Makes trials of what customers did."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from journeykit.insight.steps import Code, Failing, Step
from journeykit.insight.trials import DAY, Mark, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from journeykit.insight.steps import Steps

NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


class Visit(NamedTuple):
    """What one customer did of one kind on one day."""

    code: Code
    day: int
    first: int
    last: int
    values: tuple[str | None, ...]
    mark: str
    flags: int = 0


class _Day(NamedTuple):
    """The visits of a customer on one day, with the steps that they are."""

    visits: list[tuple[Visit, tuple[Step, ...]]]
    tomorrow: list[tuple[Visit, tuple[Step, ...]]]

    def has(self, until: int, wanted: Callable[[Step], bool]) -> bool:
        """Return whether a step that is *wanted* was reached on the day, or before *until*."""
        # In any order within the day: clocks of browsers and servers differ.
        return any(any(map(wanted, steps)) for _, steps in self.visits) or any(
            visit.first <= until and any(map(wanted, steps)) for visit, steps in self.tomorrow
        )


class Maker:
    """Makes trials of the visits of each customer."""

    def __init__(self, steps: Steps, names: Iterable[str], newest: float = math.inf) -> None:
        self._steps = steps
        self._newest = newest
        found = {name: steps.failing(name) for name in names}
        self._failures = {name: failing for name, failing in found.items() if failing is not None}
        self._failing = sorted(set(self._failures.values()))
        self._evaluated = frozenset(steps.evaluated)
        self.trials: dict[Step | Failing, list[Trial]] = {step: [] for step in steps.evaluated}
        self.trials |= {failing: [] for failing in self._failing}
        #: A trial for each customer and day, that never fails.
        self.came: list[Trial] = []

    def add(
        self,
        customer: int | str,
        visits: list[Visit],
        *,
        only: int | None = None,
        before: Mapping[str, int] = NOTHING,
    ) -> None:
        """
        Add the trials of a customer.

        Args:
            only: The one day of which trials are wanted; by default all.

            before: What the customer had done before these visits, and since when.
        """
        visits.sort(key=lambda visit: (visit.first, visit.code.name, visit.last))
        visits = _carried(visits)
        days: dict[int, list[tuple[Visit, tuple[Step, ...]]]] = defaultdict(list)
        done = self._done(visits)
        for mark, at in before.items():
            done[mark] = min(done.get(mark, at), at)
        for visit in visits:
            days[visit.day].append((visit, _meant(visit, done)))
        for number, here in days.items():
            if only not in (None, number):
                continue
            day = _Day(here, days.get(number + 1, []))
            self._drop_offs(customer, day)
            if here[0][0].first + DAY <= self._newest:
                self._note_failures(customer, day)

    def _done(self, visits: Sequence[Visit]) -> dict[str, int]:
        """Return since when the `after` conditions hold."""
        done: dict[str, int] = {}
        for visit in visits:
            mark = self._steps.marks.get(visit.code.name)
            if mark is not None:
                done.setdefault(mark, visit.first)
        return done

    def _drop_offs(self, customer: int | str, day: _Day) -> None:
        came: set[Step] = set()
        for visit, steps in day.visits:
            until = visit.first + DAY
            for step in steps if until <= self._newest else ():
                if step not in came and step in self._evaluated:
                    came.add(step)
                    failed = not day.has(until, functools.partial(_is_later, step))
                    self.trials[step].append(self._trial(customer, day, visit, step, failed=failed))

    def _note_failures(self, customer: int | str, day: _Day) -> None:
        failed: dict[Failing, Visit] = {}
        for visit, _ in day.visits:
            failing = self._failures.get(visit.code.name)
            if failing is not None:
                failed.setdefault(failing, visit)
        steps = [step for _, steps in day.visits for step in steps if step.place is not None]
        furthest = max(steps, key=lambda step: step.place or 0, default=None)
        came = self._trial(customer, day, day.visits[0][0], furthest, failed=False)
        self.came.append(came)
        for failing in self._failing:
            if failing not in failed:
                self.trials[failing].append(came)
                continue
            trial = self._trial(customer, day, failed[failing], furthest, failed=True)
            self.trials[failing].append(trial)

    def _trial(
        self, customer: int | str, day: _Day, visit: Visit, step: Step | None, *, failed: bool
    ) -> Trial:
        goal = self._steps.goals.get(step.label) if step is not None else None
        converted = goal is not None and day.has(visit.first + DAY, goal.__eq__)
        mark = Mark(visit.mark, step, visit.flags)
        return Trial(customer, visit.day, failed, visit.values, visit.first, mark, converted)


def _meant(visit: Visit, done: Mapping[str, int]) -> tuple[Step, ...]:
    """Return the steps that a visit is, of each journey one at most."""
    found = []
    for readings in visit.code.readings:
        for reading in readings:
            if reading.after is None or done.get(reading.after, visit.first) < visit.first:
                found.append(reading.step)
                break
    return tuple(found)


def _is_later(step: Step, other: Step) -> bool:
    """Return whether *other* comes after *step* on the way to the goal."""
    if other.place is None or step.place is None or other.label != step.label:
        return False
    return other.place > step.place


def _carried(visits: Sequence[Visit]) -> list[Visit]:
    """Give each visit the values it does not show itself: the last shown before, or the next."""
    if not visits or None not in {value for visit in visits for value in visit.values}:
        return list(visits)
    known = list(visits[0].values)
    for visit in reversed(visits):
        known = [value or old for value, old in zip(visit.values, known, strict=True)]
    carried = []
    for visit in visits:
        known = [value or old for value, old in zip(visit.values, known, strict=True)]
        carried.append(visit._replace(values=tuple(known)))
    return carried
