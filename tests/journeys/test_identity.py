from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.journeys.identity import CUSTOMERS, LINKS
from journeykit.model import Entry, Journey, jsonbytes

NewWorld = Callable[..., Any]
MakeWorld = Callable[..., Any]
MakeEntry = Callable[..., Entry]

SHOP = Journey(key="shop", version=1, extends="ecommerce")
CHECKOUT = Journey(
    key="checkout", version=1, instance_by="cart_id", extends="ecommerce", title="Checkout"
)


def links(world: Any) -> dict[str, str]:
    """Return which anonymous customer is whom."""
    return {key: jsonbytes.loads(data) for key, data in world.store.scan(LINKS)}


def seen(world: Any) -> set[str]:
    """Return who was seen."""
    return {key for key, _ in world.store.scan(CUSTOMERS)}


def test_anonymous_customer_becomes_known(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """What somebody did before signing in becomes theirs, and they are counted once."""
    world = make_world(SHOP).add(
        make_entry("Product Viewed", user_id=None, anonymous_id="c1", at=1),
        make_entry("Order Completed", user_id="ada", at=2),
    )
    assert world.figures.instances == world.report.customers == 2

    world.add(make_entry("Signed In", user_id="ada", anonymous_id="c1", at=3))

    assert world.runs().keys() == {("u:ada", "")}
    assert world.stage("u:ada") == "retention"
    assert world.run("u:ada").visits == [0, 1, 1, 1, 0]
    assert world.figures.instances == world.report.customers == 1
    assert world.kept() == world.recount()
    assert seen(world) == {"u:ada"}

    world.add(make_entry("Product Reviewed", user_id=None, anonymous_id="c1", at=4))
    assert world.stage("u:ada") == "advocacy"


def test_carts_of_both_are_joined(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """Runs of the same instance become one; others move as they are."""
    world = make_world(CHECKOUT)
    for cart, who in [
        ("both", {"user_id": "ada"}),
        ("both", {"user_id": None, "anonymous_id": "c1"}),
        ("hers", {"user_id": None, "anonymous_id": "c1"}),
        ("others", {"user_id": None, "anonymous_id": "c2"}),
    ]:
        world.add(make_entry("Product Added", {"cart_id": cart}, **who))
    assert world.figures.instances == 4

    world.add(make_entry("customer.identified", user_id="ada", anonymous_id="c1", at=9))

    assert world.runs().keys() == {("u:ada", "both"), ("u:ada", "hers"), ("a:c2", "others")}
    assert world.figures.instances == 3
    assert world.kept() == world.recount()


def test_known_people_are_never_merged(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """A cookie stays with its first person; a second one gets only the events that name them."""
    world = make_world(SHOP).add(
        make_entry("Page Viewed", user_id=None, anonymous_id="shared", at=0),
        make_entry("Signed In", user_id="ada", anonymous_id="shared", at=1),
        make_entry("Order Completed", user_id="bob", anonymous_id="shared", at=2),
        make_entry("Product Reviewed", user_id=None, anonymous_id="shared", at=3),
    )

    assert links(world) == {"a:shared": "u:ada"}
    assert world.stage("u:ada") == "advocacy"
    assert world.stage("u:bob") == "purchase"
    assert world.run("u:ada").visits == [1, 0, 0, 0, 1]
    assert world.run("u:bob").visits == [0, 0, 1, 0, 0]
    assert world.report.customers == 2


def test_ids_of_both_kinds_are_apart(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """A user id and an anonymous id of the same text are two people."""
    world = make_world(SHOP).add(
        make_entry("Page Viewed", user_id="x"),
        make_entry("Page Viewed", user_id=None, anonymous_id="x"),
    )

    assert world.report.customers == world.figures.instances == 2


def test_several_devices_are_one_person(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """Every cookie that a person signs in with is theirs."""
    world = make_world(SHOP)
    for number in range(3):
        device = f"d{number}"
        world.add(make_entry("Page Viewed", user_id=None, anonymous_id=device, at=number))
        world.add(make_entry("Signed In", user_id="ada", anonymous_id=device, at=10 + number))
    world.add(make_entry("Product Viewed", user_id=None, anonymous_id="d1", at=0.5))

    assert world.report.customers == world.figures.instances == 1
    assert seen(world) == {"u:ada"}
    assert world.run("u:ada").visits == [2, 1, 0, 0, 0]


_BROWSING = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(
                ["Page Viewed", "Product Viewed", "Order Completed", "Signed In", "Product Shared"]
            ),
            "at": st.integers(0, 20),
            "who": st.sampled_from(["device", "person", "both"]),
            "properties": st.fixed_dictionaries({"cart_id": st.sampled_from(["c1", "c2"])}),
        }
    ),
    max_size=14,
)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@given(
    browsing=_BROWSING,
    identified_at=st.integers(0, 20),
    shuffle=st.randoms(use_true_random=False),
)
def test_signing_in_at_any_time_gives_one_person(
    new_world: NewWorld,
    make_entry: MakeEntry,
    kind: str,
    browsing: list[dict[str, Any]],
    identified_at: int,
    shuffle: random.Random,
) -> None:
    """Events around the one that identifies, arriving in any order, are those of one person."""
    whose: dict[str, dict[str, str | None]] = {
        "device": {"user_id": None, "anonymous_id": "c1"},
        "person": {"user_id": "ada", "anonymous_id": None},
        "both": {"user_id": "ada", "anonymous_id": "c1"},
    }
    cut = [{key: event[key] for key in ("name", "at", "properties")} for event in browsing]
    with new_world(SHOP, CHECKOUT) as expected:
        expected.add(
            make_entry("customer.identified", user_id="ada", at=identified_at),
            *(make_entry(id=f"e{i:02}", user_id="ada", **event) for i, event in enumerate(cut)),
        )
        arriving = [
            make_entry(id=f"e{i:02}", **whose[event["who"]], **cut[i])
            for i, event in enumerate(browsing)
        ]
        arriving.append(make_entry("customer.identified", at=identified_at, **whose["both"]))
        shuffle.shuffle(arriving)
        with new_world(SHOP, CHECKOUT, kind=kind) as world:
            while arriving:
                size = shuffle.randint(1, len(arriving))
                world.add(*arriving[:size])
                del arriving[:size]
                assert [world.kept(plan) for plan in world.plans] == [
                    world.recount(plan) for plan in world.plans
                ]
            assert world.report == expected.report
            for plan in world.plans:
                assert world.runs(plan) == expected.runs(plan)
            assert seen(world) == seen(expected)
