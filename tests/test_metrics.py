from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from journeykit import DeliveryError, Event, JourneyKit, hookimpl, metrics


class Down:
    """A sink that takes nothing."""

    name = "crm"

    def deliver(self, batch: Any) -> None:
        """Refuse."""
        raise DeliveryError("down")

    def close(self) -> None:
        """Nothing is open."""


class Bad:
    """A plugin that cannot tell."""

    name = "bad"

    @hookimpl
    def accept_event(self, event: Event) -> bool:
        """Fail on what is odd."""
        if event.name == "Odd":
            raise ValueError
        return True


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """Return what collects, in place of the process's own provider."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr("opentelemetry.metrics.get_meter", provider.get_meter)
    yield reader
    provider.shutdown()


def readings(reader: InMemoryMetricReader) -> dict[str, dict[tuple[str, ...], int]]:
    """Return instrument → attribute values → number."""
    data = reader.get_metrics_data()
    found: dict[str, dict[tuple[str, ...], int]] = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                found[metric.name] = {
                    tuple(str(value) for value in (point.attributes or {}).values()): point.value
                    for point in metric.data.data_points
                }
    return found


def test_what_a_kit_counts_can_be_collected(
    reader: InMemoryMetricReader, make_settings: Callable[..., Any], wait_until: Any, tmp_path: Path
) -> None:
    """Receipts, what waits, what is parked, failing sinks and plugins are instruments."""
    settings = make_settings(core={"strict": False, "store": "memory://"})
    with JourneyKit(settings, plugins=[Bad()], sinks=[Down()]) as kit:
        assert kit.track("Product Viewed", customer="ada")
        assert kit.track("Odd", customer="ada")
        assert not kit.track("Product Viewed")
        wait_until(lambda: kit.waiting == 0)
        wait_until(lambda: readings(reader)["journeykit.sink.failures"][("crm",)] > 0)
        found = readings(reader)

        assert found["journeykit.events"] == {("accepted",): 2, ("no_customer",): 1}
        assert found["journeykit.waiting"] == {(): 0}
        assert found["journeykit.parked"] == {("plugin:bad",): 1}
        assert found["journeykit.plugin.errors"][("bad",)] == 1
        kit.close(0)


def test_a_kit_that_is_gone_is_observed_no_more(
    reader: InMemoryMetricReader, make_settings: Callable[..., Any]
) -> None:
    """Instruments keep no kit alive."""
    kit = JourneyKit(make_settings(core={"store": "memory://"}))
    assert metrics.observe(kit)
    del kit
    gc.collect()
    assert not readings(reader).get("journeykit.waiting")
