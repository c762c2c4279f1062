"""How many instances are where: kept up to date as runs change, so that a report reads one row."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from journeykit.journeys.run import NOWHERE
from journeykit.model import jsonbytes

if TYPE_CHECKING:
    from journeykit.journeys.run import Run, Standing
    from journeykit.store.view import View


#: Journey label → its figures.
FIGURES = "figures"

#: Journey label → how many runs went on in another version, and how many of them had met the goal.
MOVED = "moved"


class Figures(NamedTuple):
    """
    Counts of instances; `entered`, `current` and `furthest` have one item a stage.

    `value` is the sum of what completions were worth.
    """

    instances: int
    completed: int
    value: float
    entered: tuple[int, ...]
    current: tuple[int, ...]
    furthest: tuple[int, ...]

    @classmethod
    def empty(cls, stages: int) -> Figures:
        """Return the figures of a journey that nobody has begun."""
        none = (0,) * stages
        return cls(0, 0, 0.0, none, none, none)

    @classmethod
    def decode(cls, data: bytes) -> Figures:
        """Return the figures of what `recount` has written."""
        counts = jsonbytes.loads(data)
        instances, completed, value, *stages = counts
        size = len(stages) // 3
        return cls(
            instances,
            completed,
            float(value),
            tuple(stages[:size]),
            tuple(stages[size : 2 * size]),
            tuple(stages[2 * size :]),
        )


def recount(view: View, label: str, before: Standing | None, after: Standing | None) -> None:
    """Let the figures of a journey follow an instance that went from *before* to *after*."""
    if before == after:
        return
    if before is not None and after is not None and _only_moved(before, after):
        is_first = not before.visits[after.current]
        recount_move(view, label, (before.current, before.furthest), after, is_first=is_first)
        return
    known = view.get(FIGURES, label, jsonbytes.loads)
    size = max(standing.size for standing in (before, after) if standing is not None)
    counts = known if known is not None and len(known) == size else [0] * size
    if before is not None:
        before.add_to(counts, -1)
    if after is not None:
        after.add_to(counts, 1)
    counts[2] = round(counts[2], 6) or 0.0
    # Nobody is nobody, however it came to that.
    view.put(FIGURES, label, counts if any(counts) else None, jsonbytes.dumps)


def recount_move(
    view: View, label: str, before: tuple[int, int], after: Run | Standing, *, is_first: bool
) -> None:
    """
    Let the figures of a journey follow a run that is under way to another stage.

    Args:
        before: The stage that it was in, and the furthest that it had come to.

        is_first: Whether it was never in that stage before.
    """
    known = view.get(FIGURES, label, jsonbytes.loads)
    current, furthest = before
    stages = len(after.visits)
    known[3 + stages + current] -= 1
    known[3 + stages + after.current] += 1
    known[3 + after.current] += is_first
    if after.furthest != furthest:
        known[3 + 2 * stages + furthest] -= 1
        known[3 + 2 * stages + after.furthest] += 1
    view.put(FIGURES, label, known, jsonbytes.dumps)


def _only_moved(before: Standing, after: Standing) -> bool:
    """Return whether all that may have happened is one step to another stage, the usual change."""
    return (
        before[_REST] == after[_REST]
        and before.ended_at is None
        and before.current != NOWHERE
        and after.visits[after.current] - before.visits[after.current] == 1
        and sum(after.visits) - sum(before.visits) == 1
    )


#: Of a standing, all but the stage.
_REST = slice(3, None)
