from __future__ import annotations

from journeykit import hookimpl
from journeykit.journeys import declare, folds, plans
from journeykit.journeys.identity import IdentityFold
from journeykit.journeys.pain_points import PainPointFold
from journeykit.journeys.stages import StageFold
from journeykit.model import Journey
from journeykit.plugins import Plugins

SHOP = Journey(key="shop", version=1, extends="ecommerce")


class Finder:
    """A plugin that may find pain points."""

    @hookimpl
    def detect_pain_points(self) -> None:
        """Find nothing."""


def test_what_is_not_declared_does_not_run() -> None:
    """Without a journey and without a plugin that finds pain points there is no fold at all."""
    declared, _ = declare([SHOP], [], {})
    silent, finder = Plugins(installed=False), Plugins([Finder()], installed=False)

    def kinds(plugins: Plugins, *journeys: Journey) -> list[type]:
        compiled = plans(declare(journeys, [], {})[0])
        return [type(fold) for fold in folds(compiled, plugins)]

    assert kinds(silent) == []
    assert kinds(silent, SHOP) == [IdentityFold, StageFold]
    assert kinds(finder) == [IdentityFold, PainPointFold]
    assert kinds(finder, SHOP) == [IdentityFold, StageFold, PainPointFold]
    assert [plan.label for plan in plans(declared)] == ["shop@1"]
