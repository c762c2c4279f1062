"""
What the rules remember of one customer, and how it goes on from event to event.

A pure fold: the same events in the same order give the same memories and signals.
All memories of a customer are one piece of State, because each piece costs more than the rules do.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import attrs

from journeykit.journeys.findings import TARGET_LENGTH
from journeykit.model import jsonbytes
from journeykit.model.event import ASKED, DENIED
from journeykit.model.rule import EVERY, EventView, Found, Stepped

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from journeykit.journeys.rulebook import Route, Rulebook
    from journeykit.model.event import Stored
    from journeykit.model.rule import PainPointRule

_log = logging.getLogger("journeykit")

#: The most targets of all rules together that are remembered of a customer: a shopper has a handful
#: of open carts, forms and conversations; more is a program or a till.
#: The one that was touched longest ago goes first.
MOST_KEYS: Final = 64

#: Later than anything.
_NEVER: Final = 2**63

_bare: Final = object.__new__

# A slot of the piece: which rule, which target, what it remembers, when it wakes (0: never), when
# it was touched last, and the flags and the time in the Log of the event that did.
_RULE, _KEY, _MEMORY, _WAKE, _TOUCHED, _FLAGS, _SINCE = range(7)


class Happened(NamedTuple):
    """An event that some rule reads: when it occurred, its id, itself, its properties."""

    at: int
    id: str
    stored: Stored
    routes: tuple[Route, ...]
    properties: dict[str, Any]


class Offer(NamedTuple):
    """What a rule makes of an event: which target it is about, seen by the rule's own name."""

    number: int
    rule: PainPointRule
    name: str
    ends: bool
    key: str
    event: EventView


class Signal(NamedTuple):
    """
    What a rule has found, or that it has come to a good end.

    The first six fields tell it from every other of the customer.
    `stored` is the event that it was found in, None where time alone has led to it; `flags` are
    those of the derived event.
    """

    rule: int
    target: str
    at: int
    cause: str
    number: int
    recovered: bool
    found: Found
    evidence: tuple[str, ...]
    flags: int
    stored: Stored | None

    @property
    def identity(self) -> tuple[Any, ...]:
        """What tells it from every other."""
        return self[:6]


@attrs.define
class Reckoning:
    """
    The memories of one customer.

    Args:
        newest: When the newest event occurred, and its id.

        clock: The latest instant that was reckoned with: that event, or a memory that woke.

        timer: The deadline of the timer that is set; 0 for none.

        found: Of which rules and targets there are findings, and when each was found first.

        taken_back: How many times something was told and taken back; what is told again after
            that is news.

        count: How many events came since the checkpoint; at `look` it moves.

        stamp: What the customer had agreed to at the latest event.
    """

    newest: tuple[int, str] = (-_NEVER, "")
    clock: int = -_NEVER
    timer: int = 0
    taken_back: int = 0
    count: int = 0
    look: int = 0
    stamp: str = "{}"
    found: list[list[Any]] = attrs.field(factory=list)
    slots: list[list[Any]] = attrs.field(factory=list)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what `encode` has written."""
        # Field by field: the constructor takes twice as long.
        found: Self = _bare(cls)
        at, event_id, found.clock, found.timer, found.taken_back, *rest = jsonbytes.loads(data)
        found.newest = at, event_id
        found.count, found.look, found.stamp, found.found, found.slots = rest
        return found

    def encode(self) -> bytes:
        """Return this reckoning as bytes."""
        at, event_id = self.newest
        return jsonbytes.dumps(
            (
                at,
                event_id,
                self.clock,
                self.timer,
                self.taken_back,
                self.count,
                self.look,
                self.stamp,
                self.found,
                self.slots,
            )
        )

    def takes(self, at: int, event_id: str) -> bool:
        """Return whether an event is the next in order."""
        return at >= self.clock and (at, event_id) > self.newest

    @property
    def wakes_at(self) -> int:
        """When the first memory wakes; 0 for never."""
        first = 0
        for slot in self.slots:
            wake = slot[_WAKE]
            if wake and (not first or wake < first):
                first = wake
        return first

    def waiting(self) -> tuple[int, int]:
        """Return when the Log had the event that the first wake follows from, and its flags."""
        slot = min((slot for slot in self.slots if slot[_WAKE]), key=_by_wake)
        return slot[_SINCE], slot[_FLAGS]

    def has_found(self, rule: int, target: str) -> bool:
        """Return whether there is a finding of a rule and a target."""
        return any(each[0] == rule and each[1] == target for each in self.found)

    def found_first(self, rule: int, target: str, at: int) -> None:
        """Note that something that there is a finding of was found at the instant *at* too."""
        for each in self.found:
            if each[0] == rule and each[1] == target:
                each[2] = min(each[2], at)

    def remembers(self, numbers: Container[int]) -> bool:
        """Return whether one of these rules remembers anything."""
        return any(slot[_RULE] in numbers for slot in self.slots)

    def offers(self, happened: Happened) -> list[Offer]:
        """
        Return what rules make of an event; empty where it can change nothing.

        One that only ends needs something that it ends.
        """
        at, _, stored, routes, properties = happened
        present = {slot[_RULE] for slot in self.slots}
        event = EventView(stored.entry, "", at, properties)
        offers = []
        for number, rule, name, ends in routes:
            if ends and number not in present:
                continue
            event.name = name
            try:
                key = rule.key(event)
            except Exception as error:  # noqa: BLE001 - what an event holds is anybody's
                _report(rule, error)
                continue
            if key is not None:
                offers.append(Offer(number, rule, name, ends, key, event))
        return offers

    def step(
        self, book: Rulebook, happened: Happened, offers: Sequence[Offer] | None = None
    ) -> list[Signal]:
        """Put an event behind the others; returns what was found."""
        at, event_id, stored, _, _ = happened
        if offers is None:
            offers = self.offers(happened)
        if not offers:
            return []
        signals = self.expire(book, at) if self.slots else []
        self.clock, self.newest = at, (at, event_id)
        if self.slots:
            self._forget_old(book, at)
        for offer in offers:
            try:
                self._take(offer, stored, signals)
            except Exception as error:  # noqa: BLE001 - what an event holds is anybody's
                _report(offer.rule, error)
        if len(self.slots) > MOST_KEYS:
            self._forget_most()
        return signals

    def expire(self, book: Rulebook, until: int) -> list[Signal]:
        """Wake every memory whose time has come by *until*; returns what was found."""
        signals: list[Signal] = []
        while True:
            due = [slot for slot in self.slots if 0 != slot[_WAKE] <= until]
            if not due:
                return signals
            slot = min(due, key=_by_wake)
            at, rule = slot[_WAKE], book.rules[slot[_RULE]]
            self.clock = max(self.clock, at)
            try:
                stepped = rule.wake(slot[_MEMORY], at)
            except Exception as error:  # noqa: BLE001 - what an event holds is anybody's
                _report(rule, error)
                stepped = Stepped()
            self._settle(slot, stepped, at, None, signals)

    def _take(self, offer: Offer, stored: Stored, signals: list[Signal]) -> None:
        number, rule, name, ends, key, event = offer
        event.name = name
        if key == EVERY:
            concerned = [slot for slot in self.slots if slot[_RULE] == number]
        else:
            concerned = [self._slot(number, _printable(key))]
        for slot in concerned:
            if ends and slot[_MEMORY] is None:
                continue
            stepped = rule.step(slot[_MEMORY], event)
            slot[_FLAGS], slot[_SINCE] = stored.entry.flags, stored.recorded_at
            self._settle(slot, stepped, event.at, stored, signals)

    def _slot(self, number: int, key: str) -> list[Any]:
        for slot in self.slots:
            if slot[_RULE] == number and slot[_KEY] == key:
                return slot
        return [number, key, None, 0, 0, 0, 0]

    def _settle(
        self,
        slot: list[Any],
        stepped: Stepped,
        at: int,
        stored: Stored | None,
        signals: list[Signal],
    ) -> None:
        """Keep what a step has left, and gather what it has found."""
        memory, findings, wake_at, recovered = stepped
        is_new = slot[_MEMORY] is None
        deadline = slot[_WAKE]
        slot[_MEMORY], slot[_TOUCHED] = memory, at
        # One that would wake at once would never end.
        slot[_WAKE] = wake_at if wake_at is not None and wake_at > at else 0
        if memory is None and not is_new:
            self.slots = [other for other in self.slots if other is not slot]
        elif memory is not None and is_new:
            self.slots.append(slot)
        if findings or recovered:
            flags = slot[_FLAGS]
            if stored is None and deadline > slot[_SINCE]:
                # What time alone brings about from now on is news.
                flags &= ASKED | DENIED
            signals.extend(self._gather(slot, stepped, at, stored, flags))

    @staticmethod
    def _gather(
        slot: list[Any], stepped: Stepped, at: int, stored: Stored | None, flags: int
    ) -> Iterator[Signal]:
        own = (stored.entry.id,) if stored is not None else ()
        for number, found in enumerate(stepped.findings):
            evidence = found.evidence or own
            cause = own[0] if own else (evidence[-1] if evidence else "")
            yield Signal(
                rule=slot[_RULE],
                target=slot[_KEY],
                at=at,
                cause=cause,
                number=number,
                recovered=False,
                found=found,
                evidence=evidence,
                flags=flags,
                stored=stored,
            )
        if stepped.recovered:
            yield Signal(
                rule=slot[_RULE],
                target=slot[_KEY],
                at=at,
                cause=own[0] if own else "",
                number=0,
                recovered=True,
                found=Found(),
                evidence=own,
                flags=flags,
                stored=stored,
            )

    def _forget_old(self, book: Rulebook, at: int) -> None:
        """Let go of memories that nothing has touched for as long as their rules say."""
        limits = book.lasting
        for slot in self.slots:
            if not slot[_WAKE] and slot[_TOUCHED] + limits[slot[_RULE]] < at:
                self.slots = [
                    other
                    for other in self.slots
                    if other[_WAKE] or other[_TOUCHED] + limits[other[_RULE]] >= at
                ]
                return

    def _forget_most(self) -> None:
        kept = sorted(self.slots, key=_by_touch)[-MOST_KEYS:]
        self.slots = [slot for slot in self.slots if any(slot is other for other in kept)]


def _by_wake(slot: Sequence[Any]) -> tuple[int, int, str]:
    return slot[_WAKE], slot[_RULE], slot[_KEY]


def _by_touch(slot: Sequence[Any]) -> tuple[int, int, str]:
    return slot[_TOUCHED], slot[_RULE], slot[_KEY]


def _printable(key: str) -> str:
    """Return *key* as something that a store can keep."""
    if len(key) > TARGET_LENGTH:
        key = key[:TARGET_LENGTH]
    if key.isprintable():
        return key
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in key)


def _report(rule: PainPointRule, error: Exception) -> None:
    """Tell that a rule of our own has failed on an event, which must not stop the others."""
    extra = {"rule": rule.code, "error": type(error).__name__}
    _log.warning("journeykit.rule_failed", extra=extra)
