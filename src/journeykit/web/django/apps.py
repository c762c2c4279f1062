"""The app: registers checks and receivers; opens nothing, and makes no kit."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.signals import setting_changed
from django.utils.translation import gettext_lazy

from journeykit.web.django.project import LABEL, Holder


class JourneykitConfig(AppConfig):
    """The app `journeykit`."""

    name = "journeykit.web.django"
    label = LABEL
    verbose_name = gettext_lazy("Customer journeys")
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.holder = Holder()

    def ready(self) -> None:
        """Register what Django has to know."""
        from journeykit.web.django import checks, receivers

        checks.register()
        receivers.connect()
        setting_changed.connect(self._forget, dispatch_uid="journeykit.settings")

    def _forget(self, *, setting: str, **_: Any) -> None:
        """Take up a setting that a test has changed."""
        if setting in {"JOURNEYKIT", "ROOT_URLCONF"}:
            self.holder.forget()
