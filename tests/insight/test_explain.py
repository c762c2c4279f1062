from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from journeykit import Exit, Goal, Journey, Rule, Stage
from journeykit.insight import Explanation, explain
from journeykit.insight.explain import STEPS
from journeykit.journeys import checkpoint, declare, folds, plans
from journeykit.model import Entry, Kind
from journeykit.plugins import Plugins
from journeykit.store.projector import Projector
from journeykit.store.protocol import Commit, Store

MakeEntry = Callable[..., Entry]

#: Later than all that is made here.
NOW = 4_000_000_000_000_000

CHECKOUT = Journey(
    key="checkout",
    version=2,
    instance_by="cart_id",
    stages=[
        Stage("cart", enter=["Product Added"], stall=timedelta(seconds=5)),
        Stage("pay", enter=["Payment Info Entered"]),
        Stage("again", enter=[Rule("Product Added", after="Order Completed")]),
    ],
    goal=Goal("Order Completed"),
    exits=[Exit("Cart Emptied", outcome="emptied")],
    regress="ignore",
)


def told(
    store: Store, *entries: Entry, user_id: str | None = "u1", anonymous_id: str | None = None
) -> Explanation | None:
    """Fold *entries* and explain a customer."""
    compiled = plans(declare([CHECKOUT], [], {})[0])
    store.commit(Commit(entries), NOW)
    folding = folds(compiled, Plugins(installed=False))
    projector = Projector(store, folding, declaration="one", now=lambda: NOW)
    while projector.step() == 0:
        pass
    return explain(store, compiled, user_id, anonymous_id)


def lines(found: Explanation | None, number: int = 0) -> list[tuple[str | None, str, str]]:
    """Return the steps of one path: event, what it led to, and why."""
    assert found is not None
    return [(step.event, step.led_to, step.because) for step in found.paths[number].steps]


def test_each_step_has_its_rule(store: Store, make_entry: MakeEntry) -> None:
    """Each event says what it led to and by which rule, or why it led to nothing."""

    def event(at: float, name: str) -> Entry:
        return make_entry(name, {"cart_id": "c1"}, at=at)

    found = told(
        store,
        event(0, "Product Added"),
        event(9, "Payment Info Entered"),
        event(10, "Product Added"),
        event(11, "Order Completed"),
        event(12, "Product Added"),
        event(13, "Cart Emptied"),
        event(13.5, "Order Completed"),
        event(-700_000, "Product Added"),
    )

    assert lines(found) == [
        ("Product Added", "", "too late: more than 7 days older than an event before it"),
        ("Product Added", "entered cart", "a rule of cart"),
        (None, "stalled in cart", "the journey's stall"),
        ("Payment Info Entered", "entered pay", "a rule of pay"),
        ("Product Added", "", "a rule of cart; the journey's policy keeps the customer here"),
        ("Order Completed", "completed", "the goal"),
        ("Product Added", "entered again", "a rule of again, after Order Completed"),
        ("Cart Emptied", "ended: emptied", "an exit: emptied"),
        ("Order Completed", "", "the run had ended"),
    ]
    assert found is not None
    (path,) = found.paths
    assert (path.journey, path.version, path.instance, path.run) == ("checkout", 2, "c1", 1)
    assert (path.stage, path.furthest, path.skipped) == ("again", "again", ())
    assert (path.completed, path.outcome) == (True, "emptied")


def test_a_person_is_found_by_every_id(store: Store, make_entry: MakeEntry) -> None:
    """Whichever id one asks for, the whole person is explained."""
    entries = [
        make_entry("Product Added", {"cart_id": "c1"}, user_id=None, anonymous_id="a1"),
        make_entry("Signed In", anonymous_id="a1", at=1),
    ]
    found = told(store, *entries)
    assert found == told(store, user_id=None, anonymous_id="a1")
    assert found is not None
    assert (found.customer, found.known_as, found.events) == ("u:u1", ("u:u1", "a:a1"), 2)
    assert told(store, user_id="nobody") is None


def test_opting_out_is_told(store: Store, make_entry: MakeEntry) -> None:
    """What a person decided is named as such, and so is what it keeps from happening."""

    def fact(at: float, **more: Any) -> Entry:
        properties = {"journey": "checkout", **more}
        return make_entry("customer.opted_out", properties, at=at, kind=Kind.FACT)

    found = told(
        store,
        make_entry("Product Added", {"cart_id": "c1"}),
        fact(1),
        make_entry("Payment Info Entered", {"cart_id": "c1"}, at=2),
        fact(3, revoked=True),
    )
    assert lines(found)[1:] == [
        ("customer.opted_out", "ended: opted_out", "the customer opted out"),
        ("Payment Info Entered", "", "the customer has opted out of this journey"),
        ("customer.opted_out", "", "the customer may take part again"),
    ]


def test_a_long_path_shows_its_end(
    store: Store, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a path with more steps than fit the latest are shown, also where it begins in between."""
    names = ["Product Added", "Payment Info Entered"]

    def entries(count: int) -> list[Entry]:
        return [
            make_entry(names[number % 2], {"cart_id": "c1"}, at=number * 86_400, id=f"{number:04}")
            for number in range(count)
        ]

    found = told(store, *entries(120))
    assert found is not None
    assert [step.id for step in found.paths[0].steps[-2:]] == ["0118", "0119"]
    assert len(found.paths[0].steps) == STEPS
    assert found.paths[0].earlier > 0

    monkeypatch.setattr(checkpoint, "EVERY_MOMENTS", 10)
    monkeypatch.setattr(checkpoint, "MOST_MOMENTS", 100)
    found = told(store, *entries(300))
    assert found is not None
    assert found.paths[0].steps[-1].id == "0299"
