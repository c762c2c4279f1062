"""
The relay: reads the Log for one sink and sees to it that every event is delivered.

Events are handed over in Log order, one batch at a time.
The cursor moves behind what the sink has taken, and what was parked.
An outage is waited out, however long; an event that the other side refuses for good is parked, with
the reason, and the others go on.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from journeykit.delivery.backoff import Backoff
from journeykit.delivery.reason import plain
from journeykit.delivery.replay import ALL, BEHIND, Replay
from journeykit.delivery.sink import Batch, Rejection
from journeykit.delivery.window import Window
from journeykit.exceptions import DeliveryError
from journeykit.model.event import DELIVER, HISTORICAL, Stored
from journeykit.model.extension import Ordering
from journeykit.model.times import to_rfc3339
from journeykit.store.protocol import Parking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from journeykit.delivery.sink import Sink
    from journeykit.delivery.window import Item
    from journeykit.plugins import Plugins
    from journeykit.store.protocol import Store

SINK_OWNER: Final = "sink:"

#: Events handed to a sink at a time: from about 100 on the batch costs more than the call.
BATCH_EVENTS: Final = 500

#: After a failure, so many events are tried first: where only the answer got lost, they come twice.
PROBE_EVENTS: Final = 10

#: How far to read on while single events are held back.
AHEAD_EVENTS: Final = 5_000

#: How often one event is tried that the other side takes later, while it takes others: an hour.
MOST_TRIES: Final = 20

#: The status of a sink that another process delivers to, or nobody yet.
NO_STATUS: Final[Mapping[str, Any]] = {
    "breaker": None,
    "failures": 0,
    "last_error": None,
    "next_try": None,
    "calling_for": None,
    "held_back": 0,
}

_log = logging.getLogger("journeykit")


class Breaker(StrEnum):
    """Whether a sink is called."""

    #: It works.
    CLOSED = "closed"
    #: It failed, and is left alone for a while.
    OPEN = "open"
    #: It failed, and is tried with a few events now.
    HALF_OPEN = "half_open"


class Relay:
    """
    Delivers the Log of *store* to *sink*.

    Args:
        plugins: Hear of parked events.

        now: The clock for what is parked, in microseconds.

        ordering: What becomes of a customer's events behind one that is parked.

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
        ordering: Ordering = Ordering.GAPS,
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
        self._strict = ordering is Ordering.STRICT
        self._backoff = backoff or Backoff()
        self._random = randomness or random.Random()
        self._monotonic = monotonic
        self._delivered = delivered
        self.right = right
        self._window = Window(strict=self._strict)
        self._replayed = Replay(store, self.owner, strict=self._strict)
        #: What was parked, and is not in the store yet.
        self._parkings: list[Parking] = []
        self._most = BATCH_EVENTS
        #: Calls of which the sink took something.
        self._successes = 0
        self._not_before = 0.0
        self._calling_since: float | None = None
        #: Failures in a row, and what the last one said.
        self.failures = 0
        self.last_error: str | None = None

    @property
    def breaker(self) -> Breaker:
        """Whether the sink is called."""
        if not self.failures:
            return Breaker.CLOSED
        waits = self._monotonic() < self._not_before
        return Breaker.OPEN if waits else Breaker.HALF_OPEN

    def status(self) -> dict[str, Any]:
        """Return how the sink is doing, as JSON values."""
        monotonic, since = self._monotonic(), self._calling_since
        wait = self._not_before - monotonic
        next_try = to_rfc3339(self._now() + int(wait * 1e6)) if wait > 0 else None
        return {
            "breaker": self.breaker.value,
            "failures": self.failures,
            "last_error": self.last_error,
            "next_try": next_try,
            "calling_for": None if since is None else round(monotonic - since, 3),
            "held_back": self._window.held,
        }

    def step(self) -> float | None:
        """Deliver one batch; returns the seconds until the next try, None if all is delivered."""
        wait = self._not_before - self._monotonic()
        if wait > 0:
            return wait
        self._read()
        # Alone in its step, so that a thread that was abandoned in a hook delivers nothing.
        if self._record():
            return 0.0
        try:
            if items := self._window.choose(self._most, self._monotonic()):
                self._deliver(items)
            elif not self._replay():
                return self._window.wait(self._monotonic())
        except _Outage as outage:
            return self._wait(outage)
        self._record()
        return 0.0

    # The window

    def _read(self) -> None:
        """Read on, or anew where somebody else has moved the cursor."""
        position = self._store.cursor(self.owner)
        if not self._window.stands_at(position):
            self._window.begin(position)
            self._parkings.clear()
        room = min(BATCH_EVENTS, AHEAD_EVENTS - len(self._window))
        if room > 0 and self._window.ready < self._most:
            for stored in self._store.read(self._window.reached, room):
                self._window.add(stored, wanted=is_news(stored))
        if self._strict and len(self._window):
            parked = self._store.parked(self.owner, limit=ALL)
            for item in self._window.behind(item.entry for item in parked):
                self._park(item, BEHIND)

    def _record(self) -> bool:
        """Move the cursor behind what is settled, and park what must be; returns whether it did."""
        position = self._window.settled()
        if self._window.stands_at(position) and not self._parkings:
            return False
        with self.right():
            self._store.advance(self.owner, position, self._parkings, self._now())
        self._window.forget(position)
        parked, self._parkings = self._parkings, []
        self._delivered()
        for _, entry, reason in parked:
            self._plugins.event_parked(entry.event(), self.sink.name, reason)
        return True

    def _park(self, item: Item, reason: str) -> None:
        item.done = True
        self._parkings.append(Parking(self.owner, item.stored.entry, reason))

    # One call of the sink

    def _deliver(self, items: Sequence[Item]) -> None:
        fresh = len(items) > 1 and not any(item.answers for item in items)
        try:
            rejected = self._call([item.stored for item in items], may_refuse_all=not fresh)
        except DeliveryError as refusal:
            if len(items) > 1:
                self._window.halve(items)
            else:
                self._park(items[0], plain(str(refusal)))
            self._worked()
            return
        for item in items:
            rejection = rejected.get(item.stored.entry.id)
            if rejection is None:
                item.done = True
            elif rejection.retryable:
                self._hold(item, plain(rejection.reason))
            else:
                self._park(item, plain(rejection.reason))
        if len(rejected) < len(items):
            self._successes += 1
            self._most = min(self._most * 2, BATCH_EVENTS)
        self._worked()

    def _hold(self, item: Item, reason: str) -> None:
        """Try *item* later, unless the sink has taken others often enough and never this one."""
        item.answers += 1
        if item.successes < self._successes:
            item.tries, item.successes = item.tries + 1, self._successes
        if item.tries >= MOST_TRIES:
            self._park(item, f"after {MOST_TRIES} tries: {reason}")
        else:
            delay = self._backoff.delay(item.answers, self._random)
            item.not_before = self._monotonic() + delay

    def _call(self, stored: Sequence[Stored], *, may_refuse_all: bool) -> dict[str, Rejection]:
        """
        Hand *stored* to the sink; returns what it did not take, by id.

        Raises:
            DeliveryError: It refused the batch for good.

            _Outage: It takes nothing at present.

            Outdated: A newer journeykit delivers now.
        """
        # A sink would get again and again what cannot be noted as delivered.
        self._store.check_writer()
        self._calling_since = self._monotonic()
        try:
            ids = {item.entry.id for item in stored}
            answer = _checked(self.sink.deliver(Batch(stored)))
            rejected = {item.id: item for item in answer if item.id in ids}
        except DeliveryError as error:
            if not error.retryable:
                raise
            raise _Outage(plain(str(error)), error.retry_after) from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Not its message: it may hold what was being sent.
            raise _Outage(type(error).__name__, None) from error
        finally:
            self._calling_since = None
        later = [item.reason for item in rejected.values() if item.retryable]
        if len(later) == len(stored) and not may_refuse_all:
            raise _Outage(plain(later[0]), None)
        return rejected

    def _replay(self) -> bool:
        """Try once more what was parked; returns whether there was any."""
        waiting, stuck = self._replayed.take(self._most)
        if stuck:
            with self.right():
                self._store.settle((), dict.fromkeys(stuck, BEHIND))
        if not waiting:
            return False
        stored = [Stored(None, item.parked_at, item.entry) for item in waiting]
        try:
            rejected = self._call(stored, may_refuse_all=True)
            failed = {event: plain(item.reason) for event, item in rejected.items()}
        except DeliveryError as refusal:
            self._worked()
            if len(waiting) > 1:
                self._replayed.halve(len(waiting))
                return True
            failed = {stored[0].entry.id: plain(str(refusal))}
        with self.right():
            self._replayed.settle(waiting, failed)
        self._worked()
        return True

    # Failures

    def _wait(self, outage: _Outage) -> float:
        self.failures += 1
        self.last_error = outage.reason
        self._most = PROBE_EVENTS
        self._window.forget_halves()
        delay = self._backoff.delay(self.failures, self._random, outage.retry_after)
        self._not_before = self._monotonic() + delay
        # The first failure in a row, the second, the fourth, and so on.
        if self.failures & (self.failures - 1) == 0:
            _log.warning(
                "journeykit.delivery_failed",
                extra={
                    "sink": self.sink.name,
                    "error": self.last_error,
                    "failures": self.failures,
                    "retry": round(delay, 1),
                },
            )
        return delay

    def _worked(self) -> None:
        self.failures = 0
        self.last_error = None


def _checked(rejected: Iterable[Rejection] | None) -> list[Rejection]:
    found = list(rejected or ())
    for item in found:
        if not isinstance(item, Rejection):
            msg = f"expected Rejection, got {type(item).__name__}"
            raise TypeError(msg)
    return found


class _Outage(Exception):
    def __init__(self, reason: str, retry_after: float | None) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


def is_news(stored: Stored) -> bool:
    """Return whether a sink is to have this event: history goes out only on request."""
    flags = stored.entry.flags
    return not flags & HISTORICAL or bool(flags & DELIVER)
