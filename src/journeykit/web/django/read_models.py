"""
Names for what the admin shows, so that Django has addresses and permissions for it.

Nothing of this has a table: what is shown comes from the kit, and there is no second truth.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from journeykit.web.django.project import LABEL


class _Nothing(models.Manager):
    """Returns no rows to who asks every model for them, such as `dumpdata`: there is no table."""

    def get_queryset(self) -> Any:
        """Return none, without asking the database."""
        return super().get_queryset().none()


class _Shown(models.Model):
    """Something that the admin shows under a key."""

    key = models.CharField(primary_key=True, max_length=400)

    objects = _Nothing()

    class Meta:
        """Of all of them."""

        abstract = True
        app_label = LABEL
        managed = False
        base_manager_name = "objects"
        default_permissions: tuple[str, ...] = ("view",)

    def __str__(self) -> str:
        return str(self.key)


class Journey(_Shown):
    """Where customers are."""

    class Meta(_Shown.Meta):
        """What Django calls it."""

        verbose_name = _("journey")
        verbose_name_plural = _("journeys")


class Customer(_Shown):
    """One customer's path."""

    class Meta(_Shown.Meta):
        """What Django calls it."""

        verbose_name = _("customer")
        verbose_name_plural = _("customers")


class PainPoint(_Shown):
    """Where it hurts; who may change it mutes and resolves."""

    class Meta(_Shown.Meta):
        """What Django calls it."""

        verbose_name = _("pain point")
        verbose_name_plural = _("pain points")
        default_permissions = ("view", "change")


class Prompt(_Shown):
    """A feedback question; who may change it switches it on and off."""

    class Meta(_Shown.Meta):
        """What Django calls it."""

        verbose_name = _("prompt")
        verbose_name_plural = _("prompts")
        default_permissions = ("view", "change")


class Answer(_Shown):
    """What customers have answered."""

    class Meta(_Shown.Meta):
        """What Django calls it."""

        verbose_name = _("answer")
        verbose_name_plural = _("answers")


class Case(_Shown):
    """A complaint that somebody follows up; who may change it works it."""

    class Meta(_Shown.Meta):
        """What Django calls it."""

        verbose_name = _("case")
        verbose_name_plural = _("cases")
        default_permissions = ("view", "change")


class ParkedEvent(_Shown):
    """What was set aside; who may change it has it tried again."""

    class Meta(_Shown.Meta):
        """What Django calls it."""

        verbose_name = _("parked event")
        verbose_name_plural = _("parked events")
        default_permissions = ("view", "change")
