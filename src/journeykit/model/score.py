"""What a report says of scores: figures with their intervals, or that there are too few answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import attrs


class Metric(StrEnum):
    """What a figure of scores is."""

    #: The share of promoters less that of detractors, times 100: −100 to 100.
    NPS = "nps"
    #: The share of good scores, 0 to 1: CSAT 4 and 5, CES 5 to 7.
    SHARE = "share"
    #: The mean of the scores.
    MEAN = "mean"


class Method(StrEnum):
    """How an interval of 95 % is found."""

    #: As if three answers more had come: three quarters of one at each end of the scale, and one
    #: and a half in the middle.
    ADJUSTED_WALD = "adjusted_wald"
    #: Wilson's, for a share.
    WILSON = "wilson"
    #: Newcombe's, for the difference of two shares.
    NEWCOMBE = "newcombe"


def number(metric: Metric, value: float) -> str:
    """Return a figure as people read it."""
    if metric is Metric.SHARE:
        return f"{value:.0%}"
    # Half a point of an NPS is no news, and −0 is 0.
    return f"{value:.2f}" if metric is Metric.MEAN else f"{round(value) or 0:d}"


@attrs.frozen
class Measure:
    """
    One figure.

    Args:
        metric: What it is.

        value: As it was measured, without any adjustment.

        low, high: Its interval of 95 %.

        method: How that was found.
    """

    metric: Metric
    value: float
    low: float
    high: float
    method: Method


@attrs.frozen
class Change:
    """
    The difference of two figures, the later less the earlier.

    Args:
        value: As it was measured.

        low, high: Its interval of 95 %.

        method: How that was found.
    """

    metric: Metric
    value: float
    low: float
    high: float
    method: Method

    @property
    def is_clear(self) -> bool:
        """Whether it is more than chance: the interval has no 0 in it."""
        return self.low > 0 or self.high < 0


@attrs.frozen(kw_only=True)
class ScoreFigures:
    """
    What the answers of one group come to.

    Args:
        shown: How often the question was shown.

        answers: How many of these were answered with a score, the last answer of each.

        needed: How many answers it takes before a figure is told.

        measures: The figures, that of the kind first; empty where they are held back.

        counts: Score → how many gave it; empty where the figures are held back.

        reworded: Whether the question was asked in other words in between.
    """

    shown: int
    answers: int
    needed: int
    measures: tuple[Measure, ...] = ()
    counts: Mapping[int, int] = attrs.field(factory=dict)
    reworded: bool = False

    @property
    def is_held_back(self) -> bool:
        """Whether there are too few answers for a figure."""
        return self.answers < self.needed

    @property
    def response_rate(self) -> float | None:
        """The share of what was shown that was answered; None where nothing was."""
        return self.answers / self.shown if self.shown else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "shown": self.shown,
            "answers": self.answers,
            "needed": self.needed,
            "held_back": self.is_held_back,
            "response_rate": self.response_rate,
            "measures": [attrs.asdict(each) for each in self.measures],
            "counts": {str(score): count for score, count in self.counts.items()},
            "reworded": self.reworded,
        }


@attrs.frozen(kw_only=True)
class ScoreGroup:
    """
    The answers of some customers.

    Args:
        by: What they have in common: `"journey"`, `"stage"`, `"touchpoint"` or `"segment"`.

        value: The journey's key, a stage as `checkout.payment`, the touchpoint's name, or the value
            of the segment's property.

        name: The segment's property.

        figures: What the answers come to.
    """

    by: str
    value: str
    name: str | None = None
    figures: ScoreFigures

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "by": self.by,
            "name": self.name,
            "value": self.value,
            **self.figures.to_dict(),
        }


@attrs.frozen(kw_only=True)
class ScorePeriod:
    """
    The answers to what was shown in one week or month, of UTC.

    Args:
        start, end: Its first day, and the first day behind it.

        is_over: Whether no more can be shown in it.

        figures: What the answers come to.

        changes: What is different from the period before; empty where one of both is held back, or
            where the question was asked in other words.
    """

    start: date
    end: date
    is_over: bool
    figures: ScoreFigures
    changes: tuple[Change, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "over": self.is_over,
            **self.figures.to_dict(),
            "changes": [{**attrs.asdict(each), "clear": each.is_clear} for each in self.changes],
        }


@attrs.frozen(kw_only=True)
class Score:
    """
    What customers have answered to one prompt.

    Args:
        prompt: The prompt's key.

        kind: `"nps"`, `"csat"` or `"ces"`.

        scale: The lowest and the highest score; the highest is the best.

        text: The question as it is now, in the default language; None where the prompt is declared
            no more.

        first, last: When it was shown first and last.

        figures: All answers together.

        groups: The same by journey, stage, touchpoint and segment.

        weeks, months: The same by when it was shown, the oldest first, without gaps.
    """

    prompt: str
    kind: str
    scale: tuple[int, int]
    text: str | None
    first: datetime
    last: datetime
    figures: ScoreFigures
    groups: tuple[ScoreGroup, ...] = ()
    weeks: tuple[ScorePeriod, ...] = ()
    months: tuple[ScorePeriod, ...] = ()

    def is_of(self, journey: str) -> bool:
        """Return whether some of it was answered in a journey."""
        return any((each.by, each.value) == ("journey", journey) for each in self.groups)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "prompt": self.prompt,
            "kind": self.kind,
            "scale": list(self.scale),
            "better": "high",
            "text": self.text,
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            **self.figures.to_dict(),
            "groups": [each.to_dict() for each in self.groups],
            "weeks": [each.to_dict() for each in self.weeks],
            "months": [each.to_dict() for each in self.months],
        }
