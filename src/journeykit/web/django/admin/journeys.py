"""Pages about journeys: how many customers are where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.text import capfirst

from journeykit.web.django import models
from journeykit.web.django.admin.pages import Pages
from journeykit.web.django.admin.people import may_see

if TYPE_CHECKING:
    from collections.abc import Mapping

    from journeykit.insight import JourneyFigures
    from journeykit.kit import JourneyKit


class JourneyPages(Pages):
    """Journeys."""

    detail_page = "journey"

    def show_list(self, request: Any, kit: JourneyKit) -> Any:
        """Show every journey with its figures."""
        found = kit.browse.journeys()
        rows = [
            {
                "journey": each,
                "url": self.url("change", each.key),
                "conversion": _share(each.completed, each.instances),
            }
            for each in found.journeys
        ]
        return self.page(
            request,
            kit,
            "journeys",
            capfirst(self.opts.verbose_name_plural),
            rows=rows,
            customers=found.customers,
            events=found.events,
        )

    def show_one(self, request: Any, kit: JourneyKit, object_id: str) -> Any:
        """Show one journey: its stages, how far customers get, and how long it takes."""
        key = self.key_of(object_id)
        figures = [each for each in kit.browse.journeys().journeys if each.key == key]
        if not figures:
            return self.unknown(request, key)
        expected = {
            stage.key: stage.expected
            for journey in kit.journeys
            if journey.key == key
            for stage in journey.stages
        }
        times = kit.browse.times(key)
        linked = may_see(request, self.admin_site, models.Customer)
        may_see_pains = may_see(request, self.admin_site, models.PainPoint)
        return self.page(
            request,
            kit,
            "journey",
            figures[-1].title,
            key=key,
            versions=[
                {
                    "journey": each,
                    "conversion": _share(each.completed, each.instances),
                    "stages": self._stages(each, times.stages, expected, linked=linked),
                }
                for each in reversed(figures)
            ],
            times=times,
            pains_url=self.elsewhere("painpoint", journey=key) if may_see_pains else None,
        )

    def elsewhere(self, model: str, **query: str) -> str:
        """Return the address of another list, narrowed down."""
        place = reverse(f"admin:journeykit_{model}_changelist", current_app=self.admin_site.name)
        return f"{place}?{urlencode(query)}"

    def _stages(
        self,
        journey: JourneyFigures,
        times: Mapping[str, float],
        expected: Mapping[str, Any],
        *,
        linked: bool,
    ) -> list[dict[str, Any]]:
        return [
            {
                "stage": stage,
                "share": _share(stage.entered, journey.instances),
                "after": times.get(stage.key),
                "expected": None
                if expected.get(stage.key) is None
                else expected[stage.key].total_seconds(),
                "url": self.elsewhere("customer", journey=journey.key, stage=stage.key)
                if linked and stage.current
                else None,
            }
            for stage in journey.stages
        ]


def _share(part: int | None, whole: int) -> float | None:
    return part / whole if whole and part is not None else None
