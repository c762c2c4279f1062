"""
Trials: which customers came to which step on which day, and whether they got on.

They are read from the Log when a report asks for them, and kept nowhere: what comes late, comes
twice, is merged, taken apart or erased is as it is in the Log at that moment.
"""

from __future__ import annotations

import functools
from array import array
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from journeykit.insight.anomaly import Trial
from journeykit.insight.steps import Failing, Reading, Step
from journeykit.journeys.identity import LINKS
from journeykit.model import jsonbytes
from journeykit.model.event import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from journeykit.insight.steps import Steps
    from journeykit.store.protocol import Store

#: A day in microseconds: who gets no further within it has not got on.
DAY: Final = 86_400_000_000

#: The most values of one property: more make no groups that anybody could act on, and each is paid
#: for with what it takes to raise an alarm for the others.
MOST_VALUES: Final = 50
OTHER: Final = "(other)"

#: How much of a value is kept; what is longer names no segment.
_VALUE_LENGTH: Final = 80

#: How many events prove something: enough to look at.
MOST_MARKS: Final = 5

#: How many events are read at once.
_PAGE: Final = 2000


class _Code(NamedTuple):
    """What an event is: its name, and what it may be to each journey."""

    name: str
    readings: tuple[tuple[Reading, ...], ...]


class Mark(NamedTuple):
    """The id of a trial's event; its step, or for a failure the furthest of that day."""

    event: str
    step: Step | None


class Beside(NamedTuple):
    """What happened to a share of some customers besides; the ids of its newest events."""

    name: str
    share: float
    marks: list[str]


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
        self._codes: dict[_Code, int] = {}
        self._values: dict[tuple[str | None, ...], int] = {}
        self._slots: dict[tuple[int, int, int], int] = {}
        self._first = array("q")
        self._last = array("q")
        self._segment = array("l")
        self._marks: list[str] = []
        #: When the newest event occurred, in microseconds.
        self.newest = 0

    def read(self, store: Store) -> Population:
        """Take every event of *store*, of the people that they are known to be now."""
        links = {key: jsonbytes.loads(data) for key, data in store.scan(LINKS)}
        after = None
        while page := store.read(after, _PAGE, derived=False):
            for stored in page:
                entry = stored.entry
                if entry.kind is Kind.TOUCHPOINT:
                    key = entry.customer_key
                    at = min(entry.occurred_at, stored.recorded_at)
                    self.take(links.get(key, key), at, entry.name, entry.body, entry.id)
            after = page[-1].position
        return self

    def take(self, customer: str, at: int, name: str, body: bytes, mark: str) -> None:
        """Take one event; *body* is its wire form, *mark* its id."""
        needed = self._steps.knows(name) or any(key in body for key in self._keys)
        wire = jsonbytes.loads(body) if needed else {}
        properties = wire.get("properties") or {}
        code = _Code(name, self._steps.readings(name, properties))
        values = self._values_of(wire, properties)
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

    def _values_of(
        self, wire: Mapping[str, Any], properties: Mapping[str, Any]
    ) -> tuple[str | None, ...]:
        context = wire.get("context") or {}
        return tuple(
            _text(
                properties[name]
                if name in properties
                else context.get(name, wire.get("channel") if name == "channel" else None)
            )
            for name in self.segments
        )

    def trials(self) -> Trials:
        """Return the trials of what was taken, without those whose day is not over."""
        maker = _Maker(self._steps, {code.name for code in self._codes}, self.newest)
        codes, values = list(self._codes), list(self._values)
        for number, slots in self._by_customer():
            maker.add(
                number,
                [
                    _Visit(
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
        return Trials(_distinct(steps), self.segments, capped, tuple(unseen))

    def values(self) -> dict[str, tuple[str | None, ...]]:
        """Return for each customer the values that they showed last."""
        shown: dict[int, list[str | None]] = {}
        values = list(self._values)
        order = sorted(self._slots.items(), key=lambda slot: self._first[slot[1]])
        for (customer, _, _), place in order:
            each = values[self._segment[place]]
            known = shown.setdefault(customer, [None] * len(each))
            known[:] = [new or old for new, old in zip(each, known, strict=True)]
        return {
            customer: tuple(shown[index])
            for customer, index in self._customers.items()
            if index in shown
        }

    def _by_customer(self) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
        found: list[list[tuple[int, int, int]]] = [[] for _ in self._customers]
        for (customer, code, day), place in self._slots.items():
            found[customer].append((code, day, place))
        yield from enumerate(found)

    def beside(self, trials: Sequence[Trial], others: Sequence[Trial]) -> list[Beside]:
        """
        Return what else happened to the customers of *trials* on that day, the commonest first.

        Names only that are no steps, that a fifth of them met, and at most a third as many of
        *others*.
        """
        names = {
            code: each.name
            for each, code in self._codes.items()
            if not self._steps.knows(each.name)
        }
        met, usual = self._met(trials, names), self._met(others, names)
        found = []
        for name, places in met.items():
            share = len(places) / len(trials)
            if share >= max(0.2, 3 * len(usual.get(name, ())) / max(1, len(others))):
                newest = sorted(places, key=self._first.__getitem__)[-MOST_MARKS:]
                found.append(Beside(name, share, [self._marks[place] for place in newest]))
        return sorted(found, key=lambda each: (-each.share, each.name))[:3]

    def _met(self, trials: Sequence[Trial], names: Mapping[int, str]) -> dict[str, list[int]]:
        met: dict[str, list[int]] = defaultdict(list)
        for trial in trials:
            for code, name in names.items():
                place = self._slots.get((trial.customer, code, trial.day))
                if place is not None:
                    met[name].append(place)
        return met


class _Visit(NamedTuple):
    """What one customer did of one kind on one day."""

    code: _Code
    day: int
    first: int
    last: int
    values: tuple[str | None, ...]
    mark: str


class _Day(NamedTuple):
    """The visits of a customer on one day, with the steps that they are."""

    visits: list[tuple[_Visit, tuple[Step, ...]]]
    tomorrow: list[tuple[_Visit, tuple[Step, ...]]]

    def has(self, until: int, wanted: Callable[[Step], bool]) -> bool:
        """Return whether a step that is *wanted* was reached on the day, or before *until*."""
        # In any order within the day: clocks of browsers and servers differ.
        return any(any(map(wanted, steps)) for _, steps in self.visits) or any(
            visit.first <= until and any(map(wanted, steps)) for visit, steps in self.tomorrow
        )


class _Maker:
    """Makes trials of the visits of each customer."""

    def __init__(self, steps: Steps, names: Iterable[str], newest: int) -> None:
        self._steps = steps
        self._newest = newest
        found = {name: steps.failing(name) for name in names}
        self._failures = {name: failing for name, failing in found.items() if failing is not None}
        self._failing = sorted(set(self._failures.values()))
        self._evaluated = frozenset(steps.evaluated)
        self.trials: dict[Step | Failing, list[Trial]] = {step: [] for step in steps.evaluated}
        self.trials |= {failing: [] for failing in self._failing}

    def add(self, customer: int, visits: list[_Visit]) -> None:
        visits.sort(key=lambda visit: (visit.first, visit.code.name, visit.last))
        visits = _carried(visits)
        days: dict[int, list[tuple[_Visit, tuple[Step, ...]]]] = defaultdict(list)
        done = self._done(visits)
        for visit in visits:
            days[visit.day].append((visit, _meant(visit, done)))
        for number, here in days.items():
            day = _Day(here, days.get(number + 1, []))
            self._drop_offs(customer, day)
            if self._failing and here[0][0].first + DAY <= self._newest:
                self._note_failures(customer, day)

    def _done(self, visits: Sequence[_Visit]) -> dict[str, int]:
        """Return since when the `after` conditions hold."""
        done: dict[str, int] = {}
        for visit in visits:
            mark = self._steps.marks.get(visit.code.name)
            if mark is not None:
                done.setdefault(mark, visit.first)
        return done

    def _drop_offs(self, customer: int, day: _Day) -> None:
        came: set[Step] = set()
        for visit, steps in day.visits:
            until = visit.first + DAY
            for step in steps if until <= self._newest else ():
                if step not in came and step in self._evaluated:
                    came.add(step)
                    failed = not day.has(until, functools.partial(_is_later, step))
                    self.trials[step].append(self._trial(customer, day, visit, step, failed=failed))

    def _note_failures(self, customer: int, day: _Day) -> None:
        failed: dict[Failing, _Visit] = {}
        for visit, _ in day.visits:
            failing = self._failures.get(visit.code.name)
            if failing is not None:
                failed.setdefault(failing, visit)
        steps = [step for _, steps in day.visits for step in steps if step.place is not None]
        furthest = max(steps, key=lambda step: step.place or 0, default=None)
        for failing in self._failing:
            visit = failed.get(failing, day.visits[0][0])
            trial = self._trial(customer, day, visit, furthest, failed=failing in failed)
            self.trials[failing].append(trial)

    def _trial(
        self, customer: int, day: _Day, visit: _Visit, step: Step | None, *, failed: bool
    ) -> Trial:
        goal = self._steps.goals.get(step.label) if step is not None else None
        converted = goal is not None and day.has(visit.first + DAY, goal.__eq__)
        mark = Mark(visit.mark, step)
        return Trial(customer, visit.day, failed, visit.values, visit.first, mark, converted)


def _meant(visit: _Visit, done: Mapping[str, int]) -> tuple[Step, ...]:
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


def _carried(visits: Sequence[_Visit]) -> list[_Visit]:
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


def _cap(
    steps: Mapping[Step | Failing, list[Trial]], properties: Sequence[str]
) -> tuple[dict[str, int], dict[Step | Failing, list[Trial]]]:
    """Make one of all but the values that most customers have, where there are too many."""
    kept: list[set[str] | None] = []
    capped: dict[str, int] = {}
    for index, name in enumerate(properties):
        who: dict[str, set[int]] = defaultdict(set)
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


def _distinct(steps: Mapping[Step | Failing, list[Trial]]) -> dict[Step | Failing, list[Trial]]:
    """Leave out steps of one journey that are those of another: they would be told twice."""
    known: set[tuple[Any, ...]] = set()
    found: dict[Step | Failing, list[Trial]] = {}
    for step, trials in steps.items():
        outcome = hash(tuple((trial.customer, trial.at, trial.failed) for trial in trials))
        same = (step.event, len(trials), outcome)
        if same not in known or not trials:
            found[step] = trials
            known.add(same)
    return found


def _text(value: Any) -> str | None:
    """Return the name of a segment; None of what is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        return None
    text = str(value)
    return text if 0 < len(text) <= _VALUE_LENGTH and text.isprintable() else None
