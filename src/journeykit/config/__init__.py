"""What a shop declares: `journeykit.toml` ⇄ `Settings`."""

from __future__ import annotations

from journeykit.config.secret import Secret
from journeykit.config.settings import (
    Consent,
    ConsentMode,
    Core,
    FeedbackSettings,
    Insight,
    Redaction,
    Settings,
)

__all__ = [
    "Consent",
    "ConsentMode",
    "Core",
    "FeedbackSettings",
    "Insight",
    "Redaction",
    "Secret",
    "Settings",
]
