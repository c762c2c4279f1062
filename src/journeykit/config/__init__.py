"""What a shop declares: `journeykit.toml` ⇄ `Settings`."""

from __future__ import annotations

from journeykit.config.secret import Secret
from journeykit.config.settings import Consent, ConsentMode, Core, Insight, Redaction, Settings

__all__ = ["Consent", "ConsentMode", "Core", "Insight", "Redaction", "Secret", "Settings"]
