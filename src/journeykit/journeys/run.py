"""One instance's run through a journey: what its events add up to, in fold order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import attrs

from journeykit.model import jsonbytes

if TYPE_CHECKING:
    from journeykit.journeys.plan import Candidate, Plan

#: Where one is before the first stage.
NOWHERE = -1

#: How a run ends by time, by a person's wish, and by moving to another journey.
TIMED_OUT = "timed_out"
OPTED_OUT = "opted_out"
TRANSFERRED = "transferred"

#: How it ends by the publication of another version.
SUPERSEDED = "superseded"
MIGRATED = "migrated"

#: How many fields are written of each run; the rest are written of those that have more.
_PLAIN: Final = 15

_bare: Final = object.__new__

#: The order of what comes behind everything that occurred at an instant.
LAST = 2**31


class Moment(NamedTuple):
    """
    What one event means to one instance.

    The first three fields are the fold order: when it occurred, the lowest stage that the rules may
    lead it to, its id.
    `outcome` is what the run's end is called; `target` is the stage that a person moves it to.
    `allows_again` takes an opt-out back.
    """

    at: int
    order: int
    id: str
    candidates: tuple[Candidate, ...] = ()
    marks: tuple[str, ...] = ()
    target: int | None = None
    is_goal: bool = False
    value: float = 0.0
    begins: bool = False
    outcome: str | None = None
    allows_again: bool = False

    @property
    def place(self) -> tuple[int, int, str]:
        """Where it comes in fold order."""
        return self[:3]


class Standing(NamedTuple):
    """What figures and corrections need to know of a run."""

    current: int
    furthest: int
    visits: tuple[int, ...]
    completed_at: int | None
    value: float
    ended_at: int | None
    outcome: str | None
    number: int
    closed: tuple[float, ...] | None

    @property
    def size(self) -> int:
        """How many figures its journey has."""
        return 3 + 3 * len(self.visits)

    def counts(self) -> list[float]:
        """Return what this adds to the figures."""
        found: list[float] = [0] * self.size
        self.add_to(found, 1)
        return found

    def add_to(self, counts: list[float], times: int) -> None:
        """
        Add to the figures what this is, *times* times.

        Instances, completed, their worth; then for each stage: entered, current, furthest.
        """
        for index, count in enumerate(self.closed or ()):
            counts[index] += times * count
        if self.furthest == NOWHERE:
            return
        stages = len(self.visits)
        counts[0] += times
        if self.completed_at is not None:
            counts[1] += times
            counts[2] += times * self.value
        for index, visits in enumerate(self.visits, 3):
            if visits:
                counts[index] += times
        if self.ended_at is None and self.current != NOWHERE:
            counts[3 + stages + self.current] += times
        counts[3 + 2 * stages + self.furthest] += times


@attrs.define
class Run:
    """
    What the moments of an instance add up to.

    Stages are indexes; `visits` and `entered_at` have one item a stage, times are in microseconds.

    Args:
        newest: The place in fold order that the run is as far as.

        highest: When its newest event occurred.

        since: When the present stay in the current stage began, and by which event.

        count: How many moments came since the checkpoint; at `look` the checkpoint moves.

        begun: The position of the first of its events in the Log, and when that occurred; None if
            any of the customer's may be the first.

        number: Counts the runs of the instance; `closed` is what earlier ones add to the figures.
    """

    newest: tuple[int, int, str] | None = None
    highest: int = 0
    started_at: int | None = None
    started_by: str = ""
    current: int = NOWHERE
    furthest: int = NOWHERE
    visits: list[int] = attrs.field(factory=list)
    entered_at: list[int | None] = attrs.field(factory=list)
    marks: list[str] = attrs.field(factory=list)
    completed_at: int | None = None
    value: float = 0.0
    since: int = 0
    since_by: str = ""
    stalled: bool = False
    ended_at: int | None = None
    outcome: str | None = None
    number: int = 1
    closed: list[float] | None = None
    count: int = 0
    look: int = 0
    #: Depends on the order in which events arrived; what they add up to does not.
    begun: tuple[Any, int] | None = attrs.field(default=None, eq=False)

    @classmethod
    def empty(cls, stages: int) -> Run:
        """Return a run without moments through a journey of so many stages."""
        return cls(visits=[0] * stages, entered_at=[None] * stages)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what `encode` has written."""
        # Field by field: this is done for each event, and costs half of what the constructor does.
        run: Self = _bare(cls)
        row = jsonbytes.loads(data)
        at, order, by, highest, since, since_by, *rest = row[:_PLAIN]
        run.current, run.furthest, run.visits, run.entered_at, *rest = rest
        run.started_at, run.started_by, run.count, position, began = rest
        run.newest = None if at is None else (at, order, by)
        run.highest = at if highest is None else highest
        run.since = at if since is None else since
        run.since_by = by if since_by is None else since_by
        run.begun = None
        if position is not None:
            run.begun = position, run.started_at if began is None else began
        if len(row) == _PLAIN:
            run.marks, run.completed_at, run.value, run.stalled = [], None, 0.0, False
            run.ended_at, run.outcome, run.number, run.closed, run.look = None, None, 1, None, 0
        else:
            run.marks, run.completed_at, run.value, run.stalled, *rest = row[_PLAIN:]
            run.ended_at, run.outcome, run.number, run.closed, run.look = rest
        return run

    def encode(self) -> bytes:
        """
        Return this run as bytes.

        There is one for each customer: what follows from the rest is left out.
        """
        at, order, by = self.newest if self.newest is not None else (None, 0, None)
        position, began = self.begun if self.begun is not None else (None, None)
        row = (
            at,
            order,
            by,
            None if self.highest == at else self.highest,
            None if self.since == at else self.since,
            None if self.since_by == by else self.since_by,
            self.current,
            self.furthest,
            self.visits,
            self.entered_at,
            self.started_at,
            self.started_by,
            self.count,
            position,
            None if began == self.started_at else began,
        )
        if self._has_no_ends:
            return jsonbytes.dumps(row)
        ends = self.marks, self.completed_at, self.value, self.stalled, self.ended_at
        return jsonbytes.dumps((*row, *ends, self.outcome, self.number, self.closed, self.look))

    @property
    def _has_no_ends(self) -> bool:
        """Whether it has what most have of marks, completion, end, earlier runs and checkpoint."""
        return (
            self.completed_at is None
            and self.ended_at is None
            and self.number == 1
            and not (self.marks or self.value or self.stalled or self.look)
            and self.outcome is None
            and self.closed is None
        )

    @property
    def is_running(self) -> bool:
        """Whether it has begun and not ended."""
        return self.started_at is not None and self.ended_at is None

    @property
    def has_stage(self) -> bool:
        """Whether any stage was entered: only then is it an instance."""
        return self.furthest != NOWHERE

    @property
    def observed(self) -> tuple[bool, ...]:
        """For each stage, whether it was entered."""
        return tuple(count > 0 for count in self.visits)

    def standing(self) -> Standing:
        """Return what figures and corrections need to know."""
        columns = (
            self.current,
            self.furthest,
            tuple(self.visits),
            self.completed_at,
            self.value,
            self.ended_at,
            self.outcome,
            self.number,
            tuple(self.closed) if self.closed else None,
        )
        # What its own constructor does besides is to count.
        return tuple.__new__(Standing, columns)

    def deadline(self, plan: Plan) -> int | None:
        """Return when time alone will change this run; None if nothing waits."""
        if self.started_at is None or self.ended_at is not None or self.completed_at is not None:
            return None
        stall = plan.stalls[self.current] if self.current != NOWHERE else None
        stalls_at = None if stall is None or self.stalled else self.since + stall
        if plan.timeout is None:
            return stalls_at
        ends_at = self.started_at + plan.timeout
        return ends_at if stalls_at is None else min(stalls_at, ends_at)

    def in_time(self, at: int, within: int | None) -> bool:
        """Return whether the instant *at* is soon enough after the start to meet the goal."""
        if self.started_at is None:
            return False
        return within is None or at - self.started_at <= within
