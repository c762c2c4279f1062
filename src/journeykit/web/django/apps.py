"""The app: registers checks and receivers; opens nothing, and makes no kit."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
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
        from journeykit.web.django import checks, receivers, reloading

        checks.register()
        receivers.connect()
        reloading.connect()
        setting_changed.connect(_forget, dispatch_uid="journeykit.settings")


def _forget(*, setting: str, **_: Any) -> None:
    """Take up a setting that a test has changed."""
    # The app of now: a test that changes the installed apps has another one made.
    if setting in {"JOURNEYKIT", "ROOT_URLCONF"} and apps.is_installed(JourneykitConfig.name):
        apps.get_app_config(LABEL).holder.forget()
