"""Declarations and records: frozen values, no I/O, no clock."""

from __future__ import annotations

from journeykit.model.customer import Customer
from journeykit.model.event import Entry, Event, Kind, Stored
from journeykit.model.journey import (
    Exit,
    Goal,
    Instance,
    Journey,
    Migrate,
    Publish,
    ReEntry,
    Rule,
    Stage,
    Touchpoint,
)
from journeykit.model.pain_point import PainPoint, Severity
from journeykit.model.receipt import Receipt

__all__ = [
    "Customer",
    "Entry",
    "Event",
    "Exit",
    "Goal",
    "Instance",
    "Journey",
    "Kind",
    "Migrate",
    "PainPoint",
    "Publish",
    "ReEntry",
    "Receipt",
    "Rule",
    "Severity",
    "Stage",
    "Stored",
    "Touchpoint",
]
