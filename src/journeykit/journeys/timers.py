"""
Deadlines: when time alone will change a run.

A timer goes off before the first event that the Log has from then on, and by the clock where there
is none.
One whose run has gone on meanwhile means nothing: whoever it wakes, compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, runtime_checkable

from journeykit.model.event import ASKED, DENIED, HISTORICAL
from journeykit.store.protocol import SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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


class Waiting(Protocol):
    """A fold that sets timers."""

    def expire(self, view: View, timer: Timer) -> Iterable[Entry]:
        """Let a deadline pass; derives what follows."""

    def wants_of_timers(self, keys: Sequence[str]) -> Iterable[tuple[str, list[str]]]:
        """Return what timers of these keys will read."""


@runtime_checkable
class Waking(Waiting, Protocol):
    """A fold whose timers begin with its `label`."""

    @property
    def label(self) -> str:
        """What its timers are kept under."""


class Clock:
    """
    The fold that time alone moves: hands each timer to the fold that has set it.

    Args:
        others: What the keys of a fold's timers begin with → the fold.

        rest: The fold whose timers begin with anything else.
    """

    has_timers = True

    def __init__(self, others: Mapping[str, Waiting], rest: Waiting) -> None:
        self._others = others
        self._rest = rest

    def __call__(self, view: View, step: Step) -> Iterable[Entry]:
        """Derive nothing: an event is none of its business."""
        return ()

    def wants(self, view: View, steps: Sequence[Step]) -> Iterator[tuple[str, list[str]]]:
        """Yield what deadlines that pass before the last of *steps* will read."""
        waiting: dict[Waiting, list[str]] = {}
        # About as many as events, where all customers wait for something within the hour.
        for key in view.coming(steps[-1].stored.recorded_at, len(steps)):
            waiting.setdefault(self._whose(key), []).append(key)
        for fold, keys in waiting.items():
            yield from fold.wants_of_timers(keys)

    def due(self, view: View, until: int) -> Iterator[Entry]:
        """Let deadlines up to the instant *until* pass, in order; derives what follows."""
        while (found := view.next_timer(until)) is not None:
            timer = Timer(*found)
            yield from self._whose(timer.key).expire(view, timer)

    def _whose(self, key: str) -> Waiting:
        return self._others.get(key.partition(SEPARATOR)[0], self._rest)
