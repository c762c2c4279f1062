"""
Deadlines: when time alone will change a run.

A timer goes off before the first event that the Log has from then on, and by the clock where there
is none.
One whose run has gone on meanwhile means nothing: whoever it wakes, compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from journeykit.model.event import ASKED, DENIED, HISTORICAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from journeykit.model.event import Entry
    from journeykit.store.projector import Step
    from journeykit.store.view import View

#: An import reads on for so long before a deadline passes that lies in the past, in microseconds:
#: the customer's next event may be in the next row.
GRACE: Final = 60_000_000


class Timer(NamedTuple):
    """
    A deadline.

    `key` is what waits for it; `set_at` is when the Log had the event that set it, `flags` and
    `stamp` are that event's.
    """

    key: str
    deadline: int
    set_at: int
    flags: int
    stamp: str = "{}"

    @property
    def goes_off(self) -> int:
        """When it goes off, in the time of the Log."""
        if not self.flags & HISTORICAL:
            return max(self.deadline, self.set_at)
        return max(self.deadline, self.set_at + GRACE)


def set_timer(view: View, timer: Timer) -> None:
    """Have *timer* go off."""
    if timer.deadline > timer.set_at:
        # What time alone brings about from now on is news, whoever it concerns.
        timer = timer._replace(flags=timer.flags & (ASKED | DENIED))
    view.put_timer(timer.goes_off, timer.key, tuple(timer))


class Clock:
    """
    The fold that time alone moves: hands each timer to the fold that has set it.

    Args:
        others: What the keys of a fold's timers begin with → the fold's `expire`.

        expire: That of the fold whose timers begin with anything else.
    """

    has_timers = True

    def __init__(
        self,
        others: Mapping[str, Callable[[View, Timer], Iterable[Entry]]],
        expire: Callable[[View, Timer], Iterable[Entry]],
    ) -> None:
        self._others = others
        self._expire = expire

    def __call__(self, view: View, step: Step) -> Iterable[Entry]:
        """Derive nothing: an event is none of its business."""
        return ()

    def due(self, view: View, until: int) -> Iterator[Entry]:
        """Let deadlines up to the instant *until* pass, in order; derives what follows."""
        while (found := view.next_timer(until)) is not None:
            timer = Timer(*found)
            begin = timer.key.partition("\x1f")[0]
            yield from self._others.get(begin, self._expire)(view, timer)
