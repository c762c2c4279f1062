"""How surprising it is that something fails at a higher rate than before, or than elsewhere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Cell(NamedTuple):
    """Trials and failures, or as many as they are worth."""

    n: float
    f: float

    @property
    def rate(self) -> float:
        """The share that failed."""
        return self.f / self.n if self.n else 0.0

    @property
    def odds(self) -> float:
        """Smoothed by half a trial each way, so that none is not never."""
        return (self.f + 0.5) / (self.n - self.f + 0.5)


class Table(NamedTuple):
    """A segment and everybody else, inside a span and outside."""

    inside: Cell
    outside: Cell
    rest_inside: Cell
    rest_outside: Cell


def log_ratio_of(chance: float) -> float:
    """Return the log likelihood ratio that is exceeded by chance so rarely, one way."""
    low, high = 0.0, 700.0
    for _ in range(60):
        middle = (low + high) / 2
        if math.erfc(math.sqrt(middle)) / 2 > chance:
            low = middle
        else:
            high = middle
    return high


def worth(customers: Mapping[int, Sequence[int]]) -> Cell:
    """
    Return how many independent trials those of *customers* are worth (Rao and Scott).

    By how much the customers' failures vary beyond chance, by so much fewer trials they are.
    """
    n, f = sum(n for n, _ in customers.values()), sum(f for _, f in customers.values())
    if not 0 < f < n or len(customers) < 2:
        return Cell(n, f)
    rate = f / n
    spread = math.fsum((each_f - each_n * rate) ** 2 for each_n, each_f in customers.values())
    spread *= len(customers) / (len(customers) - 1)
    effect = max(1.0, spread / (n * rate * (1 - rate)))
    return Cell(n / effect, f / effect)


def log_ratio(a: Cell, b: Cell) -> float:
    """Return the log likelihood ratio of two rates against one."""
    n, f = a.n + b.n, a.f + b.f
    return max(0.0, _fit(a.n, a.f) + _fit(b.n, b.f) - _fit(n, f))


def _fit(n: float, f: float) -> float:
    """Return the log likelihood of f failures in n trials, at their own rate."""
    s = n - f
    total = 0.0
    if f > 0:
        total += f * math.log(f / n)
    if s > 0:
        total += s * math.log(s / n)
    return total


def excess(table: Table) -> float:
    """
    Return how surprising the rate inside is, if all that happened had happened to everybody.

    What is expected is the segment's usual rate, moved as everybody else's moved: by as many
    points, or by the same factor of the odds, whichever leaves less to wonder at.
    It is only as sure as the three rates that it comes from.
    """
    inside, outside, rest_inside, rest_outside = table
    if min(outside.n, rest_inside.n, rest_outside.n) < _FEWEST_BESIDE:
        return 0.0
    points = outside.rate + rest_inside.rate - rest_outside.rate
    odds = outside.odds * rest_inside.odds / rest_outside.odds
    expected = min(max(points, odds / (1 + odds), outside.rate), 1.0)
    if inside.rate <= expected:
        return 0.0
    weight = 1 / (1 / outside.n + 1 / rest_inside.n + 1 / rest_outside.n)
    return log_ratio(inside, Cell(weight, weight * expected))


#: Fewer customers beside a segment say nothing about what everybody's rate did.
_FEWEST_BESIDE: Final = 5
