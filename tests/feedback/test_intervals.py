from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

import pytest

from journeykit.feedback.intervals import changes, measures
from journeykit.model.prompt import SCALES, PromptKind
from journeykit.model.score import Method, Metric

NPS, CSAT, CES = PromptKind.NPS, PromptKind.CSAT, PromptKind.CES

#: How answers fall out: even, in the middle, mostly good, and all but always the best.
SHAPES = {
    NPS: ([1] * 11, [4, 0, 1, 1, 2, 8, 5, 15, 24, 20, 20], [2, 1, 0, 0, 0, 1, 1, 5, 10, 20, 60]),
    CSAT: ([1] * 5, [12, 5, 8, 25, 50], [1, 2, 5, 12, 80]),
    CES: ([1] * 7, [3, 7, 15, 25, 25, 15, 10], [5, 3, 2, 5, 15, 30, 40]),
}


def of_bands(promoters: int, passives: int, detractors: int) -> dict[int, int]:
    """Return counts of NPS scores, at both ends of each band."""
    counts = {10: promoters // 2, 9: promoters - promoters // 2, 8: passives // 2}
    counts |= {7: passives - passives // 2, 6: detractors - detractors // 2, 0: detractors // 2}
    return counts


@pytest.mark.parametrize(
    ("promoters", "detractors", "n", "value", "low", "high"),
    [
        (50, 20, 100, 30.0, 14.05, 44.20),
        (5, 0, 5, 100.0, 17.49, 100.0),
        (0, 0, 4, 0, -34.29, 34.29),
    ],
)
def test_nps_by_hand(
    promoters: int, detractors: int, n: int, value: float, low: float, high: float
) -> None:
    """The NPS is the raw one, with the adjusted Wald interval, clipped to what there can be."""
    counts = of_bands(promoters, n - promoters - detractors, detractors)
    (nps,) = measures(NPS, (0, 10), counts)
    assert (nps.metric, nps.method) == (Metric.NPS, Method.ADJUSTED_WALD)
    assert (nps.value, round(nps.low, 2), round(nps.high, 2)) == (value, low, high)


@pytest.mark.parametrize(
    ("good", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_shares_as_published(good: int, n: int, low: float, high: float) -> None:
    """A share has Wilson's interval; the first four are those of Newcombe's paper of 1998."""
    share, mean = measures(CSAT, (1, 5), {5: good // 2, 4: good - good // 2, 3: n - good})
    assert (share.metric, share.method, mean.metric) == (Metric.SHARE, Method.WILSON, Metric.MEAN)
    assert (share.value, round(share.low, 4), round(share.high, 4)) == (good / n, low, high)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((48, 80), (56, 70), 0.0524, 0.3339),
        ((3, 10), (9, 10), 0.1705, 0.8090),
        ((0, 10), (10, 10), 0.6075, 1.0),
    ],
)
def test_differences_of_shares_as_published(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    """The difference of two shares has the interval of Newcombe's second paper of 1998."""
    before, after = ({4: good, 1: n - good} for good, n in (first, second))
    share, _ = changes(CSAT, (1, 5), before, after)
    assert (share.metric, share.method) == (Metric.SHARE, Method.NEWCOMBE)
    assert (round(share.low, 4), round(share.high, 4)) == (low, high)
    assert share.value == second[0] / second[1] - first[0] / first[1]
    assert share.is_clear


def test_a_mean_by_hand() -> None:
    """Effort is its mean first: 6 and 7 from ten each, with three answers more in the reckoning."""
    mean, share = measures(CES, (1, 7), {6: 10, 7: 10})
    # 23 answers: 10 × 6, 10 × 7, ¾ × 1, ¾ × 7, 1½ × 4 have the mean 6.1739, the variance 1.5132.
    assert (mean.metric, mean.value) == (Metric.MEAN, 6.5)
    assert (round(mean.low, 4), round(mean.high, 4)) == (5.6712, 6.6766)
    assert (share.metric, share.value) == (Metric.SHARE, 1.0)


def test_a_difference_of_nps_by_hand() -> None:
    """Two periods: the standard errors add up by Pythagoras, around the adjusted difference."""
    (change,) = changes(NPS, (0, 10), of_bands(50, 30, 20), of_bands(60, 30, 10))
    # 29.126 and 48.544 with the errors 7.692 and 6.672, so 19.417 ± 1.96 × 10.182.
    assert change.value == pytest.approx(20)
    assert (round(change.low, 2), round(change.high, 2)) == (-0.54, 39.37)
    assert not change.is_clear


def test_everybody_says_the_same() -> None:
    """Where everybody says the same there is an interval all the same, and the value is in it."""
    share, mean = measures(CSAT, (1, 5), {5: 30})
    assert (share.value, share.high, mean.value, mean.high) == (1, 1, 5, 5)
    assert 0.85 < share.low < 0.95
    assert 4.5 < mean.low < 4.9


def test_nobody() -> None:
    """Without answers there is no figure and no difference."""
    assert measures(NPS, (0, 10), {}) == ()
    assert changes(CSAT, (1, 5), {}, {4: 3}) == changes(CSAT, (1, 5), {4: 3}, {}) == ()


def drawn(rng: random.Random, kind: PromptKind, shape: list[int], n: int) -> Mapping[int, int]:
    """Return the counts of *n* answers."""
    low, high = SCALES[kind]
    return Counter(rng.choices(range(low, high + 1), shape, k=n))


CASES = [(kind, shape, n) for kind in SHAPES for shape in SHAPES[kind] for n in (30, 120)]


@pytest.mark.parametrize(("kind", "shape", "n"), CASES)
def test_coverage(kind: PromptKind, shape: list[int], n: int) -> None:
    """An interval of 95 % has the truth in it 95 times of 100, more or less, whatever the shape."""
    rng = random.Random(f"{kind}{shape}{n}")
    truth = measures(kind, SCALES[kind], dict(enumerate(shape, SCALES[kind][0])))
    hits, runs = Counter[Metric](), 2000
    for _ in range(runs):
        for true, told in zip(
            truth, measures(kind, SCALES[kind], drawn(rng, kind, shape, n)), strict=True
        ):
            hits[told.metric] += told.low <= true.value <= told.high
    for metric, hit in hits.items():
        # Of 2,000 runs at 95 % all but one in 1,000 have 93.4 % to 96.5 %.
        # A share jumps from answer to answer, so that Wilson is a little off that.
        assert 0.925 <= hit / runs <= 0.985, (metric, hit / runs)


@pytest.mark.parametrize("kind", SHAPES)
def test_coverage_of_differences(kind: PromptKind) -> None:
    """So has that of a difference; where nothing has changed, a change is told once in 20 times."""
    rng, (_, one, two), scale = random.Random(kind.value), SHAPES[kind], SCALES[kind]
    for before, after in ((one, two), (one, one), (two, two)):
        true = changes(
            kind, scale, dict(enumerate(before, scale[0])), dict(enumerate(after, scale[0]))
        )
        hits, runs = Counter[Metric](), 2000
        for _ in range(runs):
            told = changes(kind, scale, drawn(rng, kind, before, 40), drawn(rng, kind, after, 60))
            for right, each in zip(true, told, strict=True):
                hits[each.metric] += each.low <= right.value <= each.high
        for metric, hit in hits.items():
            assert 0.925 <= hit / runs <= 0.985, (metric, hit / runs)
