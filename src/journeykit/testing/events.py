"""Events out of thin air, as the Log would have them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

from journeykit.capture.encode import encode
from journeykit.capture.ids import hashed_id
from journeykit.delivery.sink import Batch
from journeykit.model.event import WIRE_VERSION, Entry, Kind, Stored
from journeykit.model.times import to_rfc3339
from journeykit.testing.clock import NOON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from journeykit.model.event import Event

_numbers: Final = itertools.count()


def make_entry(  # noqa: PLR0913 - the columns of an event
    name: str = "Product Viewed",
    properties: Mapping[str, Any] | None = None,
    *,
    user_id: str | None = "u1",
    anonymous_id: str | None = None,
    session_id: str | None = None,
    at: float = 0.0,
    id: str | None = None,
    kind: Kind = Kind.TOUCHPOINT,
    flags: int = 0,
    **more: Any,
) -> Entry:
    """
    Return an event as `track` writes it.

    Args:
        at: When it occurred, in seconds after noon.

        id: A new one for each call if not given.

        more: Further keys of the wire form, such as `channel`, `actor` or `stage`.
    """
    occurred_at = NOON + round(at * 1_000_000)
    event_id = id or hashed_id(occurred_at, "test", next(_numbers))
    customer = {"user_id": user_id, "anonymous_id": anonymous_id, "session_id": session_id}
    wire = {
        "id": event_id,
        "kind": kind.value,
        "name": name,
        "customer": customer,
        "context": {"library": "journeykit"},
        "occurred_at": to_rfc3339(occurred_at),
        "channel": None,
        "properties": dict(properties or {}),
        "source": {"app": "tests", "host": "localhost"},
        **more,
        "v": WIRE_VERSION,
    }
    who = user_id, anonymous_id, session_id
    return Entry(event_id, kind, name, *who, occurred_at, flags, encode(wire))


def make_stored(
    position: int = 1, *given: Any, recorded_at: int | None = None, **more: Any
) -> Stored:
    """Return an event as the Log has it; the rest is for `make_entry`."""
    entry = make_entry(*given, **more)
    return Stored(position, entry.occurred_at if recorded_at is None else recorded_at, entry)


def make_event(*given: Any, **more: Any) -> Event:
    """Return an event as plugins see it; the arguments are those of `make_entry`."""
    return make_stored(1, *given, **more).event()


def make_batch(*entries: Entry) -> Batch:
    """Return *entries* as a sink is handed them."""
    return Batch(
        [Stored(place, entry.occurred_at, entry) for place, entry in enumerate(entries, 1)]
    )
