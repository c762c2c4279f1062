"""What Django knows of us: a table for what waits for the Log, and names for the admin."""

from __future__ import annotations

from django.db import models

from journeykit.web.django.project import LABEL
from journeykit.web.django.read_models import (
    Answer,
    Case,
    Customer,
    Journey,
    PainPoint,
    ParkedEvent,
    Prompt,
)

__all__ = [
    "Answer",
    "Case",
    "Customer",
    "Journey",
    "OutboxEvent",
    "PainPoint",
    "ParkedEvent",
    "Prompt",
]


class OutboxEvent(models.Model):
    """
    An event of a transaction of the shop's: there if, and only if, that was committed.

    It goes when the Log has it, mostly within a second.
    """

    id = models.BigAutoField(primary_key=True)
    event_id = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    #: The form of the record, so that a version that is older leaves it alone.
    form = models.PositiveSmallIntegerField()
    record = models.BinaryField()

    class Meta:
        """What Django calls it."""

        app_label = LABEL
        db_table = "journeykit_outbox"
        verbose_name = "waiting event"

    def __str__(self) -> str:
        return str(self.event_id)
