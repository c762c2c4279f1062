"""How long to wait before the next try."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import random


@attrs.frozen
class Backoff:
    """
    Exponential waits, each between half of the most and the most, so that clients spread.

    Args:
        first: The most seconds before the second try.

        factor: How the most grows with each failure.

        most: The most seconds before any try (5 minutes: an outage that has ended is noticed soon).
    """

    first: float = 1.0
    factor: float = 2.0
    most: float = 300.0

    def delay(
        self, failures: int, randomness: random.Random, retry_after: float | None = None
    ) -> float:
        """
        Return the seconds to wait after *failures* failures in a row.

        Args:
            retry_after: What the other side asked for; never less than that, up to an hour.
        """
        ceiling = min(self.most, self.first * self.factor ** min(failures - 1, 64))
        waited = randomness.uniform(ceiling / 2, ceiling)
        return max(waited, min(retry_after or 0.0, 3600.0))
