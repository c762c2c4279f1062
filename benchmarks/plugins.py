"""
The sinks of plugins: a Log in memory, delivered by a real relay to the collector on loopback.

In ten rounds, of which the first does not count: what a sink keeps open or warms up comes once.
CPU is that of this process: reading the Log, mapping, encoding, signing, HTTP.
Memory is what is resident when the store of a round has gone.
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
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import adapters, measure
from benchmarks.marks import marker
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


def zapier(url: str) -> Any:
    """Return a sink with one catch hook, one request an event."""
    from journeykit import Secret
    from journeykit_zapier.settings import CatchHook, ZapierSettings
    from journeykit_zapier.sink import ZapierSink

    os.environ["BENCH_HOOK"] = f"{url}/hooks/catch/1/2/"
    hook = CatchHook(url=Secret(env="BENCH_HOOK"))
    return ZapierSink("bench", ZapierSettings(hooks=(hook,), allow=("127.0.0.1",)))


def salesforce(url: str) -> Any:
    """Return a sink with the default mapping, 200 records a request."""
    from journeykit import Secret
    from journeykit_salesforce.settings import SalesforceSettings
    from journeykit_salesforce.sink import SalesforceSink

    os.environ["BENCH_SECRET"] = "s"
    secret = Secret(env="BENCH_SECRET")
    settings = SalesforceSettings(url=url, client_id="key", secret=secret, every=timedelta(0))
    return SalesforceSink("bench", settings)


BUILD: Final[dict[str, Callable[[str], Any]]] = {
    "webhook": webhook,
    "zapier": zapier,
    "salesforce": salesforce,
}


def deliver(sink: Any, collector: Sink, events: int) -> dict[str, float]:
    """Deliver *events* in each round; returns events per CPU second, and memory over time."""
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
        _let_go(sink)
        gc.collect()
        resident.append(_resident())
    return {
        "per ms": statistics.median(rates[1:]) / 1000,
        "rate": statistics.median(rates[1:]),
        "least": min(rates[1:]),
        "requests": arrived["requests"],
        "bytes": arrived["bytes"] / events,
        "parked": parked,
        "after 2": resident[1],
        "after 6": resident[5],
        "memory": resident[-1],
        "grown": resident[-1] - resident[1],
    }


def _let_go(sink: Any) -> None:
    """Let the sink keep what it remembers elsewhere than in a store that is over with."""
    from journeykit.store.kept import Kept
    from journeykit.store.memory import MemoryStore

    if hasattr(sink, "keep_in"):
        sink.keep_in(Kept(MemoryStore(), f"sink:{sink.name}"))


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
        # Salesforce's default mapping writes an order's id, and no position.
        properties = {**adapters.properties(number), "position": 3, "order_id": marker(number)}
        wire = {
            "id": event_id,
            "kind": "touchpoint",
            "name": adapters.NAME,
            "customer": {"user_id": user, "anonymous_id": None, "session_id": None},
            "context": {"library": "journeykit"},
            "occurred_at": to_rfc3339(at),
            "channel": "web",
            "properties": properties,
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
