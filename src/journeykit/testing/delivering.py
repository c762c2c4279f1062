"""A real relay for one sink, with a clock that flies where the relay waits."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final, Self

from journeykit.delivery.relay import Relay
from journeykit.delivery.sink import Sink
from journeykit.plugins import Plugins
from journeykit.store.memory import MemoryStore
from journeykit.store.protocol import Commit
from journeykit.testing.clock import NOON

if TYPE_CHECKING:
    from journeykit.model.event import Entry

#: More waits than any outage of a test has.
_MOST_WAITS: Final = 60


class Delivering:
    """
    A store in memory and the relay that feeds *sink* from it.

    Args:
        options: Further arguments of `Relay`.
    """

    def __init__(self, sink: Sink, **options: Any) -> None:
        self.sink = sink
        self.store = MemoryStore()
        #: How long the relay has waited each time, and why.
        self.waits: list[float] = []
        self.errors: list[str] = []
        self._time = 0.0
        self.relay = Relay(
            self.store,
            sink,
            Plugins(installed=False),
            **{
                "now": lambda: NOON + round(self._time * 1_000_000),
                "randomness": random.Random(1),
                "monotonic": lambda: self._time,
                **options,
            },
        )

    def add(self, *entries: Entry) -> Self:
        """Commit *entries* to the Log."""
        self.store.commit(Commit(entries), NOON)
        return self

    def step(self) -> float | None:
        """Let the relay take one step; returns the seconds until the next, None if done."""
        wait = self.relay.step()
        if wait:
            self.waits.append(wait)
            self.errors.append(self.relay.last_error or "")
            self._time += wait
        return wait

    def run(self, most_waits: int = _MOST_WAITS) -> Self:
        """Deliver until nothing is left, or the relay has waited *most_waits* times."""
        until = len(self.waits) + most_waits
        while self.step() is not None and len(self.waits) < until:
            pass
        return self

    @property
    def done(self) -> bool:
        """Whether every event was delivered or parked."""
        return not self.store.read(self.store.cursor(self.relay.owner), 1)

    @property
    def parked(self) -> dict[str, str]:
        """Id → reason of what was parked."""
        return {item.entry.id: item.reason for item in self.store.parked(self.relay.owner)}
