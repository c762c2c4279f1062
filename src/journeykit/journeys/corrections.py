"""What is derived about a run: what has become of it, and what folding it again has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from journeykit.journeys.derived import About, Cause, derive
from journeykit.journeys.run import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from journeykit.journeys.advance import Signal
    from journeykit.journeys.plan import Plan
    from journeykit.journeys.run import Run, Standing
    from journeykit.model.event import Entry


def cause_of(customer: str, flags: int, stamp: str) -> Cause:
    """Return a cause without an id, for what befalls a customer by time."""
    known = customer.startswith("u:")
    user_id, anonymous_id = (customer[2:], None) if known else (None, customer[2:])
    return Cause("", user_id, anonymous_id, None, flags, stamp.encode())


def derived(plan: Plan, value: str, cause: Cause, signals: Sequence[Signal]) -> list[Entry]:
    """Derive what has become of a run."""
    return [
        derive(
            cause if caused_by is None else cause._replace(id=caused_by),
            name,
            subject,
            at,
            properties,
            About(plan.encoded, stage_key(plan, stage), value),
        )
        for name, subject, at, stage, properties, caused_by in signals
    ]


class Refolded(NamedTuple):
    """What folding again is about: the instance, the event that led to it, and when that was."""

    plan: Plan
    value: str
    cause: Cause
    at: int

    def derive(self, name: str, subject: str, properties: dict[str, Any], stage: int) -> Entry:
        """Return a derived event about that."""
        plan, value, cause, at = self
        about = About(plan.encoded, stage_key(plan, stage), value)
        return derive(cause, name, subject, at, properties, about)


def correction(
    about: Refolded, was: Standing | None, run: Run, subject: str = "refold"
) -> Iterator[Entry]:
    """Derive what folding again has changed."""
    plan, now = about.plan, run.standing()
    had_stage = was is not None and was.furthest != NOWHERE
    if _alike(was) == _alike(now) or not (run.has_stage or had_stage):
        return
    properties: dict[str, Any] = {
        "stage": stage_key(plan, now.current),
        "from": stage_key(plan, was.current) if was is not None else None,
        "furthest": stage_key(plan, now.furthest),
        "entered": [name for name, seen in zip(plan.keys, run.observed, strict=True) if seen],
    }
    if run.outcome is not None:
        properties["outcome"] = run.outcome
    yield about.derive("stage.corrected", subject, properties, now.current)


def completion(about: Refolded, run: Run) -> Iterator[Entry]:
    """Derive that folding again has met the goal."""
    yield about.derive("journey.completed", "goal", {"value": run.value}, run.current)


def _alike(standing: Standing | None) -> object:
    if standing is None:
        return None
    observed = tuple(visits > 0 for visits in standing.visits)
    return standing._replace(visits=observed, value=0.0, closed=None)


def stage_key(plan: Plan, stage: int) -> str | None:
    """Return the key of a stage; None where there is none yet."""
    return None if stage == NOWHERE else plan.keys[stage]
