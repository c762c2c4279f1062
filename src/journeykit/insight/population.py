"""
Trials: which customers came to which step on which day, and whether they got on.

They are read from the Log when a report asks for them, and kept nowhere: what comes late, comes
twice, is merged, taken apart or erased is as it is in the Log at that moment.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from journeykit.insight.anomaly import Trial
from journeykit.insight.steps import Failing, Reading, Step
from journeykit.journeys.identity import LINKS
from journeykit.model import jsonbytes
from journeykit.model.customer import customer_key
from journeykit.model.event import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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

#: How many events are read at once.
_PAGE: Final = 2000


class _Code(NamedTuple):
    """What an event is: its name, and what it may be to each journey."""

    name: str
    readings: tuple[tuple[Reading, ...], ...]


class Mark(NamedTuple):
    """Where the event of a trial is, and the stage of a failure as far as it is known."""

    position: Any
    stage: Step | None


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

    Of each customer, each kind of event and each day it keeps the first and the last: about 300
    bytes, however often it happened.

    Args:
        segments: The properties to tell customers apart by: of events, or of their context, or
            `channel`.
    """

    def __init__(self, steps: Steps, segments: Sequence[str]) -> None:
        self._steps = steps
        self._segments = tuple(segments)
        self._keys = [b'"%b"' % name.encode() for name in segments]
        self._customers: dict[str, int] = {}
        self._codes: dict[_Code, int] = {}
        self._values: dict[tuple[str | None, ...], int] = {}
        self._slots: dict[tuple[int, int, int], int] = {}
        self._first = array("q")
        self._last = array("q")
        self._segment = array("l")
        self._marks: list[Any] = []
        self._newest = 0

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
                    self.take(links.get(key, key), at, entry.name, entry.body, stored.position)
            after = page[-1].position
        return self

    def take(self, customer: str, at: int, name: str, body: bytes, mark: Any) -> None:
        """Take one event; *body* is its wire form, *mark* tells it from others."""
        needed = self._steps.knows(name) or any(key in body for key in self._keys)
        wire = jsonbytes.loads(body) if needed else {}
        properties = wire.get("properties") or {}
        code = _Code(name, self._steps.readings(name, properties))
        values = self._values_of(wire, properties)
        index = self._customers.setdefault(customer, len(self._customers))
        slot = (index, self._codes.setdefault(code, len(self._codes)), at // DAY)
        self._put(slot, at, self._values.setdefault(values, len(self._values)), mark)
        self._newest = max(self._newest, at)

    def _put(self, slot: tuple[int, int, int], at: int, values: int, mark: Any) -> None:
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
            for name in self._segments
        )

    def trials(self) -> Trials:
        """Return the trials of what was taken, without those whose day is not over."""
        maker = _Maker(self._steps, self._newest)
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
        capped, steps = _cap(maker.trials, self._segments)
        seen = [any(each[index] for each in values) for index in range(len(self._segments))]
        unseen = [name for name, shown in zip(self._segments, seen, strict=True) if not shown]
        return Trials(_distinct(steps), self._segments, capped, tuple(unseen))

    def _by_customer(self) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
        found: list[list[tuple[int, int, int]]] = [[] for _ in self._customers]
        for (customer, code, day), place in self._slots.items():
            found[customer].append((code, day, place))
        yield from enumerate(found)

    def beside(self, trials: Sequence[Trial], others: Sequence[Trial]) -> list[tuple[str, float]]:
        """
        Return what else happened to the customers of *trials* on that day, the commonest first.

        Names only that are no steps, that a fifth of them met, and at most a third as many of
        *others*; each with its share.
        """
        names = {
            code: each.name
            for each, code in self._codes.items()
            if not self._steps.knows(each.name)
        }
        met = [Counter(self._met(each, names)) for each in (trials, others)]
        shares = [
            (name, count / len(trials), met[1][name] / max(1, len(others)))
            for name, count in met[0].items()
        ]
        found = [(name, share) for name, share, usual in shares if share >= max(0.2, 3 * usual)]
        return sorted(found, key=lambda item: (-item[1], item[0]))[:3]

    def _met(self, trials: Sequence[Trial], names: Mapping[int, str]) -> Iterator[str]:
        for trial in trials:
            yield from {
                name
                for code, name in names.items()
                if (trial.customer, code, trial.day) in self._slots
            }


class _Visit(NamedTuple):
    """What one customer did of one kind on one day."""

    code: _Code
    day: int
    first: int
    last: int
    values: tuple[str | None, ...]
    mark: Any


class _Maker:
    """Makes trials of the visits of each customer."""

    def __init__(self, steps: Steps, newest: int) -> None:
        self._steps = steps
        self._newest = newest
        self._failing = set(steps.failures.values())
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
        for day, here in days.items():
            tomorrow = days.get(day + 1, [])
            self._drop_offs(customer, here, tomorrow)
            if self._failing:
                self._failures(customer, here)

    def _done(self, visits: Sequence[_Visit]) -> dict[str, int]:
        """Return since when the `after` conditions hold."""
        done: dict[str, int] = {}
        for visit in visits:
            mark = self._steps.marks.get(visit.code.name)
            if mark is not None:
                done.setdefault(mark, visit.first)
        return done

    def _drop_offs(
        self,
        customer: int,
        here: Sequence[tuple[_Visit, tuple[Step, ...]]],
        tomorrow: Sequence[tuple[_Visit, tuple[Step, ...]]],
    ) -> None:
        came: set[Step] = set()
        for visit, steps in here:
            for step in steps:
                if step in came or step not in self._evaluated:
                    continue
                came.add(step)
                until = visit.first + DAY
                if until > self._newest:
                    continue
                # In any order within the day: clocks of browsers and servers differ.
                got_on = any(_is_later(them, step) for _, them in here) or any(
                    other.first <= until and _is_later(them, step) for other, them in tomorrow
                )
                mark = Mark(visit.mark, step)
                self.trials[step].append(
                    Trial(customer, visit.day, not got_on, visit.values, visit.first, mark)
                )

    def _failures(
        self, customer: int, here: Sequence[tuple[_Visit, tuple[Step, ...]]]
    ) -> None:
        failed: dict[Failing, tuple[_Visit, Step | None]] = {}
        step: Step | None = None
        for visit, steps in here:
            step = steps[0] if steps else step
            failing = self._steps.failures.get(visit.code.name)
            if failing is not None:
                failed.setdefault(failing, (visit, step))
        for failing in self._failing:
            visit, step = failed.get(failing, (here[0][0], None))
            trial = Trial(
                customer,
                visit.day,
                failing in failed,
                visit.values,
                visit.first,
                Mark(visit.mark, step),
            )
            self.trials[failing].append(trial)


def _meant(visit: _Visit, done: Mapping[str, int]) -> tuple[Step, ...]:
    """Return the steps that a visit is, of each journey one at most."""
    found = []
    for readings in visit.code.readings:
        for reading in readings:
            if reading.after is None or done.get(reading.after, visit.first) < visit.first:
                found.append(reading.step)
                break
    return tuple(found)


def _is_later(steps: Sequence[Step], step: Step) -> bool:
    return any(
        other.label == step.label and other.place is not None and other.place > (step.place or 0)
        for other in steps
    )


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
