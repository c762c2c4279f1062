from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from journeykit.cli.ranking import print_pain_points
from journeykit.insight import RankedPain, Report
from journeykit.model import Severity


def point(**more: Any) -> RankedPain:
    """Return a pain point as the anomaly rule finds it."""
    values = {
        "code": "rate.anomaly",
        "journey": "shop",
        "stage": "pay",
        "segment": {"platform": "mobile"},
        "first_seen": datetime(2026, 3, 1, 9, tzinfo=UTC),
        "last_seen": datetime(2026, 3, 8, 9, tzinfo=UTC),
        "customers": 1200,
        "events": 1300,
        "severity": Severity.HIGH,
        "score": 12.5,
        "money": None,
        "evidence": ("e1", "e2", "e3", "e4"),
        "detail": {
            "step": "card",
            "what": "got no further",
            "rate": 0.6,
            "usual_rate": 0.1,
            "trials": 2000,
            "ongoing": True,
            "together_with": {"gateway_error": 0.9},
        },
        **more,
    }
    return RankedPain(**values)


def test_a_point_is_told_in_four_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """What, where, for whom and since when; how bad; with what; and what proves it."""
    money = {"amount": 900.0, "low": 500.0, "high": 1300.5, "label": "association, not cause"}
    money |= {"lost_conversions": 18.0, "lost_low": 10.0, "lost_high": 26.0}
    points = [point(money=money)]

    print_pain_points(Report(events=1, customers=1, journeys=()), points, watched=True)

    assert capsys.readouterr().out.splitlines() == [
        "",
        "Where it hurts, worst first",
        "",
        "  1. rate.anomaly in pay: card got no further, platform mobile, 2026-03-01 to 2026-03-08",
        "     score 12.5, high, 1,200 customers, 1,300 times",
        "     60% of 2,000, usually 10%; still going on; together with gateway_error (90%)",
        "     at stake: 900.0 (95 %: 500.0 to 1,300.5); association, not cause",
        "     evidence: e1, e2, e3",
    ]


def test_what_is_held_back_is_counted_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Too few customers to be ranked: how many there are, and the evidence of each."""
    few = [point(code=f"few.{each}", score=None, detail={}) for each in range(12)]

    print_pain_points(Report(events=1, customers=1, journeys=(), held_back=tuple(few)), [])

    out = capsys.readouterr().out
    assert "Where it hurts: nothing found" in out
    assert "Too few customers to be ranked: 12" in out
    assert "few.0 in pay, 2026-03-01 to 2026-03-08, high" in out
    assert "evidence e4" in out
    assert "and 2 more" in out


def test_nothing_declared_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A shop without segments and without findings has the report that it always had."""
    print_pain_points(Report(events=1, customers=1, journeys=()), [], watched=False)

    assert capsys.readouterr().out == ""
