from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from journeykit.journeys.plan import Plan, compile_plan, matches
from journeykit.model import Goal, Journey, Rule, Stage
from journeykit.model.vocabulary import Vocabulary


def plan(*stages: Stage, names: dict[str, str] | None = None, **more: Any) -> Plan:
    """Return the plan of a journey of these stages."""
    return compile_plan(Journey(key="own", version=3, stages=stages, **more), Vocabulary(names))


def reached(compiled: Plan, name: str) -> list[str]:
    """Return the stages that an event may lead to, in the order in which they are tried."""
    return [compiled.keys[candidate.stage] for candidate in compiled.routes[name].candidates]


def test_plan_knows_names_that_mean_the_same() -> None:
    """A rule for a standard name holds for its aliases and the shop's own names, and the reverse."""
    compiled = plan(Stage("buy", enter=["purchase"]), names={"gekauft": "Order Completed"})

    assert compiled.label == "own@3"
    assert compiled.routes.keys() == {
        "purchase",
        "Order Completed",
        "transaction",
        "Completed Order",
        "gekauft",
    }
    assert reached(compiled, "gekauft") == ["buy"]


def test_the_very_name_goes_first() -> None:
    """A rule for an alias itself keeps events of that name from the rule for the standard name."""
    compiled = plan(Stage("ga", enter=["purchase"]), Stage("any", enter=["Order Completed"]))

    assert reached(compiled, "purchase") == ["ga"]
    assert reached(compiled, "Order Completed") == ["any"]


def test_rules_with_more_conditions_go_first() -> None:
    """Rules are tried in the order after, where, later stage."""
    compiled = plan(
        Stage("plain", enter=["X"]),
        Stage("where", enter=[Rule("X", where={"a": 1})]),
        Stage("after", enter=[Rule("X", after="Y")]),
        Stage("both", enter=[Rule("X", where={"a": 1}, after="Y")]),
        Stage("later", enter=[Rule("X", where={"a": 2})]),
    )

    assert reached(compiled, "X") == ["both", "after", "later", "where", "plain"]
    assert compiled.routes["X"].needs_properties
    assert compiled.routes["Y"].marks == ("Y",)
    assert not compiled.routes["Y"].needs_properties


def test_goal_is_a_route_of_its_own() -> None:
    """The goal's event is known under all its names, also where no stage asks for it."""
    goal = Goal("Order Completed", value="revenue", within=timedelta(hours=1.5))
    compiled = plan(Stage("a", enter=["X"]), goal=goal)

    assert compiled.routes["purchase"].is_goal
    assert compiled.routes["purchase"].needs_properties
    assert not compiled.routes["X"].is_goal
    assert compiled.within == 5_400_000_000
    assert plan(Stage("a", enter=["X"])).within is None


@pytest.mark.parametrize(
    ("where", "properties", "expected"),
    [
        ({}, {}, True),
        ({"plan": "pro"}, {"plan": "pro", "more": 1}, True),
        ({"plan": "pro"}, {"plan": "free"}, False),
        ({"plan": "pro"}, {}, False),
        ({"plan": ["pro", "team"]}, {"plan": "team"}, True),
        ({"plan": ["pro", "team"]}, {"plan": "free"}, False),
        ({"plan": "pro", "seats": 3}, {"plan": "pro", "seats": 3}, True),
        ({"plan": "pro", "seats": 3}, {"plan": "pro", "seats": 4}, False),
        ({"gift": True}, {"gift": True}, True),
        ({"tags": "x"}, {"tags": ["x"]}, False),
        ({"tags": ["x"]}, {"tags": ["x"]}, False),
    ],
)
def test_where_compares_properties(
    where: dict[str, Any], properties: dict[str, Any], expected: bool
) -> None:
    """Every named property must have the value, or one of the values."""
    assert matches(where, properties) is expected
