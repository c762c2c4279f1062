"""The names of the facts of prompts, and what they hold."""

from __future__ import annotations

from typing import Final

SHOWN: Final = "prompt.shown"
STARTED: Final = "prompt.started"
ANSWERED: Final = "prompt.answered"
DISMISSED: Final = "prompt.dismissed"
EXPIRED: Final = "prompt.expired"
ABANDONED: Final = "prompt.abandoned"

#: What somebody has changed without a deployment.
CHANGED: Final = "setting.changed"

#: The purpose of being asked.
FEEDBACK: Final = "feedback"
