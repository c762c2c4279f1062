"""
Events that rules have left out, since there was nothing that they could have ended.

Nothing is written of them. So one that they would have ended may come behind them in the Log,
though it occurred before; such a one has the customer folded again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journeykit.journeys.replay import look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journeykit.journeys.reckoning import Happened, Offer, Reckoning
    from journeykit.journeys.rulebook import Rulebook
    from journeykit.model.event import Stored
    from journeykit.store.protocol import Position
    from journeykit.store.view import View

#: In the notes of a view: no event that was left out occurred later than that.
_NEWEST: Final = "rules:newest_left_out"

#: When the Log came to which position, for some of the last ones.
_MARKS: Final = "rules:marks"
_MOST_MARKS: Final = 64


class LeftOut:
    """
    Knows whether a customer's event was left out that occurred behind another one.

    What is noted only spares the look into the Log, so that what follows depends on the Log alone.
    """

    @staticmethod
    def begin(view: View, stored: Stored) -> None:
        """Begin a batch with the event *stored*."""
        notes = view.notes
        # What was recorded before this one occurred before, as far as folds are concerned.
        notes.setdefault(_NEWEST, stored.recorded_at)
        marks: list[tuple[int, Position]] = notes.setdefault(_MARKS, [])
        marks.append((stored.recorded_at, stored.position))
        del marks[:-_MOST_MARKS]

    @staticmethod
    def note(view: View, stored: Stored) -> None:
        """Note that *stored* was left out."""
        at = min(stored.entry.occurred_at, stored.recorded_at)
        view.notes[_NEWEST] = max(view.notes[_NEWEST], at)

    @staticmethod
    def may_follow(
        view: View, happened: Happened, reckoning: Reckoning, offers: Sequence[Offer]
    ) -> bool:
        """Return whether an event that these would begin to remember may have been ended before."""
        newest: int = view.notes[_NEWEST]
        if happened.at > newest:
            return False
        return any(
            each.rule.ends and not each.ends and not reckoning.remembers((each.number,))
            for each in offers
        )

    @staticmethod
    def follows(view: View, book: Rulebook, customers: Sequence[str], happened: Happened) -> bool:
        """Return whether rules read another event of these customers that occurred later."""
        for stored in view.history(customers, _floor(view.notes[_MARKS], happened.at)):
            other = look(view, book, stored)
            if other is not None and other[:2] > happened[:2]:
                return True
        return False


def _floor(marks: Sequence[Any], at: int) -> Position:
    """Return a position before which nothing was recorded at the instant *at* or later."""
    found = [position for recorded_at, position in marks if recorded_at < at]
    return found[-1] if found else None
