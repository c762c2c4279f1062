"""
journeykit: a shop's events become customer journeys, and reach the tools the company has.

Importing it starts nothing; names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from journeykit.capture import Bound, bind_customer
    from journeykit.config import (
        Consent,
        Core,
        FeedbackSettings,
        Insight,
        Redaction,
        Secret,
        Settings,
    )
    from journeykit.delivery.sink import Batch, ErasureResult, Rejection, Sink
    from journeykit.erasing import ErasureReport
    from journeykit.exceptions import (
        ConfigError,
        DeliveryError,
        EventRejected,
        ImportFailed,
        JourneykitError,
        PluginError,
        StoreError,
    )
    from journeykit.feedback import Feedback
    from journeykit.hookspecs import hookimpl
    from journeykit.kit import JourneyKit
    from journeykit.model import (
        Ask,
        Candidate,
        Cap,
        Clock,
        Customer,
        Event,
        Exit,
        Goal,
        ImpressionStep,
        Instance,
        Journey,
        Kind,
        Offer,
        Option,
        Outcome,
        OutcomeStatus,
        Page,
        PainPoint,
        Prompt,
        PromptKind,
        PromptStep,
        Receipt,
        ReEntry,
        Rule,
        Schedule,
        Severity,
        Stage,
        Style,
        Touchpoint,
        When,
        Where,
    )
    from journeykit.model.extension import Endpoint, SinkType, SourceType
    from journeykit.model.language import Texts
    from journeykit.model.rule import EventView, Found, PainPointRule, Stepped

    __version__: str

#: Public name → the module that defines it.
_HOMES: Final = {
    "Ask": "model",
    "Batch": "delivery.sink",
    "Bound": "capture",
    "Candidate": "model",
    "Cap": "model",
    "Clock": "model",
    "ConfigError": "exceptions",
    "Consent": "config",
    "Core": "config",
    "Customer": "model",
    "DeliveryError": "exceptions",
    "Endpoint": "model.extension",
    "ErasureReport": "erasing",
    "ErasureResult": "delivery.sink",
    "Event": "model",
    "EventRejected": "exceptions",
    "EventView": "model.rule",
    "Exit": "model",
    "Feedback": "feedback",
    "FeedbackSettings": "config",
    "Found": "model.rule",
    "Goal": "model",
    "ImportFailed": "exceptions",
    "ImpressionStep": "model",
    "Insight": "config",
    "Instance": "model",
    "Journey": "model",
    "JourneyKit": "kit",
    "JourneykitError": "exceptions",
    "Kind": "model",
    "Offer": "model",
    "Option": "model",
    "Outcome": "model",
    "OutcomeStatus": "model",
    "Page": "model",
    "PainPoint": "model",
    "PainPointRule": "model.rule",
    "PluginError": "exceptions",
    "Prompt": "model",
    "PromptKind": "model",
    "PromptStep": "model",
    "ReEntry": "model",
    "Receipt": "model",
    "Redaction": "config",
    "Rejection": "delivery.sink",
    "Rule": "model",
    "Schedule": "model",
    "Secret": "config",
    "Settings": "config",
    "Severity": "model",
    "Sink": "delivery.sink",
    "SinkType": "model.extension",
    "SourceType": "model.extension",
    "Stage": "model",
    "Stepped": "model.rule",
    "StoreError": "exceptions",
    "Style": "model",
    "Texts": "model.language",
    "Touchpoint": "model",
    "When": "model",
    "Where": "model",
    "bind_customer": "capture",
    "hookimpl": "hookspecs",
}

__all__ = [
    "Ask",
    "Batch",
    "Bound",
    "Candidate",
    "Cap",
    "Clock",
    "ConfigError",
    "Consent",
    "Core",
    "Customer",
    "DeliveryError",
    "Endpoint",
    "ErasureReport",
    "ErasureResult",
    "Event",
    "EventRejected",
    "EventView",
    "Exit",
    "Feedback",
    "FeedbackSettings",
    "Found",
    "Goal",
    "ImportFailed",
    "ImpressionStep",
    "Insight",
    "Instance",
    "Journey",
    "JourneyKit",
    "JourneykitError",
    "Kind",
    "Offer",
    "Option",
    "Outcome",
    "OutcomeStatus",
    "Page",
    "PainPoint",
    "PainPointRule",
    "PluginError",
    "Prompt",
    "PromptKind",
    "PromptStep",
    "ReEntry",
    "Receipt",
    "Redaction",
    "Rejection",
    "Rule",
    "Schedule",
    "Secret",
    "Settings",
    "Severity",
    "Sink",
    "SinkType",
    "SourceType",
    "Stage",
    "Stepped",
    "StoreError",
    "Style",
    "Texts",
    "Touchpoint",
    "When",
    "Where",
    "bind_customer",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("journeykit")
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'journeykit' has no attribute {name!r}"
        raise AttributeError(msg)
    value = globals()[name] = getattr(importlib.import_module(f"journeykit.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
