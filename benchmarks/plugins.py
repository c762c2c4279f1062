"""
The sinks of plugins: a Log in memory, delivered by a real relay to the collector on loopback.

In ten rounds, of which the first does not count: what a sink keeps open or warms up comes once.
CPU is that of this process: reading the Log, encoding, signing, HTTP.
Memory is what is resident after the second round and after the last.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import os
import random
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import adapters, measure
from benchmarks.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from journeykit.model.event import Entry

ROUNDS: Final = 10

#: After how many seconds without a request what has not arrived is lost.
_PATIENCE: Final = 12

#: Events of how many customers take turns; those of one are delivered in order.
_CUSTOMERS: Final = 500

#: The first second of 2026, in microseconds.
_BEGIN: Final = 1_767_225_600_000_000


def webhook(url: str) -> Any:
    """Return a sink of signed webhooks, one request an event."""
    from journeykit import Secret
    from journeykit_webhook.settings import WebhookSettings
    from journeykit_webhook.sink import WebhookSink

    os.environ["BENCH_SECRET"] = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    secret = Secret(env="BENCH_SECRET")
    return WebhookSink("bench", WebhookSettings(url=url, secret=secret, allow=["127.0.0.1"]))


BUILD: Final[dict[str, Callable[[str], Any]]] = {"webhook": webhook}


def deliver(sink: Any, collector: Sink, events: int) -> dict[str, float]:
    """Deliver *events* in each round; returns events per CPU second, and how memory grew."""
    rates, resident, parked = [], [], 0
    arrived: dict[str, float] = {}
    for number in range(ROUNDS):
        collector.reset()
        relay, store = _relay(sink, list(_entries(events)))
        cpu = time.process_time()
        while relay.step() == 0:
            pass
        rates.append(events / (time.process_time() - cpu))
        parked += len(store.parked())
        arrived = collector.wait_for(events, _PATIENCE)
        if arrived["events"] < events or arrived["again"]:
            raise SystemExit(f"round {number}: {arrived}, {relay.last_error}")
        # The store and its parts refer to each other, and would wait for the collector; if a sink
        # left such garbage for each event, it would be among the CPU seconds above.
        del relay, store
        gc.collect()
        resident.append(_resident())
    return {
        "per ms": statistics.median(rates[1:]) / 1000,
        "rate": statistics.median(rates[1:]),
        "least": min(rates[1:]),
        "requests": arrived["requests"],
        "bytes": arrived["bytes"] / events,
        "parked": parked,
        "memory": resident[-1],
        "grown": resident[-1] - resident[1],
    }


def _relay(sink: Any, entries: list[Entry]) -> tuple[Any, Any]:
    from journeykit.delivery.relay import Relay
    from journeykit.plugins import Plugins
    from journeykit.store.memory import MemoryStore
    from journeykit.store.protocol import Commit

    store = MemoryStore()
    store.commit(Commit(entries), _BEGIN)
    plugins = Plugins(installed=False)
    return Relay(store, sink, plugins, now=lambda: _BEGIN, randomness=random.Random(1)), store


def _entries(events: int) -> Iterator[Entry]:
    from journeykit.capture.encode import encode
    from journeykit.capture.ids import hashed_id
    from journeykit.model.event import WIRE_VERSION, Entry, Kind
    from journeykit.model.times import to_rfc3339

    for number in range(events):
        at, user = _BEGIN + number, f"u{number % _CUSTOMERS}"
        event_id = hashed_id(at, "bench", number)
        wire = {
            "id": event_id,
            "kind": "touchpoint",
            "name": adapters.NAME,
            "customer": {"user_id": user, "anonymous_id": None, "session_id": None},
            "context": {"library": "journeykit"},
            "occurred_at": to_rfc3339(at),
            "channel": "web",
            "properties": adapters.properties(number),
            "source": {"app": "bench", "host": "localhost"},
            "v": WIRE_VERSION,
        }
        yield Entry(event_id, Kind.TOUCHPOINT, adapters.NAME, user, None, None, at, 0, encode(wire))


def _resident() -> float:
    """Return what this process has in memory now, in MiB; its peak where that cannot be told."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)
    return pages * resource.getpagesize() / 2**20


def main(_: str, subject: str, port: str, events: str) -> None:
    collector = Sink(int(port))
    with contextlib.closing(BUILD[subject](collector.url)) as sink:
        measure.answer(deliver(sink, collector, int(events)))


if __name__ == "__main__":
    main(*sys.argv[1:])
