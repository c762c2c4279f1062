"""Folds: identity, stages, pain points; and what they are declared by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journeykit.journeys.declared import Declared, declare
from journeykit.journeys.identity import IdentityFold
from journeykit.journeys.pain_points import PainPointFold
from journeykit.journeys.plan import Plan, compile_plan
from journeykit.journeys.stages import StageFold

if TYPE_CHECKING:
    from journeykit.plugins import Plugins
    from journeykit.store.projector import Fold

#: Counts up when the folds of a new journeykit make another State of the same Log.
FOLD_VERSION: Final = 4

__all__ = ["FOLD_VERSION", "Declared", "Plan", "declare", "folds", "plans"]


def plans(declared: Declared) -> tuple[Plan, ...]:
    """Return the plans of the declared journeys."""
    return tuple(compile_plan(journey, declared.vocabulary) for journey in declared.journeys)


def folds(plans: tuple[Plan, ...], plugins: Plugins) -> list[Fold]:
    """Return the folds to run, in their order; none if nothing is declared."""
    chosen: list[Fold] = []
    if plans:
        chosen.append(StageFold(plans, plugins))
    if plugins.implements("detect_pain_points"):
        chosen.append(PainPointFold(plugins))
    return [IdentityFold(), *chosen] if chosen else []
