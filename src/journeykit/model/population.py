"""Rules about many customers at once: what is measured by the day, and judged when it is over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from journeykit.model.rule import PainPointRule

if TYPE_CHECKING:
    from journeykit.model.pain_point import Severity
    from journeykit.model.rule import EventView

#: By which factor the steps grow in which values are counted: a quantile is right to 2.5 %.
_GROWTH: Final = math.log(1.05)

#: How many of the largest values are kept with their events.
MOST_TOP: Final = 20

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Top(NamedTuple):
    """One of the largest values: the event, a hash of its customer, and the event's flags."""

    value: float
    event: str
    who: str
    flags: int


@attrs.define
class Spread:
    """How values are spread: as many of each size, and the largest; in any order the same."""

    counts: dict[int, int] = attrs.field(factory=dict)
    top: list[Top] = attrs.field(factory=list)

    def add(self, top: Top) -> None:
        """Add one value; those that are not above zero are none."""
        if top.value > 0 and math.isfinite(top.value):
            size = math.floor(math.log(top.value) / _GROWTH)
            self.counts[size] = self.counts.get(size, 0) + 1
            self.top = sorted([*self.top, top], reverse=True)[:MOST_TOP]

    def join(self, other: Spread) -> None:
        """Add all values of *other*."""
        for size, count in other.counts.items():
            self.counts[size] = self.counts.get(size, 0) + count
        self.top = sorted([*self.top, *other.top], reverse=True)[:MOST_TOP]

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> float:
        """Return the value that this share of all is not above; 0 without any."""
        left = share * self.count
        for size, count in sorted(self.counts.items()):
            left -= count
            if left <= 0:
                return math.exp((size + 0.5) * _GROWTH)
        return 0.0

    def above(self, value: float) -> list[Top]:
        """Return those of the largest that are above *value*, the largest first."""
        return [top for top in self.top if top.value > value]


class Judged(NamedTuple):
    """
    Something that hurt many on the day that was judged.

    `target` is what it is about, `evidence` are the largest values that prove it, the largest
    first; `severity` is the rule's own where it is None. `of` is among how many it happened.
    """

    target: str
    evidence: Sequence[Top] = ()
    of: int = 0
    severity: Severity | None = None
    properties: Mapping[str, Any] = _NOTHING


class PopulationRule(PainPointRule):
    """
    Judges what all customers met together, when a day is over.

    It is never asked while events are folded. What it measures is kept by the day.

    Args:
        days: How many days it is shown, the one that is over among them.
    """

    days: int = 29

    def measure(self, event: EventView) -> tuple[str, float] | None:
        """Return what an event is about, such as a page, and the value; None: nothing."""
        raise NotImplementedError

    def judge(self, days: Sequence[Mapping[str, Spread]]) -> Iterable[Judged]:
        """Return what hurt on the last of *days*; each has the values of each target."""
        raise NotImplementedError
