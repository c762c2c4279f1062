"""
Where folding an instance again begins, so that it costs the same whatever the customer's history.

A checkpoint is the run as it was at an instant older than the late window: nothing that may still
arrive belongs before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from journeykit.journeys.advance import advance, expire
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

#: The most checkpoints of a customer that move in one reading of their history, which bounds what
#: is in memory meanwhile.
TOGETHER: Final = 20


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


#: What an event means to an instance, and the event.
Pair = tuple[Moment, "Stored"]


class Instance(NamedTuple):
    """
    Which instance to read: its value, its checkpoint, where its events begin.

    Both are None where they are not known: then its events are looked for from the beginning.
    """

    value: str
    checkpoint: Checkpoint | None = None
    begin: Any = None

    @property
    def floor(self) -> Any:
        """Where in the Log to begin reading."""
        return self.begin if self.checkpoint is None else self.checkpoint.floor


@attrs.frozen
class History:
    """
    The moments of an instance behind its checkpoint, in Log order, each with its event.

    Args:
        overflows: There are more than may be folded again.

        late: Those that came too late to count.
    """

    checkpoint: Checkpoint | None
    moments: Sequence[Pair]
    overflows: bool = False
    late: Sequence[Pair] = ()

    @classmethod
    def read(
        cls, view: View, meaning: Meaning, customers: Sequence[str], instance: Instance
    ) -> History:
        """Return the history of one instance of these customers."""
        return cls.read_all(view, meaning, customers, [instance])[instance.value]

    @staticmethod
    def read_all(
        view: View, meaning: Meaning, customers: Sequence[str], instances: Sequence[Instance]
    ) -> dict[str, History]:
        """Return the histories of instances of these customers by their values, in one reading."""
        gathered = {each.value: _Gathered(each, meaning.plan.late) for each in instances}
        everyone = tuple(gathered.values())
        floors = [each.floor for each in instances]
        for stored in view.history(customers, None if None in floors else min(floors)):
            if stored.entry.kind is Kind.DERIVED:
                continue
            value = meaning.instance_value(view, stored)
            if value is EVERY:
                concerned: Sequence[_Gathered] = everyone
            else:
                one = gathered.get(value) if value is not None else None
                concerned = () if one is None else (one,)
            moment = meaning.moment(view, stored) if concerned else None
            if moment is None:
                continue
            for each in concerned:
                each.add(moment, stored)
            if all(each.overflows for each in everyone):
                break
        return {value: each.history() for value, each in gathered.items()}

    def begin(self, stages: int) -> Run:
        """Return the run to fold them into."""
        return Run.empty(stages) if self.checkpoint is None else Run.decode(self.checkpoint.run)

    def in_order(self) -> list[Pair]:
        """Return them in fold order."""
        return sorted(self.moments, key=lambda pair: pair[0].place)


class _Gathered:
    """What was read of one instance."""

    def __init__(self, instance: Instance, late: int) -> None:
        self._checkpoint = checkpoint = instance.checkpoint
        self._floor, self._late = instance.floor, late
        self._known = Run.decode(checkpoint.run).newest if checkpoint is not None else None
        self._highest = checkpoint.highest if checkpoint is not None else 0
        self._found: list[Pair] = []
        self._too_late: list[Pair] = []

    @property
    def overflows(self) -> bool:
        return len(self._found) > MOST_MOMENTS

    def add(self, moment: Moment, stored: Stored) -> None:
        """Add the next moment in Log order, if it is behind the checkpoint."""
        if self.overflows or (self._floor is not None and stored.position < self._floor):
            return
        if moment.at < self._highest - self._late and not stored.entry.flags & HISTORICAL:
            self._too_late.append((moment, stored))
            return
        self._highest = max(self._highest, moment.at)
        if self._known is None or moment.place >= self._known:
            self._found.append((moment, stored))

    def history(self) -> History:
        return History(self._checkpoint, self._found, self.overflows, self._too_late)


def is_due(late: int, run: Run) -> bool:
    """Return whether it is time to move the checkpoint of *run*."""
    if run.count < EVERY_MOMENTS or run.count < run.look:
        return False
    if run.begun is not None and run.count <= MOST_MOMENTS and run.look == 0:
        # Nothing is as old as the late window yet, but for what has come late itself.
        return run.begun[1] < run.highest - late
    return True


def is_near(run: Run) -> bool:
    """Return whether the checkpoint of *run* can be moved with another's, which reads the same."""
    return run.count >= EVERY_MOMENTS // 2 and run.count + EVERY_MOMENTS // 2 >= run.look


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
    # What time brings before the cut belongs there too: behind it, it would come at the cut.
    expire(plan, base, cut - 1)
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
