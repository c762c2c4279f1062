"""Ranking: arithmetic that can be done by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from journeykit.insight.ranking import Loss, Pain, difference, persistence, rank, wilson
from journeykit.model.pain_point import Severity

TODAY = 20_000


def pain(code: str = "cart.abandoned", **more: Any) -> Pain:
    """Return a pain point of 40 of 100 customers, of this week."""
    values = {
        "code": code,
        "journey": "shop",
        "stage": "cart",
        "segment": None,
        "first_seen": datetime(2026, 1, 1, tzinfo=UTC),
        "last_seen": datetime(2026, 1, 2, tzinfo=UTC),
        "customers": 40,
        "active": 100,
        "events": 50,
        "severity": Severity.MEDIUM,
        "weight": 1.0,
        "days": frozenset({TODAY}),
        "evidence": ("e1",),
        **more,
    }
    return Pain(**values)


def codes(pains: list[Pain], effort: dict[str, float] | None = None) -> list[str]:
    """Return the codes in order."""
    return [point.code for point in rank(pains, TODAY, effort or {}).points]


def test_the_score_is_the_product() -> None:
    """Reach 0.4 × medium 1 × one week of twelve × the lower Wilson bound's share ÷ effort."""
    (point,) = rank([pain()], TODAY, {"cart.abandoned": 2}).points

    assert point.score == pytest.approx(100 * 0.30940 / 12 / 2, abs=0.01)


def test_more_of_anything_is_worse() -> None:
    """More customers, more severe, more weeks, more customers behind the same share, less effort."""
    usual = pain("usual")
    for worse in (
        pain("worse", customers=60),
        pain("worse", weight=2.0),
        pain("worse", days=frozenset({TODAY, TODAY - 10})),
        pain("worse", customers=400, active=1000),
    ):
        assert codes([usual, worse]) == ["worse", "usual"]
    assert codes([usual, pain("worse")], {"usual": 3}) == ["worse", "usual"]


def test_equals_are_in_order_of_their_names() -> None:
    """The order does not depend on the order in which they were found."""
    pains = [pain("b"), pain("a", stage="x"), pain("a", stage="w")]

    first, second = rank(pains, TODAY, {}), rank(pains[::-1], TODAY, {})

    assert first == second
    assert [(each.code, each.stage) for each in first.points] == [
        ("a", "w"),
        ("a", "x"),
        ("b", "cart"),
    ]


@pytest.mark.parametrize("few", [{"customers": 4}, {"active": 19, "customers": 19}])
def test_few_customers_are_held_back(few: dict[str, int]) -> None:
    """What rests on few customers has no score and no place in the list, and is not lost."""
    ranking = rank([pain("few", **few), pain("many")], TODAY, {})

    assert [point.code for point in ranking.points] == ["many"]
    assert [(point.code, point.score) for point in ranking.held_back] == [("few", None)]


def test_persistence_counts_weeks() -> None:
    """Days of one week count once, those of an earlier quarter not at all; never nothing."""
    assert persistence([TODAY, TODAY - 6, TODAY - 7], TODAY) == pytest.approx(2 / 12)
    assert persistence([TODAY - 300], TODAY) == pytest.approx(1 / 12)


def test_wilson_by_the_book() -> None:
    """80 of 100 lie between 71.1 and 86.7 %; none of none says nothing."""
    assert wilson(80, 100) == (pytest.approx(0.711, abs=5e-4), pytest.approx(0.867, abs=5e-4))
    assert wilson(0, 10)[0] == 0
    assert wilson(0, 0) == (0.0, 1.0)


def test_difference_by_the_book() -> None:
    """Newcombe's own example: 56 of 70 against 48 of 80 differ by 0.2, from 0.0524 to 0.3339."""
    assert difference(56, 70, 48, 80) == (
        pytest.approx(0.2),
        pytest.approx(0.0524, abs=5e-5),
        pytest.approx(0.3339, abs=5e-5),
    )


def test_money_is_lost_orders_times_their_worth() -> None:
    """48 of 80 affected against 56 of 70 others: 16 orders at 50 each, labelled as association."""
    loss = Loss(affected=80, affected_converted=48, others=70, others_converted=56, order_value=50)

    money = loss.money()

    assert money is not None
    assert money["lost_conversions"] == 16.0
    assert (money["amount"], money["order_value"]) == (800.0, 50)
    assert money["low"] < 800 < money["high"]
    assert money["label"] == "association, not cause"


def test_money_without_a_worth_is_orders_only() -> None:
    """Where no order has a value, the lost orders are told and no amount."""
    loss = Loss(affected=80, affected_converted=48, others=70, others_converted=56)

    money = loss.money()

    assert money is not None
    assert (money["amount"], money["lost_conversions"]) == (None, 16.0)
    assert Loss(affected=8, affected_converted=4, others=0, others_converted=0).money() is None


def test_a_point_has_the_form_that_the_report_promises() -> None:
    """As JSON values, with times as text and the keys in their order."""
    (point,) = rank([pain(segment={"platform": "mobile"})], TODAY, {}).points

    value = point.to_dict()

    assert list(value) == [
        "code",
        "journey",
        "stage",
        "segment",
        "first_seen",
        "last_seen",
        "customers",
        "events",
        "severity",
        "score",
        "money",
        "evidence",
        "detail",
    ]
    assert value["first_seen"] == "2026-01-01T00:00:00+00:00"
    assert (value["segment"], value["severity"]) == ({"platform": "mobile"}, "medium")
