"""One instance of a journey with several versions, and an event that concerns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journeykit.journeys.checkpoint import (
    CHECKPOINTS,
    EVERY_MOMENTS,
    MOST_MOMENTS,
    TOGETHER,
    Checkpoint,
    Instance,
    is_due,
    is_near,
)
from journeykit.journeys.corrections import Refolded, cause_of, completion, correction, derived
from journeykit.journeys.course import Course, Item, fold
from journeykit.journeys.derived import Cause
from journeykit.journeys.identity import members
from journeykit.journeys.line_history import Reading, WholeLine, read, read_all
from journeykit.journeys.run import MIGRATED, NOWHERE, Run
from journeykit.journeys.stages import INSTANCES, Place
from journeykit.model.event import ASKED, DENIED, HISTORICAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from journeykit.journeys.course import Line
    from journeykit.journeys.plan import Plan
    from journeykit.journeys.run import Standing
    from journeykit.journeys.versions import VersionsFold
    from journeykit.model.event import Entry
    from journeykit.store.projector import Step
    from journeykit.store.view import View


class LineInstance:
    """One event and one instance of a line, of the step's customer or of another *owner*."""

    def __init__(
        self,
        fold: VersionsFold,
        view: View,
        step: Step,
        line: Line,
        value: str,
        owner: str | None = None,
    ) -> None:
        self._fold = fold
        self._view = view
        self._step = step
        self._line = line
        self.value = value
        self._owner = owner or step.customer

    def _at(self, version: int) -> Place:
        return Place(self._line.plans[version].label, self._owner, self.value)

    def _known(self, version: int) -> Run | None:
        run: Run | None = self._view.get(INSTANCES, self._at(version).key, Run.decode)
        return run

    def known(self) -> dict[int, Run]:
        """Return the runs that there are, by version."""
        found = ((version, self._known(version)) for version in self._line.meanings)
        return {version: run for version, run in found if run is not None}

    def take(self) -> Iterator[Entry]:
        """Put the event behind those before, or fold again where it does not come last."""
        line, stored = self._line, self._step.stored
        item, known = Item(self._view, line, stored), self.known()
        if not item.matters:
            return
        version = max(known, default=-1)
        run = known.get(version)
        if run is None and self._concerns_new():
            yield from self.refold()
            return
        if run is not None and run.newest is not None and item.place(version) < run.newest:
            if item.at < run.highest - item.late and not stored.entry.flags & HISTORICAL:
                self._view.counts["late"] += 1
            else:
                yield from self.refold()
            return
        before = None if run is None else run.standing()
        course = Course(line, version, {} if run is None else {version: run})
        course.put(item, item.rank, self._voter(item))
        if course.run is None:
            return
        if not known:
            course.run.begun = (stored.position, item.at)
        course.run.count += 1
        if is_due(course.plan.late, course.run):
            self.move_checkpoints(course.run)
        self._keep(course, {version: before})
        cause = Cause.of(stored)
        for index, signal in course.signals:
            yield from derived(line.plans[index], self.value, cause, [signal])
        yield from about_publications(course, self._owner, self.value, cause)

    def _concerns_new(self) -> bool:
        """Return whether what concerns every instance came before this one was heard of."""
        if not self._fold.asks_before(self._view, self._step.customer, self._line):
            return False
        return len(self._read(None).items) > 1

    def refold(self) -> Iterator[Entry]:
        """Fold the instance again from its checkpoint, or from its beginning."""
        stored, known = self._step.stored, self.known()
        whole = bool(stored.entry.flags & HISTORICAL)
        version, checkpoint = (-1, None) if whole else self._checkpoint()
        reading = self._read(checkpoint)
        if reading.overflows:
            self._view.counts["late_overflow"] += 1
            return
        before = {at: run.standing() for at, run in known.items()}
        course = self._begin(version, checkpoint)
        fold(course, reading.items, self._voter)
        course.settle(stored.recorded_at, passed=True)
        for at in known:
            if at >= version:
                course.runs.setdefault(at, None)
        if course.run is not None:
            course.run.count = len(reading.items)
            course.run.look = known[course.place].look if course.place in known else 0
            course.run.begun = known[max(known)].begun if known else None
        self._keep(course, before)
        if whole:
            # It may belong before the checkpoint, which knows nothing of it.
            self._set_checkpoint(-1, None)
        cause, plan = Cause.of(stored), self._line.plans[0]
        about = Refolded(plan, self.value, cause, stored.entry.occurred_at)
        for at, run in sorted(course.runs.items()):
            yield from self._corrected(about, at, before.get(at), run, "refold")
            told = at in before and before[at].completed_at is not None
            told = told or run is None or _was_moved_here(course, at)
            if run is not None and run.completed_at is not None and not told:
                yield from completion(about._replace(plan=self._line.plans[at]), run)

    def from_whole(self, whole: WholeLine, *, told: bool) -> Iterator[Entry]:
        """
        Fold the instance again from its beginning.

        Args:
            told: Whether it was told that somebody has completed it.
        """
        stored, known = self._step.stored, self.known()
        before = {at: run.standing() for at, run in known.items()}
        cause, subject = Cause.of(stored), "refold"
        if self._owner == self._step.parted:
            # It is about the person, whom the fact does not name.
            user_id, subject = self._owner[2:], "parted"
            cause = cause._replace(user_id=user_id, anonymous_id=None, session_id=None)
        about = Refolded(self._line.plans[0], self.value, cause, stored.entry.occurred_at)
        folded = None
        if whole.has(self.value):
            folded = whole.fold(self.value, self._voter)
        course = Course(self._line) if folded is None else folded.course
        course.settle(stored.recorded_at, passed=True)
        for at in known:
            course.runs.setdefault(at, None)
        self._keep(course, before)
        if folded is not None:
            self._set_checkpoint(folded.place, folded.checkpoint)
        for at, run in sorted(course.runs.items()):
            yield from self._corrected(about, at, before.get(at), run, subject)
        if folded is None or told:
            return
        for at, event in sorted(folded.completed_by.items()):
            run = course.runs.get(at)
            if run is not None and run.completed_at is not None:
                # By the event that met the goal, so that another merge does not tell it again.
                plan, cause = self._line.plans[at], Cause.of(event)
                about = Refolded(plan, self.value, cause, run.completed_at)
                yield from completion(about, run)

    def _corrected(
        self, about: Refolded, version: int, was: Standing | None, run: Run | None, subject: str
    ) -> Iterator[Entry]:
        plan = self._line.plans[version]
        after = Run.empty(len(plan.keys)) if run is None else run
        yield from correction(about._replace(plan=plan), was, after, subject)

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

    def _set_checkpoint(self, version: int, checkpoint: Checkpoint | None) -> None:
        """Keep one checkpoint, of one version; none of the others counts any more."""
        for each in self._line.meanings:
            key = self._at(each).key
            made = checkpoint if each == version else None
            if made is not None or self._view.get(CHECKPOINTS, key, Checkpoint.decode) is not None:
                self._view.put(CHECKPOINTS, key, made, Checkpoint.encode)

    def _read(self, checkpoint: Checkpoint | None) -> Reading:
        owners = members(self._view, self._owner)
        return read(self._view, self._line, owners, self._instance(checkpoint))

    def _instance(self, checkpoint: Checkpoint | None) -> Instance:
        known = self.known()
        begun = known[max(known)].begun if known else None
        return Instance(self.value, checkpoint, begun[0] if begun is not None else None)

    def to_read(self) -> Instance:
        """Return what has to be read to move the checkpoint."""
        return self._instance(self._checkpoint()[1])

    def move_checkpoints(self, run: Run) -> None:
        """Move the checkpoint of *run*, and with it those that the same history is read for."""
        moving = {self: run, **self._near()}
        read = [each.to_read() for each in moving]
        owners, most = members(self._view, self._step.customer), 2 * MOST_MOMENTS
        readings = read_all(self._view, self._line, owners, read, most)
        for each, its in moving.items():
            each.move_checkpoint(its, readings[each.value].items)
            if each is not self:
                each.put(its)

    def _near(self) -> dict[LineInstance, Run]:
        if self._line.plans[max(self._line.meanings)].journey.instance_by is None:
            return {}
        near: dict[LineInstance, Run] = {}
        for value in self._fold.values(self._view, self._line, self._owner):
            if value == self.value or len(near) >= TOGETHER - 1:
                continue
            other = LineInstance(self._fold, self._view, self._step, self._line, value, self._owner)
            known = other.known()
            run = known[max(known)]
            if is_near(run):
                near[other] = run
        return near

    def put(self, run: Run) -> None:
        """Keep the newest run, of which only its checkpoint has moved."""
        self._view.put(INSTANCES, self._at(max(self.known())).key, run, Run.encode)

    def move_checkpoint(self, run: Run, items: Sequence[Item]) -> None:
        """Fold into a checkpoint what nothing can come before any more."""
        version, known = self._checkpoint()
        cut = run.highest - self._line.late
        if len(items) > MOST_MOMENTS:
            # More than may be folded again: the older half of them is settled.
            cut = max(cut, sorted(item.at for item in items)[len(items) // 2])
        settled = sum(item.at < cut for item in items)
        run.look = run.count + EVERY_MOMENTS
        if not settled:
            return
        base = self._begin(version, known)
        fold(base, items, self._voter, before=cut)
        base.settle(cut - 1, passed=True)
        if base.run is None:
            return
        # Before all that occurred at the cut itself.
        base.run.newest = (cut, NOWHERE - 2, "")
        times = [item.at for item in items]
        first = next((index for index, at in enumerate(times) if at >= cut), len(times) - 1)
        highest = max([known.highest if known is not None else 0, *times[:first]])
        made = Checkpoint(items[first].stored.position, highest, base.run.encode())
        self._set_checkpoint(base.place, made)
        run.count = len(items) - settled
        run.look = run.count + EVERY_MOMENTS

    def _keep(self, course: Course, before: Mapping[int, Standing | None]) -> None:
        for version, run in course.runs.items():
            plan, place = self._line.plans[version], self._at(version)
            if run is None:
                self._fold.give_up(self._view, plan, place.key)
                continue
            waits = self._step.stored if version == course.place else None
            self._fold.keep(self._view, plan, place, before.get(version), run, waits)

    def _voter(self, item: Item) -> Callable[[Plan], Any]:
        return lambda plan: self._fold.vote(plan, item.stored, self.value)


def _was_moved_here(course: Course, version: int) -> bool:
    """Return whether a run has come from an earlier version, so that its goal was met there."""
    return any(
        run is not None and run.outcome == MIGRATED and run.completed_at is not None
        for at, run in course.runs.items()
        if at < version
    )


def about_publications(course: Course, customer: str, value: str, cause: Cause) -> Iterator[Entry]:
    """Yield what publications have done: that is news, whatever brought it to light."""
    if not course.superseded:
        return
    flags = cause.flags & (ASKED | DENIED)
    own = cause_of(customer, flags, cause.stamp.decode())
    for version, signal in course.superseded:
        yield from derived(course.line.plans[version], value, own, [signal])
