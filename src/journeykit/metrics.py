"""
Counters and gauges for OpenTelemetry, read from plain integers when somebody collects.

They exist only in an app that has loaded OpenTelemetry's metrics: elsewhere nobody would collect.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from journeykit.kit import JourneyKit

#: What one reading gives: a number, and the attributes that tell it from the others.
_Readings = Iterable[tuple[int, Mapping[str, str]]]


def observe(kit: JourneyKit) -> bool:
    """Let OpenTelemetry observe *kit* for as long as it lives; returns whether it does."""
    metrics = sys.modules.get("opentelemetry.metrics")
    if metrics is None:
        return False
    meter = metrics.get_meter("journeykit")
    reference = weakref.ref(kit)

    def reading(read: Callable[[JourneyKit], _Readings]) -> list[Callable[[Any], list[Any]]]:
        def callback(_: Any) -> list[Any]:
            alive = reference()
            if alive is None:
                return []
            return [metrics.Observation(value, attributes) for value, attributes in read(alive)]

        return [callback]

    meter.create_observable_counter(
        "journeykit.events",
        callbacks=reading(_events),
        unit="{event}",
        description="Calls of track() by outcome: accepted, or the reason for a refusal.",
    )
    meter.create_observable_counter(
        "journeykit.requests",
        callbacks=reading(_requests),
        unit="{request}",
        description="Requests of browsers to journeykit's own endpoints, by what became of them.",
    )
    meter.create_observable_gauge(
        "journeykit.waiting",
        callbacks=reading(_waiting),
        unit="{event}",
        description="Events that this process has accepted and not yet committed.",
    )
    meter.create_observable_counter(
        "journeykit.dropped",
        callbacks=reading(_dropped),
        unit="{event}",
        description="Accepted events that went for newer ones, the store not having kept up.",
    )
    meter.create_observable_gauge(
        "journeykit.parked",
        callbacks=reading(_parked),
        unit="{event}",
        description="Events that were set aside, by the sink or plugin that did not take them.",
    )
    meter.create_observable_gauge(
        "journeykit.sink.failures",
        callbacks=reading(_sink_failures),
        unit="{failure}",
        description="Failures of a sink since its last success.",
    )
    meter.create_observable_counter(
        "journeykit.plugin.errors",
        callbacks=reading(_plugin_errors),
        unit="{error}",
        description="Errors that plugins have raised in this process.",
    )
    return True


def _events(kit: JourneyKit) -> _Readings:
    return [(count, {"outcome": outcome}) for outcome, count in kit.receipts.items()]


def _requests(kit: JourneyKit) -> _Readings:
    return [(count, {"outcome": outcome}) for outcome, count in dict(kit.requests).items()]


def _waiting(kit: JourneyKit) -> _Readings:
    return [(kit.waiting, {})]


def _dropped(kit: JourneyKit) -> _Readings:
    return [(kit.dropped, {})]


def _parked(kit: JourneyKit) -> _Readings:
    return [(count, {"owner": owner}) for owner, count in kit.store.parked_counts().items()]


def _sink_failures(kit: JourneyKit) -> _Readings:
    return [(relay.failures, {"sink": relay.sink.name}) for relay in kit.start().relays]


def _plugin_errors(kit: JourneyKit) -> _Readings:
    return [(plugin.errors, {"plugin": plugin.name}) for plugin in kit.plugins]
