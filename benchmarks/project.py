"""
The projector alone: the five-stage journey and one run a cart, over a Log that is there already.

Once with every pain-point rule switched off, once with the whole catalogue.
Beside it one decoding of the same events, which is the least that a reader pays.
Customers come back after the same time on average, however many they are, so that the same share of
them leaves a cart behind and is found.
The Log grows while it is folded, so that the last figures are those of a full State.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import measure

try:
    from orjson import loads
except ImportError:
    loads = json.loads

if TYPE_CHECKING:
    from journeykit import JourneyKit

#: Events that join the Log at a time.
SLICE = 20_000

#: Customers, unless there are fewer events: a tenth of these, then.
CUSTOMERS = 100_000

#: After how many seconds a customer does something again, on average.
_RETURN = 2_000

_NAMES = (
    "Product List Viewed",
    "Product Viewed",
    "Product Viewed",
    "Product Viewed",
    "Product Added",
    "Product Added",
    "Checkout Started",
    "Payment Info Entered",
    "Order Completed",
)


class Clock:
    """The time of the shop: events are recorded as they occur, so deadlines pass as in life."""

    micros = 0

    def __call__(self) -> int:
        return self.micros


def make_kit(directory: Path, clock: Clock, *, rules: bool) -> JourneyKit:
    """Return a kit with both journeys, and with *rules* or without any."""
    from journeykit import Consent, Core, Goal, Journey, JourneyKit, Settings, Stage
    from journeykit.config.settings import DeclaredPainPoint, PainPointOptions
    from journeykit.journeys.catalogue import CATALOGUE

    off = DeclaredPainPoint(options=PainPointOptions(off=True))

    cart = Journey(
        key="checkout",
        version=1,
        instance_by="cart_id",
        stages=[
            Stage("cart", enter=["Product Added"]),
            Stage("payment", enter=["Payment Info Entered"]),
        ],
        goal=Goal("Order Completed", value="revenue"),
    )
    return JourneyKit(
        Settings(
            consent=Consent("opt_out"),
            core=Core(store=f"sqlite:///{directory / 'shop.db'}", app="bench"),
            journeys=[Journey(key="shop", version=1, extends="ecommerce"), cart],
            pain_points={} if rules else {rule.name: off for rule in CATALOGUE},
            base=directory,
        ),
        now=clock,
    )


def project(directory: Path, events: int, *, rules: bool) -> dict[str, float]:
    """Fold *events*; returns CPU per event, of all and of the last, and the peak of memory."""
    from journeykit.capture.records import unpack
    from journeykit.pipeline import Pipeline
    from journeykit.store.protocol import Commit

    clock = Clock()
    kit = make_kit(directory, clock, rules=rules)
    chance = random.Random(1)
    customers = min(CUSTOMERS, max(10, events // 10))
    projector = Pipeline(kit._parts).projector  # noqa: SLF001 - what a kit starts by itself
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    whole = last = unit = 0.0
    for first in range(0, events, SLICE):
        count = min(SLICE, events - first)
        entries = []
        for number in range(first, first + count):
            who = chance.randrange(customers)
            given = {
                "product_id": "tea-042",
                "name": "Darjeeling, first flush",
                "category": "tea",
                "price": 12.5,
                "quantity": 2,
                "currency": "EUR",
                "revenue": 25.0,
                "cart_id": f"c{who}-{number // (customers * 5)}",
                "referrer": "https://shop.example/teas/black?sort=price&page=2",
                "list": "recommended for you",
            }
            at = begin + timedelta(seconds=number * _RETURN / customers)
            _, record = kit._tracker.compose(chance.choice(_NAMES), given, f"u{who}", at)  # noqa: SLF001
            entries.append(unpack(record))
        for start in range(0, count, 500):
            slice_ = entries[start : start + 500]
            clock.micros = slice_[-1].occurred_at
            kit.store.commit(Commit(slice_), clock.micros)
        unit = _decoding([entry.body for entry in entries])
        started = time.thread_time()
        while projector.step() == 0:
            pass
        last = time.thread_time() - started
        whole += last
    kit.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {
        "cpu": whole / events * 1e6,
        "last": last / count * 1e6,
        "unit": unit,
        "peak": peak,
    }


def _decoding(bodies: list[bytes]) -> float:
    started = time.thread_time()
    for body in bodies:
        loads(body)
    return (time.thread_time() - started) / len(bodies) * 1e6


if __name__ == "__main__":
    measure.answer(project(Path(sys.argv[1]), int(sys.argv[2]), rules=sys.argv[3] == "rules"))
