"""
Which events were left out without a note in State, as far as this process has seen.

An event that can only end something is left out where there is nothing to end.
One that begins something, and comes later in the Log but occurred before, has to be doubted then.
What is known here only spares looking again where there is nothing to doubt: none of it is State.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journeykit.model import jsonbytes

if TYPE_CHECKING:
    from journeykit.store.projector import View

#: The most customers of whom it is known when they did something that was left out (about 6 MB).
MOST_CUSTOMERS: Final = 50_000

#: In State: whether the rules have folded anything, so that an empty State is known as such.
BEGUN: Final = ("rules_begun", "")

_NEVER: Final = -(2**63)


class Unnoted:
    """Remembers, for a while, when each customer did something that was left out."""

    def __init__(self) -> None:
        self._reading: object = None
        self._latest: dict[str, int] = {}
        #: Anybody of whom nothing is known may have done something until then.
        self._unknown_until = _NEVER

    def look(self, view: View, recorded_at: int) -> None:
        """Begin anew where State was read anew: somebody else may have led meanwhile."""
        if view.reading is self._reading:
            return
        self._reading, self._latest = view.reading, {}
        begun = view.get(*BEGUN, jsonbytes.loads)
        # What was recorded before cannot have occurred later than that.
        self._unknown_until = recorded_at if begun else _NEVER
        if not begun:
            view.put(*BEGUN, 1, jsonbytes.dumps)

    def note(self, customer: str, at: int, recorded_at: int) -> None:
        """Remember that something was left out that a customer did at the instant *at*."""
        latest = self._latest
        if at <= latest.get(customer, self._unknown_until):
            return
        if len(latest) >= MOST_CUSTOMERS:
            latest.clear()
            self._unknown_until = max(self._unknown_until, recorded_at)
        latest[customer] = at

    def doubts(self, customer: str, at: int) -> bool:
        """Return whether something may have been left out that occurred at the instant *at*."""
        return at <= self._latest.get(customer, self._unknown_until)
