"""One customer's path: what each event led to, by which rule, and what led to nothing, and why."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.journeys.advance import OUT, advance, expire
from journeykit.journeys.checkpoint import CHECKPOINTS, Checkpoint, History, Instance
from journeykit.journeys.identity import LINKS, MEMBERS
from journeykit.journeys.meaning import EVERY, Meaning
from journeykit.journeys.run import NOWHERE, OPTED_OUT, TRANSFERRED, Run
from journeykit.model import jsonbytes
from journeykit.model.customer import customer_key
from journeykit.model.times import to_datetime
from journeykit.store.view import Alarm, Cache, View

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from journeykit.journeys.advance import Signal
    from journeykit.journeys.plan import Candidate, Plan
    from journeykit.journeys.run import Moment
    from journeykit.model.event import Stored
    from journeykit.store.protocol import Store

#: The most steps of one run to tell, the latest: what fits on a screen or two.
STEPS: Final = 50


@attrs.frozen(kw_only=True)
class PathStep:
    """
    What one event, or a deadline, has done to a run.

    Args:
        at: When it occurred.

        event, id: The event's name and id; None for a deadline.

        led_to: What became of the run; empty if nothing did.

        because: The rule behind it, or why it led to nothing.
    """

    at: datetime
    event: str | None
    id: str | None
    led_to: str
    because: str


@attrs.frozen(kw_only=True)
class Path:
    """
    One run of a customer through a journey.

    Args:
        stage, furthest: Keys of the present stage and of the highest one reached.

        skipped: Stages that were passed and never entered: they are inferred.

        outcome: How it ended; None while it goes on.

        earlier: How many steps came before those in *steps*.
    """

    journey: str
    version: int
    instance: str
    stage: str | None
    furthest: str | None
    skipped: tuple[str, ...]
    completed: bool
    outcome: str | None
    run: int
    earlier: int
    steps: tuple[PathStep, ...]


@attrs.frozen(kw_only=True)
class Explanation:
    """
    A customer's path through every journey.

    Args:
        customer: The key of the person whom the ids belong to: `u:` and a user id, or `a:` and an
            anonymous one.

        known_as: Every key under which their events were recorded.

        events: How many events there are.
    """

    customer: str
    known_as: tuple[str, ...]
    events: int
    paths: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON values."""
        return attrs.asdict(self)


def explain(
    store: Store, plans: Sequence[Plan], user_id: str | None, anonymous_id: str | None
) -> Explanation | None:
    """Return the path of one customer, as far as events were folded; None if nobody was seen."""
    view = View(store, Cache(), Alarm())
    key = customer_key(user_id, anonymous_id)
    person = view.get(LINKS, key, jsonbytes.loads) or key
    members = [person, *(view.get(MEMBERS, person, jsonbytes.loads) or ())]
    names: dict[str, dict[str, None]] = {plan.label: {} for plan in plans}
    events = 0
    for stored in view.history(members):
        events += 1
        for plan in plans:
            value = Meaning(plan, asks=False).instance_value(view, stored)
            if value is not None and value is not EVERY:
                names[plan.label][value] = None
    if not events:
        return None
    paths = [
        path
        for plan in plans
        for value in names[plan.label]
        if (path := _path(view, plan, members, person, value)) is not None
    ]
    return Explanation(customer=person, known_as=tuple(members), events=events, paths=tuple(paths))


def _path(view: View, plan: Plan, members: Sequence[str], person: str, value: str) -> Path | None:
    meaning = Meaning(plan, asks=False)
    place = f"{person}\x1f{plan.label}\x1f{value}"
    known = view.get(CHECKPOINTS, place, Checkpoint.decode)
    history = History.read(view, meaning, members, Instance(value))
    if history.overflows:
        history = History.read(view, meaning, members, Instance(value, known))
    run = history.begin(len(plan.keys))
    steps: list[PathStep] = []
    for moment, stored in history.in_order():
        steps += _steps(plan, run, moment, stored)
    head = view.get("instance", place, Run.decode)
    if head is not None and head.newest is not None:
        steps += [_of_deadline(plan, each) for each in expire(plan, run, head.newest[0])]
    steps += [_too_late(plan, moment, stored) for moment, stored in history.late]
    steps.sort(key=lambda step: step.at)
    if not steps:
        return None
    return Path(
        journey=plan.journey.key,
        version=plan.journey.version,
        instance=value,
        stage=_key(plan, run.current),
        furthest=_key(plan, run.furthest),
        skipped=tuple(
            key
            for index, key in enumerate(plan.keys)
            if index < run.furthest and not run.visits[index]
        ),
        completed=run.completed_at is not None,
        outcome=run.outcome,
        run=run.number,
        earlier=max(0, len(steps) - STEPS),
        steps=tuple(steps[-STEPS:]),
    )


def _steps(plan: Plan, run: Run, moment: Moment, stored: Stored) -> Iterator[PathStep]:
    marks = list(run.marks)
    was, ended, number = run.current, run.ended_at is not None, run.number
    signals = advance(plan, run, moment)
    for signal in signals:
        if signal.cause is not None:
            yield _of_deadline(plan, signal)
    own = [_said(plan, signal) for signal in signals if signal.cause is None]
    begun = ["began again"] if run.number > number else []
    rule = _rule(plan, moment, marks)
    because = rule if own or begun else _why_not(plan, run, moment, marks, was, ended=ended)
    yield PathStep(
        at=to_datetime(moment.at),
        event=stored.entry.name,
        id=stored.entry.id,
        led_to=", ".join([*begun, *own]),
        because=because,
    )


def _why_not(
    plan: Plan, run: Run, moment: Moment, marks: Sequence[str], was: int, *, ended: bool
) -> str:
    """Return why *moment* has led to nothing."""
    if moment.allows_again or moment.outcome == OPTED_OUT:
        return _rule(plan, moment, marks)
    if OUT in marks:
        return "the customer has opted out of this journey"
    if ended and run.ended_at is not None:
        return "the run had ended"
    if run.started_at is None and plan.journey.entry:
        return "it begins no run"
    return _why_here(plan, moment, marks, was)


def _why_here(plan: Plan, moment: Moment, marks: Sequence[str], was: int) -> str:
    """Return why *moment* leaves a customer in the stage *was*."""
    waiting = [rule for rule in moment.candidates if rule.after is not None]
    found = _candidate(moment, marks)
    if found is None and waiting:
        return f"a rule of {plan.keys[waiting[0].stage]}, which asks for {waiting[0].after} before"
    if found is None:
        return "it only fulfils a condition of later rules"
    if found.stage == was:
        return f"already in {plan.keys[was]}"
    return f"{_rule(plan, moment, marks)}; the journey's policy keeps the customer here"


def _too_late(plan: Plan, moment: Moment, stored: Stored) -> PathStep:
    window = plan.journey.late
    return PathStep(
        at=to_datetime(moment.at),
        event=stored.entry.name,
        id=stored.entry.id,
        led_to="",
        because=f"too late: more than {_spoken(window)} older than an event before it",
    )


def _of_deadline(plan: Plan, signal: Signal) -> PathStep:
    which = "stall" if signal.name == "journey.stalled" else "timeout"
    return PathStep(
        at=to_datetime(signal.at),
        event=None,
        id=None,
        led_to=_said(plan, signal),
        because=f"the journey's {which}",
    )


def _said(plan: Plan, signal: Signal) -> str:
    stage = _key(plan, signal.stage)
    if signal.name == "stage.entered":
        visit = signal.properties["visit"]
        return f"entered {stage}" + (f" (visit {visit})" if visit > 1 else "")
    if signal.name == "journey.completed":
        return "completed"
    if signal.name == "journey.exited":
        return f"ended: {signal.properties['outcome']}"
    if signal.name == "journey.stalled":
        return f"stalled in {stage}"
    return str(signal.properties.get("code", signal.name))


def _candidate(moment: Moment, marks: Sequence[str]) -> Candidate | None:
    for candidate in moment.candidates:
        if candidate.after is None or candidate.after in marks:
            return candidate
    return None


def _rule(plan: Plan, moment: Moment, marks: Sequence[str]) -> str:
    """Return the declared rule that speaks about *moment*."""
    if moment.target is not None:
        return f"moved to {plan.keys[moment.target]} by a person"
    if moment.allows_again:
        return "the customer may take part again"
    if moment.outcome == OPTED_OUT:
        return "the customer opted out"
    if moment.outcome == TRANSFERRED:
        return "moved to another journey by a person"
    if moment.outcome is not None:
        return f"an exit: {moment.outcome}"
    found = _candidate(moment, marks)
    parts = []
    if found is not None:
        text = f"a rule of {plan.keys[found.stage]}"
        if found.after is not None:
            text += f", after {found.after}"
        if found.where:
            wanted = (f"{name} = {value}" for name, value in found.where.items())
            text += f", where {', '.join(wanted)}"
        parts.append(text)
    if moment.is_goal:
        parts.append("the goal")
    return "; ".join(parts)


def _spoken(duration: timedelta) -> str:
    """Return a duration for people: days where there are any."""
    days = duration / timedelta(days=1)
    return f"{days:g} days" if days >= 1 else str(duration)


def _key(plan: Plan, stage: int) -> str | None:
    return None if stage == NOWHERE else plan.keys[stage]
