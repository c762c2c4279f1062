from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from journeykit.journeys.derived import derive
from journeykit.model import Entry, Journey, Kind
from journeykit.model.consent import Stamp, stamp_of
from journeykit.model.event import DELIVER, HISTORICAL

MakeWorld = Callable[..., Any]
MakeEntry = Callable[..., Entry]
MakeStored = Callable[..., Any]

SHOP = Journey(key="shop", version=1, extends="ecommerce")


def test_same_cause_gives_the_same_id(make_stored: MakeStored) -> None:
    """The id follows from cause, name, journey, version, instance and subject, and nothing else."""
    cause = make_stored(1, id="cause")
    later = make_stored(99, id="cause", recorded_at=5, anonymous_id="c", user_id=None)

    def id_of(stored: Any = cause, name: str = "n", subject: str = "s", **more: Any) -> str:
        return derive(stored, name, subject, {}, **{"journey": SHOP, "instance": "i", **more}).id

    assert id_of() == id_of(later) == id_of(stage="purchase")
    others = [
        id_of(make_stored(1, id="other")),
        id_of(name="m"),
        id_of(subject="t"),
        id_of(instance="j"),
        id_of(journey=None),
        id_of(journey=Journey(key="shop", version=2)),
        id_of(journey=Journey(key="shop2", version=1)),
    ]
    assert len({id_of(), *others}) == 8


def test_ids_are_ordered_by_the_time_of_their_cause(make_stored: MakeStored) -> None:
    """Derived ids sort by when their causes occurred, also where the cause's id is the shop's."""
    ids = [
        derive(make_stored(at=at, **more), "n", "s", {}).id
        for at, more in [(0, {}), (1, {"id": "order-1"}), (2, {}), (3, {"id": "order-0"})]
    ]

    assert ids == sorted(ids)


@pytest.mark.parametrize("flags", [0, HISTORICAL, HISTORICAL | DELIVER])
def test_history_stays_history(make_world: MakeWorld, make_entry: MakeEntry, flags: int) -> None:
    """What follows from an imported event is historical too, and goes out if the import said so."""
    world = make_world(SHOP).add(make_entry("Order Completed", flags=flags))

    assert [entry.flags for entry in world.derived] == [flags, flags]
    assert {item.event().historical for item in world.log} == {bool(flags)}


def test_consent_is_that_of_the_cause(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """What follows from an event may go where the event may go, and carries nothing else of it."""
    stamp = Stamp(frozenset(["analytics", "marketing"]), frozenset(["export:*"]))
    context = {"library": "journeykit", **stamp.to_context(), "page": {"name": "cart"}}
    entry = make_entry("Order Completed", flags=stamp.flags, context=context)
    world = make_world(SHOP).add(entry)

    assert len(world.derived) == 2
    for derived in world.derived:
        assert stamp_of(derived.flags, derived.body) == stamp
        assert derived.event().context == stamp.to_context()


def test_ids_are_the_same_in_every_store(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """Two stores with the same Log have derived the same events, byte by byte."""
    entries = [
        make_entry(name, at=number)
        for number, name in enumerate(["Page Viewed", "Order Completed", "Product Viewed"])
    ] + [make_entry("Product Shared", at=0.5)]
    one, two = make_world(SHOP), make_world(SHOP, kind="sqlite")
    for entry in entries:
        one.add(entry)
        two.add(entry)

    assert len(one.derived) == 5
    assert one.derived == two.derived
    assert {entry.kind for entry in one.derived} == {Kind.DERIVED}
