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
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from journeykit.delivery.asking import ASK_AGAIN, Asking
from journeykit.delivery.backoff import Backoff
from journeykit.delivery.health import SINK_OWNER, Breaker, Health
from journeykit.delivery.reason import RubbishAnswer, mistake, plain
from journeykit.delivery.replay import BEHIND, Replay
from journeykit.delivery.sink import Batch, ErasureStatus, Rejection
from journeykit.delivery.window import Window
from journeykit.exceptions import DeliveryError
from journeykit.model.event import ABOUT_NOBODY, DELIVER, HISTORICAL, Outgoing
from journeykit.model.extension import Ordering
from journeykit.store.kept import Kept
from journeykit.store.protocol import Parking

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractContextManager

    from journeykit.delivery.gate import Gate
    from journeykit.delivery.sink import Sink
    from journeykit.delivery.window import Item
    from journeykit.plugins import Plugins
    from journeykit.store.erasure import Erasure
    from journeykit.store.protocol import Parked, Store

#: Events handed to a sink at a time: from about 100 on the batch costs more than the call.
BATCH_EVENTS: Final = 500

#: After a failure, so many events are tried first: where only the answer got lost, they come twice.
PROBE_EVENTS: Final = 10

#: How far to read on while single events are held back.
AHEAD_EVENTS: Final = 5_000

#: How often one event is tried that the other side takes later, while it takes others: an hour.
MOST_TRIES: Final = 20

#: Before a sink's name: the counter of events that it may not have.
UNCONSENTED: Final = "unconsented:"

#: What a sink says of a batch: what it did not take, by id; or that it refuses the whole for good.
Answer = dict[str, Rejection] | DeliveryError

_log = logging.getLogger("journeykit")


class Relay:
    """
    Delivers the Log of *store* to *sink*.

    Args:
        plugins: Hear of parked events.

        now: The clock for what is parked, in microseconds.

        ordering: What becomes of a customer's events behind one that is parked.

        gate: Which events the sink may have; None for all.

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
        gate: Gate | None = None,
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
        self._gate = gate
        self._backoff = backoff or Backoff()
        self._random = randomness or random.Random()
        self._monotonic = monotonic
        self._delivered = delivered
        self.right = right
        self._window = Window(strict=self._strict)
        self._asking = Asking(store, sink)
        self._replayed = Replay(store, self.owner, strict=self._strict)
        #: What was parked, and is not in the store yet.
        self._parkings: list[tuple[Outgoing, str]] = []
        self._most = BATCH_EVENTS
        #: Whether the last batch was as long as it may be, so that there is likely more.
        self.filled = False
        #: How long to rest before the next one if it was not, in seconds.
        self.rest = 0.0
        #: Calls of which the sink took something.
        self._successes = 0
        self._health = Health(store, self.owner, now=now, monotonic=monotonic)
        if hasattr(sink, "keep_in"):
            sink.keep_in(Kept(store, self.owner))

    @property
    def breaker(self) -> Breaker:
        """Whether the sink is called."""
        return self._health.breaker

    @property
    def failures(self) -> int:
        """Failures in a row."""
        return self._health.failures

    @property
    def last_error(self) -> str | None:
        """What the last failure said; None if the sink works."""
        return self._health.last_error

    def status(self) -> dict[str, Any]:
        """Return how the sink is doing, as JSON values."""
        return self._health.status()

    def step(self) -> float | None:
        """Deliver one batch; returns the seconds until the next try, None if all is delivered."""
        wait = self._health.wait
        self.rest = 0.0
        return self._tell(wait if wait > 0 else self._work())

    def _work(self) -> float | None:
        self._find_place()
        straight = self._straight()
        if straight is None:
            self._read()
        asks = self._asking.fact is not None
        self.filled = straight is None or asks or len(straight) == BATCH_EVENTS
        # Alone in its step, so that a thread that was abandoned in a hook delivers nothing.
        if self._record():
            return 0.0
        try:
            if straight:
                self._pass_on(straight)
            elif items := self._window.choose(self._most, self._monotonic()):
                self._deliver(items)
            elif self._asking.fact is not None:
                return self._ask(self._asking.fact)
            elif not self._replay():
                return self._window.wait(self._monotonic())
        except _Outage as outage:
            if outage.taken:
                self._record()
            return self._wait(outage)
        self._record()
        return 0.0

    def _tell(self, delay: float | None) -> float | None:
        """Let other processes know what has changed, now or in a while; *delay* is until then."""
        self._health.held_back = self._window.held
        due = self._health.due()
        if due is None:
            return delay
        if due > 0:
            return due if delay is None else min(delay, due)
        with self.right():
            self._health.tell()
        return delay

    # The window

    def _find_place(self) -> None:
        """Begin anew where somebody else has moved the cursor."""
        position = self._store.cursor(self.owner)
        if not self._window.stands_at(position):
            self._window.begin(position)
            self._parkings.clear()
            self._asking.fact = None

    def _straight(self) -> Sequence[Outgoing] | None:
        """Return a whole batch as it lies in the Log; None where events need a closer look."""
        if self._strict or len(self._window) or self._parkings or self._most < BATCH_EVENTS:
            return None
        return self._outgoing(BATCH_EVENTS)

    def _outgoing(self, most: int) -> Sequence[Outgoing]:
        """Return what is behind the window, up to an erasure that the sink is to be asked about."""
        if self._asking.fact is not None:
            return ()
        return self._asking.cut(self._store.outgoing(self._window.reached, most))

    def _read(self) -> None:
        room = min(BATCH_EVENTS, AHEAD_EVENTS - len(self._window))
        if room > 0 and self._window.ready < self._most:
            self._add(self._outgoing(room))
        if self._strict and len(self._window):
            parked = self._store.with_parked(self.owner, self._window.customers())
            for item in self._window.behind(parked):
                self._park(item, BEHIND)

    def _add(self, events: Sequence[Outgoing]) -> list[Item]:
        return self._window.add(events, is_news, self._stops)

    def _stops(self, event: Outgoing) -> bool:
        return self._gate is not None and self._gate.stops(event)

    def _allowed(self, events: list[Outgoing]) -> list[Outgoing]:
        if self._gate is None:
            return events
        return [event for event in events if not self._gate.stops(event)]

    def _record(self) -> bool:
        """Move the cursor behind what is settled, and park what must be; returns whether it did."""
        position = self._window.settled()
        if self._window.stands_at(position) and not self._parkings:
            return False
        parkings = self._complete(self._parkings)
        stopped = {UNCONSENTED + self.sink.name: self._window.stopped(position)}
        with self.right():
            self._store.advance(self.owner, position, parkings, self._now(), stopped)
        self._window.forget(position)
        self._parkings = []
        self._delivered()
        for _, entry, reason in parkings:
            self._plugins.event_parked(entry.event(), self.sink.name, reason)
        return True

    def _complete(self, parkings: Sequence[tuple[Outgoing, str]]) -> list[Parking]:
        """Return *parkings* with all columns, which a relay reads of no other event."""
        if not parkings:
            return []
        reasons = {event.id: reason for event, reason in parkings}
        found = self._store.fetch([event.position for event, _ in parkings])
        return [Parking(self.owner, item.entry, reasons[item.id]) for item in found]

    def _park(self, item: Item, reason: str) -> None:
        item.done = True
        self._parkings.append((item.event, reason))

    # One call of the sink

    def _pass_on(self, events: Sequence[Outgoing]) -> None:
        """Deliver what the sink is to have; all *events* join the window if one was not taken."""
        offered = [event for event in events if is_news(event)]
        news = self._allowed(offered)
        answer: Answer = {}
        try:
            if news:
                answer = self._call(news, may_refuse_all=len(news) == 1)
        except _Outage as outage:
            _take(self._add(events), outage.taken)
            raise
        if answer:
            added = self._add(events)
            self._settle([item for item in added if not item.done], answer)
            return
        self._window.skip(events, len(offered) - len(news))
        if news:
            self._successes += 1
            self._health.worked()

    def _deliver(self, items: Sequence[Item]) -> None:
        fresh = len(items) > 1 and not any(item.answers for item in items)
        try:
            answer = self._call([item.event for item in items], may_refuse_all=not fresh)
        except _Outage as outage:
            _take(items, outage.taken)
            raise
        self._settle(items, answer)

    def _settle(self, items: Sequence[Item], answer: Answer) -> None:
        """Do with *items* what the sink said of them."""
        self._health.worked()
        if isinstance(answer, DeliveryError):
            left = _take(items, answer.taken)
            if len(left) > 1:
                self._window.halve(left)
            elif left:
                self._park(left[0], plain(str(answer)))
            return
        for item in items:
            rejection = answer.get(item.event.id)
            if rejection is None:
                item.done = True
            elif rejection.retryable:
                self._hold(item, plain(rejection.reason))
            else:
                self._park(item, plain(rejection.reason))
        if len(answer) < len(items):
            self._successes += 1
            self._most = min(self._most * 2, BATCH_EVENTS)

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

    def _call(self, events: Sequence[Outgoing], *, may_refuse_all: bool) -> Answer:
        """
        Hand *events* to the sink; returns what it said.

        Raises:
            _Outage: It takes nothing at present.

            Outdated: A newer journeykit delivers now.
        """
        # A sink would get again and again what cannot be noted as delivered.
        self._store.check_writer()
        self._health.calls()
        self.rest = getattr(self.sink, "rest", 0.0)
        try:
            answer = _checked(self.sink.deliver(Batch(events)))
        except DeliveryError as error:
            if not error.retryable:
                return error
            raise _Outage(plain(str(error)), error.retry_after, error.taken) from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise _Outage(mistake(error), None) from error
        finally:
            self._health.called()
        if not answer:
            return {}
        ids = {event.id for event in events}
        rejected = {item.id: item for item in answer if item.id in ids}
        later = [item.reason for item in rejected.values() if item.retryable]
        if len(later) == len(events) and not may_refuse_all:
            raise _Outage(plain(later[0]), None)
        return rejected

    def _replay(self) -> bool:
        """Try once more what was parked; returns whether there may be more."""
        waiting, stuck = self._replayed.take(self._most)
        if stuck:
            with self.right():
                self._store.settle((), dict.fromkeys(stuck, BEHIND))
        if not waiting:
            return self._replayed.looking
        if stopped := [item for item in waiting if self._stops(again(item))]:
            # Consent, or what the sink asks for, is not what it was when this was parked.
            with self.right():
                self._store.settle([item.number for item in stopped], {})
                self._store.count({UNCONSENTED + self.sink.name: len(stopped)})
            return True
        try:
            answer = self._call([again(item) for item in waiting], may_refuse_all=True)
        except _Outage as outage:
            self._settle_again([item for item in waiting if item.entry.id in outage.taken], {})
            raise
        self._health.worked()
        if not isinstance(answer, DeliveryError):
            failed = {event: plain(item.reason) for event, item in answer.items()}
        elif len(waiting) == 1:
            failed = {waiting[0].entry.id: plain(str(answer))}
        else:
            self._replayed.halve(len(waiting))
            return True
        self._settle_again(waiting, failed)
        return True

    def _settle_again(self, tried: Sequence[Parked], failed: dict[str, str]) -> None:
        if tried:
            with self.right():
                self._replayed.settle(tried, failed)

    # Erasures

    def _ask(self, fact: Outgoing) -> float:
        """Have the sink erase a customer, all of whose events it was handed; then go on."""
        erasure = self._asking.erasure(fact)
        if erasure is not None:
            self._asking.drop(erasure, self._window)
            if not self._asking.may(erasure):
                return ASK_AGAIN
            status, detail = self._erased(erasure)
            with self.right():
                self._store.erasing.answer(erasure.number, self.sink.name, status, detail)
        self._window.add([fact], is_news)
        self._asking.fact = None
        self._record()
        return 0.0

    def _erased(self, erasure: Erasure) -> tuple[str, str]:
        self._health.calls()
        try:
            answer = self._asking.ask(erasure)
        except DeliveryError as error:
            if error.retryable:
                raise _Outage(plain(str(error)), error.retry_after) from error
            answer = ErasureStatus.FAILED, plain(str(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise _Outage(mistake(error), None) from error
        finally:
            self._health.called()
        self._health.worked()
        return answer

    # Failures

    def _wait(self, outage: _Outage) -> float:
        if outage.taken:
            # It does work, a little at a time.
            self._health.worked()
            self._successes += 1
        self._most = max(PROBE_EVENTS, len(outage.taken))
        self._window.forget_halves()
        delay = self._backoff.delay(self.failures + 1, self._random, outage.retry_after)
        self._health.failed(outage.reason, delay)
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


def _take(items: Sequence[Item], taken: Collection[str]) -> list[Item]:
    """Settle the events with the ids *taken*; returns the others that are not settled."""
    for item in items:
        item.done |= item.event.id in taken
    return [item for item in items if not item.done]


def _checked(rejected: Iterable[Rejection] | None) -> list[Rejection]:
    if rejected is not None and not isinstance(rejected, Iterable):
        raise RubbishAnswer(f"deliver returned {type(rejected).__name__}, no list of Rejection")
    found = list(rejected or ())
    for item in found:
        if not isinstance(item, Rejection):
            raise RubbishAnswer(f"deliver returned {type(item).__name__}, expected Rejection")
    return found


class _Outage(Exception):
    def __init__(self, reason: str, retry_after: float | None, taken: Collection[str] = ()) -> None:
        self.reason = reason
        self.retry_after = retry_after
        self.taken = taken
        super().__init__(reason)


def is_news(event: Outgoing) -> bool:
    """
    Return whether a sink is to have this event.

    History goes out only on request, and what concerns no customer not at all.
    """
    flags = event.flags
    if flags & ABOUT_NOBODY:
        return False
    return not flags & HISTORICAL or bool(flags & DELIVER)


def again(parked: Parked) -> Outgoing:
    """Return a parked event as it went out the first time."""
    return Outgoing.of(parked.entry, None, parked.recorded_at)
