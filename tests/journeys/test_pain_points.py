from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from journeykit import PainPoint, hookimpl
from journeykit.model import Customer, Entry, Event, Journey

MakeWorld = Callable[..., Any]
MakeEntry = Callable[..., Entry]

SHOP = Journey(key="shop", version=1, extends="ecommerce")


class Coupons:
    """Finds coupons that were denied."""

    name = "coupons"

    @hookimpl
    def detect_pain_points(self, event: Event, customer: Customer) -> Iterator[PainPoint]:
        """Find one pain point, and a second for members."""
        if event.name == "Coupon Denied":
            yield PainPoint("coupon.denied", severity="high", properties={"who": customer.user_id})
            if event.properties.get("member"):
                yield PainPoint("coupon.denied", evidence=["e1", "e2"])


class Broken:
    """Finds something, then fails."""

    @hookimpl
    def detect_pain_points(self) -> Iterator[PainPoint]:
        """Fail behind the first."""
        yield PainPoint("never.kept")
        raise RuntimeError


class Unencodable:
    """Finds something that has no JSON form."""

    @hookimpl
    def detect_pain_points(self) -> PainPoint:
        """Return an object inside the properties."""
        return PainPoint("odd", properties={"value": object()})


def test_pain_points_become_events(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """What a plugin finds is derived from its event, with the evidence and who found it."""
    world = make_world(plugins=[Coupons()])
    denied = make_entry("Coupon Denied", {"member": True})
    world.add(make_entry("Coupon Applied"), denied)

    first, second = (entry.event() for entry in world.derived)
    assert first.name == second.name == "pain_point.detected"
    assert first.id != second.id
    assert first.caused_by == denied.id
    assert first.journey is None
    assert first.properties == {
        "who": "u1",
        "code": "coupon.denied",
        "severity": "high",
        "evidence": [denied.id],
        "plugin": "coupons",
    }
    assert second.properties["evidence"] == ["e1", "e2"]


def test_failing_plugin_takes_nothing_from_others(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """A plugin that fails, or finds what cannot be written, loses its findings and nobody else's."""
    world = make_world(SHOP, plugins=[Broken(), Unencodable(), Coupons()])
    world.add(make_entry("Coupon Denied"))

    found = [entry.event() for entry in world.derived]
    assert [event.name for event in found] == ["stage.entered", "pain_point.detected"]
    assert found[1].properties["plugin"] == "coupons"
    assert world.plugins.named("Broken").errors == 1


def test_derived_events_are_not_looked_at(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """A plugin is asked about events that happened, not about conclusions from them."""
    asked = []

    class Listener:
        @hookimpl
        def detect_pain_points(self, event: Event) -> None:
            asked.append(event.name)

    make_world(SHOP, plugins=[Listener()]).add(make_entry("Page Viewed"), make_entry("Signed In"))

    assert asked == ["Page Viewed", "Signed In"]
