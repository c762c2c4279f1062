from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from hypothesis import given

import journeykit.testing
from journeykit import Customer, Event, Rejection
from journeykit.delivery import Batch
from journeykit.exceptions import DeliveryError
from journeykit.journeys import declare
from journeykit.model import Entry, Kind
from journeykit.model.journey import Journey
from journeykit.testing import Delivering, RecordingSink, make_batch, make_entry, make_event
from journeykit.testing import strategies as made


def test_public_names_are_there() -> None:
    """`journeykit.testing` has what its `__all__` names, each with a docstring."""
    names = journeykit.testing.__all__
    assert all(getattr(journeykit.testing, name).__doc__ or name == "NOON" for name in names)


def test_extra_has_what_it_needs() -> None:
    """The extra `testing` brings pytest and Hypothesis."""
    needs = importlib.metadata.requires("journeykit") or []
    extra = {line.partition(">")[0] for line in needs if "extra == 'testing'" in line}
    extra |= {line.partition(">")[0] for line in needs if 'extra == "testing"' in line}
    assert extra == {"pytest", "hypothesis"}


def test_recording_sink_does_as_told() -> None:
    """It keeps what it takes, and refuses or fails where an outcome says so."""
    first, second = make_entry("A", id="a"), make_entry("B", id="b")
    sink = RecordingSink(outcomes=[DeliveryError("down"), [Rejection("b", "no")]])
    bench = Delivering(sink).add(first, second).run()

    assert [len(batch) for batch in sink.batches] == [2, 2]
    assert sink.names == ["A"]
    assert bench.parked == {"b": "no"}
    assert sink.named("A")[0].id == "a"


def test_recording_sink_forgets_whom_it_is_asked_to() -> None:
    """Erasing takes a customer's events out, and nobody else's."""
    sink = RecordingSink()
    sink.deliver(
        make_batch(
            make_entry(user_id="ada"),
            make_entry(user_id=None, anonymous_id="c1"),
            make_entry(user_id="bob", anonymous_id="c1"),
        )
    )

    assert sink.erase(Customer("ada", "c1")).detail == "2 events"
    assert [event.customer.user_id for event in sink.events] == ["bob"]


def test_delivering_stops_waiting() -> None:
    """A sink that never works is waited for as often as one says, in time that flies."""
    bench = Delivering(RecordingSink(outcomes=[DeliveryError("down")] * 9)).add(make_entry())
    bench.run(most_waits=4)

    assert len(bench.waits) == 4
    assert bench.errors == ["down"] * 4
    assert not bench.done
    assert bench.run().done


def test_made_events_have_new_ids() -> None:
    """Two events are two, unless one says otherwise."""
    assert make_event().id != make_event().id
    assert make_event(id="x").id == "x"


@given(made.events())
def test_strategy_of_events(event: Event) -> None:
    """Events drawn are events: with a name, somebody, and JSON for properties."""
    assert event.name
    assert event.customer.user_id or event.customer.anonymous_id
    assert (event.kind is Kind.FACT) == (event.actor is not None)


@given(made.batches(kinds=[Kind.TOUCHPOINT]))
def test_strategy_of_batches(batch: Batch) -> None:
    """Batches drawn have the kinds that were asked for, and ids that differ."""
    assert len(set(batch.ids)) == len(batch)
    assert all(event.kind is Kind.TOUCHPOINT for event in batch)


@given(made.journeys())
def test_strategy_of_journeys(journey: Journey) -> None:
    """Journeys drawn are declared without a mistake."""
    _, mistakes = declare([journey], (), {})
    assert mistakes == []


@given(made.entries())
def test_strategy_of_entries(entry: Entry) -> None:
    """What is drawn as the Log has it can be read back."""
    assert entry.event().id == entry.id


PLUGIN_TEST = """
import socket
import pytest

def test_clock(clock):
    before = clock()
    assert clock.advance(2) == before + 2_000_000

def test_kit(make_kit, recording_sink, clock):
    kit = make_kit(sinks=[recording_sink], now=clock)
    kit.track("Product Viewed", customer="ada")
    assert kit.flush()
    assert recording_sink.names == ["Product Viewed"]

def test_server(faulty_server):
    assert faulty_server.url.startswith("http://127.0.0.1:")

def test_network(this_host_only):
    with pytest.raises(AssertionError, match="tried to reach"), socket.socket() as one:
        one.connect(("192.0.2.1", 80))
"""


def test_plugin_for_pytest_is_opted_into(pytester: pytest.Pytester) -> None:
    """The fixtures are there for who asks for them, and for nobody else."""
    path: Path = pytester.makepyfile(PLUGIN_TEST)
    without = pytester.runpytest_subprocess(path)
    asked = pytester.runpytest_subprocess("-p", "journeykit.testing.plugin", path)

    without.assert_outcomes(errors=4)
    asked.assert_outcomes(passed=4)
