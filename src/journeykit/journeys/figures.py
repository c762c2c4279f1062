"""How many instances are where: kept up to date as runs change, so that a report reads one row."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from journeykit.journeys.run import NOWHERE
from journeykit.model import jsonbytes

if TYPE_CHECKING:
    from journeykit.journeys.run import Run


#: Journey label → its figures.
FIGURES = "figures"


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
        """Return what `encode` has written."""
        instances, completed, value, *stages = jsonbytes.loads(data)
        return cls(instances, completed, value, *(tuple(counts) for counts in stages))

    def changed(self, before: Run | None, after: Run | None) -> Figures:
        """Return the figures once an instance's run went from *before* to *after*."""
        figures = self
        if before is not None and before.has_stage:
            figures = figures.plus(before, -1)
        if after is not None and after.has_stage:
            figures = figures.plus(after, 1)
        return figures

    def plus(self, run: Run, change: int) -> Figures:
        """Return the figures with *change* more instances that stand as *run* does."""
        completed = run.completed_at is not None
        return Figures(
            self.instances + change,
            self.completed + (change if completed else 0),
            round(self.value + change * run.value, 6) if completed else self.value,
            tuple(
                count + (change if seen else 0)
                for count, seen in zip(self.entered, run.observed, strict=True)
            ),
            _moved(self.current, run.current, change),
            _moved(self.furthest, run.furthest, change),
        )


def _moved(counts: tuple[int, ...], stage: int, change: int) -> tuple[int, ...]:
    if stage == NOWHERE:
        return counts
    return (*counts[:stage], counts[stage] + change, *counts[stage + 1 :])
