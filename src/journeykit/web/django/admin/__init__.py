"""
The admin: journeys, customers, pain points, prompts, answers, cases and parked events.

Django imports this where `django.contrib.admin` is installed; without that nothing here is needed.
A site of your own shows the same after `register(site)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.contrib import admin

from journeykit.web.django import models
from journeykit.web.django.admin.answers import AnswerPages
from journeykit.web.django.admin.cases import CasePages
from journeykit.web.django.admin.customers import CustomerPages
from journeykit.web.django.admin.journeys import JourneyPages
from journeykit.web.django.admin.pains import PainPointPages
from journeykit.web.django.admin.parked import ParkedPages
from journeykit.web.django.admin.prompts import PromptPages

if TYPE_CHECKING:
    from journeykit.web.django.admin.pages import Pages

__all__ = ["register"]

_PAGES: Final[dict[type, type[Pages]]] = {
    models.Journey: JourneyPages,
    models.Customer: CustomerPages,
    models.PainPoint: PainPointPages,
    models.Prompt: PromptPages,
    models.Answer: AnswerPages,
    models.Case: CasePages,
    models.ParkedEvent: ParkedPages,
}


def register(site: admin.AdminSite) -> None:
    """Show everything of journeykit's on *site*, too."""
    for model, pages in _PAGES.items():
        if not site.is_registered(model):
            site.register(model, pages)


register(admin.site)
