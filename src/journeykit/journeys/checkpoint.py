"""
Where folding an instance again begins, so that it costs the same whatever the customer's history.

A checkpoint is the run as it was at an instant older than the late window: nothing that may still
arrive belongs before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import attrs

from journeykit.journeys.advance import advance
from journeykit.journeys.meaning import EVERY
from journeykit.journeys.run import NOWHERE, Moment, Run
from journeykit.model import jsonbytes
from journeykit.model.event import HISTORICAL, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from journeykit.journeys.meaning import Meaning
    from journeykit.journeys.plan import Plan
    from journeykit.model.event import Stored
    from journeykit.store.view import View


#: An instance → its checkpoint.
CHECKPOINTS: Final = "checkpoint"

#: How many moments come between two checkpoints: each is read once more for it.
EVERY_MOMENTS: Final = 500

#: The most moments to fold again: the design's figure.
MOST_MOMENTS: Final = 2000


class Checkpoint(NamedTuple):
    """
    A run, and where in the Log those events begin that are not in it.

    `highest` is when the newest event before that place occurred.
    """

    floor: Any
    highest: int
    run: bytes

    @classmethod
    def decode(cls, data: bytes) -> Checkpoint:
        """Return what `encode` has written."""
        floor, highest, run = jsonbytes.loads(data)
        return cls(floor, highest, jsonbytes.dumps(run))

    def encode(self) -> bytes:
        """Return this checkpoint as bytes."""
        return jsonbytes.dumps([self.floor, self.highest, jsonbytes.loads(self.run)])


@attrs.frozen
class History:
    """
    The moments of an instance behind its checkpoint, in Log order, each with its event.

    Args:
        overflows: There are more than may be folded again.

        late: Those that came too late to count.
    """

    checkpoint: Checkpoint | None
    moments: Sequence[tuple[Moment, Stored]]
    overflows: bool = False
    late: Sequence[tuple[Moment, Stored]] = ()

    @classmethod
    def read(
        cls,
        view: View,
        meaning: Meaning,
        customers: Sequence[str],
        value: str,
        checkpoint: Checkpoint | None,
    ) -> Self:
        """Return the history of the instance *value* of these customers."""
        found: list[tuple[Moment, Stored]] = []
        too_late: list[tuple[Moment, Stored]] = []
        floor = checkpoint.floor if checkpoint is not None else None
        known = Run.decode(checkpoint.run).newest if checkpoint is not None else None
        highest = checkpoint.highest if checkpoint is not None else 0
        late = meaning.plan.late
        for stored in view.history(customers, floor):
            if stored.entry.kind is Kind.DERIVED:
                continue
            belongs = meaning.instance_value(view, stored)
            if belongs is None or (belongs != value and belongs is not EVERY):
                continue
            moment = meaning.moment(view, stored)
            if moment is None:
                continue
            if moment.at < highest - late and not stored.entry.flags & HISTORICAL:
                too_late.append((moment, stored))
                continue
            highest = max(highest, moment.at)
            if known is not None and moment.place < known:
                continue
            found.append((moment, stored))
            if len(found) > MOST_MOMENTS:
                return cls(checkpoint, found, overflows=True, late=too_late)
        return cls(checkpoint, found, late=too_late)

    def begin(self, stages: int) -> Run:
        """Return the run to fold them into."""
        return Run.empty(stages) if self.checkpoint is None else Run.decode(self.checkpoint.run)

    def in_order(self) -> list[tuple[Moment, Stored]]:
        """Return them in fold order."""
        return sorted(self.moments, key=lambda pair: pair[0].place)


def is_due(run: Run) -> bool:
    """Return whether it is time to move the checkpoint of *run*."""
    return run.count >= EVERY_MOMENTS and run.count >= run.look


def move_checkpoint(
    view: View,
    plan: Plan,
    key: str,
    run: Run,
    history: History,
    voter: Callable[[Stored], Any] | None,
) -> None:
    """Fold into the checkpoint of *run* what nothing can come before any more."""
    moments = history.in_order()
    cut = run.highest - plan.late
    if history.overflows:
        # More than may be folded again lie in the window: the older half of them is settled.
        cut = max(cut, moments[len(moments) // 2][0].at)
    base = history.begin(len(plan.keys))
    settled = [pair for pair in moments if pair[0].at < cut]
    run.look = run.count + EVERY_MOMENTS
    if not settled:
        return
    for moment, stored in settled:
        advance(plan, base, moment, voter(stored) if voter is not None else None)
    # Before all that occurred at the cut itself.
    base.newest = (cut, NOWHERE - 2, "")
    known = history.checkpoint.highest if history.checkpoint is not None else 0
    times = [moment.at for moment, _ in history.moments]
    first = next((index for index, at in enumerate(times) if at >= cut), len(times) - 1)
    checkpoint = Checkpoint(
        history.moments[first][1].position, max([known, *times[:first]]), base.encode()
    )
    view.put(CHECKPOINTS, key, checkpoint, Checkpoint.encode)
    run.count = len(moments) - len(settled)
    run.look = run.count + EVERY_MOMENTS
