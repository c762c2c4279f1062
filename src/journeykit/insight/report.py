"""The figures of all journeys, and which stage each customer is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from journeykit.insight.watch import PainPoints, ranked_pains
from journeykit.journeys.figures import FIGURES, MOVED, Figures
from journeykit.journeys.identity import TOTALS
from journeykit.journeys.run import NOWHERE, Run
from journeykit.journeys.stages import INSTANCES, Place
from journeykit.model import jsonbytes
from journeykit.model.times import to_datetime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from journeykit.insight.ranking import RankedPain
    from journeykit.insight.watch import Watch
    from journeykit.journeys.plan import Plan
    from journeykit.model.score import Score
    from journeykit.store.protocol import Store


@attrs.frozen(kw_only=True)
class StageFigures:
    """
    One stage of a journey in numbers of instances.

    Args:
        entered: Have been here.

        current: Are here now.

        furthest: Got as far as this and no further.
    """

    key: str
    title: str
    entered: int
    current: int
    furthest: int


@attrs.frozen(kw_only=True)
class JourneyFigures:
    """
    One journey in numbers.

    Args:
        instances: Runs that have entered a stage.

        completed: Of these, how many have met the goal; None where there is no goal.

        value: What completions were worth together, in the unit of the goal's property.
    """

    key: str
    version: int
    title: str
    instances: int
    completed: int | None
    value: float
    stages: tuple[StageFigures, ...]


@attrs.frozen(kw_only=True)
class JourneyTotal:
    """
    A journey with several versions, all of them together.

    Args:
        versions: Those that are added up, the oldest first.

        instances: Runs that have entered a stage; one that went on in another version counts once.

        completed: Of these, how many have met the goal; None where no version has one.

        moved: How many went on in another version.
    """

    key: str
    title: str
    versions: tuple[int, ...]
    instances: int
    completed: int | None
    value: float
    moved: int


@attrs.frozen(kw_only=True)
class Report:
    """
    All figures, as far as events have been folded.

    Args:
        events: Events in the Log that are not derived.

        customers: People, as far as they are known to be different ones.

        journeys: One item a version.

        totals: What the versions of a journey come to, where there are several.
        pain_points: Where customers hurt, the worst first.

        held_back: What rests on too few customers to be ranked.

        shifts: Steps that everybody failed at more than usual, where that is no alarm.

        notes: What to know of how the pain points were found, a sentence each.

        scores: What customers have answered to prompts.
    """

    events: int
    customers: int
    journeys: tuple[JourneyFigures, ...]
    totals: tuple[JourneyTotal, ...] = ()
    pain_points: tuple[RankedPain, ...] = ()
    held_back: tuple[RankedPain, ...] = ()
    shifts: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "events": self.events,
            "customers": self.customers,
            "journeys": [attrs.asdict(each) for each in self.journeys],
            "totals": [attrs.asdict(each) for each in self.totals],
            "pain_points": [each.to_dict() for each in self.pain_points],
            "held_back": [each.to_dict() for each in self.held_back],
            "shifts": [dict(each) for each in self.shifts],
            "notes": list(self.notes),
            "scores": [each.to_dict() for each in self.scores],
        }


@attrs.frozen(kw_only=True)
class CustomerStage:
    """
    Where one customer is in one journey.

    Args:
        customer: The user id, or the anonymous id of somebody unknown.

        known: Whether it is a user id.

        stage: The key of the present stage.

        furthest: The key of the highest stage reached.

        instance: The value that tells instances apart; empty for one a customer.

        last_seen: When the latest event of the instance occurred.

        version: The version of the journey that the instance runs on.
    """

    customer: str
    known: bool
    stage: str | None
    furthest: str | None
    instance: str
    last_seen: datetime
    version: int


def report(store: Store, plans: Sequence[Plan], watch: Watch | None = None) -> Report:
    """
    Return the figures of *plans*, and the pain points if *watch* says how to find them.

    The figures read a row a version, however many customers there are.
    Of the versions of a journey, an older one is left out that nobody has begun.
    """
    hurts = ranked_pains(store, plans, watch) if watch is not None else PainPoints()
    customers = store.state((TOTALS, "customers"))
    newest = {plan.journey.key: plan.label for plan in plans}
    found = [(plan, figures_of(store, plan)) for plan in plans]
    journeys = tuple(
        _journey(plan, figures)
        for plan, figures in found
        if figures.instances or plan.label == newest[plan.journey.key]
    )
    return Report(
        events=store.counters()["events"],
        customers=jsonbytes.loads(customers) if customers else 0,
        journeys=journeys,
        totals=_totals(store, journeys),
        pain_points=hurts.ranking.points,
        held_back=hurts.ranking.held_back,
        shifts=hurts.shifts,
        notes=hurts.notes,
    )


def _totals(store: Store, journeys: Sequence[JourneyFigures]) -> tuple[JourneyTotal, ...]:
    by_key: dict[str, list[JourneyFigures]] = {}
    for journey in journeys:
        by_key.setdefault(journey.key, []).append(journey)
    return tuple(_total(store, found) for found in by_key.values() if len(found) > 1)


def _total(store: Store, versions: Sequence[JourneyFigures]) -> JourneyTotal:
    moved = completed_before = 0
    for each in versions:
        data = store.state((MOVED, f"{each.key}@{each.version}"))
        counts = jsonbytes.loads(data) if data else [0, 0]
        moved, completed_before = moved + counts[0], completed_before + counts[1]
    completed = [each.completed for each in versions if each.completed is not None]
    return JourneyTotal(
        key=versions[-1].key,
        title=versions[-1].title,
        versions=tuple(each.version for each in versions),
        instances=sum(each.instances for each in versions) - moved,
        completed=sum(completed) - completed_before if completed else None,
        value=sum(each.value for each in versions),
        moved=moved,
    )


def _journey(plan: Plan, figures: Figures) -> JourneyFigures:
    stages = zip(
        plan.journey.stages, figures.entered, figures.current, figures.furthest, strict=True
    )
    return JourneyFigures(
        key=plan.journey.key,
        version=plan.journey.version,
        title=plan.journey.title,
        instances=figures.instances,
        completed=figures.completed if plan.journey.goal is not None else None,
        value=float(figures.value),
        stages=tuple(
            StageFigures(
                key=stage.key,
                title=stage.title,
                entered=entered,
                current=current,
                furthest=furthest,
            )
            for stage, entered, current, furthest in stages
        ),
    )


def figures_of(store: Store, plan: Plan) -> Figures:
    """Return the figures of one version."""
    data = store.state((FIGURES, plan.label))
    figures = Figures.decode(data) if data else None
    if figures is None or len(figures.entered) != len(plan.keys):
        # Nobody has begun, or the stages were others when the events were folded.
        return Figures.empty(len(plan.keys))
    return figures


def customers(store: Store, plans: Sequence[Plan], limit: int) -> list[CustomerStage]:
    """
    Return where customers are in a journey, the latest first, *limit* at most.

    Args:
        plans: The journey's versions, the oldest first.
            An instance is told by the last one that it has come to.
    """
    found: dict[tuple[str, str], CustomerStage] = {}
    for plan in plans:
        for key, data in store.scan(INSTANCES, f"{plan.label}\x1f"):
            run, place = Run.decode(data), Place.of(key)
            if run.has_stage and len(run.visits) == len(plan.keys):
                found[place.customer, place.value] = _customer(plan, place, run)
    return sorted(found.values(), key=lambda item: item.last_seen, reverse=True)[:limit]


def _customer(plan: Plan, place: Place, run: Run) -> CustomerStage:
    return CustomerStage(
        customer=place.customer[2:],
        known=place.customer.startswith("u:"),
        stage=_key(plan, run.current),
        furthest=_key(plan, run.furthest),
        instance=place.value,
        last_seen=to_datetime(run.highest),
        version=plan.journey.version,
    )


def _key(plan: Plan, stage: int) -> str | None:
    return None if stage == NOWHERE else plan.keys[stage]
