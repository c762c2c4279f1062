"""
The fold that runs the pain-point rules.

An event is looked up by its name; one that no rule reads costs no more than that.
What rules remember of a customer is one piece of State.
An event that arrives behind a newer one has the customer's memories folded again, and what is found
then, and what is not any more, is derived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from journeykit.journeys.decisions import DECISIONS, note
from journeykit.journeys.findings import FINDINGS, Finding
from journeykit.journeys.identity import members
from journeykit.journeys.left_out import LeftOut
from journeykit.journeys.meaning import Meaning
from journeykit.journeys.reckoning import Happened, Reckoning, Signal
from journeykit.journeys.records import PLACED, Records
from journeykit.journeys.replay import (
    LATE,
    MOST_EVENTS,
    MOST_WHOLE,
    Checkpoint,
    Past,
    Replayed,
    gather,
    is_due,
    look,
    settle,
)
from journeykit.journeys.stages import INSTANCES, Place
from journeykit.journeys.timers import GRACE, Timer, set_timer
from journeykit.journeys.where import newest_first
from journeykit.model import jsonbytes
from journeykit.model.consent import encoded_stamp
from journeykit.model.event import ASKED, DENIED, HISTORICAL, Kind
from journeykit.store.view import TIMERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from journeykit.journeys.plan import Plan
    from journeykit.journeys.rulebook import Rulebook
    from journeykit.journeys.segments import Segments
    from journeykit.model.event import Entry, Stored
    from journeykit.store.projector import Step
    from journeykit.store.view import View

#: Customer → what rules remember of them; and where reading their past again begins.
MEMORIES: Final = "rules"
CHECKPOINTS: Final = "rules_checkpoint"

#: What the timers of rules are kept under, where those of runs have a customer's key.
LABEL: Final = "rules"

#: When the Log had the latest imported event: as long as an import goes on, deadlines in the past
#: wait for the customer's next event.
IMPORTS: Final = "rules_import"
_LATEST: Final = "latest"

#: An event that is recorded so much later than it occurred may come behind something that was found
#: since, and tell that the customer was elsewhere then; in microseconds.
DELAY: Final = 1_000_000

_SEPARATOR: Final = "\x1f"


class RuleFold:
    """
    Runs the rules of *book*.

    Args:
        plans: The journeys that findings name the stages of.

        segments: The properties to tell customers apart by, for the record.
    """

    sets_timers = True

    def __init__(
        self,
        book: Rulebook,
        plans: Sequence[Plan] = (),
        segments: Segments | None = None,
    ) -> None:
        self._book = book
        self._routes = book.routes
        self._ending = {
            name: {route.number for route in routes}
            for name, routes in book.routes.items()
            if all(route.ends for route in routes)
        }
        # Of the versions of a journey, the newest that the customer has come to.
        self._meanings = [Meaning(plan, asks=False) for plan in newest_first(plans)]
        self._segments = segments
        self._records = Records(book, self._meanings, segments)
        self._left_out = LeftOut()
        self._staging = {name for plan in plans for name in plan.routes}

    def wants(self, view: View, steps: Sequence[Step]) -> Iterator[tuple[str, list[str]]]:
        """Yield what folding *steps* will read, as far as it can be told before."""
        routes = self._routes
        self._left_out.begin(view, steps[0].stored)
        yield (
            MEMORIES,
            [
                step.person
                for step in steps
                if step.stored.entry.name in routes or self._is_delayed(step.stored)
            ],
        )

    def _is_delayed(self, stored: Stored) -> bool:
        """Return whether something may have been found since, that an event tells the stage of."""
        entry = stored.entry
        if stored.recorded_at - entry.occurred_at < DELAY:
            return False
        segments = self._segments
        return entry.name in self._staging or (segments is not None and segments.shown_by(entry))

    def wants_of_timers(self, keys: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Yield what timers of these keys will read."""
        customers = [_customer_of(key) for key in keys]
        yield MEMORIES, customers
        # What is found is told with the stage that the customer is in.
        labels = [
            each.plan.label for each in self._meanings if each.plan.journey.instance_by is None
        ]
        yield INSTANCES, [Place(label, one, "").key for one in customers for label in labels]

    def __call__(self, view: View, step: Step) -> Iterable[Entry]:
        """Fold one event; derives what was found, and what was found and is not so."""
        if step.joined or step.parted is not None:
            return self._regroup(view, step)
        if step.stored.entry.name not in self._routes:
            if step.stored.entry.name in DECISIONS and step.stored.entry.kind is Kind.FACT:
                note(view, step.stored)
            if step.refolded or self._is_delayed(step.stored):
                self._restage(view, step.customer, step.stored.entry.occurred_at)
            return ()
        derived: Iterable[Entry] = ()
        if self._is_idle(view, step):
            self._left_out.note(view, step.stored)
        else:
            happened = look(view, self._book, step.stored)
            derived = self._fold(view, step, happened) if happened is not None else ()
        if step.refolded:
            self._restage(view, step.customer, step.stored.entry.occurred_at)
        return derived

    def _is_idle(self, view: View, step: Step) -> bool:
        """Return whether an event can only end what is not there, which needs no look inside it."""
        numbers = self._ending.get(step.stored.entry.name)
        if numbers is None:
            return False
        reckoning = view.get(MEMORIES, step.customer, Reckoning.decode)
        if reckoning is None:
            return True
        at = min(step.stored.entry.occurred_at, step.stored.recorded_at)
        return reckoning.takes(at, step.stored.id) and not reckoning.remembers(numbers)

    def expire(self, view: View, timer: Timer) -> Iterable[Entry]:
        """Wake what *timer* was set for; derives what was found."""
        customer = _customer_of(timer.key)
        reckoning = view.get(MEMORIES, customer, Reckoning.decode)
        if reckoning is None or reckoning.timer != timer.deadline:
            return ()
        if timer.flags & HISTORICAL:
            latest = view.get(IMPORTS, _LATEST, jsonbytes.loads) or 0
            if timer.goes_off < latest + GRACE:
                # The import goes on: the customer's next event may come yet.
                set_timer(view, timer._replace(set_at=latest))
                return ()
        reckoning.timer = 0
        signals = reckoning.expire(self._book, timer.deadline)
        derived = self._note(view, customer, reckoning, signals)
        self._wait(view, customer, reckoning)
        view.put(MEMORIES, customer, reckoning, Reckoning.encode)
        return derived

    def forget(self, view: View, customers: Sequence[str]) -> int:
        """Remove what is kept of *customers*; returns how many pieces that were."""
        pieces = 0
        for customer in customers:
            reckoning = view.get(MEMORIES, customer, Reckoning.decode)
            pieces += self._forget(view, customer, reckoning)
            part = f"{LABEL}{_SEPARATOR}{customer}{_SEPARATOR}"
            # Also of who was found to be another since: what was theirs is that one's.
            for key in view.find(TIMERS, part):
                view.put(TIMERS, key, None, jsonbytes.dumps)
                pieces += 1
        return pieces

    # In order

    def _fold(self, view: View, step: Step, happened: Happened) -> Iterable[Entry]:
        customer = step.customer
        known = view.get(MEMORIES, customer, Reckoning.decode)
        reckoning = Reckoning() if known is None else known
        flags = happened.stored.entry.flags
        if not reckoning.takes(happened.at, happened.id):
            if happened.at < reckoning.newest[0] - LATE and not flags & HISTORICAL:
                view.counts["late_for_rules"] += 1
                return ()
            return self._refold(view, step, reckoning)
        offers = reckoning.offers(happened)
        if not offers:
            self._left_out.note(view, step.stored)
            return ()
        if self._left_out.may_follow(view, happened, reckoning, offers):
            owners = members(view, customer)
            if self._left_out.follows(view, self._book, owners, happened):
                again = self._look_again(view, step, reckoning)
                if again is not None:
                    return again
        signals = reckoning.step(self._book, happened, offers)
        reckoning.count += 1
        reckoning.stamp = _stamp(happened.stored)
        if flags & HISTORICAL:
            view.put(IMPORTS, _LATEST, happened.stored.recorded_at, jsonbytes.dumps)
        if is_due(reckoning):
            self._settle(view, customer, reckoning)
        derived: Iterable[Entry] = ()
        if signals:
            derived = self._note(view, customer, reckoning, signals)
        self._wait(view, customer, reckoning)
        view.put(MEMORIES, customer, reckoning, Reckoning.encode)
        return derived

    def _settle(self, view: View, customer: str, reckoning: Reckoning) -> None:
        known = view.get(CHECKPOINTS, customer, Checkpoint.decode)
        past = Past.read(view, self._book, members(view, customer), known, most=MOST_EVENTS)
        checkpoint = settle(self._book, past, reckoning)
        if checkpoint is not None:
            view.put(CHECKPOINTS, customer, checkpoint, Checkpoint.encode)

    def _note(
        self, view: View, customer: str, reckoning: Reckoning, signals: Sequence[Signal]
    ) -> list[Entry]:
        """Keep what was found, and derive it."""

        def get(key: tuple[int, str]) -> Finding | None:
            if not reckoning.has_found(*key):
                return None
            finding: Finding | None = view.get(
                FINDINGS, self._records.key(customer, key), Finding.decode
            )
            return finding

        def put(key: tuple[int, str], finding: Finding) -> None:
            if finding.count == 1 and finding.recovered_at is None:
                finding = self._records.placed(view, customer, finding)
            view.put(FINDINGS, self._records.key(customer, key), finding, Finding.encode)

        effective = gather(self._book, reckoning, signals, get, put)
        return [self._records.tell(view, customer, signal, reckoning) for signal in effective]

    def _wait(self, view: View, customer: str, reckoning: Reckoning) -> None:
        """
        Set the timer of the first memory to wake.

        One that is set for an earlier instant stays: it sets the next when it goes off, which costs
        less than a timer for each event.
        """
        first = reckoning.wakes_at
        if not first or 0 < reckoning.timer <= first:
            return
        since, flags = reckoning.waiting()
        if first <= since and not flags & HISTORICAL:
            # It came late, as after an outage: what the customer did next may be on its way too.
            since += GRACE
        key = f"{LABEL}{_SEPARATOR}{customer}{_SEPARATOR}"
        set_timer(view, Timer(key, first, since, flags, reckoning.stamp))
        reckoning.timer = first

    # Out of order

    def _refold(self, view: View, step: Step, before: Reckoning) -> Iterable[Entry]:
        """Fold the customer's events again, from the checkpoint or from the beginning."""
        derived = self._look_again(view, step, before)
        if derived is None:
            view.counts["late_overflow"] += 1
            return ()
        return derived

    def _look_again(self, view: View, step: Step, before: Reckoning) -> Iterable[Entry] | None:
        """
        Fold all that a customer did, and derive what differs from what was told before.

        Returns None where there is more than may be read again.
        """
        customer, stored = step.customer, step.stored
        whole = bool(stored.entry.flags & HISTORICAL)
        known = None if whole else view.get(CHECKPOINTS, customer, Checkpoint.decode)
        past = Past.read(view, self._book, members(view, customer), known, most=MOST_EVENTS)
        if past.overflows or not past.has(stored.id):
            return None
        was = Replayed.of(self._book, past.before(before.newest, stored.id), before.clock)
        now = Replayed.of(self._book, past, before.clock)
        if whole and view.get(CHECKPOINTS, customer, Checkpoint.decode) is not None:
            # The event may belong before the checkpoint, which knows nothing of it.
            view.put(CHECKPOINTS, customer, None, Checkpoint.encode)
        now.reckoning.look = before.look
        return self._replace(view, stored, {customer: (before, now)}, was.signals)

    def _replace(
        self,
        view: View,
        stored: Stored,
        persons: Mapping[str, tuple[Reckoning | None, Replayed]],
        was: Sequence[Signal],
    ) -> list[Entry]:
        """Keep what folding again has led to, and derive what differs from what *was* found."""
        found = {signal.identity for signal in was}
        left = {signal.identity for _, now in persons.values() for signal in now.signals}
        gone = [signal for signal in was if signal.identity not in left]
        derived = []
        for customer, (before, now) in persons.items():
            reckoning = now.reckoning
            if before is not None:
                reckoning.timer, reckoning.stamp = before.timer, before.stamp
                reckoning.taken_back = max(reckoning.taken_back, before.taken_back)
            else:
                reckoning.stamp = _stamp(stored)
            reckoning.taken_back += len(gone)
            self._keep(view, customer, before, now, stored.entry.occurred_at)
            self._wait(view, customer, reckoning)
            piece = reckoning if now.is_any else None
            view.put(MEMORIES, customer, piece, Reckoning.encode)
            derived += [
                self._records.tell(view, customer, signal, reckoning)
                for signal in now.signals
                if signal.identity not in found
            ]
        return derived + [self._records.withdraw(stored, signal) for signal in gone]

    def _keep(
        self,
        view: View,
        customer: str,
        before: Reckoning | None,
        now: Replayed,
        since: int,
    ) -> None:
        """Replace the findings of *customer*; where they were *since* then is found out anew."""
        stale = {(number, target) for number, target, _ in before.found} if before else set()
        for place in stale - now.findings.keys():
            view.put(FINDINGS, self._records.key(customer, place), None, Finding.encode)
        for place, finding in now.findings.items():
            key = self._records.key(customer, place)
            known = view.get(FINDINGS, key, Finding.decode)
            stays = finding.first_at < since
            if known is not None and known.first_at == finding.first_at and stays:
                same = {name: getattr(known, name) for name in PLACED}
                placed = attrs.evolve(finding, **same)
            else:
                placed = self._records.placed(view, customer, finding)
            if placed != known:
                view.put(FINDINGS, key, placed, Finding.encode)

    def _restage(self, view: View, customer: str, since: int = 0) -> None:
        """Find out anew where a customer was when something was found after *since*."""
        reckoning = view.get(MEMORIES, customer, Reckoning.decode)
        for number, target, first_at in reckoning.found if reckoning is not None else ():
            if first_at < since:
                continue
            key = self._records.key(customer, (number, target))
            finding = view.get(FINDINGS, key, Finding.decode)
            if finding is not None:
                placed = self._records.placed(view, customer, finding)
                if placed != finding:
                    view.put(FINDINGS, key, placed, Finding.encode)

    # Who is who

    def _regroup(self, view: View, step: Step) -> Iterable[Entry]:
        """Fold all of those again who turned out to be one person, or not to be."""
        people = [step.customer, *step.joined, *([step.parted] if step.parted else [])]
        before = {one: view.get(MEMORIES, one, Reckoning.decode) for one in people}
        happened = look(view, self._book, step.stored)
        # Who comes, or who leaves.
        if not self._did_anything(view, step.joined or (step.customer,)):
            derived = self._fold(view, step, happened) if happened is not None else ()
            self._restage(view, step.customer)
            return derived
        owners = [step.customer, *([step.parted] if step.parted else [])]
        groups = {one: members(view, one) for one in owners}
        earlier = _earlier(step, groups)
        pasts = {one: self._whole(view, groups[one]) for one in owners}
        olds = {one: self._whole(view, earlier[one]) for one in earlier}
        if any(past.overflows for past in (*pasts.values(), *olds.values())):
            return self._add_up(view, step, before, happened)
        was = [
            signal
            for one, past in olds.items()
            if (known := before.get(one)) is not None
            for signal in Replayed.of(
                self._book, past.before(known.newest, step.stored.id), known.clock
            ).signals
        ]
        known_before = [known for known in before.values() if known is not None]
        clock = max((known.clock for known in known_before), default=None)
        for one in people:
            self._forget_findings(view, one, before[one])
            view.put(CHECKPOINTS, one, None, Checkpoint.encode)
        for one in step.joined:
            view.put(MEMORIES, one, None, Reckoning.encode)
        persons = {
            one: (before[one], Replayed.of(self._book, past, clock)) for one, past in pasts.items()
        }
        taken_back = max((known.taken_back for known in known_before), default=0)
        for _, now in persons.values():
            now.reckoning.taken_back = taken_back
        return self._replace(view, step.stored, persons, was)

    def _did_anything(self, view: View, customers: Sequence[str]) -> bool:
        """Return whether rules read anything that these did; most leave no memory of it."""
        return any(stored.entry.name in self._routes for stored in view.history(customers))

    def _whole(self, view: View, customers: Sequence[str]) -> Past:
        return Past.read(view, self._book, customers, None, most=MOST_WHOLE, apart=True)

    def _add_up(
        self,
        view: View,
        step: Step,
        before: Mapping[str, Reckoning | None],
        happened: Happened | None,
    ) -> Iterable[Entry]:
        """Give what was found about others to a person whose past is too long to be read again."""
        view.counts["late_overflow"] += 1
        mine = before[step.customer] or Reckoning()
        for one in step.joined:
            other = before[one]
            if other is None:
                continue
            for number, target, first_at in other.found:
                place = number, target
                found = view.get(FINDINGS, self._records.key(one, place), Finding.decode)
                key = self._records.key(step.customer, place)
                known = view.get(FINDINGS, key, Finding.decode)
                if known is None:
                    mine.found.append([number, target, first_at])
                else:
                    mine.found_first(number, target, first_at)
                view.put(
                    FINDINGS, key, found if known is None else known.again(found), Finding.encode
                )
            self._forget(view, one, other)
        view.put(MEMORIES, step.customer, mine, Reckoning.encode)
        return self._fold(view, step, happened) if happened is not None else ()

    def _forget(self, view: View, customer: str, reckoning: Reckoning | None) -> int:
        if reckoning is None:
            return 0
        pieces = 1 + self._forget_findings(view, customer, reckoning)
        view.put(MEMORIES, customer, None, Reckoning.encode)
        if view.get(CHECKPOINTS, customer, Checkpoint.decode) is not None:
            view.put(CHECKPOINTS, customer, None, Checkpoint.encode)
            pieces += 1
        return pieces

    def _forget_findings(self, view: View, customer: str, reckoning: Reckoning | None) -> int:
        found = reckoning.found if reckoning is not None else ()
        for number, target, _ in found:
            view.put(FINDINGS, self._records.key(customer, (number, target)), None, Finding.encode)
        return len(found)


def _customer_of(key: str) -> str:
    """Return whom a timer of this key is for."""
    return key.split(_SEPARATOR)[1]


def _earlier(step: Step, groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return who belonged to whom before *step*."""
    if step.parted is not None:
        return {step.parted: [*groups[step.parted], step.customer]}
    mine = [one for one in groups[step.customer] if one not in step.joined]
    return {step.customer: mine, **{one: [one] for one in step.joined}}


def _stamp(stored: Stored) -> str:
    entry = stored.entry
    if not entry.flags & (ASKED | DENIED):
        return "{}"
    return encoded_stamp(entry.flags, entry.body).decode()
