"""
The relay: reads the Log for one sink and sees to it that every event is delivered.

The cursor moves only after the sink has taken a batch.
An outage is waited out, however long; an event that the other side refuses for good is parked, with
the reason, and the others go on.
"""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING, Final

from journeykit.delivery.backoff import Backoff
from journeykit.delivery.sink import Batch, Rejection
from journeykit.exceptions import DeliveryError
from journeykit.model.event import DELIVER, HISTORICAL, Stored
from journeykit.store.protocol import Parked, Parking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from journeykit.delivery.sink import Sink
    from journeykit.plugins import Plugins
    from journeykit.store.protocol import Store

SINK_OWNER: Final = "sink:"

#: Events handed to a sink at a time: from about 100 on the batch costs more than the call.
BATCH_EVENTS: Final = 500


class Relay:
    """
    Delivers the Log of *store* to *sink*.

    Args:
        plugins: Hear of parked events.

        now: The clock for what is parked, in microseconds.

        backoff: How long to wait after a failure.

        randomness: Where the jitter comes from.

        monotonic: The clock for waiting, in seconds.

        delivered: Called when the cursor has moved.

        right: Held while the cursor moves; raises in a thread that was abandoned.
    """

    def __init__(  # noqa: PLR0913 - each is given by the kit, and replaced in some test
        self,
        store: Store,
        sink: Sink,
        plugins: Plugins,
        *,
        now: Callable[[], int],
        backoff: Backoff | None = None,
        randomness: random.Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        delivered: Callable[[], None] = lambda: None,
        right: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self.sink = sink
        self.owner = SINK_OWNER + sink.name
        self._store = store
        self._plugins = plugins
        self._now = now
        self._backoff = backoff or Backoff()
        self._random = randomness or random.Random()
        self._monotonic = monotonic
        self._delivered = delivered
        self.right = right
        self._not_before = 0.0
        #: Failures in a row, and what the last one said.
        self.failures = 0
        self.last_error: str | None = None

    def step(self) -> float | None:
        """Deliver one batch; returns the seconds until the next try, None if all is delivered."""
        wait = self._not_before - self._monotonic()
        if wait > 0:
            return wait
        position = self._store.cursor(self.owner)
        read = self._store.read(position, BATCH_EVENTS)
        try:
            if not read:
                return self._replay()
            wanted = [stored for stored in read if is_news(stored)]
            parked = self._deliver(wanted) if wanted else []
        except _Later as later:
            return self._wait(later)
        with self.right():
            self._store.advance(self.owner, read[-1].position, parked, self._now())
        self._worked()
        self._tell(parked)
        self._delivered()
        return 0.0

    def _deliver(self, stored: Sequence[Stored]) -> list[Parking]:
        """Deliver, and return what has to be parked; raises `_Later` if it must be tried again."""
        try:
            rejected = _checked(self.sink.deliver(Batch(stored)))
        except DeliveryError as error:
            if error.retryable:
                raise _Later(str(error), error.retry_after) from error
            return self._narrow(stored, str(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Not its message: it may hold what was being sent.
            raise _Later(type(error).__name__, None) from error
        return self._sort_out(stored, rejected)

    def _narrow(self, stored: Sequence[Stored], reason: str) -> list[Parking]:
        """Find what the other side refuses by halving."""
        if len(stored) == 1:
            return [Parking(self.owner, stored[0].entry, reason)]
        middle = len(stored) // 2
        return [*self._deliver(stored[:middle]), *self._deliver(stored[middle:])]

    def _sort_out(self, stored: Sequence[Stored], rejected: Sequence[Rejection]) -> list[Parking]:
        known = {item.entry.id for item in stored}
        again = {item.id: item.reason for item in rejected if item.retryable and item.id in known}
        refused = {item.id: item.reason for item in rejected if not item.retryable}
        parked = [
            Parking(self.owner, item.entry, refused[item.entry.id])
            for item in stored
            if item.entry.id in refused
        ]
        if again:
            # Everything behind them waits too, so that a customer's events keep their order.
            retried = [item for item in stored if item.entry.id in again]
            if len(retried) == len(stored):
                raise _Later(next(iter(again.values())), None)
            parked += self._deliver(retried)
        return parked

    def _replay(self) -> float | None:
        waiting = self._store.parked(self.owner, replay=True, limit=BATCH_EVENTS)
        if not waiting:
            return None
        stored = [Stored(None, item.parked_at, item.entry) for item in waiting]
        failed = {parking.entry.id: parking.reason for parking in self._deliver(stored)}
        self._settle(waiting, failed)
        self._worked()
        return 0.0

    def _settle(self, waiting: Sequence[Parked], failed: dict[str, str]) -> None:
        again = {item.number: failed[item.entry.id] for item in waiting if item.entry.id in failed}
        with self.right():
            self._store.settle([item.number for item in waiting if item.number not in again], again)

    def _wait(self, later: _Later) -> float:
        self.failures += 1
        self.last_error = later.reason
        delay = self._backoff.delay(self.failures, self._random, later.retry_after)
        self._not_before = self._monotonic() + delay
        return delay

    def _worked(self) -> None:
        self.failures = 0
        self.last_error = None

    def _tell(self, parked: Sequence[Parking]) -> None:
        for _, entry, reason in parked:
            self._plugins.event_parked(entry.event(), self.sink.name, reason)


def _checked(rejected: Iterable[Rejection] | None) -> list[Rejection]:
    found = list(rejected or ())
    for item in found:
        if not isinstance(item, Rejection):
            msg = f"expected Rejection, got {type(item).__name__}"
            raise TypeError(msg)
    return found


class _Later(Exception):
    def __init__(self, reason: str, retry_after: float | None) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


def is_news(stored: Stored) -> bool:
    """Return whether a sink is to have this event: history goes out only on request."""
    flags = stored.entry.flags
    return not flags & HISTORICAL or bool(flags & DELIVER)
