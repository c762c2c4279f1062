"""The segments of what was found: what the customer had shown by then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from journeykit.journeys.catalogue import PaymentDeclined
from journeykit.model import Entry, Kind, jsonbytes

MakeEntry = Callable[..., Entry]
MakeWorld = Callable[..., Any]


def world_of(make_world: MakeWorld) -> Any:
    """Return a world that tells customers apart."""
    return make_world(rules=[PaymentDeclined()], segments=["platform", "channel"])


def segments(world: Any) -> list[dict[str, str]]:
    """Return those of what was found."""
    return [finding.segments for finding in world.findings.values()]


def test_a_finding_says_for_whom(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """It has what the customer had shown last by then; so does the event that tells of it."""
    world = world_of(make_world).add(
        make_entry("Product Viewed", {"platform": "desktop"}, at=0),
        make_entry("Product Viewed", {"platform": "mobile"}, at=1, channel="app"),
        make_entry("Payment Declined", {"cart_id": "c"}, at=2),
        make_entry("Product Viewed", {"platform": "tablet"}, at=3),
    )

    assert segments(world) == [{"platform": "mobile", "channel": "app"}]
    (told,) = (each for each in world.derived if each.name == "pain_point.detected")
    assert jsonbytes.loads(told.body)["properties"]["segments"] == {
        "platform": "mobile",
        "channel": "app",
    }


def test_what_was_never_shown_is_left_out(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """Neither lists nor what comes later is a segment."""
    world = world_of(make_world).add(
        make_entry("Payment Declined", {"cart_id": "c", "platform": ["x"]}, at=2),
        make_entry("Product Viewed", {"platform": "tablet"}, at=3),
    )

    assert segments(world) == [{}]


def test_a_late_event_says_for_whom(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """Also one that no rule and no stage reads, and that came behind what was found."""
    world = world_of(make_world).add(make_entry("Payment Declined", {"cart_id": "c"}, at=9))
    assert segments(world) == [{}]

    world.add(make_entry("Newsletter Opened", {"platform": "mobile"}, at=3))

    assert segments(world) == [{"platform": "mobile"}]


def test_a_merge_brings_what_was_shown(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """What the customer showed before they signed in is theirs."""
    cookie = {"user_id": None, "anonymous_id": "k"}
    world = world_of(make_world).add(
        make_entry("Product Viewed", {"platform": "mobile"}, at=0, **cookie),
        make_entry("Payment Declined", {"cart_id": "c"}, at=2),
    )
    assert segments(world) == [{}]

    world.add(make_entry("customer.identified", at=5, anonymous_id="k", kind=Kind.FACT))

    assert segments(world) == [{"platform": "mobile"}]


def test_without_segments_nothing_is_read(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """What is not declared does not run."""
    world = make_world(rules=[PaymentDeclined()])

    world.add(make_entry("Payment Declined", {"cart_id": "c", "platform": "mobile"}))

    assert segments(world) == [{}]
