"""How a run goes on: with its next moment in fold order, or because time has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.journeys.run import NOWHERE, OPTED_OUT, TIMED_OUT, Moment
from journeykit.model.journey import Loop, Regress, Skip

if TYPE_CHECKING:
    from collections.abc import Callable

    from journeykit.journeys.plan import Plan
    from journeykit.journeys.run import Run


#: So many returns to a stage are a loop.
_MANY_RETURNS: Final = 3

#: The mark of who has opted out; no name of an event has such a character.
OUT: Final = "\x1fopted_out"


class Signal(NamedTuple):
    """
    What has become of a run.

    `subject` tells it apart from others with the same cause; `cause` is the id of the event whose
    deadline has passed, or None for the moment itself.
    """

    name: str
    subject: str
    at: int
    stage: int
    properties: dict[str, Any]
    cause: str | None = None


def advance(
    plan: Plan, run: Run, moment: Moment, vote: Callable[[Run], int | None] | None = None
) -> list[Signal]:
    """
    Put *moment* behind the others of *run*, and return what has become of it.

    Args:
        vote: Asks plugins for the stage, once the run has come to the moment.
    """
    at = moment.at
    signals = expire(plan, run, at) if plan.has_deadlines else []
    run.newest = moment[:3]
    run.highest = max(run.highest, at)
    if moment.allows_again or moment.outcome == OPTED_OUT:
        return [*signals, *_opt(run, moment)]
    if not _is_under_way(plan, run, moment):
        return signals
    if moment.outcome is not None and run.started_at is not None:
        return [*signals, end(run, at, moment.outcome)]
    stage = moment.target
    if stage is None and vote is not None:
        stage = vote(run)
    if stage is None:
        stage = _stage_of(run, moment)
    if stage is not None and stage != run.current:
        _move(plan, run, stage, moment[:3], signals, is_forced=moment.target is not None)
    if moment.marks:
        run.marks = sorted({*run.marks, *moment.marks})
    if moment.is_goal and run.completed_at is None and run.in_time(at, plan.within):
        run.completed_at, run.value = at, moment.value
        signals.append(
            Signal("journey.completed", "goal", at, run.current, {"value": moment.value})
        )
    return signals


def follow(plan: Plan, run: Run, place: tuple[int, int, str]) -> list[Signal] | None:
    """
    Put a moment behind the others of a run that is under way, if it can but lead to one stage.

    Most events are such; deadlines and plugins are not looked at.

    Args:
        place: Its place in fold order, with the stage in it.

    Returns:
        What has become of the run; None where more has to be looked at, and nothing was done.
    """
    newest = run.newest
    if run.ended_at is not None or run.current == NOWHERE or newest is None or place < newest:
        return None
    run.newest = place
    at, stage, _ = place
    run.highest = max(run.highest, at)
    signals: list[Signal] = []
    if stage != run.current:
        _move(plan, run, stage, place, signals)
    return signals


def expire(plan: Plan, run: Run, until: int) -> list[Signal]:
    """Let every deadline of *run* up to *until* pass, and return what has become of it."""
    signals = []
    while (deadline := run.deadline(plan)) is not None and deadline <= until:
        if plan.timeout is not None and run.started_at is not None:
            times_out = deadline == run.started_at + plan.timeout
        else:
            times_out = False
        # Behind what occurred before the deadline, before what occurred at that very moment.
        place = (deadline, NOWHERE - 1, "")
        # Of a run that has come from another version the deadline may have passed before it came.
        run.newest = place if run.newest is None else max(place, run.newest)
        if times_out:
            cause = run.started_by
            signals.append(end(run, run.newest[0], TIMED_OUT)._replace(cause=cause))
        else:
            run.stalled = True
            key = plan.keys[run.current]
            visit = run.visits[run.current]
            properties = {"stage": key, "visit": visit}
            subject = f"{key}:{visit}:{deadline}"
            signals.append(
                Signal("journey.stalled", subject, deadline, run.current, properties, run.since_by)
            )
    return signals


def _is_under_way(plan: Plan, run: Run, moment: Moment) -> bool:
    """Return whether *run* takes *moment*; one that has ended begins again, if that may be."""
    if OUT in run.marks:
        return False
    if run.ended_at is not None and not _begin_again(plan, run, moment):
        return False
    if run.started_at is None and plan.journey.entry and moment.target is None:
        if not moment.begins:
            return False
        run.started_at, run.started_by = moment.at, moment.id
    return True


def _opt(run: Run, moment: Moment) -> list[Signal]:
    """Let a customer out of a journey for good, or in again."""
    if moment.allows_again:
        run.marks = [mark for mark in run.marks if mark != OUT]
        return []
    run.marks = sorted({*run.marks, OUT})
    running = run.started_at is not None and run.ended_at is None
    return [end(run, moment.at, OPTED_OUT)] if running else []


def end(run: Run, at: int, outcome: str) -> Signal:
    """End *run*, and return what that means."""
    run.ended_at, run.outcome = at, outcome
    properties = {"outcome": outcome, "completed": run.completed_at is not None}
    return Signal("journey.exited", f"{outcome}:{run.number}", at, run.current, properties)


def _stage_of(run: Run, moment: Moment) -> int | None:
    for candidate in moment.candidates:
        if candidate.after is None or candidate.after in run.marks:
            return candidate.stage
    return None


def _begin_again(plan: Plan, run: Run, moment: Moment) -> bool:
    """Begin the next run of an instance that has ended, if *moment* may do that."""
    # What a person decides is not subject to the rules for customers.
    if moment.target is None and not may_begin_again(plan, run, moment):
        return False
    stages = len(plan.keys)
    run.closed = run.standing().counts()
    run.number += 1
    run.started_at, run.started_by, run.current, run.furthest = None, "", NOWHERE, NOWHERE
    run.visits, run.entered_at, run.marks = [0] * stages, [None] * stages, []
    run.completed_at, run.value, run.stalled = None, 0.0, False
    run.ended_at, run.outcome = None, None
    return True


def may_begin_again(plan: Plan, run: Run, moment: Moment) -> bool:
    """Return whether *moment* may begin the next run of an instance whose *run* has ended."""
    rule = plan.journey.reentry
    if not rule.allow or moment.at < (run.ended_at or 0) + plan.wait:
        return False
    if rule.max is not None and run.number >= rule.max:
        return False
    opens = any(candidate.after is None for candidate in moment.candidates)
    return moment.begins if plan.journey.entry else opens


def _move(
    plan: Plan,
    run: Run,
    stage: int,
    place: tuple[int, int, str],
    signals: list[Signal],
    *,
    is_forced: bool = False,
) -> None:
    """Let *run* enter *stage*, if the journey's policies let it."""
    journey, was, visits = plan.journey, run.current, run.visits
    at, _, event = place
    skips = stage > run.furthest + 1
    regresses = stage < was
    forbidden = (
        (skips and journey.skip is Skip.FORBID)
        or (visits[stage] and journey.loop is Loop.FORBID)
        or (regresses and journey.regress is Regress.IGNORE)
    )
    if forbidden and not is_forced:
        return
    if run.started_at is None:
        run.started_at, run.started_by = at, event
    counts = not visits[stage] or journey.loop in (Loop.COUNT, Loop.FLAG)
    if counts:
        visits[stage] += 1
    if run.entered_at[stage] is None:
        run.entered_at[stage] = at
    run.current, run.since, run.since_by, run.stalled = stage, at, event, False
    run.furthest = max(run.furthest, stage)
    key, before = plan.keys[stage], None if was == NOWHERE else plan.keys[was]
    if counts:
        properties = {"stage": key, "from": before, "visit": visits[stage]}
        signals.append(Signal("stage.entered", f"{key}:{visits[stage]}", at, stage, properties))
    if skips and journey.skip is Skip.FLAG:
        signals.append(_pain("journey.skipped", key, before, stage, place))
    if regresses and journey.regress is Regress.FLAG:
        signals.append(_pain("journey.regressed", key, before, stage, place))
    returns = visits[stage] - 1
    if journey.loop is Loop.FLAG and returns and returns % _MANY_RETURNS == 0:
        signals.append(_pain("journey.looped", key, before, stage, place))


def _pain(
    code: str, key: str, before: str | None, stage: int, place: tuple[int, int, str]
) -> Signal:
    at, _, event = place
    properties = {
        "code": code,
        "severity": "low",
        "evidence": [event],
        "stage": key,
        "from": before,
    }
    return Signal("pain_point.detected", f"{code}:{key}", at, stage, properties)
