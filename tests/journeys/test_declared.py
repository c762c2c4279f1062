from __future__ import annotations

import pytest

from journeykit.journeys.declared import declare
from journeykit.model import Goal, Journey, Rule, Stage, Touchpoint

SHOP = Journey(key="shop", version=1, extends="ecommerce")


def journey(*stages: Stage, **more: object) -> Journey:
    """Return a journey of these stages."""
    return Journey(**{"key": "own", "version": 1, "stages": stages, **more})


def problems(
    *journeys: Journey,
    touchpoints: tuple[Touchpoint, ...] = (),
    names: dict[str, str] | None = None,
) -> list[str]:
    """Return what is wrong with these declarations."""
    return declare(journeys, touchpoints, names or {})[1]


def test_sound_declarations_have_no_problems() -> None:
    """Templates, own stages, touchpoints and names that fit together are accepted."""
    own = journey(
        Stage("look", enter=["Product Viewed", Rule("Sent", where={"kind": "parcel"})]),
        Stage("buy", enter=[Rule("Order Completed"), Rule("Sent", where={"kind": "letter"})]),
        Stage("return", enter=[Rule("Order Completed", after="Order Completed")]),
        goal=Goal("Order Completed", value="revenue"),
    )
    touchpoints = (Touchpoint("Payment Declined", stage="buy"), Touchpoint("Store Visited"))

    assert problems(SHOP, own, touchpoints=touchpoints, names={"gekauft": "Order Completed"}) == []


def test_nothing_declared_is_no_problem() -> None:
    """A shop that declares no journey may start."""
    assert problems() == []


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            problems(Journey(key="shop", version=1, extends="travel")),
            "journeys.shop.extends: is 'travel'; expected one of 'ecommerce'",
        ),
        (
            problems(
                Journey(key="shop", version=1, extends="ecommerce", stages=[Stage("checkout")])
            ),
            (
                "journeys.shop.stages: 'ecommerce' has no stage 'checkout'; it has 'awareness', "
                "'consideration', 'purchase', 'retention', 'advocacy'"
            ),
        ),
        (
            problems(journey()),
            'journeys.own.stages: is empty; declare stages, or write extends = "ecommerce"',
        ),
        (
            problems(journey(Stage("a", enter=["X"]), Stage("a", enter=["Y"]))),
            "journeys.own.stages: 'a' is declared 2 times; once is enough",
        ),
        (
            problems(journey(Stage("a"))),
            "journeys.own.stages.a.enter: is empty, so nobody can get here; name an event",
        ),
        (
            problems(journey(Stage("a", enter=["share"]))),
            (
                "journeys.own.stages.a.enter: 'share' may mean 'Product Shared', 'Cart Shared'; write "
                "the one you mean, or declare a touchpoint named 'share'"
            ),
        ),
        (
            problems(journey(Stage("a", enter=[Rule("X", after="share")]))),
            (
                "journeys.own.stages.a.enter.after: 'share' may mean 'Product Shared', 'Cart Shared'; "
                "write the one you mean, or declare a touchpoint named 'share'"
            ),
        ),
        (
            problems(journey(Stage("a", enter=["X"]), goal=Goal("share"))),
            (
                "journeys.own.goal.event: 'share' may mean 'Product Shared', 'Cart Shared'; write the "
                "one you mean, or declare a touchpoint named 'share'"
            ),
        ),
        (
            problems(journey(Stage("a", enter=["X"]), Stage("b", enter=["X"]))),
            (
                "journeys.own.stages: 'X' leads to 'a', 'b'; keep one, or tell them apart with where "
                "or after"
            ),
        ),
        (
            problems(journey(Stage("a", enter=["X", "X"]))),
            (
                "journeys.own.stages: 'X' leads to 'a', 'a'; keep one, or tell them apart with where "
                "or after"
            ),
        ),
        (
            problems(SHOP, touchpoints=(Touchpoint("Product Viewed", stage="purchase"),)),
            (
                "journeys.shop.stages: 'Product Viewed' leads to 'consideration', 'purchase'; keep "
                "one, or tell them apart with where or after"
            ),
        ),
        (
            problems(
                journey(Stage("a", enter=["X"]), Stage("b", enter=["Y"])),
                touchpoints=(Touchpoint("Z", stage="payment"),),
            ),
            "touchpoints[0].stage: no journey has a stage 'payment'; there are 'a', 'b'",
        ),
        (
            problems(touchpoints=(Touchpoint("X", stage="payment"),)),
            "touchpoints[0].stage: no journey has a stage 'payment'; there are none",
        ),
        (
            problems(touchpoints=(Touchpoint("X"), Touchpoint("X"))),
            "touchpoints: 'X' is declared 2 times; once is enough",
        ),
        (
            problems(SHOP, SHOP),
            "journeys: 'shop@1' is declared 2 times; once is enough",
        ),
        (
            problems(names={"a": "b", "b": "Product Viewed"}),
            "names.a: 'b' is itself a name of your own; write what it means",
        ),
    ],
)
def test_mistake_is_named(found: list[str], expected: str) -> None:
    """A mistake gives one line: where it is, what is wrong, what to do."""
    assert found == [expected]


def test_all_mistakes_are_named_at_once() -> None:
    """Mistakes in different places are all told together."""
    found = problems(
        SHOP,
        SHOP,
        Journey(key="trip", version=1, extends="travel"),
        Journey(key="more", version=1, extends="ecommerce", stages=[Stage("checkout")]),
        journey(Stage("a"), Stage("b", enter=["share"]), goal=Goal("list_view")),
        touchpoints=(Touchpoint("X", stage="nowhere"), Touchpoint("X")),
        names={"a": "b", "b": "c"},
    )

    starts = [
        "journeys: 'shop@1'",
        "touchpoints: 'X'",
        "names.a:",
        "touchpoints[0].stage: no journey has a stage 'nowhere'; there are 'awareness',",
        "journeys.trip.extends:",
        "journeys.more.stages:",
        "journeys.own.stages.a.enter: is empty",
        "journeys.own.stages.b.enter: 'share' may mean",
        "journeys.own.goal.event: 'list_view' may mean",
    ]
    assert len(found) == len(starts)
    for problem, start in zip(found, starts, strict=True):
        assert problem.startswith(start)


def test_versions_of_a_journey_stand_side_by_side() -> None:
    """The same key with another version is another journey."""
    second = Journey(key="shop", version=2, extends="ecommerce")

    assert problems(SHOP, second) == []


def test_touchpoint_settles_what_a_name_means() -> None:
    """An ambiguous name that is declared as a touchpoint or as a name of one's own is clear."""
    shares = journey(Stage("a", enter=["share"]))

    assert problems(shares, touchpoints=(Touchpoint("share"),)) == []
    assert problems(shares, names={"share": "Cart Shared"}) == []


def test_touchpoint_joins_every_journey_with_its_stage() -> None:
    """A touchpoint's stage gets a rule for it in each journey, but not twice."""
    one = journey(Stage("a", enter=["X"]), Stage("b", enter=["Y"]), key="one")
    two = journey(Stage("a", enter=["X", "Z"]), key="two")
    declared, found = declare([one, two], [Touchpoint("Z", stage="a", channel="web")], {})

    assert found == []
    rules = [[rule.event for rule in item.stages[0].enter] for item in declared.journeys]
    assert rules == [["X", "Z"], ["X", "Z"]]
    assert declared.channels == {"Z": "web"}
