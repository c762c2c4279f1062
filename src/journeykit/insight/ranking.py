"""
Puts pain points in order, the worst first; pure arithmetic.

`score = 100 × reach × severity × persistence × confidence ÷ effort`.
What rests on few customers is held back: the order of such would be chance.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.model.pain_point import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

#: What severities weigh, as impact does in RICE scoring.
WEIGHTS: Final[Mapping[Severity, float]] = {
    Severity.LOW: 0.5,
    Severity.MEDIUM: 1.0,
    Severity.HIGH: 2.0,
    Severity.CRITICAL: 3.0,
}

#: The fewest customers affected, and the fewest who could have been: below, one more or less
#: changes places in the list.
FEWEST_AFFECTED: Final = 5
FEWEST_ACTIVE: Final = 20

#: Over how many weeks up to the newest event persistence is counted: a quarter of a year.
WEEKS: Final = 12

#: Said with every amount.
LABEL: Final = "association, not cause"

_Z: Final = 1.959964


@attrs.frozen(kw_only=True)
class Loss:
    """
    Who reached the goal: of those affected, and of others in the same stage.

    Args:
        order_value: What a completion is worth on average; None if nobody knows.
    """

    affected: int
    affected_converted: int
    others: int
    others_converted: int
    order_value: float | None = None

    def money(self) -> dict[str, Any] | None:
        """Return what may be at stake, with its 95 % interval; None without anybody to compare."""
        if not self.affected or not self.others:
            return None
        counts = self.others_converted, self.others, self.affected_converted, self.affected
        lost = [self.affected * share for share in difference(*counts)]
        worth = self.order_value
        amounts = [None if worth is None else round(each * worth, 2) for each in lost]
        return {
            "amount": amounts[0],
            "low": amounts[1],
            "high": amounts[2],
            "lost_conversions": round(lost[0], 1),
            "lost_low": round(lost[1], 1),
            "lost_high": round(lost[2], 1),
            "order_value": None if worth is None else round(worth, 2),
            "label": LABEL,
        }


@attrs.frozen(kw_only=True)
class Pain:
    """
    A pain point before it is ranked.

    Args:
        segment: Property → value; None for everybody.

        customers: How many were affected, of `active` in the stage meanwhile.

        weight: The mean weight of its severities.

        days: On which days it was found, in days since the epoch.

        evidence: Ids of events, the newest last.

        detail: What else a reader should know, JSON values.
    """

    code: str
    journey: str | None
    stage: str | None
    segment: Mapping[str, str] | None
    first_seen: datetime
    last_seen: datetime
    customers: int
    active: int
    events: int
    severity: Severity
    weight: float
    days: frozenset[int]
    evidence: tuple[str, ...]
    loss: Loss | None = None
    detail: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class RankedPain:
    """
    A pain point of the report.

    Args:
        score: What it is ranked by; None while it is held back.

        money: What may be at stake: `amount`, `low`, `high`, the conversions behind them, and how
            to read them; None if there is nobody to compare with.

        detail: What else is known, such as the step, its rate and the usual one.
    """

    code: str
    journey: str | None
    stage: str | None
    segment: Mapping[str, str] | None
    first_seen: datetime
    last_seen: datetime
    customers: int
    events: int
    severity: Severity
    score: float | None
    money: Mapping[str, Any] | None
    evidence: tuple[str, ...]
    detail: Mapping[str, Any] = attrs.field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            **attrs.asdict(self),
            "first_seen": self.first_seen.isoformat(),
            "last_seen": self.last_seen.isoformat(),
            "severity": self.severity.value,
            "evidence": list(self.evidence),
        }


@attrs.frozen(kw_only=True)
class Ranking:
    """
    Pain points in order.

    Args:
        points: The worst first.

        held_back: What rests on too few customers, most customers first, without a score.
    """

    points: tuple[RankedPain, ...]
    held_back: tuple[RankedPain, ...]


def rank(pains: Iterable[Pain], newest_day: int, effort: Mapping[str, float]) -> Ranking:
    """
    Return *pains* in order.

    Args:
        newest_day: The day of the newest event, in days since the epoch.

        effort: Code → how many days of work it would take to better it; 1 where nobody said.
    """
    points, held_back = [], []
    for pain in pains:
        if pain.customers < FEWEST_AFFECTED or pain.active < FEWEST_ACTIVE:
            held_back.append(_ranked(pain, None))
        else:
            points.append(_ranked(pain, _score(pain, newest_day, effort.get(pain.code, 1.0))))
    points.sort(key=lambda point: (-(point.score or 0), *_name(point)))
    held_back.sort(key=lambda point: (-point.customers, *_name(point)))
    return Ranking(points=tuple(points), held_back=tuple(held_back))


def _score(pain: Pain, newest_day: int, effort: float) -> float:
    active = max(pain.active, pain.customers)
    reach = pain.customers / active
    # How much of the reach is sure: little where few customers carry it.
    confidence = wilson(pain.customers, active)[0] / reach
    score = 100 * reach * pain.weight * persistence(pain.days, newest_day) * confidence
    return round(score / effort, 2)


def _ranked(pain: Pain, score: float | None) -> RankedPain:
    same = {field.name for field in attrs.fields(RankedPain)} - {"score", "money"}
    values = {name: getattr(pain, name) for name in same}
    return RankedPain(**values, score=score, money=pain.loss.money() if pain.loss else None)


def _name(point: RankedPain) -> tuple[str, ...]:
    segment = sorted((point.segment or {}).items())
    return point.code, point.journey or "", point.stage or "", repr(segment), repr(point.first_seen)


def persistence(days: Iterable[int], newest_day: int) -> float:
    """Return in which share of the newest weeks it was seen; one week where in none of them."""
    weeks = {(newest_day - day) // 7 for day in days}
    return max(1, len([week for week in weeks if 0 <= week < WEEKS])) / WEEKS


def wilson(count: float, total: float) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson), which small samples make wide."""
    if total <= 0:
        return 0.0, 1.0
    share = count / total
    middle = share + _Z**2 / (2 * total)
    spread = _Z * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    scale = 1 + _Z**2 / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def difference(a: float, of_a: float, b: float, of_b: float) -> tuple[float, float, float]:
    """Return by how much one share is above another, and its 95 % interval (Newcombe)."""
    share_a, share_b = a / of_a, b / of_b
    (low_a, high_a), (low_b, high_b) = wilson(a, of_a), wilson(b, of_b)
    found = share_a - share_b
    below = math.hypot(share_a - low_a, high_b - share_b)
    above = math.hypot(high_a - share_a, share_b - low_b)
    return found, found - below, found + above
