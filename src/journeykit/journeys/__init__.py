"""Folds: identity, stages, pain points; and what they are declared by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journeykit.journeys.declared import Declared, declare
from journeykit.journeys.identity import IdentityFold
from journeykit.journeys.pain_points import PainPointFold
from journeykit.journeys.plan import Plan, compile_plan
from journeykit.journeys.publisher import Publisher
from journeykit.journeys.rulebook import Rulebook
from journeykit.journeys.rules import LABEL, RuleFold
from journeykit.journeys.stages import StageFold
from journeykit.journeys.timers import Clock
from journeykit.journeys.versions import VersionsFold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from journeykit.plugins import Plugins
    from journeykit.store.projector import Fold

__all__ = ["Declared", "Plan", "Publisher", "Rulebook", "declare", "folds", "plans"]


def plans(declared: Declared) -> tuple[Plan, ...]:
    """Return the plans of the declared journeys, each by itself."""
    return tuple(compile_plan(journey, declared.vocabulary) for journey in declared.journeys)


def folds(
    plans: tuple[Plan, ...],
    plugins: Plugins,
    book: Rulebook | None = None,
    others: Callable[[tuple[Plan, ...]], Sequence[Fold]] | None = None,
) -> list[Fold]:
    """
    Return the folds to run, in their order; none if nothing is declared.

    Args:
        others: Returns the folds of other rooms, which come last.
    """
    chosen: list[Fold] = []
    was_published = all(plan.publication is not None for plan in plans)
    has_versions = was_published and len({plan.journey.key for plan in plans}) < len(plans)
    stages = (VersionsFold if has_versions else StageFold)(plans, plugins)
    if plans:
        chosen.append(stages)
    rules = None
    if book is not None and book.rules:
        rules = RuleFold(book, plans)
        chosen.append(rules)
    if plugins.implements("detect_pain_points"):
        chosen.append(PainPointFold(plugins))
    if others is not None:
        chosen += others(plans)
    if rules is not None:
        chosen.append(Clock({LABEL: rules.expire}, stages.expire))
    elif stages.sets_timers:
        chosen.append(Clock({}, stages.expire))
    return [IdentityFold(), *chosen] if chosen else []
