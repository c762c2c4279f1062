"""Keeps a share of the org's requests for its other programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from journeykit import DeliveryError

_USAGE: Final = re.compile(r"\bapi-usage=(\d{1,12})/(\d{1,12})")

#: How long to wait where the share is used up, in seconds: the 24 hours that count go on moving.
PAUSE: Final = 900.0


class Usage:
    """
    How much of its requests of the last 24 hours an org has used up.

    Args:
        share: How much of them may be used up before we wait.

        now: The clock, in seconds.
    """

    def __init__(self, share: float, now: Callable[[], float]) -> None:
        self._share = share
        self._now = now
        self._used = self._most = 0
        self._not_before = 0.0

    def note(self, header: str | None) -> None:
        """Read what an answer says in `Sforce-Limit-Info`."""
        found = _USAGE.search(header or "")
        if found is None:
            return
        self._used, self._most = int(found[1]), int(found[2])
        over = self._most > 0 and self._used >= self._share * self._most
        self._not_before = self._now() + PAUSE if over else 0.0

    def check(self) -> None:
        """Raise `DeliveryError` while the share is used up; then let one request find out."""
        wait = self._not_before - self._now()
        if wait > 0:
            raise DeliveryError(
                f"the org has used {self._used:,} of its {self._most:,} requests of 24 hours, and "
                f"api_share leaves {self._share:.0%}; waiting, or raise api_share",
                retry_after=wait,
            )
