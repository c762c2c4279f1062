"""A clock that tests move."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import attrs

from journeykit.model.times import to_micros

#: Noon of an ordinary day, in microseconds: where test clocks start.
NOON: Final = to_micros(datetime(2026, 3, 2, 12, tzinfo=UTC))


@attrs.define
class Clock:
    """
    A clock that stands still until it is told to move; calling it gives microseconds.

    It is what `JourneyKit(…, now=clock)` takes.
    """

    micros: int = NOON

    def __call__(self) -> int:
        """Return the present moment."""
        return self.micros

    def advance(self, seconds: float) -> int:
        """Move on by *seconds*, and return the new present."""
        self.micros += round(seconds * 1_000_000)
        return self.micros
