from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import plugins, sink
from benchmarks.table import ROWS
from journeykit import Batch, Rejection

EVENTS = 30


@pytest.fixture(scope="module")
def collector() -> Iterator[sink.Sink]:
    """Run one collector for all tests."""
    with sink.running() as running:
        yield running


@pytest.mark.parametrize("subject", plugins.BUILD)
def test_every_event_of_a_round_is_delivered_once(subject: str, collector: sink.Sink) -> None:
    """What is timed is the delivery of each event, and the figures are those of the table."""
    with contextlib.closing(plugins.BUILD[subject](collector.url)) as sent:
        found = plugins.deliver(sent, collector, EVENTS)

    assert found["requests"] == (1 if subject == "salesforce" else EVENTS)
    assert found["parked"] == 0
    assert found["rate"] >= found["least"] > 0
    prefix = f"plugin {subject}: "
    figures = {row.figure.removeprefix(prefix) for row in ROWS if row.figure.startswith(prefix)}
    assert figures
    assert figures <= set(found)


def test_a_sink_that_delivers_less_is_not_measured(
    collector: sink.Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an event does not arrive, there is no figure for those that did."""
    monkeypatch.setattr(plugins, "_PATIENCE", 0.2)
    honest: Any = plugins.webhook(collector.url)
    deliver = honest.deliver

    def lazy(batch: Batch) -> list[Rejection]:
        return deliver(Batch(batch._taken[1:]))

    honest.deliver = lazy
    with contextlib.closing(honest), pytest.raises(SystemExit, match="round 0"):
        plugins.deliver(honest, collector, EVENTS)
