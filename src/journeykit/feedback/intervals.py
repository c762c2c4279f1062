"""
Figures of scores with intervals of 95 %, from how often each score was given.

NPS and means have the adjusted Wald interval, which does best for NPS (Rocks 2016; Lewis and Sauro,
MeasuringU): it reckons as if three answers more had come, three quarters of one at each end of the
scale and one and a half in the middle.
Of a mean it is the same interval, on the scale as it is.
Shares have Wilson's (1927), and the difference of two shares Newcombe's (1998, his method 10).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from journeykit.model.prompt import NPS_BANDS, PromptKind
from journeykit.model.score import Change, Measure, Method, Metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The normal quantile of 97.5 %.
Z: Final = 1.959963984540054

#: The answers that are added, at the low end, in the middle and at the high end.
_ADDED: Final = (0.75, 1.5, 0.75)

#: The lowest good score of a kind.
_GOOD: Final = {PromptKind.CSAT: 4, PromptKind.CES: 5}


class _Centre(NamedTuple):
    """A mean with the answers that are added, and its standard error."""

    value: float
    error: float


def measures(
    kind: PromptKind, scale: tuple[int, int], counts: Mapping[int, int]
) -> tuple[Measure, ...]:
    """Return the figures of *kind*, its own first: NPS, or a share and a mean."""
    return tuple(_measures(kind, scale, counts)) if sum(counts.values()) else ()


def _measures(
    kind: PromptKind, scale: tuple[int, int], counts: Mapping[int, int]
) -> Iterator[Measure]:
    if kind is PromptKind.NPS:
        yield _mean(Metric.NPS, _bands(counts), (-1, 1), 100)
        return
    parts = _share(counts, _GOOD[kind]), _mean(Metric.MEAN, counts, scale, 1)
    # Satisfaction is told as a share, effort as a mean.
    yield from parts if kind is PromptKind.CSAT else reversed(parts)


def changes(
    kind: PromptKind,
    scale: tuple[int, int],
    before: Mapping[int, int],
    after: Mapping[int, int],
) -> tuple[Change, ...]:
    """Return the differences of the figures of *kind*, in their order."""
    if not sum(before.values()) or not sum(after.values()):
        return ()
    return tuple(
        _share_change(_share(before, _GOOD[kind]), each)
        if each.metric is Metric.SHARE
        else _mean_change(each.metric, scale, before, after)
        for each in measures(kind, scale, after)
    )


def _bands(counts: Mapping[int, int]) -> dict[int, int]:
    """Return how many are detractors (−1), passives (0) and promoters (1)."""
    return {
        worth: sum(counts.get(score, 0) for score in range(low, high + 1))
        for worth, (_, low, high) in zip((-1, 0, 1), NPS_BANDS, strict=True)
    }


def _mean(
    metric: Metric, counts: Mapping[int, int], scale: tuple[int, int], unit: float
) -> Measure:
    value = sum(score * count for score, count in counts.items()) / sum(counts.values())
    centre = _centre(counts, scale)
    low = max(scale[0], centre.value - Z * centre.error)
    high = min(scale[1], centre.value + Z * centre.error)
    # Where everybody says the same, the centre lies further in than the value.
    low, high = min(low, value), max(high, value)
    return Measure(metric, unit * value, unit * low, unit * high, Method.ADJUSTED_WALD)


def _centre(counts: Mapping[int, int], scale: tuple[int, int]) -> _Centre:
    ends = scale[0], sum(scale) / 2, scale[1]
    weights = [*counts.items(), *zip(ends, _ADDED, strict=True)]
    total = sum(weight for _, weight in weights)
    centre = sum(score * weight for score, weight in weights) / total
    variance = sum(weight * (score - centre) ** 2 for score, weight in weights) / total
    return _Centre(centre, math.sqrt(variance / total))


def _mean_change(
    metric: Metric, scale: tuple[int, int], before: Mapping[int, int], after: Mapping[int, int]
) -> Change:
    unit = 1
    if metric is Metric.NPS:
        before, after, scale, unit = _bands(before), _bands(after), (-1, 1), 100
    earlier, later = _centre(before, scale), _centre(after, scale)
    middle = later.value - earlier.value
    reach = Z * math.hypot(earlier.error, later.error)
    first, second = (_mean(metric, counts, scale, 1).value for counts in (before, after))
    value = second - first
    low, high = min(value, middle - reach), max(value, middle + reach)
    return Change(metric, unit * value, unit * low, unit * high, Method.ADJUSTED_WALD)


def _share(counts: Mapping[int, int], good: int) -> Measure:
    total = sum(counts.values())
    share = sum(count for score, count in counts.items() if score >= good) / total
    squared = Z * Z
    middle = (share + squared / (2 * total)) / (1 + squared / total)
    spread = share * (1 - share) / total + squared / (4 * total * total)
    reach = Z * math.sqrt(spread) / (1 + squared / total)
    # At the ends it is exact, and rounding must not leave the value outside.
    low, high = min(share, max(0.0, middle - reach)), max(share, min(1.0, middle + reach))
    return Measure(Metric.SHARE, share, low, high, Method.WILSON)


def _share_change(before: Measure, after: Measure) -> Change:
    difference = after.value - before.value
    down = math.hypot(after.value - after.low, before.high - before.value)
    up = math.hypot(after.high - after.value, before.value - before.low)
    return Change(Metric.SHARE, difference, difference - down, difference + up, Method.NEWCOMBE)
