"""What one `track()` costs the caller, beside encoding and keeping the same by hand."""

from __future__ import annotations

import json
import time
import uuid
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from journeykit import Consent, Core, JourneyKit, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

PROPERTIES = {
    "product_id": "tea-042",
    "name": "Darjeeling, first flush",
    "category": "tea",
    "price": 12.5,
    "quantity": 2,
    "currency": "EUR",
    "cart_id": "c-81723",
    "position": 3,
}

_CALLS = 20_000


def by_hand() -> Callable[[], Any]:
    """Return the least that keeps an event: a dict, an id, a time, JSON, a queue."""
    queue: deque[str] = deque()

    def keep() -> None:
        event = {
            "id": str(uuid.uuid4()),
            "name": "Product Added",
            "user_id": "u1",
            "at": datetime.now(UTC).isoformat(),
            "properties": PROPERTIES,
        }
        queue.append(json.dumps(event))

    return keep


def micros_a_call(call: Callable[[], Any]) -> float:
    """Return the CPU microseconds of this thread for one call."""
    started = time.thread_time()
    for _ in range(_CALLS):
        call()
    return (time.thread_time() - started) / _CALLS * 1e6


def measure() -> tuple[float, float]:
    """Return the microseconds of `track()` and of the same by hand."""
    floor = micros_a_call(by_hand())
    settings = Settings(
        consent=Consent("opt_out"), core=Core(store="memory://", buffer_bytes=2**30)
    )
    with JourneyKit(settings) as kit, kit.bind_customer("u1", channel="web"):
        tracked = micros_a_call(lambda: kit.track("Product Added", PROPERTIES))
        assert not kit.status()["receipts"].keys() - {"accepted"}
        kit.flush(30)
    return tracked, floor
