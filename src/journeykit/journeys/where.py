"""Where a customer was at an instant: the stage of the first journey that has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from journeykit.journeys.advance import advance
from journeykit.journeys.checkpoint import CHECKPOINTS, Checkpoint, History, Instance
from journeykit.journeys.derived import NO_JOURNEY
from journeykit.journeys.identity import members
from journeykit.journeys.run import NOWHERE, Run
from journeykit.journeys.stages import INSTANCES, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journeykit.journeys.meaning import Meaning
    from journeykit.journeys.plan import Plan
    from journeykit.store.view import View


class Where(NamedTuple):
    """A journey's key and its encoded form, a stage's key, and what tells the instance apart."""

    journey: str | None = None
    stage: str | None = None
    instance: str | None = None
    encoded: bytes = NO_JOURNEY


NOWHERE_AT_ALL = Where()


def where(view: View, meanings: Sequence[Meaning], customer: str, at: int, target: str) -> Where:
    """
    Return where *customer* was at the instant *at*.

    A journey with several instances a customer counts where *target* names one of them.
    """
    for meaning in meanings:
        plan = meaning.plan
        value = "" if plan.journey.instance_by is None else target
        if plan.journey.instance_by is not None and not value:
            continue
        stage = _stage(view, meaning, Place(plan.label, customer, value), at)
        if stage != NOWHERE:
            return Where(plan.journey.key, plan.keys[stage], value, plan.encoded)
    return NOWHERE_AT_ALL


def newest_first(plans: Sequence[Plan]) -> list[Plan]:
    """Return the plans in the order of their journeys, of each journey the newest first."""
    order = {key: place for place, key in enumerate(dict.fromkeys(_key(plan) for plan in plans))}
    return sorted(plans, key=lambda plan: (order[_key(plan)], -plan.journey.version))


def _key(plan: Plan) -> str:
    return plan.journey.key


def _stage(view: View, meaning: Meaning, place: Place, at: int) -> int:
    run = view.get(INSTANCES, place.key, Run.decode)
    if run is None or run.newest is None:
        return NOWHERE
    if run.newest[0] <= at:
        current: int = run.current
        return current
    plan = meaning.plan
    known = view.get(CHECKPOINTS, place.key, Checkpoint.decode)
    if known is not None and known.highest > at:
        known = None
    history = History.read(
        view, meaning, members(view, place.customer), Instance(place.value, known)
    )
    past = history.begin(len(plan.keys))
    for moment, _ in history.in_order():
        if moment.at > at:
            break
        advance(plan, past, moment)
    return past.current
