"""What rules have found in a customer's events, read again from the trail or from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from journeykit.journeys.findings import Finding, day_of
from journeykit.journeys.reckoning import Happened, Reckoning, Signal
from journeykit.model import jsonbytes
from journeykit.model.event import HISTORICAL, Kind

if TYPE_CHECKING:
    from journeykit.journeys.rulebook import Rulebook
    from journeykit.model.event import Stored
    from journeykit.store.view import View

#: An event that is older than the newest of its customer by more than this changes nothing any
#: more, in microseconds: what a journey's late window is by default.
LATE: Final = 7 * 86_400_000_000

#: How many events come between two checkpoints, and the most to read again for a late one: the
#: figures of the runs.
EVERY_EVENTS: Final = 500
MOST_EVENTS: Final = 2000

#: So many times as many more, of events that can only end what others have begun: they leave no
#: trace where there is nothing to end, and so are not counted before.
ENDING: Final = 5

#: The most to read again where two customers turn out to be one: about 20 MB for a moment.
MOST_WHOLE: Final = 10_000

#: The most findings of one customer; what is found beyond is added up under one target a rule.
MOST_FINDINGS: Final = 200
OTHER: Final = "(other)"

#: Number of the rule and target → the finding, without where the customer was.
Findings = dict[tuple[int, str], Finding]


class Checkpoint(NamedTuple):
    """
    The memories and findings of a customer as they were at an instant that is settled.

    `floor` is where in the Log those events begin that are not in it, `highest` when the newest
    before that place occurred.
    """

    floor: Any
    highest: int
    reckoning: bytes
    findings: list[Any]

    @classmethod
    def decode(cls, data: bytes) -> Checkpoint:
        """Return what `encode` has written."""
        floor, highest, reckoning, findings = jsonbytes.loads(data)
        return cls(floor, highest, jsonbytes.dumps(reckoning), findings)

    def encode(self) -> bytes:
        """Return this checkpoint as bytes."""
        floor, highest, reckoning, findings = self
        return jsonbytes.dumps([floor, highest, jsonbytes.loads(reckoning), findings])

    def begin(self) -> tuple[Reckoning, Findings]:
        """Return what to go on from."""
        found = {
            (number, target): Finding.decode(jsonbytes.dumps(data))
            for number, target, data in self.findings
        }
        return Reckoning.decode(self.reckoning), found


@attrs.frozen
class Past:
    """
    The events behind a checkpoint that rules read, in Log order.

    Args:
        overflows: There are more than may be read again.
    """

    checkpoint: Checkpoint | None
    events: Sequence[Happened]
    overflows: bool = False

    @classmethod
    def read(
        cls,
        view: View,
        book: Rulebook,
        customers: Sequence[str],
        checkpoint: Checkpoint | None,
        *,
        most: int,
        apart: bool = False,
    ) -> Past:
        """
        Return the past of these customers, who are one person.

        Args:
            apart: They became one just now, so that each is late behind their own events only.
        """
        found: list[Happened] = []
        floor = checkpoint.floor if checkpoint is not None else None
        begin = Reckoning.decode(checkpoint.reckoning).newest if checkpoint is not None else None
        ending = 0
        highest: dict[str, int] = {"": checkpoint.highest} if checkpoint is not None else {}
        for stored in view.history(customers, floor):
            happened = look(view, book, stored)
            if happened is None:
                continue
            whose = stored.entry.customer_key if apart else ""
            newest = highest.get(whose, happened.at)
            if happened.at < newest - LATE and not stored.entry.flags & HISTORICAL:
                continue
            highest[whose] = max(newest, happened.at)
            if begin is not None and happened[:2] < begin:
                continue
            found.append(happened)
            ending += all(route.ends for route in happened.routes)
            if len(found) - ending > most or ending > most * ENDING:
                return cls(checkpoint, found, overflows=True)
        return cls(checkpoint, found)

    def has(self, event_id: str) -> bool:
        """Return whether an event is among them."""
        return any(each.id == event_id for each in self.events)

    def in_order(self) -> list[Happened]:
        """Return the events in the order in which they occurred."""
        return sorted(self.events, key=_by_time)

    def before(self, newest: tuple[int, str], event_id: str | None) -> Past:
        """Return this past as far as it was looked at before an event: up to *newest*."""
        events = [each for each in self.events if each[:2] <= newest and each.id != event_id]
        return attrs.evolve(self, events=events)


@attrs.frozen
class Replayed:
    """What a past adds up to: memories, findings, and each time that something was found."""

    reckoning: Reckoning
    findings: Findings
    signals: Sequence[Signal]

    @property
    def is_any(self) -> bool:
        """Whether there was any event."""
        return self.reckoning.newest != Reckoning().newest

    @classmethod
    def of(cls, book: Rulebook, past: Past, until: int | None) -> Replayed:
        """Return what *past* adds up to; memories wake up to the instant *until*."""
        if past.checkpoint is None:
            reckoning, findings = Reckoning(), Findings()
        else:
            reckoning, findings = past.checkpoint.begin()
        signals: list[Signal] = []
        for happened in past.in_order():
            signals += reckoning.step(book, happened)
        if until is not None:
            signals += reckoning.expire(book, until)
        effective = gather(book, reckoning, signals, findings.get, findings.__setitem__)
        reckoning.count = len(past.events)
        return cls(reckoning, findings, effective)


def look(view: View, book: Rulebook, stored: Stored) -> Happened | None:
    """Return an event as rules read it; None if none does."""
    entry = stored.entry
    routes = book.routes.get(entry.name)
    if not routes or entry.kind is Kind.DERIVED:
        return None
    # A date in the future folds at the time of the Log.
    at = min(entry.occurred_at, stored.recorded_at)
    return Happened(at, entry.id, stored, routes, view.properties(stored))


def gather(
    book: Rulebook,
    reckoning: Reckoning,
    signals: Iterable[Signal],
    get: Callable[[tuple[int, str]], Finding | None],
    put: Callable[[tuple[int, str], Finding], None],
) -> list[Signal]:
    """Add *signals* to the findings, and return those that have changed one."""
    effective = []
    for signal in signals:
        key = signal.rule, signal.target
        known = get(key)
        if signal.recovered:
            if known is None or known.recovered_at is not None:
                continue
            put(key, attrs.evolve(known, recovered_at=signal.at))
        else:
            if known is None and len(reckoning.found) >= MOST_FINDINGS:
                key = signal.rule, OTHER
                known = get(key)
            new = _finding(book, signal, key[1])
            if known is None:
                reckoning.found.append([*key, signal.at])
            put(key, new if known is None else known.again(new))
        effective.append(signal)
    return effective


def _finding(book: Rulebook, signal: Signal, target: str) -> Finding:
    rule, found = book.rules[signal.rule], signal.found
    return Finding(
        code=rule.code,
        target=target,
        first_at=signal.at,
        last_at=signal.at,
        severity=rule.severity if found.severity is None else found.severity,
        days=(day_of(signal.at),),
        evidence=signal.evidence[-5:],
        value=found.value,
        historical=bool(signal.flags & HISTORICAL),
    )


def is_due(reckoning: Reckoning) -> bool:
    """Return whether it is time to move the checkpoint."""
    return reckoning.count >= EVERY_EVENTS and reckoning.count >= reckoning.look


def settle(book: Rulebook, past: Past, reckoning: Reckoning) -> Checkpoint | None:
    """Return a checkpoint that has all of *past* which nothing can come before any more."""
    events = past.in_order()
    cut = events[-1].at - LATE
    if past.overflows or len(events) > MOST_EVENTS // 2:
        # More than may be read again lie in the window: the older half of them is settled.
        cut = max(cut, events[len(events) // 2].at)
    settled = [each for each in events if each.at < cut]
    reckoning.look = reckoning.count + EVERY_EVENTS
    if not settled:
        return None
    base = Replayed.of(book, attrs.evolve(past, events=settled), None)
    # Before all that occurred at the cut itself.
    base.reckoning.newest = (cut, "")
    base.reckoning.timer = 0
    times = [each.at for each in past.events]
    first = next(index for index, at in enumerate(times) if at >= cut)
    known = past.checkpoint.highest if past.checkpoint is not None else times[0]
    reckoning.count = len(events) - len(settled)
    reckoning.look = reckoning.count + EVERY_EVENTS
    return Checkpoint(
        past.events[first].stored.position,
        max([known, *times[:first]]),
        base.reckoning.encode(),
        [
            [number, target, jsonbytes.loads(finding.encode())]
            for (number, target), finding in base.findings.items()
        ],
    )


def _by_time(happened: Happened) -> tuple[int, str]:
    return happened[:2]
