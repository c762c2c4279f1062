"""One instance's run through a journey: what its events add up to, in fold order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from journeykit.model import jsonbytes

if TYPE_CHECKING:
    from journeykit.journeys.plan import Candidate, Plan

#: Where one is before the first stage.
NOWHERE = -1


class Moment(NamedTuple):
    """
    What one event means to one instance.

    The first three fields are the fold order: when it occurred, the lowest stage that the rules may
    lead it to, its id.
    `vote` is the stage that a plugin names.
    """

    at: int
    order: int
    id: str
    candidates: tuple[Candidate, ...] = ()
    marks: tuple[str, ...] = ()
    vote: int | None = None
    is_goal: bool = False
    value: float = 0.0

    @property
    def place(self) -> tuple[int, int, str]:
        """Where it comes in fold order."""
        return self.at, self.order, self.id


class Run(NamedTuple):
    """
    What the moments of an instance add up to.

    Stages are indexes; `visits` and `entered_at` have one item a stage, times are in microseconds.
    """

    newest: tuple[int, int, str] | None
    started_at: int | None
    current: int
    furthest: int
    visits: tuple[int, ...]
    entered_at: tuple[int | None, ...]
    marks: tuple[str, ...]
    completed_at: int | None
    value: float

    @classmethod
    def empty(cls, stages: int) -> Run:
        """Return a run without moments through a journey of so many stages."""
        return cls(None, None, NOWHERE, NOWHERE, (0,) * stages, (None,) * stages, (), None, 0.0)

    @classmethod
    def decode(cls, data: bytes) -> Run:
        """Return what `encode` has written."""
        newest, *rest = jsonbytes.loads(data)
        current = cls(tuple(newest) if newest else None, *rest)
        return current._replace(
            visits=tuple(current.visits),
            entered_at=tuple(current.entered_at),
            marks=tuple(current.marks),
        )

    def encode(self) -> bytes:
        """Return this run as bytes."""
        return jsonbytes.dumps_row(self)

    @property
    def has_stage(self) -> bool:
        """Whether any stage was entered: only then is it an instance."""
        return self.furthest != NOWHERE

    @property
    def observed(self) -> tuple[bool, ...]:
        """For each stage, whether it was entered."""
        return tuple(count > 0 for count in self.visits)

    def after(self, moment: Moment, plan: Plan) -> Run:
        """Return the run with *moment* behind its others."""
        run = self._replace(newest=moment.place)
        stage = self._stage_of(moment)
        if stage is not None:
            run = run.into(stage, moment.at)
        if moment.marks:
            run = run._replace(marks=tuple(sorted({*run.marks, *moment.marks})))
        if moment.is_goal and run.completed_at is None and run.in_time(moment.at, plan.within):
            run = run._replace(completed_at=moment.at, value=moment.value)
        return run

    def _stage_of(self, moment: Moment) -> int | None:
        if moment.vote is not None:
            return moment.vote
        for candidate in moment.candidates:
            if candidate.after is None or candidate.after in self.marks:
                return candidate.stage
        return None

    def into(self, stage: int, at: int) -> Run:
        """Return the run once it is in *stage*, at the instant *at*."""
        if stage == self.current:
            return self
        visits, entered_at = list(self.visits), list(self.entered_at)
        visits[stage] += 1
        if entered_at[stage] is None:
            entered_at[stage] = at
        return self._replace(
            started_at=at if self.started_at is None else self.started_at,
            current=stage,
            furthest=max(self.furthest, stage),
            visits=tuple(visits),
            entered_at=tuple(entered_at),
        )

    def in_time(self, at: int, within: int | None) -> bool:
        """Return whether the instant *at* is soon enough after the start to meet the goal."""
        if self.started_at is None:
            return False
        return within is None or at - self.started_at <= within
