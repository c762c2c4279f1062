"""What is declared about asking, for whatever journeys the Log says were published."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import attrs

from journeykit.feedback import scores
from journeykit.feedback.prompts import PromptFold
from journeykit.feedback.routes import compile_routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journeykit.config.settings import FeedbackSettings, Settings
    from journeykit.feedback.routes import Routes
    from journeykit.journeys.plan import Plan
    from journeykit.model.prompt import Prompt
    from journeykit.model.vocabulary import Vocabulary
    from journeykit.store.projector import Fold


@attrs.frozen
class Asking:
    """
    The declared prompts, and what holds for all of them.

    Args:
        vocabulary: Which names mean the same event.

        touchpoints: The names of the declared touchpoints.

        segments: The properties that figures are told apart by.
    """

    prompts: tuple[Prompt, ...]
    feedback: FeedbackSettings
    vocabulary: Vocabulary
    touchpoints: frozenset[str] = frozenset()
    segments: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings, vocabulary: Vocabulary) -> Asking:
        """Return what *settings* declare."""
        touchpoints = frozenset(point.name for point in settings.touchpoints)
        segments = settings.insight.segments
        return cls(tuple(settings.prompts), settings.feedback, vocabulary, touchpoints, segments)

    def routes(self, plans: Sequence[Plan]) -> Routes | None:
        """Return what events mean to prompts; None without any."""
        if not self.prompts:
            return None
        return compile_routes(self.prompts, self.feedback, plans, self.vocabulary)

    def folds(self, plans: Sequence[Plan]) -> list[Fold]:
        """Return what keeps who is to be asked: nothing without prompts."""
        routes = self.routes(plans)
        return [] if routes is None else [PromptFold(routes), scores.ScoreFold()]

    def fingerprint(self, plans: Sequence[Plan]) -> str:
        """
        Return what changes when the same Log would fold to another State; empty without prompts.

        Which version of a journey a run is on says nothing, for what was published is told apart
        elsewhere.
        """
        routes = self.routes(plans)
        if routes is None:
            return ""
        keys = sorted({label.partition("@")[0] for label in routes.instances})
        parts = repr((routes.fingerprint, keys, scores.VERSION))
        return hashlib.blake2b(parts.encode(), digest_size=8).hexdigest()
