"""
What a customer says about consent, as a fact.

The fact is the proof; to remember the choice for the next request is the shop's, or its consent
tool's.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from journeykit.capture.context import Bound, bind, current, current_customer, unbind
from journeykit.model.consent import ANALYTICS, UNASKED, Stamp, is_purpose
from journeykit.model.customer import Customer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: The name of the fact.
CONSENTED: Final = "customer.consented"


class Choice:
    """
    What a customer has agreed to and refused at one moment.

    Args:
        granted, denied: Purposes; a text is one.
    """

    def __init__(self, granted: Iterable[str], denied: Iterable[str]) -> None:
        self.granted = frozenset([granted] if isinstance(granted, str) else granted)
        self.denied = frozenset([denied] if isinstance(denied, str) else denied)

    @property
    def problem(self) -> str | None:
        """What is wrong with it, as a sentence for people."""
        if not self.granted | self.denied:
            return "no purpose is granted and none is denied; name one"
        for purpose in sorted(self.granted | self.denied, key=str):
            if not is_purpose(purpose):
                return f"{purpose!r:.60} is no purpose; write it like marketing or export:crm"
        both = self.granted & self.denied
        return f"{min(both)!r} is both granted and denied" if both else None

    @contextlib.contextmanager
    def said(
        self, customer: Customer | str | None, policy: str | None, *, opt_in: bool
    ) -> Iterator[dict[str, Any]]:
        """
        Bind nothing but the customer and what is known now, for the fact; yields its properties.

        What was bound before goes on with the choice, unless it is about another *customer*.
        """
        bound = current()
        before = UNASKED if bound is None or customer is not None else bound.stamp
        stamp = before.after(self.granted, self.denied, unasked=not opt_in)
        if customer is not None:
            who = Customer.of(customer)
        else:
            # Before asking who it is: nobody gets an id only to say that they want none.
            if bound is not None:
                bound.restamp(stamp)
            who = current_customer()
        token = bind(_bare(who, bound, stamp, opt_in=opt_in))
        try:
            properties = {"granted": sorted(self.granted), "denied": sorted(self.denied)}
            yield properties if policy is None else {**properties, "policy": policy}
        finally:
            unbind(token)


def _bare(who: Customer, bound: Bound | None, stamp: Stamp, *, opt_in: bool) -> Bound:
    if not stamp.allows(ANALYTICS, unasked=not opt_in):
        # Of somebody who is not to be recorded, what tells whose consent this is.
        anonymous_id = None if who.user_id else who.anonymous_id
        who = Customer(who.user_id, anonymous_id)
    channel = bound.channel if bound is not None else None
    return Bound(who, channel=channel, purposes=stamp.granted, denied=stamp.denied)
