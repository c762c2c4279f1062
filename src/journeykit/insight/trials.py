"""Trials: one customer at one step on one day; and what they add up to, a day and a segment."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from journeykit.insight.steps import Step

#: A day in microseconds: who gets no further within it has not got on.
DAY: Final = 86_400_000_000

#: The most values of one property: more make no groups that anybody could act on, and each is paid
#: for with what it takes to raise an alarm for the others.
MOST_VALUES: Final = 50
OTHER: Final = "(other)"

#: Property and value; None stands for everybody.
Segment = tuple[str, str] | None

#: Segment → day → how many trials, and how many failed.
Daily = dict[Segment, dict[int, list[int]]]


class Mark(NamedTuple):
    """The id of a trial's event; its step, or for a failure the furthest of that day; its flags."""

    event: str
    step: Step | None
    flags: int = 0


class Trial(NamedTuple):
    """
    One customer at one step on one day.

    `segments` has a value, or None, for each property; `mark` is what proves the trial; `converted`
    says whether the goal was reached then.
    """

    customer: int | str
    day: int
    failed: bool
    segments: tuple[str | None, ...]
    at: int
    mark: Any = None
    converted: bool = False


@attrs.frozen(eq=False)
class Source:
    """
    The trials of one step: added up, and one by one for whoever looks closer.

    Args:
        load: Returns every trial.
    """

    step: Any
    daily: Daily
    load: Callable[[], Sequence[Trial]]

    @classmethod
    def of(cls, step: Any, trials: Sequence[Trial], properties: Sequence[str]) -> Source:
        """Return *trials* with what they add up to."""
        daily: Daily = defaultdict(dict)
        for trial in trials:
            for group in groups_of(trial, properties):
                cell = daily[group].setdefault(trial.day, [0, 0])
                cell[0] += 1
                cell[1] += trial.failed
        return cls(step, daily, lambda: trials)


def groups_of(trial: Trial, properties: Iterable[str]) -> Iterator[Segment]:
    """Yield the segments that *trial* belongs to, everybody first."""
    yield None
    for name, value in zip(properties, trial.segments, strict=True):
        if value is not None:
            yield name, value


def distinct(sources: Iterable[Source]) -> list[Source]:
    """Leave out steps of one journey that are those of another: they would be told twice."""
    known: dict[str, list[Mapping[Any, Any]]] = defaultdict(list)
    found = []
    for source in sources:
        same = known[source.step.event]
        if not source.daily or source.daily not in same:
            found.append(source)
            same.append(source.daily)
    return found
