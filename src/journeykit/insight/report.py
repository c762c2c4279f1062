"""The figures of all journeys, and which stage each customer is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from journeykit.journeys.figures import FIGURES, Figures
from journeykit.journeys.identity import TOTALS
from journeykit.journeys.run import NOWHERE, Run
from journeykit.journeys.stages import INSTANCES, Place
from journeykit.model import jsonbytes
from journeykit.model.times import to_datetime
from journeykit.store.protocol import SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from journeykit.journeys.plan import Plan
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
class Report:
    """
    All figures, as far as events have been folded.

    Args:
        events: Events in the Log that are not derived.

        customers: People, as far as they are known to be different ones.
    """

    events: int
    customers: int
    journeys: tuple[JourneyFigures, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return attrs.asdict(self)


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
    """

    customer: str
    known: bool
    stage: str | None
    furthest: str | None
    instance: str
    last_seen: datetime


def report(store: Store, plans: Sequence[Plan]) -> Report:
    """Return the figures of *plans*; it reads a row a journey, however many customers there are."""
    customers = store.state((TOTALS, "customers"))
    return Report(
        events=store.counters()["events"],
        customers=jsonbytes.loads(customers) if customers else 0,
        journeys=tuple(_journey(store, plan) for plan in plans),
    )


def _journey(store: Store, plan: Plan) -> JourneyFigures:
    figures = _figures(store, plan)
    stages = zip(
        plan.journey.stages, figures.entered, figures.current, figures.furthest, strict=True
    )
    return JourneyFigures(
        key=plan.journey.key,
        version=plan.journey.version,
        title=plan.journey.title,
        instances=figures.instances,
        completed=figures.completed if plan.journey.goal is not None else None,
        value=figures.value,
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


def _figures(store: Store, plan: Plan) -> Figures:
    data = store.state((FIGURES, plan.label))
    figures = Figures.decode(data) if data else None
    if figures is None or len(figures.entered) != len(plan.keys):
        # Nobody has begun, or the stages were others when the events were folded.
        return Figures.empty(len(plan.keys))
    return figures


def customers(store: Store, plan: Plan, limit: int) -> list[CustomerStage]:
    """Return where customers are in a journey, the latest first, *limit* at most."""
    found = []
    label = f"{SEPARATOR}{plan.label}{SEPARATOR}"
    # A customer's runs through all journeys lie together, so the others are passed over.
    for key, data in store.scan(INSTANCES):
        if label not in key:
            continue
        run = Run.decode(data)
        if run.has_stage and len(run.visits) == len(plan.keys):
            found.append(_customer(plan, Place.of(key), run))
    found.sort(key=lambda item: item.last_seen, reverse=True)
    return found[:limit]


def _customer(plan: Plan, place: Place, run: Run) -> CustomerStage:
    return CustomerStage(
        customer=place.customer[2:],
        known=place.customer.startswith("u:"),
        stage=_key(plan, run.current),
        furthest=_key(plan, run.furthest),
        instance=place.value,
        last_seen=to_datetime(run.highest),
    )


def _key(plan: Plan, stage: int) -> str | None:
    return None if stage == NOWHERE else plan.keys[stage]
