"""The pain points of a report: what rules have found in customers, and steps that began to fail."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from journeykit.insight.anomaly import scan
from journeykit.insight.pains import pain_points
from journeykit.insight.population import DAY, MOST_MARKS, OTHER, Population
from journeykit.insight.ranking import WEIGHTS, Loss, Pain, Ranking, rank, wilson
from journeykit.insight.reached import Reached
from journeykit.insight.steps import Failing, Step
from journeykit.journeys.figures import FIGURES, Figures
from journeykit.journeys.findings import findings
from journeykit.model.pain_point import Severity
from journeykit.model.times import to_datetime

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from journeykit.insight.anomaly import Anomaly, Scan, Trial
    from journeykit.insight.population import Trials
    from journeykit.insight.steps import Steps
    from journeykit.journeys.findings import Finding
    from journeykit.journeys.plan import Plan
    from journeykit.store.protocol import Store

#: The code of what the anomaly rule finds.
ANOMALY: Final = "rate.anomaly"

#: By how many points a rate must have risen to be severe.
_HIGH: Final = 0.4
_MEDIUM: Final = 0.1

#: A segment is named if it has so many times the share among those affected that it has among all,
#: at the least (the lower end of its interval).
_MORE_OFTEN: Final = 1.3


@attrs.frozen(kw_only=True)
class Watch:
    """
    What reports need to know of the declarations.

    Args:
        segments: The properties to tell customers apart by; without them no step is watched.

        effort: Code → the days of work to better it.
    """

    steps: Steps
    segments: tuple[str, ...] = ()
    effort: Mapping[str, float] = attrs.field(factory=dict)


_NOTHING: Final = Ranking(points=(), held_back=())


@attrs.frozen(kw_only=True)
class PainPoints:
    """
    What hurts.

    Args:
        ranking: In order, and what rests on too few customers.

        shifts: Steps that failed much more for everybody, and still for less than half.

        notes: What a reader should know of how it was found, a sentence each.
    """

    ranking: Ranking = _NOTHING
    shifts: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()


def ranked_pains(store: Store, plans: Sequence[Plan], watch: Watch) -> PainPoints:
    """Return what hurts, the worst first; without segments it reads no event."""
    found = defaultdict[tuple[str, str | None], list[tuple[str, "Finding"]]](list)
    closed = {each.code for each in pain_points(store, {}) if not each.is_open}
    for key, finding in findings(store):
        if key.code in closed:
            # A person has muted it, or resolved it, and it was not found since.
            continue
        found[key.code, finding.journey].append((key.customer, finding))
    if not found and not watch.segments:
        return PainPoints()
    worth = _worth(store, plans)
    pains: list[Pain] = []
    newest, shifts, notes, population = 0, list[dict[str, Any]](), list[str](), None
    if watch.segments:
        population = Population(watch.steps, watch.segments).read(store)
        newest = population.newest // DAY
        watched = _Watched(population, worth)
        pains += watched.pains()
        shifts, notes = watched.shifts(), watched.notes()
    reached = Reached(store, plans)
    pains += [_of_findings(key, each, reached, worth, population) for key, each in found.items()]
    newest = max(newest, reached.newest // DAY, *_days(found.values()))
    ranking = rank(pains, newest, watch.effort)
    return PainPoints(ranking=ranking, shifts=tuple(shifts), notes=tuple(notes))


def _days(found: Iterable[Sequence[tuple[str, Finding]]]) -> Iterable[int]:
    yield 0
    yield from (finding.last_at // DAY for each in found for _, finding in each)


def _worth(store: Store, plans: Sequence[Plan]) -> dict[str, float | None]:
    """Return what a completion of each journey is worth on average."""
    worth: dict[str, float | None] = {}
    for plan in sorted(plans, key=lambda plan: plan.journey.version):
        data = store.state((FIGURES, plan.label))
        figures = Figures.decode(data) if data else None
        known = figures is not None and figures.completed and figures.value
        worth[plan.journey.key] = figures.value / figures.completed if figures and known else None
    return worth


# What rules have found


def _of_findings(
    key: tuple[str, str | None],
    found: Sequence[tuple[str, Finding]],
    reached: Reached,
    worth: Mapping[str, float | None],
    population: Population | None,
) -> Pain:
    code, journey = key
    stages = Counter(finding.stage for _, finding in found if finding.stage)
    # Where most of them were, so that one problem is one line wherever it catches people.
    stage = max(sorted(stages), key=stages.__getitem__, default=None)
    first = min(finding.first_at for _, finding in found)
    last = max(finding.last_at for _, finding in found)
    since: dict[str, int] = {}
    for customer, finding in found:
        since[customer] = min(since.get(customer, finding.first_at), finding.first_at)
    active, loss = reached.compare(journey, stage, since, (first, last))
    if loss is not None and journey is not None:
        loss = attrs.evolve(loss, order_value=worth.get(journey))
    counts = Counter(finding.severity for _, finding in found)
    newest = sorted((finding.last_at, finding.evidence) for _, finding in found)[-MOST_MARKS:]
    evidence = [event for _, events in newest for event in events[-1:]]
    recovered = sum(finding.recovered_at is not None for _, finding in found)
    return Pain(
        code=code,
        journey=journey,
        stage=stage,
        segment=_segment_of(since, population),
        first_seen=to_datetime(first),
        last_seen=to_datetime(last),
        customers=len(since),
        active=max(active, len(since)),
        events=sum(finding.count for _, finding in found),
        severity=max(counts, key=lambda severity: (counts[severity], WEIGHTS[severity])),
        weight=sum(WEIGHTS[finding.severity] for _, finding in found) / len(found),
        days=frozenset(day for _, finding in found for day in finding.days),
        evidence=tuple(dict.fromkeys(evidence)),
        loss=loss,
        detail={
            **({"recovered": recovered} if recovered else {}),
            **({"stages": dict(sorted(stages.items()))} if len(stages) > 1 else {}),
        },
    )


def _segment_of(customers: Iterable[str], population: Population | None) -> dict[str, str] | None:
    """Return the one segment that *customers* belong to far more often than others; else None."""
    if population is None:
        return None
    everybody = population.values()
    affected = [everybody[customer] for customer in customers if customer in everybody]
    best: tuple[float, str, str] | None = None
    for index, name in enumerate(population.segments):
        usual = Counter(values[index] for values in everybody.values())
        for value, count in Counter(values[index] for values in affected).items():
            if value is None or value == OTHER or 2 * count < len(affected):
                continue
            more = wilson(count, len(affected))[0] / (usual[value] / len(everybody))
            if more >= _MORE_OFTEN and (best is None or more > best[0]):
                best = more, name, value
    return None if best is None else {best[1]: best[2]}


# Steps that began to fail


class _Told(NamedTuple):
    """An anomaly with where it is in a journey, and what happened besides."""

    anomaly: Anomaly
    step: Step | None
    beside: list[Any]

    def covers(self, other: _Told) -> bool:
        """Return whether *other* tells the same: the event that a step of this fails with."""
        mine, theirs = self.anomaly, other.anomaly
        return (
            isinstance(theirs.step, Failing)
            and any(each.name == theirs.step.event for each in self.beside)
            and mine.segment == theirs.segment
            and mine.first_day <= theirs.last_day
            and theirs.first_day <= mine.last_day
        )


class _Watched:
    """What the anomaly rule has found in a population."""

    def __init__(self, population: Population, worth: Mapping[str, float | None]) -> None:
        self._population = population
        self._worth = worth
        self._trials: Trials = population.trials()
        self._scan: Scan = scan(self._trials.steps, self._trials.properties)
        self._alarms = [self._told(each) for each in self._scan.anomalies]
        self._shifts = [self._told(each) for each in self._scan.shifts]

    def _told(self, anomaly: Anomaly) -> _Told:
        trials = self._trials.steps[anomaly.step]
        others = [trial for trial in trials if not trial.failed]
        beside = self._population.beside(anomaly.failures, others)
        if isinstance(anomaly.step, Step):
            return _Told(anomaly, anomaly.step, beside)
        steps = Counter(trial.mark.step for trial in anomaly.failures if trial.mark.step)
        step = max(steps, key=lambda step: (steps[step], step), default=None)
        other = [each for each in beside if each.name != anomaly.step.event]
        return _Told(anomaly, step, other)

    def pains(self) -> list[Pain]:
        """Return the alarms; a step and the event that it failed with are told as one."""
        pains = []
        for told in self._alarms:
            if any(told.covers(other) for other in self._alarms):
                continue
            step = next((other for other in self._alarms if other.covers(told)), None)
            pains.append(self._pain(told, step))
        return pains

    def shifts(self) -> list[dict[str, Any]]:
        """Return what is no alarm, unless an alarm tells it."""
        return [
            {
                "journey": told.step.journey if told.step else None,
                "stage": told.step.stage if told.step else None,
                "first_seen": to_datetime(told.anomaly.first_at).isoformat(),
                "last_seen": to_datetime(told.anomaly.last_at).isoformat(),
                "customers": told.anomaly.customers,
                **_detail(told),
            }
            for told in self._shifts
            if not any(other.covers(told) for other in self._alarms)
        ]

    def _pain(self, told: _Told, dropped: _Told | None) -> Pain:
        anomaly = told.anomaly
        step = dropped.step if dropped is not None else told.step
        severity = _severity(anomaly, dropped.anomaly if dropped is not None else None)
        detail = _detail(told)
        if dropped is not None:
            detail["drop_off"] = _detail(dropped)
        return Pain(
            code=ANOMALY,
            journey=step.journey if step else None,
            stage=step.stage if step else None,
            segment=dict([anomaly.segment]) if anomaly.segment else None,
            first_seen=to_datetime(anomaly.first_at),
            last_seen=to_datetime(anomaly.last_at),
            customers=anomaly.customers,
            active=self._active(step, anomaly),
            events=anomaly.failed,
            severity=severity,
            weight=WEIGHTS[severity],
            days=frozenset(trial.day for trial in anomaly.failures),
            evidence=self._evidence(told),
            loss=self._loss(dropped or told, step),
            detail=detail,
        )

    def _active(self, step: Step | None, anomaly: Anomaly) -> int:
        """Return how many customers came to the stage meanwhile."""
        return len(
            {
                trial.customer
                for each, trials in self._trials.steps.items()
                if step is None or (isinstance(each, Step) and _place(each) == _place(step))
                for trial in trials
                if anomaly.first_day <= trial.day <= anomaly.last_day
            }
        )

    def _loss(self, told: _Told, step: Step | None) -> Loss | None:
        """Compare who came to the stage inside the span, in the segment, with others of it."""
        if step is None:
            return None
        anomaly = told.anomaly
        trials = self._trials.steps[anomaly.step]
        chosen = [trial for trial in trials if self._belongs(trial, anomaly)]
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
        return Loss(
            affected=len(affected),
            affected_converted=sum(each.converted for each in affected),
            others=len(others),
            others_converted=sum(each.converted for each in others),
            order_value=self._worth.get(step.journey),
        )

    def _first_place(self, step: Step) -> int:
        """Return where the stage of *step* begins."""
        places = (
            each.place
            for each in (*self._trials.steps, step)
            if isinstance(each, Step) and _place(each) == _place(step)
        )
        return min(place for place in places if place is not None)

    def _belongs(self, trial: Trial, anomaly: Anomaly) -> bool:
        if anomaly.segment is None:
            return True
        name, value = anomaly.segment
        return trial.segments[self._trials.properties.index(name)] == value

    @staticmethod
    def _evidence(told: _Told) -> tuple[str, ...]:
        """Return the newest failed trials' events, and those of what happened besides."""
        events = [trial.mark.event for trial in told.anomaly.failures[-MOST_MARKS:]]
        events += [event for each in told.beside[:1] for event in each.marks]
        return tuple(dict.fromkeys(events))

    def notes(self) -> list[str]:
        """Return what a reader should know."""
        found, trials = self._scan, self._trials
        notes = [f"no event has {name!r}, which [insight] segments names" for name in trials.unseen]
        notes += [
            f"{name!r} has {count:,} values; all but the 50 most common are one segment, {OTHER}"
            for name, count in trials.capped.items()
        ]
        if found.held_back:
            notes.append(
                f"{found.held_back:,} steps and segments of steps have too few customers for the "
                "anomaly rule"
            )
        return notes


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


def _detail(told: _Told) -> dict[str, Any]:
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
