from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.model import Customer, Entry, Event, Kind, Stored
from journeykit.model.event import DELIVER, HISTORICAL
from journeykit.model.times import EARLIEST, LATEST, from_rfc3339, to_datetime

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    properties=st.dictionaries(st.text(max_size=5), json_values, max_size=4),
    flags=st.sampled_from([0, HISTORICAL, HISTORICAL | DELIVER]),
    recorded=st.integers(EARLIEST, LATEST),
)
def test_the_wire_form_is_the_body_with_log_time(
    make_stored: Callable[..., Stored], properties: dict[str, Any], flags: int, recorded: int
) -> None:
    """A stored event's wire form is one JSON object: its body, `recorded_at` and `historical`."""
    stored = make_stored(1, "Order Completed", properties, flags=flags, recorded_at=recorded)
    wire = json.loads(stored.wire())
    assert from_rfc3339(wire.pop("recorded_at")) == recorded
    assert wire.pop("historical") is bool(flags & HISTORICAL)
    assert wire == json.loads(stored.entry.body)
    assert b"\n" not in stored.wire()


@given(
    properties=st.dictionaries(st.text(max_size=5), json_values, max_size=4),
    flags=st.sampled_from([0, HISTORICAL]),
)
def test_plugins_see_what_was_tracked(
    make_stored: Callable[..., Stored], properties: dict[str, Any], flags: int
) -> None:
    """Before and behind the Log, plugins see the same event, but for `recorded_at`."""
    stored = make_stored(7, "Order Completed", properties, flags=flags, channel="web")
    early, late = stored.entry.event(), stored.event()
    assert early.recorded_at is None
    assert late.recorded_at == to_datetime(stored.recorded_at)
    assert early.properties == late.properties == properties
    assert early.historical is late.historical is bool(flags)
    assert (early.id, early.name, early.channel) == (stored.entry.id, "Order Completed", "web")
    assert early.occurred_at == to_datetime(stored.entry.occurred_at)


def test_facts_and_derived_events_carry_more(make_entry: Callable[..., Entry]) -> None:
    """The fields of facts and of derived events come out of the wire form."""
    fact = make_entry("customer.identified", kind=Kind.FACT, actor="customer", reason="signed in")
    assert (fact.event().kind, fact.event().actor) == (Kind.FACT, "customer")
    assert fact.event().reason == "signed in"
    derived = make_entry(
        "stage.entered",
        kind=Kind.DERIVED,
        journey="shop",
        version=2,
        stage="cart",
        instance="c1",
        caused_by="e1",
    ).event()
    found = (derived.journey, derived.version, derived.stage, derived.instance, derived.caused_by)
    assert found == ("shop", 2, "cart", "c1", "e1")


def test_the_customer_comes_with_the_event(make_entry: Callable[..., Entry]) -> None:
    """An event has the customer as it was seen, and an entry the same key as that customer."""
    entry = make_entry(user_id=None, anonymous_id="a1", session_id="s1")
    assert entry.event().customer == Customer(None, "a1", "s1")
    assert entry.customer_key == entry.event().customer.key == "a:a1"


def test_keys_of_a_newer_version_are_passed_over(make_entry: Callable[..., Entry]) -> None:
    """An event written by a newer version, with keys of its own, can still be read."""
    entry = make_entry(mood="good")
    assert entry.event().id == entry.id


@pytest.mark.parametrize(
    "wire",
    [
        {},
        {"id": "1", "kind": "touchpoint", "name": "A", "customer": {}},
        {"id": "1", "kind": "rumour", "name": "A", "customer": {}, "occurred_at": "2026-01-01"},
        {"id": "1", "kind": "fact", "name": "A", "customer": {}, "occurred_at": "soon"},
        {"id": "1", "kind": "fact", "name": "A", "customer": {"x": 1}, "occurred_at": "2026-01-01"},
        {"kind": "fact", "name": "A", "customer": {}, "occurred_at": "2026-01-01"},
    ],
)
def test_what_is_no_wire_form_is_refused(wire: dict[str, Any]) -> None:
    """A mapping that is no event raises one of the errors that the docstring names."""
    with pytest.raises((KeyError, ValueError, TypeError)):
        Event.from_wire(wire)
