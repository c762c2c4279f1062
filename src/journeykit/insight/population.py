"""
Trials: which customers came to which step on which day, and whether they got on.

This is all of it at once, in memory, by which what is kept by the day is measured.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from typing import TYPE_CHECKING

import attrs

from journeykit.insight.making import Maker, Visit
from journeykit.insight.steps import Code, Failing, Step
from journeykit.insight.trials import DAY, MOST_VALUES, OTHER, Source, Trial, distinct
from journeykit.journeys.segments import values_of
from journeykit.model import jsonbytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from journeykit.insight.steps import Steps


@attrs.frozen
class Trials:
    """
    Every trial of every step.

    Args:
        steps: The trials of each step, and of each event that says that something failed.

        properties: What their segments are called.

        capped: Property → how many values it has, where these are too many.

        unseen: Properties that no event has.
    """

    steps: Mapping[Step | Failing, list[Trial]]
    properties: tuple[str, ...]
    capped: Mapping[str, int]
    unseen: tuple[str, ...]


class Population:
    """
    Gathers events, in whatever order, and makes trials of them.

    Of each customer, each kind of event and each day it keeps the first and the last: about 600
    bytes, however often it happened.

    Args:
        segments: The properties to tell customers apart by: of events, or of their context, or
            `channel`.
    """

    def __init__(self, steps: Steps, segments: Sequence[str]) -> None:
        self._steps = steps
        self.segments = tuple(segments)
        self._keys = [b'"%b"' % name.encode() for name in segments]
        self._customers: dict[str, int] = {}
        self._codes: dict[Code, int] = {}
        self._values: dict[tuple[str | None, ...], int] = {}
        self._slots: dict[tuple[int, int, int], int] = {}
        self._first = array("q")
        self._last = array("q")
        self._segment = array("l")
        self._marks: list[str] = []
        #: When the newest event occurred, in microseconds.
        self.newest = 0

    def take(self, customer: str, at: int, name: str, body: bytes, mark: str) -> None:
        """Take one event; *body* is its wire form, *mark* its id."""
        needed = self._steps.knows(name) or any(key in body for key in self._keys)
        wire = jsonbytes.loads(body) if needed else {}
        properties = wire.get("properties") or {}
        code = Code(name, self._steps.readings(name, properties))
        values = values_of(self.segments, wire, properties)
        index = self._customers.setdefault(customer, len(self._customers))
        slot = (index, self._codes.setdefault(code, len(self._codes)), at // DAY)
        self._put(slot, at, self._values.setdefault(values, len(self._values)), mark)
        self.newest = max(self.newest, at)

    def _put(self, slot: tuple[int, int, int], at: int, values: int, mark: str) -> None:
        place = self._slots.setdefault(slot, len(self._first))
        if place == len(self._first):
            self._first.append(at)
            self._last.append(at)
            self._segment.append(values)
            self._marks.append(mark)
            return
        if (at, mark) < (self._first[place], self._marks[place]):
            self._first[place], self._marks[place] = at, mark
            self._segment[place] = values
        self._last[place] = max(self._last[place], at)

    def trials(self) -> Trials:
        """Return the trials of what was taken, without those whose day is not over."""
        maker = Maker(self._steps, {code.name for code in self._codes}, self.newest)
        codes, values = list(self._codes), list(self._values)
        for number, slots in self._by_customer():
            maker.add(
                number,
                [
                    Visit(
                        codes[code],
                        day,
                        self._first[place],
                        self._last[place],
                        values[self._segment[place]],
                        self._marks[place],
                    )
                    for code, day, place in slots
                ],
            )
        capped, steps = _cap(maker.trials, self.segments)
        seen = [any(each[index] for each in values) for index in range(len(self.segments))]
        unseen = [name for name, shown in zip(self.segments, seen, strict=True) if not shown]
        return Trials(_distinct(steps, self.segments), self.segments, capped, tuple(unseen))

    def _by_customer(self) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
        found: list[list[tuple[int, int, int]]] = [[] for _ in self._customers]
        for (customer, code, day), place in self._slots.items():
            found[customer].append((code, day, place))
        yield from enumerate(found)


def _cap(
    steps: Mapping[Step | Failing, list[Trial]], properties: Sequence[str]
) -> tuple[dict[str, int], dict[Step | Failing, list[Trial]]]:
    """Make one of all but the values that most customers have, where there are too many."""
    kept: list[set[str] | None] = []
    capped: dict[str, int] = {}
    for index, name in enumerate(properties):
        who: dict[str, set[int | str]] = defaultdict(set)
        for trials in steps.values():
            for trial in trials:
                if (value := trial.segments[index]) is not None:
                    who[value].add(trial.customer)
        if len(who) <= MOST_VALUES:
            kept.append(None)
            continue
        capped[name] = len(who)
        common = sorted(who, key=lambda value: (-len(who[value]), value))
        kept.append(set(common[:MOST_VALUES]))
    if not capped:
        return capped, dict(steps)
    return capped, {
        step: [
            trial._replace(
                segments=tuple(
                    value if keep is None or value is None or value in keep else OTHER
                    for value, keep in zip(trial.segments, kept, strict=True)
                )
            )
            for trial in trials
        ]
        for step, trials in steps.items()
    }


def _distinct(
    steps: Mapping[Step | Failing, list[Trial]], properties: Sequence[str]
) -> dict[Step | Failing, list[Trial]]:
    sources = distinct(Source.of(step, trials, properties) for step, trials in steps.items())
    return {source.step: steps[source.step] for source in sources}
