"""Declarations and records: frozen values, no I/O, no clock."""

from __future__ import annotations

from journeykit.model.customer import Customer
from journeykit.model.event import Entry, Event, Kind, Stored
from journeykit.model.impression import (
    Candidate,
    ImpressionStep,
    Offer,
    Outcome,
    OutcomeStatus,
    Page,
)
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
from journeykit.model.prompt import (
    Ask,
    Cap,
    Clock,
    Option,
    Prompt,
    PromptKind,
    PromptStep,
    Schedule,
    Style,
    When,
    Where,
)
from journeykit.model.receipt import Receipt

__all__ = [
    "Ask",
    "Candidate",
    "Cap",
    "Clock",
    "Customer",
    "Entry",
    "Event",
    "Exit",
    "Goal",
    "ImpressionStep",
    "Instance",
    "Journey",
    "Kind",
    "Migrate",
    "Offer",
    "Option",
    "Outcome",
    "OutcomeStatus",
    "Page",
    "PainPoint",
    "Prompt",
    "PromptKind",
    "PromptStep",
    "Publish",
    "ReEntry",
    "Receipt",
    "Rule",
    "Schedule",
    "Severity",
    "Stage",
    "Stored",
    "Style",
    "Touchpoint",
    "When",
    "Where",
]
