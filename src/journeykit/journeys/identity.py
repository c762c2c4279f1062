"""
The fold that finds out which customers are the same person.

An anonymous customer who is seen with a user id is that person from then on, with everything that
they did before.
Two known people are never made one: a cookie that was linked stays with its first person, and the
second keeps only the events that name them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journeykit.model import jsonbytes
from journeykit.model.customer import customer_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from journeykit.model.event import Entry, Stored
    from journeykit.store.projector import Step, View
    from journeykit.store.protocol import StateKey

#: Anonymous key → the known customer's.
LINKS: Final = "link"
#: Known customer → the anonymous keys that are linked to them.
MEMBERS: Final = "members"
#: Customer → 1, if they were seen.
CUSTOMERS: Final = "customer"
#: `customers` → how many there are.
TOTALS: Final = "total"


class IdentityFold:
    """Sets the step's customer, and counts who was seen."""

    def wants(self, view: View, batch: Sequence[Stored]) -> Iterator[Iterable[StateKey]]:
        """Yield what folding *batch* will read, each group with the help of the one before."""
        yield [
            (LINKS, customer_key(None, stored.entry.anonymous_id))
            for stored in batch
            if stored.entry.anonymous_id
        ]
        yield [(CUSTOMERS, person(view, stored.entry)) for stored in batch]

    def __call__(self, view: View, step: Step) -> Iterable[Entry]:
        """Fold one event; nothing is derived."""
        entry = step.stored.entry
        anonymous = customer_key(None, entry.anonymous_id) if entry.anonymous_id else None
        if entry.user_id and anonymous is not None:
            if view.get(LINKS, anonymous, jsonbytes.loads) is None:
                self._link(view, step, anonymous)
        elif anonymous is not None:
            step.customer = view.get(LINKS, anonymous, jsonbytes.loads) or anonymous
        self._meet(view, step.customer)
        return ()

    def _link(self, view: View, step: Step, anonymous: str) -> None:
        known = step.customer
        members = view.get(MEMBERS, known, jsonbytes.loads) or []
        view.put(LINKS, anonymous, known, jsonbytes.dumps)
        view.put(MEMBERS, known, [*members, anonymous], jsonbytes.dumps)
        if view.get(CUSTOMERS, anonymous, jsonbytes.loads) is not None:
            step.joined = (anonymous,)
            view.put(CUSTOMERS, anonymous, None, jsonbytes.dumps)
            _count_customers(view, -1)

    def span(self, view: View, customers: Iterable[str]) -> set[str]:
        """Return every key of the people whose keys are among *customers*."""
        known = {view.get(LINKS, key, jsonbytes.loads) or key for key in customers}
        return {key for customer in known for key in members(view, customer)}

    def forget(self, view: View, customers: Iterable[str]) -> int:
        """Remove what is kept of *customers*; returns how many pieces that were."""
        pieces = 0
        for key in customers:
            for space in (LINKS, MEMBERS, CUSTOMERS):
                if view.get(space, key, jsonbytes.loads) is not None:
                    view.put(space, key, None, jsonbytes.dumps)
                    _count_customers(view, -(space == CUSTOMERS))
                    pieces += 1
        return pieces

    @staticmethod
    def _meet(view: View, customer: str) -> None:
        # Written once: what changes with each event is in the runs.
        if view.get(CUSTOMERS, customer, jsonbytes.loads) is None:
            view.put(CUSTOMERS, customer, 1, jsonbytes.dumps)
            _count_customers(view, 1)


def _count_customers(view: View, change: int) -> None:
    count = (view.get(TOTALS, "customers", jsonbytes.loads) or 0) + change
    # None is none, however it came to that.
    view.put(TOTALS, "customers", count or None, jsonbytes.dumps)


def person(view: View, entry: Entry) -> str:
    """Return the key of the customer that *entry* is about, as far as is known now."""
    if entry.user_id or not entry.anonymous_id:
        return entry.customer_key
    anonymous = customer_key(None, entry.anonymous_id)
    return view.get(LINKS, anonymous, jsonbytes.loads) or anonymous


def members(view: View, customer: str) -> list[str]:
    """Return every key under which the events of *customer* were recorded."""
    return [customer, *(view.get(MEMBERS, customer, jsonbytes.loads) or [])]
