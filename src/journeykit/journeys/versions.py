"""The fold that finds the stage of every instance where a journey has several versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journeykit.journeys.corrections import cause_of, derived
from journeykit.journeys.course import Course, lines
from journeykit.journeys.derived import Cause
from journeykit.journeys.figures import MOVED
from journeykit.journeys.identity import members
from journeykit.journeys.line_history import WholeLine
from journeykit.journeys.line_instance import LineInstance, about_publications
from journeykit.journeys.meaning import EVERY
from journeykit.journeys.run import MIGRATED, Run
from journeykit.journeys.stages import INSTANCES, Place, StageFold, has_opted_out
from journeykit.journeys.timers import Timer
from journeykit.model import jsonbytes
from journeykit.model.event import ASKED, DENIED, PUBLISHED, Kind
from journeykit.model.journey import Publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from journeykit.journeys.course import Line
    from journeykit.journeys.meaning import Meaning
    from journeykit.journeys.plan import Plan
    from journeykit.journeys.run import Standing
    from journeykit.model.event import Entry, Stored
    from journeykit.plugins import Plugins
    from journeykit.store.projector import Step
    from journeykit.store.view import View

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
        self._plans = tuple(plans)
        self._several = {key: found for key, found in by_key.items() if len(found) > 1}
        self._lines = [
            line
            for found in self._several.values()
            for line in lines(found, asks=self._detector is not None)
        ]
        self._line_of = {
            line.plans[place].label: (line, place)
            for line in self._lines
            for place in line.meanings
        }
        self.sets_timers = any(plan.has_deadlines for plan in plans)
        #: By position: what the events of the batch concern.
        self._routed: dict[Any, Sequence[tuple[Line, str]]] = {}
        #: Labels of sweeps that are under way; None before anybody has looked.
        self._sweeps: list[str] | None = None

    def wants(self, view: View, steps: Sequence[Step]) -> Iterator[tuple[str, list[str]]]:
        """Yield what folding *steps* will read, as far as it can be told before."""
        yield from super().wants(view, steps)
        self._routed = {}
        keys: list[str] = []
        for step in steps:
            ways = self._routed[step.stored.position] = self._ways(view, step.stored)
            for line, value in ways:
                if value is not EVERY:
                    keys += [key for _, key in line.keys(step.person, value)]
        yield INSTANCES, keys

    def _ways(self, view: View, stored: Stored) -> Sequence[tuple[Line, str]]:
        """Return which lines an event concerns, and which instance of each."""
        any_name = self._detector is not None or stored.entry.kind is Kind.FACT
        found = []
        for line in self._lines:
            if any_name or stored.entry.name in line.names:
                value = line.value(view, stored)
                if value is not None:
                    found.append((line, value))
        return found

    def __call__(self, view: View, step: Step) -> Iterable[Entry]:
        """Fold one event; derives what has become of the runs that it concerns."""
        found = list(super().__call__(view, step))
        if step.joined or step.parted is not None:
            for line in self._lines:
                found += self._regroup_line(view, step, line)
            return found
        stored = step.stored
        ways = self._routed.get(stored.position)
        for line, value in self._ways(view, stored) if ways is None else ways:
            if value is EVERY:
                for each in self.values(view, line, step.customer):
                    found += LineInstance(self, view, step, line, each).take()
                continue
            news = self._goes_on(view, step, line, value)
            found += LineInstance(self, view, step, line, value).take() if news is None else news
        return found

    def _goes_on(self, view: View, step: Step, line: Line, value: str) -> Iterable[Entry] | None:
        """
        Put an event behind the others of a run that is under way, as if there were no versions.

        Most events are such; returns None for one that is not.
        """
        for version, key in line.keys(step.customer, value):
            run = view.get(INSTANCES, key, Run.decode)
            if run is None:
                continue
            # Publications have reached every run before anything is folded behind them.
            if not run.is_running:
                return None
            meaning = line.meanings[version]
            news = self._follow(view, step, meaning, value, key)
            if news is not None:
                return news
            moment = meaning.moment(view, step.stored)
            if moment is None or (run.newest is not None and moment[:3] < run.newest):
                return None
            return self._advance(view, step, meaning, Place.of(key), run, moment)
        return None

    def _move_checkpoints(
        self, view: View, step: Step, meaning: Meaning, place: Place, run: Run
    ) -> None:
        if place.label not in self._line_of:
            super()._move_checkpoints(view, step, meaning, place, run)
            return
        line, _ = self._line_of[place.label]
        LineInstance(self, view, step, line, place.value, place.customer).move_checkpoints(run)

    @staticmethod
    def values(view: View, line: Line, customer: str) -> list[str]:
        """Return what tells a customer's instances apart, in order."""
        labels = (line.plans[place].label for place in line.meanings)
        prefixes = (Place(label, customer, "").key for label in labels)
        keys = (key for prefix in prefixes for key in view.keys(INSTANCES, prefix))
        return sorted({Place.of(key).value for key in keys})

    def _regroup_line(self, view: View, step: Step, line: Line) -> Iterator[Entry]:
        """Fold all of those again who turned out to be one person, or not to be."""
        owners = [step.customer, *([] if step.parted is None else [step.parted])]
        wholes = [WholeLine(view, line, members(view, owner)) for owner in owners]
        for value in sorted({value for whole in wholes for value in whole.values}):
            cases = [
                LineInstance(self, view, step, line, value, owner)
                for owner in (*owners, *step.joined)
            ]
            known = [case.known() for case in cases]
            # What one of them has completed is no news of the other.
            told = any(run.completed_at is not None for runs in known for run in runs.values())
            for joined, runs in zip(step.joined, known[len(owners) :], strict=True):
                for version in runs:
                    plan = line.plans[version]
                    self._forget(view, plan, Place(plan.label, joined, value).key)
            for case, whole in zip(cases, wholes, strict=False):
                yield from case.from_whole(whole, told=told)

    def asks_before(self, view: View, customer: str, line: Line) -> bool:
        """Return whether something may have concerned instances that are not there yet."""
        if any(meaning.ends_all for meaning in line.meanings.values()):
            return True
        return has_opted_out(view, customer, line.plans[0])

    # What a case does with State

    def keep(
        self,
        view: View,
        plan: Plan,
        place: Place,
        before: Standing | None,
        run: Run,
        waits: Stored | None,
    ) -> None:
        """Keep a run; where it waits for a deadline, since an event."""
        self._keep(view, plan, place, before, run)
        if waits is not None and plan.has_deadlines:
            self._wait(view, plan, place, run, waits)

    def give_up(self, view: View, plan: Plan, key: str) -> None:
        """Forget a run that has turned out not to be."""
        self._forget(view, plan, key)

    def vote(self, plan: Plan, stored: Stored, value: str) -> Callable[[Run], int | None] | None:
        """Return what asks the plugins for a stage."""
        return self._vote(plan, stored, value)

    @staticmethod
    def _keep(view: View, plan: Plan, place: Place, before: Standing | None, run: Run) -> None:
        super(VersionsFold, VersionsFold)._keep(view, plan, place, before, run)
        if run.outcome == MIGRATED or (before is not None and before.outcome == MIGRATED):
            _count_moved(view, plan.label, before, run.standing())

    @staticmethod
    def _forget(view: View, plan: Plan, key: str) -> None:
        run = view.get(INSTANCES, key, Run.decode)
        if run is not None and run.outcome == MIGRATED:
            _count_moved(view, plan.label, run.standing(), None)
        super(VersionsFold, VersionsFold)._forget(view, plan, key)

    # Time, and publications

    def expire(self, view: View, timer: Timer) -> Iterable[Entry]:
        """Let a deadline pass; derives what has become of the run that waited for it."""
        place = Place.of(timer.key)
        if place.label not in self._line_of:
            return super().expire(view, timer)
        line, version = self._line_of[place.label]
        run = view.get(INSTANCES, timer.key, Run.decode)
        if run is None or run.deadline(line.plans[version]) != timer.deadline:
            return ()
        return self._pass(view, place, timer)

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
        cause = cause_of(place.customer, timer.flags, timer.stamp)
        for index, signal in course.signals:
            yield from derived(line.plans[index], place.value, cause, [signal])
        yield from about_publications(course, place.customer, place.value, cause)

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
        keys, last = view.behind(INSTANCES, after, _SLICE)
        line, version = self._line_of[label]
        made = line.plans[version].publication
        for key in keys:
            place = Place.of(key)
            if place.label in older and made is not None:
                yield from self._reach(view, place, made.at)
        view.put(SWEEPS, label, [older, last] if last else [[], ""], jsonbytes.dumps)

    def _reach(self, view: View, place: Place, at: int) -> Iterator[Entry]:
        run = view.get(INSTANCES, place.key, Run.decode)
        if run is not None and run.is_running and place.label in self._line_of:
            last = _last_cause(view, place.customer)
            flags = last.flags & (ASKED | DENIED)
            timer = Timer(place.key, at, at, flags, last.stamp.decode())
            yield from self._pass(view, place, timer)


def _count_moved(view: View, label: str, before: Standing | None, after: Standing | None) -> None:
    """Count the runs that went on in another version, and those of them that had met the goal."""
    counts = view.get(MOVED, label, jsonbytes.loads) or [0, 0]
    for standing, change in ((before, -1), (after, 1)):
        if standing is not None and standing.outcome == MIGRATED:
            counts = [counts[0] + change, counts[1] + change * (standing.completed_at is not None)]
    view.put(MOVED, label, counts if any(counts) else None, jsonbytes.dumps)


def _last_cause(view: View, customer: str) -> Cause:
    """Return what the last event of a customer says: what they have agreed to at that time."""
    last = None
    for stored in view.history(members(view, customer)):
        if stored.entry.kind is not Kind.DERIVED:
            last = stored
    return cause_of(customer, 0, "{}") if last is None else Cause.of(last)
