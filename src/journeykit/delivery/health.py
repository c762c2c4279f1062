"""
How a sink is doing, and how other processes hear of it.

Only the process that delivers knows.
It tells the store when something has changed, and the others read it there.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from journeykit.model import jsonbytes
from journeykit.model.times import to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from journeykit.store.protocol import Store

SINK_OWNER: Final = "sink:"

#: How long to wait at least before telling anew, in seconds: a sink that fails and works in turn
#: shall not cost a transaction each time. An outage that lasts is tried no more often than that.
TELL_SECONDS: Final = 0.5

#: The status of a sink that nobody has delivered to yet.
NO_STATUS: Final[Mapping[str, Any]] = {
    "breaker": None,
    "failures": 0,
    "last_error": None,
    "next_try": None,
    "calling_for": None,
    "held_back": 0,
    "process": None,
    "as_of": None,
}


class Breaker(StrEnum):
    """Whether a sink is called."""

    #: It works.
    CLOSED = "closed"
    #: It failed, and is left alone for a while.
    OPEN = "open"
    #: It failed, and is tried with a few events now.
    HALF_OPEN = "half_open"


class Health:
    """
    Whether a sink works, since when not, and when it is tried again.

    Args:
        owner: The relay's name in the store.

        now: The clock for what is shown, in microseconds.

        monotonic: The clock for waiting, in seconds.
    """

    def __init__(
        self, store: Store, owner: str, *, now: Callable[[], int], monotonic: Callable[[], float]
    ) -> None:
        self._store = store
        self._owner = owner
        self._now = now
        self._monotonic = monotonic
        #: Failures in a row, and what the last one said.
        self.failures = 0
        self.last_error: str | None = None
        #: How many events the sink wants to have later.
        self.held_back = 0
        self._not_before = 0.0
        self._calling_since: float | None = None
        self._called = False
        self._told: object = None
        self._tell_at = 0.0

    @property
    def wait(self) -> float:
        """The seconds until the sink may be called; not above zero if it may be now."""
        return self._not_before - self._monotonic()

    @property
    def breaker(self) -> Breaker:
        """Whether the sink is called."""
        if not self.failures:
            return Breaker.CLOSED
        return Breaker.OPEN if self.wait > 0 else Breaker.HALF_OPEN

    def calls(self) -> None:
        """Note that a call begins."""
        self._called = True
        self._calling_since = self._monotonic()

    def called(self) -> None:
        """Note that the call has ended, whatever came of it."""
        self._calling_since = None

    def failed(self, reason: str, delay: float) -> None:
        """Note a failure; the sink is left alone for *delay* seconds."""
        self.failures += 1
        self.last_error = reason
        self._not_before = self._monotonic() + delay

    def worked(self) -> None:
        """Note that the sink works."""
        self.failures = 0
        self.last_error = None

    def status(self) -> dict[str, Any]:
        """Return how the sink is doing, as JSON values."""
        since, wait, now = self._calling_since, self.wait, self._now()
        return {
            "breaker": self.breaker.value,
            "failures": self.failures,
            "last_error": self.last_error,
            "next_try": to_rfc3339(now + int(wait * 1e6)) if wait > 0 else None,
            "calling_for": None if since is None else round(self._monotonic() - since, 3),
            "held_back": self.held_back,
            "process": os.getpid(),
            "as_of": to_rfc3339(now),
        }

    def due(self) -> float | None:
        """Return the seconds until the store is to be told; None if nothing has changed."""
        if not self._called or self._key() == self._told:
            return None
        return max(0.0, self._tell_at - self._monotonic())

    def tell(self) -> None:
        """Let other processes read in the store how the sink is doing."""
        self._store.tell_status(self._owner, jsonbytes.dumps(self.status()))
        self._told = self._key()
        self._tell_at = self._monotonic() + TELL_SECONDS

    def _key(self) -> object:
        return (
            self.failures,
            self.last_error,
            self._not_before if self.failures else None,
            self.held_back,
        )


def told(store: Store, sink: str) -> dict[str, Any]:
    """Return what the process that delivers to *sink* has told last."""
    status = store.told_status(SINK_OWNER + sink)
    return {**NO_STATUS, **(jsonbytes.loads(status) if status else {})}
