from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

from journeykit.insight import CustomerStage, customers, report
from journeykit.journeys import declare, folds, plans
from journeykit.journeys.plan import Plan
from journeykit.model import Entry, Goal, Journey, Stage
from journeykit.plugins import Plugins
from journeykit.store.projector import Projector
from journeykit.store.protocol import Commit, Store

#: Later than all that is made here.
NOW = 4_000_000_000_000_000

MakeEntry = Callable[..., Entry]

SHOP = Journey(key="shop", version=1, extends="ecommerce", title="Dawdle")
SHOP_10 = Journey(key="shop", version=10, extends="ecommerce")
CARTS = Journey(
    key="carts",
    version=1,
    instance_by="cart_id",
    stages=[Stage("cart", enter=["Product Added"]), Stage("paid", enter=["Order Completed"])],
    goal=Goal("Order Completed", value="revenue"),
)


def fold(store: Store, journeys: list[Journey], *entries: Entry) -> tuple[Plan, ...]:
    """Commit and fold *entries*; return the plans."""
    compiled = plans(declare(journeys, [], {})[0])
    store.commit(Commit(entries), NOW)
    folding = folds(compiled, Plugins(installed=False))
    projector = Projector(store, folding, declaration=repr(journeys), now=lambda: NOW)
    while projector.step() is not None:
        pass
    return compiled


def test_report_of_nothing(store: Store) -> None:
    """Before the first event every figure is zero, and every stage is there."""
    found = report(store, fold(store, [SHOP]))

    assert (found.events, found.customers) == (0, 0)
    (shop,) = found.journeys
    assert (shop.key, shop.version, shop.title) == ("shop", 1, "Dawdle")
    assert (shop.instances, shop.completed, shop.value) == (0, 0, 0.0)
    assert [(stage.key, stage.entered) for stage in shop.stages] == [
        ("awareness", 0),
        ("consideration", 0),
        ("purchase", 0),
        ("retention", 0),
        ("advocacy", 0),
    ]


def test_report_counts_by_hand(store: Store, make_entry: MakeEntry) -> None:
    """A handful of events, counted by hand."""
    compiled = fold(
        store,
        [SHOP, CARTS],
        make_entry("Page Viewed", user_id="a"),
        make_entry("Product Added", {"cart_id": "1"}, user_id="a", at=1),
        make_entry("Order Completed", {"cart_id": "1", "revenue": "9.99"}, user_id="a", at=2),
        make_entry("Page Viewed", user_id="a", at=3),
        make_entry("Product Added", {"cart_id": "2"}, user_id="a", at=4),
        make_entry("Product Added", {"cart_id": "1"}, user_id="b", at=5),
        make_entry("Email Opened", user_id="c", at=6),
    )
    found = report(store, compiled)

    assert (found.events, found.customers) == (7, 3)
    shop, carts = found.journeys
    table = [(stage.entered, stage.current, stage.furthest) for stage in shop.stages]
    assert table == [(1, 0, 0), (2, 2, 1), (1, 0, 1), (0, 0, 0), (0, 0, 0)]
    assert (shop.instances, shop.completed, shop.value) == (2, 1, 9.99)
    table = [(stage.entered, stage.current, stage.furthest) for stage in carts.stages]
    assert table == [(3, 2, 2), (1, 1, 1)]
    assert (carts.instances, carts.completed, carts.value) == (3, 1, 9.99)


def test_report_is_json(store: Store, make_entry: MakeEntry) -> None:
    """A report as a dictionary has JSON values only."""
    found = report(store, fold(store, [SHOP], make_entry("Page Viewed")))
    plain = json.loads(json.dumps(found.to_dict()))

    assert plain["events"] == plain["customers"] == 1
    assert plain["journeys"][0]["stages"][0] == {
        "key": "awareness",
        "title": "Awareness",
        "entered": 1,
        "current": 1,
        "furthest": 1,
    }


def test_customers_of_one_journey(store: Store, make_entry: MakeEntry) -> None:
    """Each customer is listed with stage and furthest stage, known or not, the latest first."""
    compiled = fold(
        store,
        [SHOP, SHOP_10, CARTS],
        make_entry("Order Completed", user_id="ada", at=1),
        make_entry("Page Viewed", user_id="ada", at=9),
        make_entry("Product Viewed", user_id=None, anonymous_id="cookie", at=3),
        make_entry("Email Opened", user_id="nowhere", at=4),
    )
    noon = make_entry().event().occurred_at

    for plan in compiled[:2]:
        assert customers(store, [plan], 10) == [
            CustomerStage(
                customer="ada",
                known=True,
                stage="awareness",
                furthest="purchase",
                instance="",
                last_seen=noon + timedelta(seconds=9),
                version=plan.journey.version,
            ),
            CustomerStage(
                customer="cookie",
                known=False,
                stage="consideration",
                furthest="consideration",
                instance="",
                last_seen=noon + timedelta(seconds=3),
                version=plan.journey.version,
            ),
        ]
    assert len(customers(store, compiled[:1], 1)) == 1
    assert customers(store, compiled[2:3], 10) == []


def test_instances_are_listed_apart(store: Store, make_entry: MakeEntry) -> None:
    """With `instance_by` each instance of a customer has its own line."""
    compiled = fold(
        store,
        [CARTS],
        make_entry("Product Added", {"cart_id": "1"}),
        make_entry("Product Added", {"cart_id": "2"}),
        make_entry("Order Completed", {"cart_id": "2"}, at=1),
    )

    listed = {item.instance: item.stage for item in customers(store, compiled[:1], 10)}
    assert listed == {"1": "cart", "2": "paid"}
