from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from journeykit.journeys.derived import NO_JOURNEY, About, Cause, derive
from journeykit.model import Entry, Journey, Kind, Stage
from journeykit.model.consent import Stamp, stamp_of
from journeykit.model.event import DELIVER, HISTORICAL

MakeWorld = Callable[..., Any]
MakeEntry = Callable[..., Entry]
MakeStored = Callable[..., Any]

SHOP = Journey(key="shop", version=1, extends="ecommerce")


def test_same_cause_gives_the_same_id() -> None:
    """The id follows from cause, name, journey, version, instance and subject, and nothing else."""
    cause, later = Cause("cause", "u1", None, None, 0), Cause("cause", None, "c", "s", HISTORICAL)

    def id_of(of: Cause = cause, name: str = "n", subject: str = "s", **more: Any) -> str:
        about = About(**{"journey": b'"journey":"shop","version":1', "instance": "i", **more})
        return derive(of, name, subject, 5, {}, about).id

    assert id_of() == id_of(later) == id_of(stage="purchase")
    others = [
        id_of(cause._replace(id="other")),
        id_of(name="m"),
        id_of(subject="t"),
        id_of(instance="j"),
        id_of(journey=NO_JOURNEY),
        id_of(journey=b'"journey":"shop","version":2'),
    ]
    assert len({id_of(), *others}) == 7


def test_ids_are_ordered_by_the_time_of_their_cause(make_stored: MakeStored) -> None:
    """Derived ids sort by when their causes occurred, also where the cause's id is the shop's."""
    causes = [
        make_stored(at=at, **more)
        for at, more in [(0, {}), (1, {"id": "order-1"}), (2, {}), (3, {"id": "order-0"})]
    ]
    ids = [derive(Cause.of(each), "n", "s", each.entry.occurred_at, {}).id for each in causes]

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


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_deadline_has_the_consent_of_whoever_set_it(
    make_world: MakeWorld, make_entry: MakeEntry, clock: Callable[[], int], kind: str
) -> None:
    """What time alone brings about may go where the event may go that it follows from."""
    stages = [Stage("cart", enter=["A"]), Stage("paid", enter=["B"])]
    journey = Journey(key="c", version=1, stages=stages, timeout=timedelta(hours=1))
    stamp = Stamp(frozenset(["analytics", "marketing"]), frozenset(["export:*"]))
    context = {"library": "journeykit", **stamp.to_context(), "page": {"name": "cart"}}
    world = make_world(journey, kind=kind, now=clock)
    world.add(make_entry("A", flags=stamp.flags, context=context))
    clock.advance(7300)  # type: ignore[attr-defined]
    world.add(make_entry("X", at=7300, user_id="other"))

    assert [entry.name for entry in world.derived] == ["stage.entered", "journey.exited"]
    for derived in world.derived:
        assert stamp_of(derived.flags, derived.body) == stamp
