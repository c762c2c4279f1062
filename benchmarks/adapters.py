"""
One small adapter for each SDK: build, track, flush; documented defaults, only the address changed.

An SDK is imported where its adapter is built, so that each scenario pays for one of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from benchmarks.marks import marker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME: Final = "Product Added"
USER: Final = "u1"

#: Peer → its distribution.
PEERS: Final = {
    "otel": "opentelemetry-sdk",
    "segment": "segment-analytics-python",
    "posthog": "posthog",
    "amplitude": "amplitude-analytics",
    "snowplow": "snowplow-tracker",
}
#: What a peer needs besides.
_ALSO: Final = {"otel": "opentelemetry-exporter-otlp-proto-http"}

#: The names of the five-stage journey, one customer after the other goes through.
_STEPS: Final = (
    "Product List Viewed",
    "Product Viewed",
    "Product Added",
    "Checkout Started",
    "Order Completed",
)
CUSTOMERS: Final = 1000


def properties(number: int) -> dict[str, Any]:
    """Return eight properties; one of them is the marker."""
    return {
        "product_id": "tea-042",
        "name": "Darjeeling, first flush",
        "category": "tea",
        "price": 12.5,
        "quantity": 2,
        "currency": "EUR",
        "cart_id": "c-81723",
        "position": marker(number),
    }


def version(peer: str) -> str | None:
    """Return the installed version of a peer, None if it is not there."""
    import importlib.metadata

    try:
        if peer in _ALSO:
            importlib.metadata.version(_ALSO[peer])
        return importlib.metadata.version(PEERS[peer])
    except importlib.metadata.PackageNotFoundError:
        return None


class Client(Protocol):
    """What a scenario drives; `track` returns what the SDK said."""

    def track(self, properties: dict[str, Any]) -> object: ...
    def flush(self) -> object: ...
    def close(self) -> object: ...


class JourneyKitClient:
    """Ours: the crash-safe spool, a SQLite store, one HTTP sink."""

    def __init__(
        self,
        url: str,
        directory: Path,
        *,
        journey: bool = False,
        sink: bool = True,
        group: str = "",
    ) -> None:
        from benchmarks.loopback import LoopbackSink
        from journeykit import Consent, Core, Journey, JourneyKit, Settings

        journeys = (Journey(key="shop", version=1, extends="ecommerce"),) if journey else ()
        settings = Settings(
            consent=Consent("opt_out"),
            core=Core(store=f"sqlite:///{directory / 'shop.db'}", app="bench"),
            journeys=journeys,
            base=directory,
        )
        sinks = [LoopbackSink("bench", url)] if sink else []
        self.kit = JourneyKit(settings, sinks=sinks)
        self._bound = contextlib.ExitStack()
        self._bound.enter_context(self.kit.bind_customer(USER, channel="web"))
        track = self.kit.track
        self.track: Callable[[dict[str, Any]], object] = lambda given: track(NAME, given)
        if journey:
            self._number, self._group = 0, group
            self.track = self._walk

    def _walk(self, given: dict[str, Any]) -> object:
        """Track the next step of the next customer."""
        turn, who = divmod(self._number, CUSTOMERS)
        self._number += 1
        return self.kit.track(_STEPS[turn % len(_STEPS)], given, customer=f"{self._group}u{who}")

    def flush(self) -> object:
        return self.kit.flush(60)

    def close(self) -> object:
        self._bound.close()
        return self.kit.close()


class Floor:
    """The least that survives `kill -9`: build, uuid4, JSON, `os.write`; it delivers nothing."""

    def __init__(self, url: str, directory: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(directory / "floor.jsonl", flags, 0o600)

    def track(self, given: dict[str, Any]) -> object:
        event = {
            "id": str(uuid.uuid4()),
            "name": NAME,
            "user_id": USER,
            "at": datetime.now(UTC).isoformat(),
            "properties": given,
        }
        return os.write(self._file, json.dumps(event).encode() + b"\n")

    def flush(self) -> object:
        return None

    def close(self) -> object:
        return os.close(self._file)


class Otel:
    """Log records, batched, by OTLP over HTTP."""

    def __init__(self, url: str, directory: Path) -> None:
        from opentelemetry._logs import LogRecord, SeverityNumber
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

        self._record, self._severity = LogRecord, SeverityNumber.INFO
        self._provider = LoggerProvider()
        exporter = OTLPLogExporter(endpoint=f"{url}/v1/logs")
        self._provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        self._logger = self._provider.get_logger("bench")

    def track(self, given: dict[str, Any]) -> object:
        record = self._record(
            timestamp=time.time_ns(),
            severity_number=self._severity,
            event_name=NAME,
            body=USER,
            attributes=given,
        )
        return self._logger.emit(record)

    def flush(self) -> object:
        return self._provider.force_flush()

    def close(self) -> object:
        return self._provider.shutdown()


class Segment:
    def __init__(self, url: str, directory: Path) -> None:
        from segment.analytics.client import Client

        self._client = Client("key", host=url)

    def track(self, given: dict[str, Any]) -> object:
        return self._client.track(USER, NAME, given)

    def flush(self) -> object:
        return self._client.flush()

    def close(self) -> object:
        return self._client.shutdown()


class Posthog:
    def __init__(self, url: str, directory: Path) -> None:
        from posthog import Posthog as PosthogClient

        self._client = PosthogClient("key", host=url)

    def track(self, given: dict[str, Any]) -> object:
        return self._client.capture(NAME, distinct_id=USER, properties=given)

    def flush(self) -> object:
        return self._client.flush()

    def close(self) -> object:
        return self._client.shutdown()


class Amplitude:
    def __init__(self, url: str, directory: Path) -> None:
        from amplitude import Amplitude as AmplitudeClient
        from amplitude import BaseEvent

        self._event = BaseEvent
        self._client = AmplitudeClient("key")
        self._client.configuration.server_url = f"{url}/2/httpapi"

    def track(self, given: dict[str, Any]) -> object:
        return self._client.track(self._event(NAME, user_id=USER, event_properties=given))

    def flush(self) -> object:
        for future in self._client.flush() or ():
            if future is not None:
                future.result()
        return None

    def close(self) -> object:
        return self._client.shutdown()


class Snowplow:
    """The emitter with a thread; its `basicConfig` writes a line for each request to stderr."""

    def __init__(self, url: str, directory: Path) -> None:
        from snowplow_tracker import (
            AsyncEmitter,
            SelfDescribing,
            SelfDescribingJson,
            Subject,
            Tracker,
        )

        host, _, port = url.removeprefix("http://").partition(":")
        self._emitter = AsyncEmitter(host, protocol="http", port=int(port))
        self._tracker = Tracker("bench", self._emitter, Subject().set_user_id(USER))
        schema = "iglu:com.example/product_added/jsonschema/1-0-0"
        self._event = lambda given: SelfDescribing(SelfDescribingJson(schema, given))

    def track(self, given: dict[str, Any]) -> object:
        return self._tracker.track(self._event(given))

    def flush(self) -> object:
        return self._emitter.sync_flush()

    def close(self) -> object:
        return self.flush()


def without_orjson(url: str, directory: Path) -> Client:
    """Ours on a machine that has only the standard library's json."""
    sys.modules["orjson"] = None  # type: ignore[assignment]
    return JourneyKitClient(url, directory)


def with_journey(url: str, directory: Path) -> Client:
    """Ours with the five-stage journey: folded, and the derived events delivered as well."""
    return JourneyKitClient(url, directory, journey=True)


BUILD: Final[dict[str, Callable[[str, Path], Client]]] = {
    "journeykit": JourneyKitClient,
    "journeykit-json": without_orjson,
    "journeykit-journey": with_journey,
    "floor": Floor,
    "otel": Otel,
    "segment": Segment,
    "posthog": Posthog,
    "amplitude": Amplitude,
    "snowplow": Snowplow,
}
