"""
The fold that finds out which customers are the same person.

An anonymous customer who is seen with a user id is that person from then on, with everything that
they did before.
Two known people are never made one: a cookie that was linked stays with its first person, and the
second keeps only the events that name them.
What a person has taken apart stays apart, until somebody signs in there again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journeykit.journeys.derived import Cause, derive
from journeykit.model import jsonbytes
from journeykit.model.customer import customer_key
from journeykit.model.event import IDENTIFIED, UNMERGED, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from journeykit.model.event import Entry
    from journeykit.store.projector import Step
    from journeykit.store.protocol import Store
    from journeykit.store.view import View

#: What it derives.
MERGED: Final = "customer.merged"
MERGE_REFUSED: Final = "customer.merge_refused"

#: Anonymous key → the known customer's.
LINKS: Final = "link"
#: Known customer → the anonymous keys that are linked to them.
MEMBERS: Final = "members"
#: Customer → 1, if they were seen.
CUSTOMERS: Final = "customer"
#: `customers` → how many there are.
TOTALS: Final = "total"
#: Anonymous and known customer → 1, if a person has taken them apart.
APART: Final = "apart"
#: Anonymous and known customer → why they were not made one, so that it is told once.
REFUSED: Final = "refused"

#: The most anonymous customers of one person.
#: Each sign-out begins another, so somebody who signs out every day has this many in over a year;
#: more is a program, or a till.
#: All of them are read for each event of the person that comes late, and kept in one piece of State
#: of about 20 KB.
MOST_DEVICES: Final = 500

_SEPARATOR: Final = "\x1f"


class IdentityFold:
    """Sets the step's customer, and counts who was seen."""

    def wants(self, view: View, steps: Sequence[Step]) -> Iterator[tuple[str, list[str]]]:
        """Yield what folding *steps* will read, each space with the help of the one before."""
        anonymous = (step.stored.entry.anonymous_id for step in steps)
        yield LINKS, [customer_key(None, value) for value in anonymous if value]
        for step in steps:
            step.person = person(view, step)
        yield CUSTOMERS, [step.person for step in steps]

    def __call__(self, view: View, step: Step) -> Iterable[Entry]:
        """Fold one event; derives who was made one with whom, and who was not."""
        entry = step.stored.entry
        if entry.kind is Kind.FACT and entry.name == UNMERGED:
            _part(view, step)
            return ()
        if not entry.user_id and not entry.anonymous_id:
            # About no customer, such as a setting.
            return ()
        derived: Iterable[Entry] = ()
        anonymous = customer_key(None, entry.anonymous_id) if entry.anonymous_id else None
        if anonymous is not None:
            linked = view.get(LINKS, anonymous, jsonbytes.loads)
            if not entry.user_id:
                step.customer = linked or anonymous
            elif linked != step.customer:
                derived = _meet_both(view, step, anonymous, linked)
        _meet(view, step.customer)
        return derived

    def span(self, view: View, customers: Iterable[str]) -> set[str]:
        """Return every key of the people whose keys are among *customers*."""
        known = {view.get(LINKS, key, jsonbytes.loads) or key for key in customers}
        return {key for customer in known for key in members(view, customer)}

    def others(self, view: View, customers: Iterable[str]) -> set[str]:
        """Return who was seen with one of *customers*, and is not known to be the same person."""
        begins = [f"{key}{_SEPARATOR}" for key in customers]
        return {
            pair.removeprefix(begin)
            for space in (APART, REFUSED)
            for begin in begins
            for pair in view.keys(space, begin)
        }

    def forget(self, view: View, customers: Sequence[str]) -> int:
        """Remove what is kept of *customers*; returns how many pieces that were."""
        pieces = 0
        for key in customers:
            for space in (LINKS, MEMBERS, CUSTOMERS):
                if view.get(space, key, jsonbytes.loads) is not None:
                    view.put(space, key, None, jsonbytes.dumps)
                    pieces += 1
                    if space == CUSTOMERS:
                        _count_customers(view, -1)
        return pieces + _forget_pairs(view, set(customers))


def _forget_pairs(view: View, customers: set[str]) -> int:
    """Remove who was taken apart from *customers*, or was not made one with them."""
    pieces = 0
    for space in (APART, REFUSED):
        for pair in view.find(space, _SEPARATOR):
            # Why two were not made one names a third.
            why = view.get(space, pair, jsonbytes.loads)
            third = why.partition(":")[2] if isinstance(why, str) else ""
            if not customers.isdisjoint((*pair.split(_SEPARATOR), third)):
                view.put(space, pair, None, jsonbytes.dumps)
                pieces += 1
    return pieces


def _meet_both(view: View, step: Step, anonymous: str, linked: str | None) -> Iterable[Entry]:
    """Make an anonymous customer and the known one of *step* one person, or say why not."""
    pair = f"{anonymous}{_SEPARATOR}{step.customer}"
    if linked is not None:
        reason = "known_people"
    elif _is_apart(view, step, pair):
        reason = "unmerged"
    elif len(view.get(MEMBERS, step.customer, jsonbytes.loads) or ()) >= MOST_DEVICES:
        reason = "too_many_devices"
    else:
        _link(view, step, anonymous)
        return [_tell(step, MERGED)]
    told = f"{reason}:{linked or ''}"
    if view.get(REFUSED, pair, jsonbytes.loads) == told:
        return ()
    view.put(REFUSED, pair, told, jsonbytes.dumps)
    return [_tell(step, MERGE_REFUSED, reason=reason)]


def _is_apart(view: View, step: Step, pair: str) -> bool:
    """Return whether a person has taken the two apart, and this event does not undo that."""
    if view.get(APART, pair, jsonbytes.loads) is None:
        return False
    entry = step.stored.entry
    if entry.kind is not Kind.FACT or entry.name != IDENTIFIED:
        return True
    view.put(APART, pair, None, jsonbytes.dumps)
    return False


def _link(view: View, step: Step, anonymous: str) -> None:
    known = step.customer
    devices = view.get(MEMBERS, known, jsonbytes.loads) or []
    view.put(LINKS, anonymous, known, jsonbytes.dumps)
    view.put(MEMBERS, known, [*devices, anonymous], jsonbytes.dumps)
    if view.get(CUSTOMERS, anonymous, jsonbytes.loads) is not None:
        step.joined = (anonymous,)
        view.put(CUSTOMERS, anonymous, None, jsonbytes.dumps)
        _count_customers(view, -1)


def _part(view: View, step: Step) -> None:
    """Take the anonymous customer of *step* out of the person whom they were taken for."""
    entry = step.stored.entry
    anonymous = customer_key(None, entry.anonymous_id)
    known = view.get(LINKS, anonymous, jsonbytes.loads)
    step.customer = anonymous
    if known is None:
        return
    rest = [device for device in members(view, known)[1:] if device != anonymous]
    view.put(LINKS, anonymous, None, jsonbytes.dumps)
    view.put(MEMBERS, known, rest or None, jsonbytes.dumps)
    view.put(APART, f"{anonymous}{_SEPARATOR}{known}", 1, jsonbytes.dumps)
    step.parted = known
    # To be taken apart is nothing that a customer does: who did nothing else was not seen.
    if any(_is_seen_by(stored.entry) for stored in view.history([anonymous])):
        _meet(view, anonymous)


def _is_seen_by(entry: Entry) -> bool:
    return entry.kind is not Kind.FACT or entry.name != UNMERGED


def _tell(step: Step, name: str, **more: str) -> Entry:
    entry = step.stored.entry
    properties = {"anonymous_id": entry.anonymous_id, "user_id": entry.user_id, **more}
    return derive(Cause.of(step.stored), name, "", entry.occurred_at, properties)


def _meet(view: View, customer: str) -> None:
    # Written once: what changes with each event is in the runs.
    if view.get(CUSTOMERS, customer, jsonbytes.loads) is None:
        view.put(CUSTOMERS, customer, 1, jsonbytes.dumps)
        _count_customers(view, 1)


def _count_customers(view: View, change: int) -> None:
    count = (view.get(TOTALS, "customers", jsonbytes.loads) or 0) + change
    # None is none, however it came to that.
    view.put(TOTALS, "customers", count or None, jsonbytes.dumps)


def person(view: View, step: Step) -> str:
    """Return the key of the customer that *step* is about, as far as is known before it."""
    entry = step.stored.entry
    if entry.user_id or not entry.anonymous_id:
        return step.customer
    return view.get(LINKS, step.customer, jsonbytes.loads) or step.customer


def members(view: View, customer: str) -> list[str]:
    """Return every key under which the events of *customer* were recorded."""
    return [customer, *(view.get(MEMBERS, customer, jsonbytes.loads) or [])]


def linked_to(store: Store, anonymous_id: str) -> str | None:
    """Return the user id that an anonymous customer is linked to; None if to nobody."""
    data = store.state((LINKS, customer_key(None, anonymous_id)))
    return jsonbytes.loads(data)[2:] if data else None
