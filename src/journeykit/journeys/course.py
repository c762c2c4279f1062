"""
An instance's way through the versions of a journey.

A run stays on the version that it began; the next one begins on the newest.
Which that is follows from the Log: from the earliest record among the events from there on, so that
no late event moves a run to another version.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from journeykit.journeys.advance import OUT, Signal, advance, end, expire, may_begin_again
from journeykit.journeys.meaning import EVERY, Meaning
from journeykit.journeys.run import (
    LAST,
    MIGRATED,
    NOWHERE,
    OPTED_OUT,
    SUPERSEDED,
    TRANSFERRED,
    Moment,
    Run,
)
from journeykit.model.journey import Migrate, Publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from journeykit.journeys.plan import Plan
    from journeykit.journeys.published import Publication
    from journeykit.model.event import Stored
    from journeykit.store.protocol import Position
    from journeykit.store.view import View

_NOWHERE_YET: Final = -1


class Line:
    """
    Versions of one journey whose instances are told apart by the same property.

    Versions go by their place among all published ones of the journey, the oldest first.

    Args:
        plans: All of these.

        meanings: Place → what events mean to a version of this line.
    """

    def __init__(self, plans: Sequence[Plan], meanings: Mapping[int, Meaning]) -> None:
        self.plans = tuple(plans)
        self.meanings = dict(meanings)
        #: The longest late window.
        self.late = max(plan.late for plan in plans)
        #: The events that mean anything to any version.
        self.names = frozenset(
            name for meaning in self.meanings.values() for name in meaning.plan.routes
        )
        self._labels = [
            (place, self.plans[place].label) for place in sorted(meanings, reverse=True)
        ]
        self._newest_first = [self.meanings[place] for place in sorted(meanings, reverse=True)]

    def value(self, view: View, stored: Stored) -> str | None:
        """Return which instance an event belongs to; None if it concerns no version."""
        found = (meaning.instance_value(view, stored) for meaning in self._newest_first)
        return next((value for value in found if value is not None), None)

    def owns(self, view: View, stored: Stored, value: str) -> bool:
        """Return whether an event belongs to the instance *value*."""
        found = self.value(view, stored)
        return found is not None and (found == value or found is EVERY)

    def rank(self, position: Position) -> int:
        """Return which version was the newest when the Log had come to *position*."""
        for place in range(len(self.plans) - 1, 0, -1):
            if _publication(self.plans[place]).position <= position:
                return place
        return 0

    def keys(self, customer: str, value: str) -> list[tuple[int, str]]:
        """Return under which keys an instance has its runs, by version, the newest first."""
        return [(place, f"{customer}\x1f{label}\x1f{value}") for place, label in self._labels]

    def later(self, place: int) -> list[tuple[int, Plan]]:
        """Return the versions behind *place* that do something to runs under way."""
        found = enumerate(self.plans[place + 1 :], place + 1)
        return [(index, plan) for index, plan in found if plan.journey.publish != Publish.DRAIN]


def lines(plans: Sequence[Plan], *, asks: bool) -> list[Line]:
    """
    Return the lines of *plans*, those of one journey in the order of their publication.

    Args:
        asks: Whether plugins name stages, so that events without a rule matter too.
    """
    journeys: dict[str, list[Plan]] = {}
    for plan in plans:
        journeys.setdefault(plan.journey.key, []).append(plan)
    found = []
    for versions in journeys.values():
        by_property: dict[str | None, dict[int, Meaning]] = {}
        for place, plan in enumerate(versions):
            meanings = by_property.setdefault(plan.journey.instance_by, {})
            meanings[place] = Meaning(plan, asks=asks)
        found += [Line(versions, meanings) for meanings in by_property.values()]
    return found


def _publication(plan: Plan) -> Publication:
    assert plan.publication is not None  # noqa: S101 - only a lone plan has none
    return plan.publication


class Item:
    """One event of an instance, and what it means to each version."""

    def __init__(self, view: View, line: Line, stored: Stored) -> None:
        self.stored = stored
        #: Which version was the newest when it was recorded.
        self.rank = line.rank(stored.position)
        self._view = view
        self._line = line
        self._moments: dict[int, Moment | None] = {}

    @property
    def at(self) -> int:
        """When it occurred; a date in the future counts as the time of the Log."""
        return min(self.stored.entry.occurred_at, self.stored.recorded_at)

    @property
    def late(self) -> int:
        """The late window of that version."""
        return self._line.plans[self.rank].late

    @property
    def counts(self) -> bool:
        """Whether it meant something to the version that was the newest when it was recorded."""
        return self.moment(self.rank) is not None

    @property
    def matters(self) -> bool:
        """Whether it means something to any version that there was when it was recorded."""
        return any(self.moment(place) is not None for place in self._line.meanings)

    def moment(self, place: int) -> Moment | None:
        """
        Return what it means to a version; None if nothing.

        It means nothing to a version that came later than it did, or that is of another line.
        """
        if place > self.rank or place not in self._line.meanings:
            return None
        if place not in self._moments:
            meaning = self._line.meanings[place]
            self._moments[place] = meaning.moment(self._view, self.stored)
        return self._moments[place]

    def place(self, version: int) -> tuple[int, int, str]:
        """Return where it comes in the fold order of a version."""
        found = self.moment(version) or self.moment(self.rank)
        return (self.at, NOWHERE, self.stored.id) if found is None else found.place


@attrs.define
class Course:
    """
    The runs of one instance, as far as its events were put behind each other.

    Args:
        place: The version of the present run; -1 before the first.

        runs: Version → its run; None for one that has turned out not to be.
    """

    line: Line
    place: int = _NOWHERE_YET
    runs: dict[int, Run | None] = attrs.field(factory=dict)
    #: What has become of the runs, and of which version.
    signals: list[tuple[int, Signal]] = attrs.field(factory=list)
    #: The same, for what publications have done.
    superseded: list[tuple[int, Signal]] = attrs.field(factory=list)

    @property
    def plan(self) -> Plan:
        """The present version's plan."""
        return self.line.plans[self.place]

    @property
    def run(self) -> Run | None:
        """The present run."""
        return self.runs.get(self.place)

    def put(
        self, item: Item, rank: int, vote: Callable[[Plan], Callable[[Run], int | None]] | None
    ) -> None:
        """
        Put *item* behind the others.

        Args:
            rank: The newest version that it may begin.

            vote: Asks plugins for the stage, by the plan of the run.
        """
        self.settle(item.at)
        rank = max(rank, self.place)
        self._leave(item, rank)
        run = self.run
        is_free = run is None or not run.is_running
        begins = is_free and rank != self.place and self._begin(item, rank)
        run, moment = self.run, item.moment(self.place)
        if run is None:
            return
        passes = is_free and rank != self.place and not begins
        if moment is None or (passes and not _opts(moment)):
            self._pass_by(run, item)
            return
        asked = vote(self.plan) if vote is not None else None
        found = advance(self.plan, run, moment, asked)
        self.signals += [(self.place, signal) for signal in found]

    def _leave(self, item: Item, rank: int) -> None:
        """End the present run, if a person moves the customer to a stage that its version lacks."""
        run, moment = self.run, item.moment(rank)
        if run is None or not run.is_running or rank == self.place or moment is None:
            return
        if moment.target is not None and item.moment(self.place) is None and OUT not in run.marks:
            self.signals.append((self.place, end(run, item.at, TRANSFERRED)))

    def _pass_by(self, run: Run, item: Item) -> None:
        """Note that an event has come that does nothing, but may do so behind an earlier one."""
        if not item.counts:
            return
        place = item.place(self.place)
        run.newest = place if run.newest is None else max(run.newest, place)
        run.highest = max(run.highest, item.at)

    def _begin(self, item: Item, rank: int) -> bool:
        """Go on to the newest version with an instance that runs on none, if *item* does that."""
        moment, run = item.moment(rank), self.run
        if moment is None:
            return False
        plan, number, highest = self.line.plans[rank], 1, 0
        if run is not None:
            if OUT in run.marks or _opts(moment):
                # Who is out stays out, of all versions; who comes in again has begun nothing yet.
                return False
            highest = run.highest
            if run.started_at is None:
                # Nothing had begun: there is nothing to keep.
                number, self.runs[self.place] = run.number, None
            elif _goes_on(plan, run, moment):
                number = run.number + 1
            else:
                return False
        begun = Run.empty(len(plan.keys))
        begun.number, begun.highest = number, highest
        begun.begun = None if run is None else run.begun
        self.place, self.runs[rank] = rank, begun
        return True

    def settle(self, until: int, *, passed: bool = False) -> None:
        """
        Let what time and publications do to the present run up to *until* come to pass.

        Args:
            passed: Whether all that occurred at *until* is in the run already.
        """
        self.pass_publications(until + passed)
        if self.run is not None and self.run.is_running:
            self._expire(self.run, until)

    def pass_publications(self, before: int) -> None:
        """Let publications that came before an instant do to the present run what they do."""
        while (run := self.run) is not None and run.is_running:
            following = self._following(run, before)
            if following is None:
                return
            self._expire(run, _publication(following[1]).at)
            if run.is_running:
                self._supersede(run, *following)

    def _following(self, run: Run, before: int) -> tuple[int, Plan] | None:
        """Return the next publication that the run has not passed yet."""
        for place, plan in self.line.later(self.place):
            made = _publication(plan)
            if made.at < before and (run.newest is None or run.newest < (made.at, LAST, "")):
                return place, plan
        return None

    def _expire(self, run: Run, until: int) -> None:
        if self.plan.has_deadlines:
            self.signals += [(self.place, signal) for signal in expire(self.plan, run, until)]

    def _supersede(self, run: Run, place: int, plan: Plan) -> None:
        made, old = _publication(plan), self.plan
        run.newest = (made.at, LAST, "")
        if not isinstance(plan.journey.publish, Migrate):
            self._end(run, made.at, SUPERSEDED)
            return
        onwards = _onwards(old, plan, plan.journey.publish.migrate)
        if place not in self.line.meanings or run.current not in onwards:
            return
        after = migrated(run, onwards, len(plan.keys), made.at)
        self._end(run, made.at, MIGRATED)
        self.place, self.runs[place] = place, after
        key, visit = plan.keys[after.current], after.visits[after.current]
        properties = {"stage": key, "from": None, "visit": visit}
        signal = Signal(
            "stage.entered", f"{key}:{visit}", made.at, after.current, properties, run.started_by
        )
        self.superseded.append((place, signal))

    def _end(self, run: Run, at: int, outcome: str) -> None:
        signal = end(run, at, outcome)._replace(cause=run.started_by)
        self.superseded.append((self.place, signal))


def _goes_on(plan: Plan, run: Run, moment: Moment) -> bool:
    """Return whether *moment* begins another run in the newest version, after *run* has ended."""
    # What a person decides is not subject to the rules for customers, and who was cut off by a
    # publication has not come to an end.
    if moment.target is not None or run.outcome == SUPERSEDED:
        return True
    return may_begin_again(plan, run, moment)


def _opts(moment: Moment) -> bool:
    """Return whether a customer opts out with *moment*, or in again."""
    return moment.allows_again or moment.outcome == OPTED_OUT


def _onwards(old: Plan, new: Plan, stages: Mapping[str, str]) -> dict[int, int]:
    return {
        index: new.keys.index(stages[key])
        for index, key in enumerate(old.keys)
        if key in stages and stages[key] in new.keys
    }


def migrated(run: Run, onwards: Mapping[int, int], stages: int, at: int) -> Run:
    """
    Return the run that goes on for *run* in a version with so many stages.

    It begins its stay in the new stage at the instant *at*, and has been where the old one was, as
    far as that is mapped.
    A goal that was met is not met again; what it was worth counts with the old version.
    """
    after = Run.empty(stages)
    after.started_at, after.started_by = run.started_at, run.started_by
    after.number, after.marks = run.number, list(run.marks)
    after.newest, after.highest = (at, LAST, ""), run.highest
    after.begun = run.begun
    after.current = after.furthest = onwards[run.current]
    for old, new in onwards.items():
        entered = run.entered_at[old]
        if not run.visits[old] or entered is None:
            continue
        known = after.entered_at[new]
        after.visits[new] += run.visits[old]
        after.entered_at[new] = entered if known is None else min(known, entered)
        after.furthest = max(after.furthest, new)
    after.since, after.since_by = at, run.since_by
    after.completed_at = run.completed_at
    return after


class Ordered(Protocol):
    """An event of an instance, as far as its order says what it may begin."""

    @property
    def at(self) -> int:
        """When it occurred."""

    @property
    def rank(self) -> int:
        """The version that was the newest when it was recorded."""

    @property
    def counts(self) -> bool:
        """Whether it meant something to that version."""


def in_order(
    course: Course, order: Sequence[Ordered], groups: Iterable[list[Item]]
) -> Iterator[tuple[Item, int]]:
    """
    Yield items in fold order, each with the newest version that it may begin.

    Whoever asks puts each behind *course* before the next: what comes then depends on it.

    Args:
        order: All events, by when they occurred.

        groups: The same in full, those of the same instant together.
    """
    ranks = _lowest_behind(order)
    stop = 0
    for items in groups:
        stop += len(items)
        left = list(items)
        while left:
            left.sort(key=lambda item: item.place(course.place))
            rank = min([ranks[stop], *(item.rank for item in left if item.counts)])
            item = left.pop(0)
            yield item, min(rank, item.rank)


def by_instant(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield *items*, which come by when they occurred, in groups of the same instant."""
    return (list(group) for _, group in itertools.groupby(items, key=lambda item: item.at))


def fold(
    course: Course,
    items: Sequence[Item],
    vote: Callable[[Item], Callable[[Plan], Callable[[Run], int | None]]] | None,
    before: int | None = None,
) -> None:
    """Put *items* into fold order and behind *course*; only those before an instant, if given."""
    order = sorted(items, key=lambda item: item.at)
    for item, rank in in_order(course, order, by_instant(order)):
        if before is not None and item.at >= before:
            return
        course.put(item, rank, vote(item) if vote is not None else None)


def _lowest_behind(order: Sequence[Ordered]) -> list[int]:
    """Return for each index the oldest rank from there on; at the end, more than any."""
    found = [2**31]
    for each in reversed(order):
        found.append(min(found[-1], each.rank) if each.counts else found[-1])
    return found[::-1]
