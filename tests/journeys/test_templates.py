from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from journeykit.journeys.templates import ECOMMERCE, TEMPLATES, extend
from journeykit.model import Goal, Journey, Stage, Touchpoint
from journeykit.model.vocabulary import ALIASES, STANDARD_NAMES

MakeWorld = Callable[..., Any]
MakeEntry = Callable[..., Any]

SHOP = Journey(key="shop", version=1, extends="ecommerce")

#: Each standard event → the stage that it brings a newcomer to, and a customer who has ordered.
STAGES = {
    "Page Viewed": ("awareness", "awareness"),
    "Promotion Viewed": ("awareness", "awareness"),
    "Promotion Clicked": ("awareness", "awareness"),
    "Experiment Viewed": ("awareness", "awareness"),
    "Products Searched": ("consideration", "consideration"),
    "Product List Viewed": ("consideration", "consideration"),
    "Product List Filtered": ("consideration", "consideration"),
    "Product Clicked": ("consideration", "consideration"),
    "Product Viewed": ("consideration", "consideration"),
    "Product Added to Wishlist": ("consideration", "consideration"),
    "Product Removed from Wishlist": ("consideration", "consideration"),
    "Wishlist Product Added to Cart": ("consideration", "consideration"),
    "Live Chat Conversation Started": ("consideration", "consideration"),
    "Product Added": ("consideration", "consideration"),
    "Product Removed": ("consideration", "consideration"),
    "Cart Viewed": ("consideration", "consideration"),
    "Coupon Entered": ("consideration", "consideration"),
    "Coupon Applied": ("consideration", "consideration"),
    "Coupon Denied": ("consideration", "consideration"),
    "Coupon Removed": ("consideration", "consideration"),
    "Checkout Started": ("purchase", "purchase"),
    "Checkout Step Viewed": ("purchase", "purchase"),
    "Checkout Step Completed": ("purchase", "purchase"),
    "Payment Info Entered": ("purchase", "purchase"),
    "Order Completed": ("purchase", "retention"),
    "Order Updated": ("purchase", "purchase"),
    "Signed In": (None, "retention"),
    "Product Reviewed": ("advocacy", "advocacy"),
    "Product Shared": ("advocacy", "advocacy"),
    "Cart Shared": ("advocacy", "advocacy"),
    "Order Refunded": (None, None),
    "Order Cancelled": (None, None),
    "Email Bounced": (None, None),
    "Email Delivered": (None, None),
    "Email Link Clicked": (None, None),
    "Email Marked as Spam": (None, None),
    "Email Opened": (None, None),
    "Unsubscribed": (None, None),
    "Live Chat Conversation Ended": (None, None),
    "Live Chat Message Sent": (None, None),
    "Live Chat Message Received": (None, None),
    "Account Created": (None, None),
    "Account Deleted": (None, None),
    "Signed Up": (None, None),
    "Signed Out": (None, None),
    "Invite Sent": (None, None),
    "Account Added User": (None, None),
    "Account Removed User": (None, None),
    "Trial Started": (None, None),
    "Trial Ended": (None, None),
}


def test_every_standard_event_has_its_place() -> None:
    """The table below names every standard event, so that a new one has to be placed."""
    assert STAGES.keys() == STANDARD_NAMES


@pytest.mark.parametrize("name", sorted(STAGES))
def test_newcomer_gets_to_the_stage_of_an_event(
    make_world: MakeWorld, make_entry: MakeEntry, name: str
) -> None:
    """The first event of a newcomer leads to its stage of the five, or to none."""
    world = make_world(SHOP).add(make_entry(name))

    assert world.stage() == STAGES[name][0]
    assert world.figures.instances == (STAGES[name][0] is not None)


@pytest.mark.parametrize("name", sorted(STAGES))
def test_customer_gets_to_the_stage_of_an_event(
    make_world: MakeWorld, make_entry: MakeEntry, name: str
) -> None:
    """An event after an order leads to its stage too; one that bears none leaves the purchase."""
    world = make_world(SHOP).add(make_entry("Order Completed"), make_entry(name, at=1))

    assert world.stage() == (STAGES[name][1] or "purchase")


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_other_names_lead_to_the_same_stage(
    make_world: MakeWorld, make_entry: MakeEntry, alias: str
) -> None:
    """A name of another vocabulary counts like the standard name that it means."""
    world = make_world(SHOP).add(make_entry(alias))
    assert world.stage() == STAGES[ALIASES[alias]][0]

    world = make_world(SHOP).add(make_entry("purchase"), make_entry(alias, at=1))
    assert world.stage() == (STAGES[ALIASES[alias]][1] or "purchase")


@pytest.mark.parametrize("alias", ["share", "list_view", "checkout_step"])
def test_ambiguous_names_lead_nowhere(
    make_world: MakeWorld, make_entry: MakeEntry, alias: str
) -> None:
    """A name that may mean two events bears no stage until the shop says which it means."""
    assert make_world(SHOP).add(make_entry(alias)).stage() is None


def test_order_completes_the_journey(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """The first order meets the goal, with its revenue; later orders change nothing about that."""
    world = make_world(SHOP).add(
        make_entry("purchase", {"revenue": "49.90"}),
        make_entry("Order Completed", {"revenue": 5}, at=1),
    )

    assert (world.figures.completed, world.figures.value) == (1, 49.9)


def test_stages_come_in_their_order(make_world: MakeWorld) -> None:
    """A journey that extends the template has its five stages, in their order."""
    keys = ("awareness", "consideration", "purchase", "retention", "advocacy")

    assert make_world(SHOP).plans[0].keys == keys
    assert TEMPLATES == {"ecommerce": ECOMMERCE}


def test_own_stage_replaces_the_templates() -> None:
    """A stage of the same key replaces the template's; without rules it keeps the template's."""
    own = [Stage("purchase", enter=["Paid"], title="Buying"), Stage("advocacy", title="Fans")]
    journey = extend(Journey(key="shop", version=2, extends="ecommerce", stages=own))

    by_key = {stage.key: stage for stage in journey.stages}
    assert list(by_key) == [stage.key for stage in ECOMMERCE.stages]
    assert [rule.event for rule in by_key["purchase"].enter] == ["Paid"]
    assert by_key["purchase"].title == "Buying"
    assert by_key["advocacy"].enter == ECOMMERCE.stages[4].enter
    assert by_key["advocacy"].title == "Fans"
    assert by_key["awareness"] == ECOMMERCE.stages[0]
    assert (journey.key, journey.version, journey.goal) == ("shop", 2, ECOMMERCE.goal)


def test_own_goal_replaces_the_templates() -> None:
    """A goal of the journey's own stands, also where the template has one."""
    goal = Goal("Product Reviewed")

    assert extend(Journey(key="s", version=1, extends="ecommerce", goal=goal)).goal == goal


def test_unknown_template_is_left_alone() -> None:
    """A journey that names no template, or an unknown one, stays as it is."""
    for template in (None, "travel"):
        journey = Journey(key="s", version=1, extends=template, stages=[Stage("a", enter=["X"])])
        assert extend(journey) is journey


def test_own_names_and_touchpoints_lead_to_stages(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """The shop's own names count as what they mean, and a touchpoint belongs to its stage."""
    declared = {
        "names": {"produkt_angesehen": "Product Viewed", "share": "Product Shared"},
        "touchpoints": [
            Touchpoint("Payment Declined", stage="purchase"),
            Touchpoint("Store Visited", channel="store"),
        ],
    }
    expected = {
        "produkt_angesehen": "consideration",
        "share": "advocacy",
        "Payment Declined": "purchase",
        "Store Visited": None,
    }

    for name, stage in expected.items():
        assert make_world(SHOP, **declared).add(make_entry(name)).stage() == stage
