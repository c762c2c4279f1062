"""
The reader that runs folds over the Log and keeps what they add up to.

A fold sees one event at a time through a `View` of State.
All folds and hooks of a batch run first; then one short transaction writes what changed.
Only the leader runs this, so it may keep State in memory.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from journeykit.costs import Costs
from journeykit.exceptions import Superseded
from journeykit.model import jsonbytes
from journeykit.model.event import ABOUT_NOBODY, ERASURE, Entry, Stored
from journeykit.store.forgetting import Erasures
from journeykit.store.protocol import PROJECTOR, REBUILDING, STALE, Projection
from journeykit.store.view import NEVER, Alarm, Cache, View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from journeykit.store.protocol import Changes, Position, Store

#: In State: what the folds were declared by.
_DECLARATION: Final = ("projector", "declaration")

#: Events read at a time: enough to share a transaction, few enough to be visible soon.
BATCH_EVENTS: Final = 2000

#: Events of a batch that are read together, with what folding them will need: few, for the
#: collector of garbage looks at all that is known of them.
PAGE_EVENTS: Final = 400


@attrs.define
class Step:
    """
    One event on its way through the folds.

    Args:
        stored: The event.

        customer: The key of the customer whom it concerns; the identity fold sets it.

        joined: Keys of customers who turned out, with this event, to be the same person.

        parted: Key of a person who turned out, with this event, to be somebody else.

        person: The key of the person, as far as that was known before the batch.

        refolded: Whether a run was folded again because of it, so that the customer was elsewhere
            at some instant than was thought.

        news: What was derived in this batch so far, and how much of that before this event; only
            where a fold hears of it.
    """

    stored: Stored
    customer: str
    joined: tuple[str, ...] = ()
    parted: str | None = None
    person: str = ""
    refolded: bool = False
    news: Sequence[Entry] = ()
    told: int = 0

    @property
    def derived(self) -> Sequence[Entry]:
        """What the folds before have derived from this event, where one `hears`."""
        return self.news[self.told :]

    @classmethod
    def of(cls, stored: Stored) -> Step:
        """Return the first step of *stored*."""
        customer = stored.entry.customer_key
        return cls(stored, customer, person=customer)


class Fold(Protocol):
    """
    Changes State by one event and returns the derived events that follow.

    It depends on *view* and *step* only, so that the same Log gives the same State.
    One that nothing but time moves has a `due(view, until)` too, and is not called with events.
    One that knows what it will read has a `wants(view, steps)`, which is asked before the first
    event of a batch is folded.
    One that facts about no customer move has a `published(view, stored)`, and a `reach(view)` that
    is called behind such a fact again and again, as long as it changes anything.
    One that keeps anything by customers has `forget(view, customers)`, which removes it and returns
    how many pieces that were; one that knows who is the same person `span(view, customers)`, and
    who else was seen with one of them `others(view, customers)`.
    One that `hears` reads in `step.derived` what the folds before it have derived; what time alone
    has derived is told to its `hear(view, entry, until)`, which returns what follows.
    """

    def __call__(self, view: View, step: Step) -> Iterable[Entry]:
        """Fold one event."""


class Prepared(Protocol):
    """What a projector is to run."""

    @property
    def folds(self) -> Sequence[Fold]:
        """The folds."""

    @property
    def declaration(self) -> Any:
        """What they were declared by, as JSON values."""

    @property
    def continues(self) -> bool:
        """Whether State is as far as its cursor what these folds make of the Log."""


def _up_to_fact(batch: list[Stored], flags: int) -> list[Stored]:
    """Return what comes before the first fact with one of *flags*, and that."""
    for index, stored in enumerate(batch):
        if stored.entry.flags & flags:
            return batch[: index + 1]
    return batch


class Projector:
    """
    Runs *folds* over the Log of *store*.

    Where State was made by other declarations, it is made again from the Log.
    What that derives about events that had been folded before is no news, and is not written.

    Args:
        declaration: Tells what the folds were declared by.

        prepare: Asked for the folds and their declaration whenever this begins to lead, with what
            State was made by, and its cursor; and whether that State fits.

        now: The clock for derived events, in microseconds.

        projected: Called after each batch.

        costs: What the hooks have cost that folds ask; told with what is projected.

        right: Held while committing; raises in a thread that was abandoned.
    """

    def __init__(  # noqa: PLR0913 - how it is told what to run
        self,
        store: Store,
        folds: Sequence[Fold] = (),
        *,
        declaration: Any = None,
        prepare: Callable[[Store, Any, Position, int], Prepared] | None = None,
        now: Callable[[], int],
        projected: Callable[[], None] = lambda: None,
        costs: Costs | None = None,
        right: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._store = store
        self._prepare = prepare
        self._declaration = jsonbytes.dumps(declaration)
        self._now = now
        self._projected = projected
        self._costs = costs or Costs()
        self.right = right
        self._cache = Cache()
        self._alarm = Alarm()
        self._use(folds)
        self._position: Position = None
        self._known = False
        #: Whether State does not say yet by what it is made.
        self._declares = False
        self._silent_until: Position = None
        #: The last event that was folded, for reports of what a tripped plugin missed.
        self.reading: Position = None
        #: Whether the last batch was as long as it may be, so that there is likely more.
        self.filled = False

    def _use(self, folds: Sequence[Fold]) -> None:
        timed = [fold for fold in folds if getattr(fold, "has_timers", False)]
        self._folds = tuple(fold for fold in folds if fold not in timed)
        self._erasures = Erasures(self._store, tuple(folds))
        self._due = [getattr(fold, "due") for fold in timed]  # noqa: B009 - not every fold has it
        self._wants = [getattr(fold, "wants") for fold in folds if hasattr(fold, "wants")]  # noqa: B009
        told = [fold for fold in folds if hasattr(fold, "published")]
        self._told = [getattr(fold, "published") for fold in told]  # noqa: B009
        self._reach = [getattr(fold, "reach") for fold in told]  # noqa: B009
        hearing = [fold for fold in folds if getattr(fold, "hears", False)]
        self._hear = [getattr(fold, "hear") for fold in hearing]  # noqa: B009

    def step(self) -> float | None:
        """
        Fold one batch, or let deadlines pass where nothing is left to fold.

        Returns the seconds until there is more to do: 0 for at once, None for unknown.
        """
        if not self._known:
            self._find_position()
        if self._go_on_reaching():
            return 0.0
        view = View(self._store, self._cache, self._alarm)
        # What a batch that failed has left.
        self._erasures.folded()
        derived, position = self._fold_batch(view)
        is_idle = position == self._position
        if is_idle:
            if self._store.cursor(PROJECTOR) != self._position:
                # Not by this one: the database may have been repaired.
                self.forget()
                return 0.0
            if self._silent_until is not None:
                # The event that the silence was to last for was erased meanwhile.
                view.put(*REBUILDING, None, jsonbytes.dumps)
            elif self._due:
                derived = self._let_pass(view, self._now())
        state = view.changes()
        if is_idle and not state and not self._declares:
            return self._until_alarm() if self._due else None
        if self._declares:
            state.set(_DECLARATION, self._declaration)
        self._write(view, derived, position, state)
        return 0.0

    def _fold_batch(self, view: View) -> tuple[list[Entry], Position]:
        """Fold what comes next in the Log; returns what follows from it, and how far it goes."""
        news: list[Entry] = []
        position, left = self._position, BATCH_EVENTS
        # What ends the silence counts once it is written: the batch may have to be folded again.
        silent_until = self._silent_until
        # What is derived behind an erasure is about who is new, and must not go with the others.
        until = ABOUT_NOBODY if self._told else ERASURE
        while left > 0:
            size = min(left, PAGE_EVENTS)
            page = _up_to_fact(self._store.read(position, size, derived=False), until)
            if page:
                silent_until = self._fold_page(view, page, news, silent_until)
                position = page[-1].position
            left -= len(page)
            if len(page) < size or page[-1].entry.flags & until:
                break
        self.filled = left == 0
        return news, position

    def _go_on_reaching(self) -> bool:
        """Do a slice of what a publication does, before anything else; returns if there was one."""
        if not self._reach:
            return False
        view = View(self._store, self._cache, self._alarm)
        derived = [entry for reach in self._reach for entry in reach(view)]
        state = view.changes()
        if state:
            silent = self._silent_until is not None
            self._write(view, [] if silent else derived, self._position, state)
        return bool(state)

    def _write(
        self,
        view: View,
        derived: list[Entry],
        position: Position,
        state: Changes,
    ) -> None:
        owed = self._costs.owed(projecting=True)
        projection = Projection(
            PROJECTOR,
            self._position,
            position,
            state,
            view.steps(),
            derived,
            {**view.counts, **owed.counts},
            self._erasures.folded(),
        )
        try:
            with self.right():
                self._store.project(projection, self._now())
        except Superseded:
            self.forget()
            raise
        self._costs.settle(owed)
        self._position, self._declares = position, False
        if REBUILDING in state:
            self._silent_until = None
        self._cache.update(state)
        if STALE in state:
            self.forget()
        self._projected()

    def _let_pass(self, view: View, until: int) -> list[Entry]:
        found = []
        for due in self._due:
            for entry in due(view, until):
                found.append(entry)
                for hear in self._hear:
                    found += hear(view, entry, until)
        return found

    def _until_alarm(self) -> float | None:
        at = self._alarm.at
        return None if at is None or at == NEVER else max(0.001, (at - self._now()) / 1e6)

    def forget(self) -> None:
        """Read everything anew: somebody else may have led meanwhile."""
        self._cache = Cache()
        self._alarm.at = None
        self._known = False

    def made_by(self) -> Any:
        """Return the declaration that State was made by; None if there is no State."""
        data = self._store.state(_DECLARATION)
        return jsonbytes.loads(data) if data else None

    def rebuild(self) -> None:
        """Forget State; the next steps make it again from the Log."""
        if self._prepare is not None:
            self._find_position()
        self._forget_state()
        self.forget()

    def _forget_state(self) -> None:
        known = self._store.state(REBUILDING)
        until = jsonbytes.loads(known) if known else self._store.cursor(PROJECTOR)
        keep = {_DECLARATION: self._declaration}
        if until is not None:
            keep[REBUILDING] = jsonbytes.dumps(until)
        self._store.forget_state(keep)
        self._cache, self._alarm.at = Cache(), None

    def _find_position(self) -> None:
        known = self._store.state(_DECLARATION)
        if self._prepare is None:
            continues = known == self._declaration
        else:
            made_by = jsonbytes.loads(known) if known else None
            with self.right():
                prepared = self._prepare(
                    self._store, made_by, self._store.cursor(PROJECTOR), self._now()
                )
            self._use(prepared.folds)
            self._declaration = jsonbytes.dumps(prepared.declaration)
            continues = prepared.continues
        if not continues or self._store.state(STALE) is not None:
            self._forget_state()
        self._declares = known != self._declaration
        known = self._store.state(REBUILDING)
        self._silent_until = jsonbytes.loads(known) if known else None
        self._position, self._known = self._store.cursor(PROJECTOR), True
        self._erasures.begin(self._position)

    def _fold_page(
        self, view: View, page: Sequence[Stored], news: list[Entry], silent_until: Position
    ) -> Position:
        """
        Fold some events, and add what follows to *news*.

        Of what is folded for the second time nothing does; returns up to where that is so.
        """
        steps = list(map(Step.of, page))
        self._prefetch(view, steps)
        steps.reverse()
        due, alarm, fold, let_go = self._due, self._alarm, self._fold, view.let_go
        # What is done with is let go of.
        while steps:
            step = steps.pop()
            told, stored = len(news), step.stored
            if due and (alarm.at is None or alarm.at <= stored.recorded_at):
                news += self._let_pass(view, stored.recorded_at)
            fold(view, step, news)
            let_go(stored)
            if silent_until is None:
                continue
            position = stored.position
            if position <= silent_until:
                del news[told:]
            if position >= silent_until:
                silent_until = None
                view.put(*REBUILDING, None, jsonbytes.dumps)
        return silent_until

    def _prefetch(self, view: View, steps: Sequence[Step]) -> None:
        for wants in self._wants:
            for space, keys in wants(view, steps):
                view.prefetch(space, keys)

    def _fold(self, view: View, step: Step, news: list[Entry]) -> None:
        stored = step.stored
        self.reading = stored.position
        flags = stored.entry.flags
        if flags & ABOUT_NOBODY:
            if flags & ERASURE:
                self._erasures.fold(view, stored)
            else:
                for told in self._told:
                    told(view, stored)
            return
        if self._erasures.are_open:
            left = self._erasures.screen(stored)
            if left is None:
                return
            if left is not stored:
                step = Step.of(left)
        view.saw(step.customer, step.stored, is_cut=step.stored is not stored)
        if self._hear:
            step.news, step.told = news, len(news)
        for fold in self._folds:
            found = fold(view, step)
            if found:
                news += found
