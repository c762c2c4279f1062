"""
What the anomaly rule has found: kept, told once, and told again when it has ended.

An alarm is the same one as long as it is of the same step and segment and its days overlap.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from journeykit.insight.ranking import WEIGHTS
from journeykit.insight.steps import Failing, Step
from journeykit.insight.trials import Mark
from journeykit.journeys.derived import NO_JOURNEY, About, Cause, derive
from journeykit.journeys.findings import MOST_DAYS
from journeykit.model import jsonbytes
from journeykit.model.event import DELIVER, HISTORICAL
from journeykit.model.pain_point import Severity
from journeykit.model.times import to_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from journeykit.insight.anomaly import Anomaly
    from journeykit.insight.steps import Steps
    from journeykit.insight.trials import Source, Trial
    from journeykit.model.event import Entry

#: The code of what the anomaly rule finds.
ANOMALY: Final = "rate.anomaly"

#: Names of what is derived.
DETECTED: Final = "pain_point.detected"
RECOVERED: Final = "pain_point.recovered"
WITHDRAWN: Final = "pain_point.withdrawn"

#: How many events prove something: enough to look at.
MOST_MARKS: Final = 5

#: By how many points a rate must have risen to be severe.
_HIGH: Final = 0.4
_MEDIUM: Final = 0.1

#: Before an anomaly, so many days count as usual for what happens besides.
USUAL_DAYS: Final = 28

#: An alarm is over when so many whole days have come behind its last one.
_OVER_AFTER: Final = 2


class Beside(NamedTuple):
    """What happened to a share of some customers besides; the ids of its newest events."""

    name: str
    share: float
    marks: list[str]


@attrs.define(kw_only=True)
class Record:
    """
    What was found of a step, as State has it.

    Args:
        id: Tells it apart; and `cause`, the first event that failed when it was found.

        step, failing: The key of the step, or the event that says that something failed.

        segment: Property and value; None for everybody.

        first_day, last_day: In days since the epoch.

        alarm: Whether it is one; else it is a change of everybody's.

        told: Whether it was derived; and `over`, whether its end was.

        times: How often it began.

        body: What a report says of it.

        folded: The alarm that this one is told as a part of, by its id.
    """

    id: str
    cause: str
    step: str | None
    failing: str | None
    segment: tuple[str, str] | None
    first_day: int
    last_day: int
    alarm: bool = True
    told: bool = False
    over: bool = False
    times: int = 1
    body: dict[str, Any] = attrs.field(factory=dict)
    folded: str | None = None

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """Return what `encode` has written."""
        values = jsonbytes.loads(data)
        if values["segment"] is not None:
            values["segment"] = tuple(values["segment"])
        return cls(**values)

    def encode(self) -> bytes:
        """Return this record as bytes."""
        return jsonbytes.dumps(attrs.asdict(self))

    def is_of(self, anomaly: Anomaly) -> bool:
        """Return whether *anomaly* is of the same step and segment."""
        step = anomaly.step
        mine = self.failing if isinstance(step, Failing) else self.step
        theirs = step.event if isinstance(step, Failing) else step.key
        return mine == theirs and self.segment == anomaly.segment

    def overlaps(self, anomaly: Anomaly, edge: int) -> bool:
        """Return whether they have days in common, give or take *edge* days."""
        return (
            self.first_day - edge <= anomaly.last_day and anomaly.first_day - edge <= self.last_day
        )


class Told(NamedTuple):
    """An anomaly with where it is in a journey, and what happened besides."""

    anomaly: Anomaly
    step: Step | None
    beside: list[Beside]

    def covers(self, other: Told) -> bool:
        """Return whether *other* tells the same: the event that a step of this fails with."""
        mine, theirs = self.anomaly, other.anomaly
        return (
            isinstance(theirs.step, Failing)
            and any(each.name == theirs.step.event for each in self.beside)
            and mine.segment == theirs.segment
            and mine.first_day <= theirs.last_day
            and theirs.first_day <= mine.last_day
        )


class Teller:
    """
    Says of anomalies what people and sinks are told.

    Args:
        sources: The trials of each step.

        beside: Returns what else happened to the customers of failed trials.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        properties: Sequence[str],
        beside: Callable[[Anomaly, Sequence[Trial]], list[Beside]],
    ) -> None:
        self._sources = {source.step: source for source in sources}
        self._properties = tuple(properties)
        self._beside = beside
        #: The step whose trials were loaded last, and these: those of all would be too many.
        self._loaded: tuple[Any, Sequence[Trial]] = (None, ())

    def _trials(self, step: Any) -> Sequence[Trial]:
        if self._loaded[0] != step:
            source = self._sources.get(step)
            self._loaded = step, () if source is None else source.load()
        return self._loaded[1]

    def told(self, anomaly: Anomaly) -> Told:
        """Return *anomaly* with what else is known of it."""
        others = [trial for trial in self._trials(anomaly.step) if not trial.failed]
        beside = self._beside(anomaly, others)
        if isinstance(anomaly.step, Step):
            return Told(anomaly, anomaly.step, beside)
        steps = Counter(trial.mark.step for trial in anomaly.failures if trial.mark.step)
        step = max(steps, key=lambda step: (steps[step], step), default=None)
        return Told(anomaly, step, [each for each in beside if each.name != anomaly.step.event])

    def body(self, told: Told, dropped: Told | None) -> dict[str, Any]:
        """
        Return what a report says, as JSON values.

        Args:
            dropped: The same as a step that customers get no further from.
        """
        anomaly = told.anomaly
        step = dropped.step if dropped is not None else told.step
        detail = _detail(told)
        if dropped is not None:
            detail["drop_off"] = _detail(dropped)
        days = sorted({trial.day for trial in anomaly.failures})
        return {
            "journey": step.journey if step else None,
            "stage": step.stage if step else None,
            "label": step.label if step else None,
            "first_at": anomaly.first_at,
            "last_at": anomaly.last_at,
            "customers": anomaly.customers,
            "active": self._active(step, anomaly),
            "events": anomaly.failed,
            "severity": _severity(anomaly, dropped.anomaly if dropped is not None else None).value,
            "days": days[-MOST_DAYS:],
            "evidence": _evidence(told),
            "flags": _flags(anomaly),
            "loss": self._loss(dropped or told, step),
            "detail": detail,
        }

    def _active(self, step: Step | None, anomaly: Anomaly) -> int:
        """Return how many customers came to the stage meanwhile."""
        return len(
            {
                trial.customer
                for each in self._sources
                if isinstance(each, Step) and (step is None or _place(each) == _place(step))
                for trial in self._trials(each)
                if _is_within(trial, anomaly)
            }
        )

    def _loss(self, told: Told, step: Step | None) -> list[int] | None:
        """
        Compare who came to the stage inside the span, in the segment, with others of it.

        Returns how many were affected and bought, and how many others there were and bought.
        """
        if step is None:
            return None
        anomaly = told.anomaly
        chosen = [each for each in self._trials(anomaly.step) if self._belongs(each, anomaly)]
        if isinstance(anomaly.step, Failing):
            first = self._first_place(step)
            within = [
                each
                for each in chosen
                if _is_within(each, anomaly) and _came_to(each.mark.step, step, first)
            ]
            affected = [each for each in within if each.failed]
            others = [each for each in within if not each.failed]
        else:
            affected = [each for each in chosen if _is_within(each, anomaly)]
            others = [each for each in chosen if not _is_within(each, anomaly)]
        return [
            len(affected),
            sum(each.converted for each in affected),
            len(others),
            sum(each.converted for each in others),
        ]

    def _first_place(self, step: Step) -> int:
        """Return where the stage of *step* begins."""
        places = (
            each.place
            for each in (*self._sources, step)
            if isinstance(each, Step) and _place(each) == _place(step)
        )
        return min(place for place in places if place is not None)

    def _belongs(self, trial: Trial, anomaly: Anomaly) -> bool:
        if anomaly.segment is None:
            return True
        name, value = anomaly.segment
        return trial.segments[self._properties.index(name)] == value


#: Customer → the names of what else happened on a day, with when and the event's id.
Met = dict[Any, dict[str, tuple[int, str]]]


def besides(
    failures: Sequence[Trial], others: Sequence[Trial], met: Callable[[int], Met]
) -> list[Beside]:
    """
    Return what else happened to the customers of failed trials on that day, the commonest first.

    Names that a fifth of them met, and at most a third as many of *others*.

    Args:
        met: Returns what happened on a day; asked a day at a time, and for none twice.
    """
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    usual = Counter[str]()
    days: dict[int, tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
    for place, trials in enumerate((failures, others)):
        for trial in trials:
            days[trial.day][place].append(trial.customer)
    for day, (failed, passed) in days.items():
        here = met(day)
        for who in failed:
            for name, mark in here.get(who, {}).items():
                found[name].append(mark)
        usual.update(name for who in passed for name in here.get(who, ()))
    told = []
    for name, marks in found.items():
        share = len(marks) / len(failures)
        if share >= max(0.2, 3 * usual[name] / max(1, len(others))):
            newest = [event for _, event in sorted(marks)[-MOST_MARKS:]]
            told.append(Beside(name, share, newest))
    return sorted(told, key=lambda each: (-each.share, each.name))[:3]


def weight(body: Mapping[str, Any]) -> float:
    """Return what the severity weighs."""
    return WEIGHTS[Severity(body["severity"])]


# Derived events


def tell(record: Record, steps: Steps, name: str) -> Entry:
    """Return the event that tells sinks of *record*; the same for whoever tells it."""
    body = record.body
    properties: dict[str, Any] = {
        "code": ANOMALY,
        "target": record.id,
        "segments": dict([record.segment]) if record.segment else {},
        "first_seen": to_datetime(body["first_at"]).isoformat(),
        "last_seen": to_datetime(body["last_at"]).isoformat(),
    }
    if name == DETECTED:
        properties |= {"severity": body["severity"], "evidence": body["evidence"]}
        properties |= {"customers": body["customers"], **body["detail"]}
    label = body["label"]
    encoded = steps.encoded.get(label, NO_JOURNEY) if label else NO_JOURNEY
    cause = Cause(record.cause, None, None, None, body["flags"])
    subject = f"{ANOMALY}\x1f{record.id}\x1f{record.times}"
    about = About(encoded, body["stage"], None)
    return derive(cause, name, subject, body["last_at"], properties, about)


def _place(step: Step) -> tuple[str, str]:
    return step.label, step.stage


def _came_to(furthest: Step | None, step: Step, first: int) -> bool:
    if furthest is None or furthest.place is None:
        return False
    return furthest.label == step.label and furthest.place >= first


def _is_within(trial: Trial, anomaly: Anomaly) -> bool:
    return anomaly.first_day <= trial.day <= anomaly.last_day


def _severity(*anomalies: Anomaly | None) -> Severity:
    rise = max(each.rate - each.usual for each in anomalies if each is not None)
    if rise >= _HIGH:
        return Severity.HIGH
    return Severity.MEDIUM if rise >= _MEDIUM else Severity.LOW


def _evidence(told: Told) -> list[str]:
    """Return the newest failed trials' events, and those of what happened besides."""
    events = [trial.mark.event for trial in told.anomaly.failures[-MOST_MARKS:]]
    events += [event for each in told.beside[:1] for event in each.marks]
    return list(dict.fromkeys(events))


def _flags(anomaly: Anomaly) -> int:
    """Return the flags of what was imported; none where anything was not."""
    marks = [trial.mark for trial in anomaly.failures]
    flags = [mark.flags if isinstance(mark, Mark) else 0 for mark in marks]
    if not all(each & HISTORICAL for each in flags):
        return 0
    return HISTORICAL | (DELIVER if any(each & DELIVER for each in flags) else 0)


def is_over(record: Record, newest: int) -> bool:
    """Return whether what was found has ended by the day *newest*."""
    return record.last_day + _OVER_AFTER <= newest


def _detail(told: Told) -> dict[str, Any]:
    anomaly = told.anomaly
    return {
        "step": anomaly.step.event,
        "what": "failed" if isinstance(anomaly.step, Failing) else "got no further",
        "rate": round(anomaly.rate, 3),
        "usual_rate": round(anomaly.usual, 3),
        "trials": anomaly.trials,
        "ongoing": anomaly.ongoing,
        "together_with": {each.name: round(each.share, 2) for each in told.beside},
    }
