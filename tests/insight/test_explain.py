from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from tests.journeys.test_versions import ONE, TWO, Shop, open_shop

from journeykit import Exit, Goal, Journey, Rule, Stage
from journeykit.insight import Explanation, explain
from journeykit.insight.explain import STEPS
from journeykit.journeys import checkpoint, declare, folds, line_history, line_instance, plans
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


def test_many_runs_are_read_in_one_go(
    store: Store, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A till's path takes as many readings of its events as that of somebody with one cart."""
    readings: list[str] = []
    history = type(store).history

    def counted(self: Store, customers: Any, since: Any = None) -> Any:
        readings.append("one")
        return history(self, customers, since)

    def carts(user_id: str, count: int) -> list[Entry]:
        return [
            make_entry("Product Added", {"cart_id": f"c{number}"}, user_id=user_id, at=number)
            for number in range(count)
        ]

    told(store, *carts("u1", 1), *carts("till", 30))
    monkeypatch.setattr(type(store), "history", counted)
    needed = []
    for user_id, count in (("u1", 1), ("till", 30)):
        found = told(store, user_id=user_id)
        assert found is not None
        assert len(found.paths) == count
        needed.append(len(readings))
        readings.clear()
    assert needed[0] == needed[1]


def test_the_latest_runs_are_told_and_the_others_counted(
    store: Store, make_entry: MakeEntry
) -> None:
    """Of many runs only those with the latest events are told, where somebody wants a page."""
    order = (*range(9), 3)
    carts = [
        make_entry("Product Added", {"cart_id": f"c{number}"}, at=at)
        for at, number in enumerate(order)
    ]
    told(store, *carts)
    compiled = plans(declare([CHECKOUT], [], {})[0])
    found = explain(store, compiled, "u1", None, 2)
    assert found is not None
    assert ([path.instance for path in found.paths], found.earlier) == (["c3", "c8"], 7)
    few = explain(store, compiled, "u1", None, 9)
    assert few is not None
    assert (len(few.paths), few.earlier) == (9, 0)


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


def through_versions(shop: Shop, user_id: str = "u1") -> list[tuple[Any, ...]]:
    """Return version, stage, outcome and steps of each path, as far as it is told."""
    found = explain(
        shop.store, shop.publisher.plans(shop.store.published()), user_id, anonymous_id=None
    )
    assert found is not None
    return [
        (
            path.version,
            path.stage,
            path.outcome,
            [(step.event, step.led_to, step.because) for step in path.steps],
        )
        for path in found.paths
    ]


def test_a_pinned_run_is_told_by_its_version(make_entry: MakeEntry) -> None:
    """Each version has the steps that were made on it, also those that it has no rule for."""
    with open_shop("memory") as shop:
        shop.deploy(ONE, at=0).add(make_entry("Look", at=1), at=1).deploy(TWO, at=2)
        shop.add(
            *(make_entry(name, at=at) for at, name in enumerate(("Bye", "Buy", "Leave"), 3)), at=5
        )
        shop.add(make_entry("Look", at=6), make_entry("Bye", at=7), at=7)

        assert through_versions(shop) == [
            (
                1,
                "buy",
                "abandoned",
                [
                    ("Look", "entered look", "a rule of look"),
                    ("Bye", "", "version 1, which the run is on, has no rule for it"),
                    ("Buy", "entered buy", "a rule of buy"),
                    ("Leave", "ended: abandoned", "an exit: abandoned"),
                ],
            ),
            (
                2,
                "end",
                None,
                [
                    ("Look", "began again, entered browse", "a rule of browse"),
                    ("Bye", "entered end", "a rule of end"),
                ],
            ),
        ]


def test_what_a_publication_does_is_told(make_entry: MakeEntry) -> None:
    """A run that was moved, or ended, says which version did that, and deadlines are told too."""
    two = evolve(TWO, publish={"migrate": {"look": "order"}}, timeout=timedelta(seconds=20))
    with open_shop("memory") as shop:
        shop.deploy(ONE, at=0).add(make_entry("Look", at=1), at=1).deploy(two, at=2)
        shop.add(make_entry("Look", user_id="other", at=8), at=30)
        shop.deploy(evolve(TWO, version=3, publish="close"), at=31)

        assert through_versions(shop) == [
            (
                1,
                "look",
                "migrated",
                [
                    ("Look", "entered look", "a rule of look"),
                    (None, "ended: migrated", "version 2 was published"),
                ],
            ),
            (
                2,
                "order",
                "timed_out",
                [
                    (None, "entered order", "version 2 was published"),
                    (None, "ended: timed_out", "the journey's timeout"),
                ],
            ),
        ]


def test_a_long_pinned_path_is_told_from_its_checkpoint(
    make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more events came than may be folded again, the path begins at the checkpoint."""
    for module in (checkpoint, line_history, line_instance):
        monkeypatch.setattr(module, "MOST_MOMENTS", 20)
    for function in (line_history.read, line_history.read_all):
        monkeypatch.setattr(function, "__defaults__", (20,))
    for module in (checkpoint, line_instance):
        monkeypatch.setattr(module, "EVERY_MOMENTS", 10)
    with open_shop("memory") as shop:
        shop.deploy(evolve(ONE, late=timedelta(seconds=5)), at=0)
        shop.add(make_entry("Look", at=1), at=1).deploy(TWO, at=2)
        for at in range(3, 60):
            shop.add(make_entry("Buy" if at % 2 else "Look", at=at), at=at)
        shop.add(make_entry("Look", at=3), at=61)

        (path,) = through_versions(shop)
        assert path[:3] == (1, "buy", None)
        assert 5 < len(path[3]) <= 41
