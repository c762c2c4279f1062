"""One customer's path: what each event led to, by which rule, and what led to nothing, and why."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from journeykit.insight.path import Explanation, Path, PathStep
from journeykit.journeys.advance import OUT, advance, expire
from journeykit.journeys.checkpoint import (
    CHECKPOINTS,
    MOST_MOMENTS,
    Checkpoint,
    History,
    Instance,
)
from journeykit.journeys.course import Course, by_instant, in_order, lines
from journeykit.journeys.identity import LINKS, MEMBERS
from journeykit.journeys.line_history import read, read_all
from journeykit.journeys.meaning import EVERY, Meaning
from journeykit.journeys.run import NOWHERE, OPTED_OUT, TRANSFERRED, Run
from journeykit.model import jsonbytes
from journeykit.model.customer import customer_key
from journeykit.model.times import to_datetime
from journeykit.store.view import Alarm, Cache, View

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from journeykit.journeys.advance import Signal
    from journeykit.journeys.course import Item, Line
    from journeykit.journeys.line_history import Reading
    from journeykit.journeys.plan import Candidate, Plan
    from journeykit.journeys.run import Moment
    from journeykit.model.event import Stored
    from journeykit.store.protocol import Store

#: The most steps of one run to tell, the latest: what fits on a screen or two.
STEPS: Final = 50


def explain(
    store: Store,
    plans: Sequence[Plan],
    user_id: str | None,
    anonymous_id: str | None,
    most: int | None = None,
) -> Explanation | None:
    """
    Return the path of one customer, as far as events were folded; None if nobody was seen.

    Args:
        most: How many instances to tell, those with the latest events; None for all.
    """
    view = View(store, Cache(), Alarm())
    key = customer_key(user_id, anonymous_id)
    person = view.get(LINKS, key, jsonbytes.loads) or key
    members = [person, *(view.get(MEMBERS, person, jsonbytes.loads) or ())]
    found = lines(plans, asks=False)
    #: Of each line its instances, each with the number of its last event.
    seen: list[dict[str, int]] = [{} for _ in found]
    events = 0
    for stored in view.history(members):
        events += 1
        for line, instances in zip(found, seen, strict=True):
            value = line.value(view, stored)
            if value is not None and value is not EVERY:
                instances[value] = events
    if not events:
        return None
    count, seen = sum(map(len, seen)), seen if most is None else _latest(seen, most)
    paths = [
        path
        for line, instances in zip(found, seen, strict=True)
        for path in _paths(view, line, members, person, list(instances))
    ]
    return Explanation(
        customer=person,
        known_as=tuple(members),
        events=events,
        earlier=count - sum(map(len, seen)),
        paths=tuple(paths),
    )


def _latest(seen: Sequence[dict[str, int]], most: int) -> list[dict[str, int]]:
    """Return those of the instances that have the latest events."""
    numbers = sorted(number for instances in seen for number in instances.values())
    least = numbers[-most] if len(numbers) > most else 0
    return [{value: n for value, n in each.items() if n >= least} for each in seen]


def _paths(
    view: View, line: Line, members: Sequence[str], person: str, values: Sequence[str]
) -> Iterator[Path]:
    """Yield the paths of these instances, whose events are read in one go."""
    if not values:
        return
    if len(line.plans) > 1:
        readings = read_all(view, line, members, [Instance(value) for value in values])
        for value, reading in readings.items():
            yield from _line_paths(view, line, members, person, value, reading)
        return
    plan = line.plans[0]
    for value, history in _histories(view, plan, members, person, values).items():
        path = _path(view, plan, f"{person}\x1f{plan.label}\x1f{value}", value, history)
        if path is not None:
            yield path


def _histories(
    view: View, plan: Plan, members: Sequence[str], person: str, values: Sequence[str]
) -> dict[str, History]:
    meaning = Meaning(plan, asks=False)
    found = History.read_all(view, meaning, members, [Instance(value) for value in values])
    behind = [
        Instance(
            value,
            view.get(CHECKPOINTS, f"{person}\x1f{plan.label}\x1f{value}", Checkpoint.decode),
        )
        for value, history in found.items()
        if history.overflows
    ]
    return found | (History.read_all(view, meaning, members, behind) if behind else {})


def _path(view: View, plan: Plan, place: str, value: str, history: History) -> Path | None:
    run = history.begin(len(plan.keys))
    steps: list[PathStep] = []
    for moment, stored in history.in_order():
        steps += _steps(plan, run, moment, stored)
    head = view.get("instance", place, Run.decode)
    if head is not None and head.newest is not None:
        steps += [_of_deadline(plan, each) for each in expire(plan, run, head.newest[0])]
    steps += [_too_late(plan, moment.at, stored) for moment, stored in history.late]
    return _told(plan, value, run, steps) if steps else None


def _told(plan: Plan, value: str, run: Run, steps: list[PathStep]) -> Path:
    steps.sort(key=lambda step: step.at)
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
    before = _Before.of(run)
    signals = advance(plan, run, moment)
    for signal in signals:
        if signal.cause is not None:
            yield _of_deadline(plan, signal)
    own = [signal for signal in signals if signal.cause is None]
    yield _of_event(plan, run, moment, stored, before, own)


class _Before(NamedTuple):
    """What a run was like before an event."""

    marks: Sequence[str]
    stage: int
    ended: bool
    number: int

    @classmethod
    def of(cls, run: Run) -> _Before:
        return cls(list(run.marks), run.current, run.ended_at is not None, run.number)


def _of_event(
    plan: Plan,
    run: Run,
    moment: Moment,
    stored: Stored,
    before: _Before,
    signals: Sequence[Signal],
) -> PathStep:
    own = [_said(plan, signal) for signal in signals]
    begun = ["began again"] if run.number > before.number else []
    marks, was, ended, _ = before
    rule = _rule(plan, moment, marks)
    because = rule if own or begun else _why_not(plan, run, moment, marks, was, ended=ended)
    return PathStep(
        at=to_datetime(moment.at),
        event=stored.entry.name,
        id=stored.entry.id,
        led_to=", ".join([*begun, *own]),
        because=because,
    )


# Through several versions


def _line_paths(
    view: View,
    line: Line,
    members: Sequence[str],
    person: str,
    value: str,
    reading: Reading,
) -> Iterator[Path]:
    """Yield the path of an instance through each version that it was on."""
    keys = {
        version: f"{person}\x1f{line.plans[version].label}\x1f{value}" for version in line.meanings
    }
    course = Course(line)
    if reading.overflows:
        for version, key in sorted(keys.items(), reverse=True):
            known = view.get(CHECKPOINTS, key, Checkpoint.decode)
            if known is not None:
                course = Course(line, version, {version: Run.decode(known.run)})
                reading = read(view, line, members, Instance(value, known), most=2 * MOST_MOMENTS)
                break
    told = _Told(course)
    order = sorted(reading.items, key=lambda item: item.at)
    for item, rank in in_order(course, order, by_instant(order)):
        told.put(item, rank)
    heads = [view.get("instance", key, Run.decode) for key in keys.values()]
    told.settle(
        max((head.newest[0] for head in heads if head is not None and head.newest), default=0)
    )
    told.steps.setdefault(course.place, []).extend(
        _too_late(line.plans[item.rank], item.at, item.stored) for item in reading.late
    )
    yield from told.paths(value)


class _Told:
    """What puts events behind a course, and tells what became of it by that."""

    def __init__(self, course: Course) -> None:
        self._course = course
        #: Version → what came to pass on it.
        self.steps: dict[int, list[PathStep]] = {}

    def settle(self, until: int) -> None:
        """Let time and publications pass."""
        self._course.settle(until, passed=True)
        self._tell_time()

    def put(self, item: Item, rank: int) -> None:
        """Put an event behind the others."""
        course = self._course
        course.settle(item.at)
        self._tell_time()
        was, place = course.run, course.place
        before = _Before([], NOWHERE, ended=False, number=1) if was is None else _Before.of(was)
        course.put(item, rank, None)
        run, moment = course.run, item.moment(course.place)
        if run is None:
            return
        if place != course.place:
            before = before._replace(stage=NOWHERE, marks=[], ended=False)
        if moment is None:
            self._pass_by(item)
            return
        for version, signal in course.signals:
            if version != course.place:
                ended = _of_event(
                    course.line.plans[version], run, moment, item.stored, before, [signal]
                )
                self.steps.setdefault(version, []).append(ended)
        own = [signal for version, signal in course.signals if version == course.place]
        course.signals.clear()
        step = _of_event(course.plan, run, moment, item.stored, before, own)
        self.steps.setdefault(course.place, []).append(step)

    def _pass_by(self, item: Item) -> None:
        course = self._course
        number = course.plan.journey.version
        step = PathStep(
            at=to_datetime(item.at),
            event=item.stored.entry.name,
            id=item.stored.entry.id,
            led_to="",
            because=f"version {number}, which the run is on, has no rule for it",
        )
        self.steps.setdefault(course.place, []).append(step)

    def _tell_time(self) -> None:
        course = self._course
        for version, signal in course.signals:
            step = _of_deadline(course.line.plans[version], signal)
            self.steps.setdefault(version, []).append(step)
        for version, signal in course.superseded:
            plan = course.line.plans[version]
            self.steps.setdefault(version, []).append(_of_publication(course.line, plan, signal))
        course.signals.clear()
        course.superseded.clear()

    def paths(self, value: str) -> Iterator[Path]:
        """Yield what was told, by version; what came before any run joins the next."""
        left: list[PathStep] = []
        for version, steps in sorted(self.steps.items()):
            run = self._course.runs.get(version)
            left += steps
            if run is not None:
                yield _told(self._course.line.plans[version], value, run, left)
                left = []


def _of_publication(line: Line, plan: Plan, signal: Signal) -> PathStep:
    made = [each.publication for each in line.plans if each.publication is not None]
    number = next((each.number for each in made if each.at == signal.at), plan.journey.version)
    return PathStep(
        at=to_datetime(signal.at),
        event=None,
        id=None,
        led_to=_said(plan, signal),
        because=f"version {number} was published",
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


def _too_late(plan: Plan, at: int, stored: Stored) -> PathStep:
    window = plan.journey.late
    return PathStep(
        at=to_datetime(at),
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
