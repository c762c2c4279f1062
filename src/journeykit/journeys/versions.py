"""The fold that finds the stage of every instance where a journey has several versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journeykit.journeys.checkpoint import CHECKPOINTS, EVERY_MOMENTS, MOST_MOMENTS, Checkpoint
from journeykit.journeys.course import Course, Item, Line, fold
from journeykit.journeys.derived import Cause
from journeykit.journeys.identity import members, person
from journeykit.journeys.meaning import EVERY, Meaning
from journeykit.journeys.run import NOWHERE, Run
from journeykit.journeys.stages import (
    INSTANCES,
    Place,
    StageFold,
    cause_of,
    correction,
    derived,
)
from journeykit.journeys.timers import Timer
from journeykit.model import jsonbytes
from journeykit.model.event import HISTORICAL, PUBLISHED, Kind
from journeykit.model.journey import Publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from journeykit.journeys.plan import Plan
    from journeykit.journeys.run import Standing
    from journeykit.model.event import Entry, Stored
    from journeykit.plugins import Plugins
    from journeykit.store.projector import Step, View
    from journeykit.store.protocol import StateKey

#: A version whose publication has still runs to end or to move → the versions whose runs these are,
#: and the last one that was looked at.
SWEEPS: Final = "sweep"

#: How many runs to look at in one transaction.
_SLICE: Final = 500


class VersionsFold(StageFold):
    """
    Folds events into the runs of *plans*, of which some are versions of one journey.

    The plans of one journey come in the order in which they were published.
    """

    def __init__(self, plans: Sequence[Plan], plugins: Plugins) -> None:
        by_key: dict[str, list[Plan]] = {}
        for plan in plans:
            by_key.setdefault(plan.journey.key, []).append(plan)
        alone = [found[0] for found in by_key.values() if len(found) == 1]
        super().__init__(alone, plugins)
        self._several = {key: found for key, found in by_key.items() if len(found) > 1}
        self._lines = [
            line
            for found in self._several.values()
            for line in _lines(found, asks=self._detector is not None)
        ]
        self._line_of = {
            line.plans[place].label: (line, place)
            for line in self._lines
            for place in line.meanings
        }
        self.has_timers = any(plan.has_deadlines for plan in plans)
        #: Labels of sweeps that are under way; None before anybody has looked.
        self._sweeps: list[str] | None = None

    def _instances(self, view: View, batch: Sequence[Stored]) -> Iterator[StateKey]:
        yield from super()._instances(view, batch)
        for stored in batch:
            customer = person(view, stored.entry)
            for line in self._lines:
                value = line.value(view, stored)
                if value is not None and value is not EVERY:
                    for place in line.meanings:
                        yield INSTANCES, Place(line.plans[place].label, customer, value).key

    def __call__(self, view: View, step: Step) -> Iterator[Entry]:
        """Fold one event; derives what has become of the runs that it concerns."""
        yield from super().__call__(view, step)
        for line in self._lines:
            own = line.value(view, step.stored)
            if step.joined:
                values = self._given_up(view, step, line)
                if own is not None and own is not EVERY:
                    values.add(own)
                for value in sorted(values):
                    yield from _Case(self, view, step, line, value).refold(whole=True)
            elif own is EVERY:
                for value in sorted(self._values(view, line, step.customer)):
                    yield from _Case(self, view, step, line, value).take()
            elif own is not None:
                yield from _Case(self, view, step, line, own).take()

    def _values(self, view: View, line: Line, customer: str) -> set[str]:
        labels = (line.plans[place].label for place in line.meanings)
        prefixes = (Place(label, customer, "").key for label in labels)
        return {Place.of(key).value for prefix in prefixes for key in view.keys(INSTANCES, prefix)}

    def _given_up(self, view: View, step: Step, line: Line) -> set[str]:
        """Forget the runs of customers who turned out to be another; returns their values."""
        values = self._values(view, line, step.customer)
        for customer in step.joined:
            for value in self._values(view, line, customer):
                values.add(value)
                for place in line.meanings:
                    plan = line.plans[place]
                    key = Place(plan.label, customer, value).key
                    if view.get(INSTANCES, key, Run.decode) is not None:
                        self._forget(view, plan, key)
        return values

    # Time, and publications

    def _go_off(self, view: View, timer: Timer) -> Iterator[Entry]:
        place = Place.of(timer.key)
        if place.label not in self._line_of:
            yield from super()._go_off(view, timer)
            return
        line, version = self._line_of[place.label]
        run = view.get(INSTANCES, timer.key, Run.decode)
        if run is not None and run.deadline(line.plans[version]) == timer.deadline:
            yield from self._pass(view, place, timer)

    def _pass(self, view: View, place: Place, timer: Timer) -> Iterator[Entry]:
        """Let time and publications up to the timer's deadline do to a run what they do."""
        line, version = self._line_of[place.label]
        run = view.get(INSTANCES, place.key, Run.decode)
        before = run.standing()
        course = Course(line, version, {version: run})
        course.settle(timer.deadline, passed=True)
        for index, each in course.runs.items():
            assert each is not None  # noqa: S101 - nothing is taken back here
            plan = line.plans[index]
            where = place._replace(label=plan.label)
            self._keep(view, plan, where, before if index == version else None, each)
            if index == course.place:
                self._wait(view, plan, where, each, timer._replace(key=where.key))
        cause = cause_of(place.customer, timer.flags)
        for index, signal in course.signals:
            yield from derived(line.plans[index], place.value, cause, [signal])
        yield from _about_publications(course, place.customer, place.value)

    def published(self, view: View, stored: Stored) -> None:
        """Take note that the Log has come to a publication."""
        if stored.entry.name != PUBLISHED:
            return
        for found in self._several.values():
            for index, plan in enumerate(found):
                made = plan.publication
                if index and made is not None and made.id == stored.id:
                    self._begin_sweep(view, plan, [each.label for each in found[:index]])

    def _begin_sweep(self, view: View, plan: Plan, older: list[str]) -> None:
        if plan.journey.publish == Publish.DRAIN:
            return
        view.put(SWEEPS, plan.label, [older, ""], jsonbytes.dumps)
        self._sweeps = None

    def reach(self, view: View) -> Iterator[Entry]:
        """Let a publication do to some more runs what it does; nothing is put if all are done."""
        if self._sweeps is None:
            self._sweeps = view.keys(SWEEPS, "")
        if not self._sweeps:
            return
        label = self._sweeps[0]
        older, after = view.get(SWEEPS, label, jsonbytes.loads)
        if not older or label not in self._line_of:
            view.put(SWEEPS, label, None, jsonbytes.dumps)
            self._sweeps = None
            return
        prefix = f"{older[0]}\x1f"
        keys, last = view.behind(INSTANCES, after or prefix, _SLICE)
        line, version = self._line_of[label]
        made = line.plans[version].publication
        for key in keys:
            if key.startswith(prefix) and made is not None:
                yield from self._reach(view, Place.of(key), made.at)
        more = last is not None and last.startswith(prefix)
        view.put(SWEEPS, label, [older, last] if more else [older[1:], ""], jsonbytes.dumps)

    def _reach(self, view: View, place: Place, at: int) -> Iterator[Entry]:
        run = view.get(INSTANCES, place.key, Run.decode)
        if run is not None and run.is_running and place.label in self._line_of:
            yield from self._pass(view, place, Timer(place.key, at, at, 0))


class _Case:
    """One event and one instance of a line."""

    def __init__(self, fold: VersionsFold, view: View, step: Step, line: Line, value: str) -> None:
        self._fold = fold
        self._view = view
        self._step = step
        self._line = line
        self._value = value

    def _at(self, version: int) -> Place:
        return Place(self._line.plans[version].label, self._step.customer, self._value)

    def _known(self, version: int) -> Run | None:
        run: Run | None = self._view.get(INSTANCES, self._at(version).key, Run.decode)
        return run

    def take(self) -> Iterator[Entry]:
        """Put the event behind those before, or fold again where it does not come last."""
        line, stored = self._line, self._step.stored
        version = next((at for at in sorted(line.meanings)[::-1] if self._known(at)), -1)
        item, run = Item(self._view, line, stored), self._known(version) if version >= 0 else None
        if not item.matters:
            return
        if run is not None and run.newest is not None and item.place(version) < run.newest:
            late = line.plans[item.rank].late
            if item.at < run.highest - late and not stored.entry.flags & HISTORICAL:
                self._view.counts["late"] += 1
            else:
                yield from self.refold()
            return
        before = None if run is None else run.standing()
        course = Course(line, version, {} if run is None else {version: run})
        course.put(item, item.rank, self._voter(item))
        if course.run is None:
            return
        course.run.count += 1
        if course.run.count >= max(EVERY_MOMENTS, course.run.look):
            self._move_checkpoint(course.run)
        self._keep(course, {version: before})
        for index, signal in course.signals:
            plan = line.plans[index]
            yield from derived(plan, self._value, Cause.of(stored), [signal])
        yield from _about_publications(course, self._step.customer, self._value)

    def refold(self, *, whole: bool = False) -> Iterator[Entry]:
        """Fold the instance again from its checkpoint, or from its beginning."""
        line, stored = self._line, self._step.stored
        whole = whole or bool(stored.entry.flags & HISTORICAL)
        version, checkpoint = (-1, None) if whole else self._checkpoint()
        items = self._items(checkpoint)
        if items is None:
            self._view.counts["late_overflow"] += 1
            return
        known = {at: run for at in line.meanings if (run := self._known(at)) is not None}
        before = {at: run.standing() for at, run in known.items()}
        course = self._begin(version, checkpoint)
        fold(course, items, self._voter)
        course.settle(stored.recorded_at, passed=True)
        for at in known:
            if at >= version:
                course.runs.setdefault(at, None)
        if course.run is not None:
            course.run.count = len(items)
            course.run.look = known[course.place].look if course.place in known else 0
        self._keep(course, before)
        for at, run in sorted(course.runs.items()):
            if run is not None:
                plan = line.plans[at]
                yield from correction(stored, plan, self._value, before.get(at), run)

    def _begin(self, version: int, checkpoint: Checkpoint | None) -> Course:
        if checkpoint is None:
            return Course(self._line)
        return Course(self._line, version, {version: Run.decode(checkpoint.run)})

    def _checkpoint(self) -> tuple[int, Checkpoint | None]:
        for version in sorted(self._line.meanings, reverse=True):
            found = self._view.get(CHECKPOINTS, self._at(version).key, Checkpoint.decode)
            if found is not None:
                return version, found
        return -1, None

    def _items(self, checkpoint: Checkpoint | None, most: int = MOST_MOMENTS) -> list[Item] | None:
        """Return the instance's events behind its checkpoint; None if there are too many."""
        found: list[Item] = []
        floor, highest, begin = None, 0, None
        if checkpoint is not None:
            floor, highest = checkpoint.floor, checkpoint.highest
            begin = Run.decode(checkpoint.run).newest
        keys = members(self._view, self._step.customer)
        for stored in self._view.history(keys, floor):
            if stored.entry.kind is Kind.DERIVED:
                continue
            if not self._line.owns(self._view, stored, self._value):
                continue
            item = Item(self._view, self._line, stored)
            if not item.matters:
                continue
            late = self._line.plans[item.rank].late
            too_late = item.at < highest - late and not stored.entry.flags & HISTORICAL
            highest = max(highest, item.at)
            if too_late or (begin is not None and item.at < begin[0]):
                continue
            found.append(item)
            if len(found) > most:
                return None
        return found

    def _move_checkpoint(self, run: Run) -> None:
        """Fold into a checkpoint what nothing can come before any more."""
        version, known = self._checkpoint()
        items = self._items(known, most=2 * MOST_MOMENTS) or []
        late = max(plan.late for plan in self._line.plans)
        cut = run.highest - late
        if len(items) > MOST_MOMENTS:
            # More than may be folded again: the older half of them is settled.
            cut = max(cut, sorted(item.at for item in items)[len(items) // 2])
        settled = sum(item.at < cut for item in items)
        run.look = run.count + EVERY_MOMENTS
        if not settled:
            return
        base = self._begin(version, known)
        fold(base, items, self._voter, before=cut)
        if base.run is None:
            return
        base.run.newest = max(base.run.newest or (cut, NOWHERE - 2, ""), (cut, NOWHERE - 2, ""))
        times = [item.at for item in items]
        first = next((index for index, at in enumerate(times) if at >= cut), len(times) - 1)
        highest = max([known.highest if known is not None else 0, *times[:first]])
        made = Checkpoint(items[first].stored.position, highest, base.run.encode())
        self._view.put(CHECKPOINTS, self._at(base.place).key, made, Checkpoint.encode)
        run.count = len(items) - settled
        run.look = run.count + EVERY_MOMENTS

    def _keep(self, course: Course, before: Mapping[int, Standing | None]) -> None:
        fold, view = self._fold, self._view
        for version, run in course.runs.items():
            plan, place = self._line.plans[version], self._at(version)
            if run is None:
                if self._known(version) is not None:
                    fold._forget(view, plan, place.key)  # noqa: SLF001 - a part of it
                continue
            fold._keep(view, plan, place, before.get(version), run)  # noqa: SLF001 - ditto
            if version == course.place and plan.has_deadlines:
                fold._wait(view, plan, place, run, self._step.stored)  # noqa: SLF001 - ditto

    def _voter(self, item: Item) -> Callable[[Plan], Any]:
        return lambda plan: self._fold._vote(plan, item.stored, self._value)  # noqa: SLF001


def _lines(plans: Sequence[Plan], *, asks: bool) -> list[Line]:
    found: dict[str | None, dict[int, Meaning]] = {}
    for place, plan in enumerate(plans):
        meanings = found.setdefault(plan.journey.instance_by, {})
        meanings[place] = Meaning(plan, asks=asks)
    return [Line(plans, meanings) for meanings in found.values()]


def _about_publications(course: Course, customer: str, value: str) -> Iterator[Entry]:
    """Yield what publications have done: that is news, whatever brought it to light."""
    for version, signal in course.superseded:
        yield from derived(course.line.plans[version], value, cause_of(customer, 0), [signal])
