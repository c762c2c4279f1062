"""What is declared about asking and following up, for whatever journeys were published."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import attrs

from journeykit.feedback import scores
from journeykit.feedback.case_rules import CaseRules, casebooks
from journeykit.feedback.casebook import to_wire
from journeykit.feedback.cases import CaseFold
from journeykit.feedback.prompts import PromptFold
from journeykit.feedback.routes import compile_routes
from journeykit.model.case import Cases

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from journeykit.config.settings import FeedbackSettings, Settings
    from journeykit.feedback.routes import Routes
    from journeykit.journeys.plan import Plan
    from journeykit.model.journey import Journey
    from journeykit.model.prompt import Prompt
    from journeykit.model.vocabulary import Vocabulary
    from journeykit.plugins import Plugins
    from journeykit.store.projector import Fold


@attrs.frozen
class Asking:
    """
    The declared prompts and case rules, and what holds for all of them.

    Args:
        vocabulary: Which names mean the same event.

        touchpoints: The names of the declared touchpoints.

        segments: The properties that figures are told apart by.

        cases: The table `[cases]`.

        wire: The case rules with all owners, as the Log has them; None without any.
    """

    prompts: tuple[Prompt, ...]
    feedback: FeedbackSettings
    vocabulary: Vocabulary
    touchpoints: frozenset[str] = frozenset()
    segments: tuple[str, ...] = ()
    cases: Cases = attrs.field(factory=Cases)
    wire: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls, settings: Settings, vocabulary: Vocabulary, journeys: Iterable[Journey] = ()
    ) -> Asking:
        """Return what *settings* declare, where *journeys* are all that there are."""
        prompts, cases, points = tuple(settings.prompts), settings.cases, settings.touchpoints
        return cls(
            prompts,
            settings.feedback,
            vocabulary,
            touchpoints=frozenset(point.name for point in points),
            segments=settings.insight.segments,
            cases=cases,
            wire=to_wire(cases, prompts, journeys, points, vocabulary),
        )

    @property
    def case_rules(self) -> CaseRules:
        """The case rules, to be published."""
        return CaseRules(self.wire)

    def routes(self, plans: Sequence[Plan]) -> Routes | None:
        """Return what events mean to prompts; None without any."""
        if not self.prompts:
            return None
        return compile_routes(self.prompts, self.feedback, plans, self.vocabulary, self.cases.rules)

    def folds(
        self,
        plans: Sequence[Plan],
        plugins: Plugins | None = None,
        dated: Sequence[Sequence[Any]] = (),
    ) -> list[Fold]:
        """
        Return what keeps cases, and who is to be asked: nothing of what is not declared.

        Args:
            dated: What `CaseRules.publish` has returned.
        """
        routes = self.routes(plans)
        found: list[Fold] = []
        if self.wire is not None and plugins is not None:
            settings = routes is None
            found.append(CaseFold(casebooks(dated), plans, plugins, settings=settings))
        return found if routes is None else [*found, PromptFold(routes), scores.ScoreFold()]

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
