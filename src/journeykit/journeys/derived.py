"""Makes derived events: conclusions with an id that follows from their cause."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.capture.encode import encode
from journeykit.capture.ids import id_behind
from journeykit.model import jsonbytes
from journeykit.model.consent import NO_STAMP, encoded_stamp
from journeykit.model.event import WIRE_VERSION, Entry, Kind
from journeykit.model.times import to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

    from journeykit.model.event import Stored

#: Where a derived event comes from that is about no journey.
NO_JOURNEY: Final = b'"journey":null,"version":null'


class Cause(NamedTuple):
    """What a derived event follows from: an event's id, its customer's ids, its flags and stamp."""

    id: str
    user_id: str | None
    anonymous_id: str | None
    session_id: str | None
    flags: int
    stamp: bytes = NO_STAMP

    @classmethod
    def of(cls, stored: Stored) -> Cause:
        """Return the cause that *stored* is."""
        entry = stored.entry
        event, _, _, user_id, anonymous_id, session_id, _, flags, body = entry
        stamp = encoded_stamp(flags, body)
        columns = event, user_id, anonymous_id, session_id, flags, stamp
        return tuple.__new__(cls, columns)


class About(NamedTuple):
    """Which journey a derived event is about (encoded), which stage, and which instance."""

    journey: bytes = NO_JOURNEY
    stage: str | None = None
    instance: str | None = None


def derive(
    cause: Cause,
    name: str,
    subject: str,
    at: int,
    properties: Mapping[str, Any],
    about: About = About(),  # noqa: B008 - a named tuple never changes
) -> Entry:
    """
    Return the event *name* that follows from *cause*, and occurred at *at*.

    Args:
        subject: What tells it apart from other events of this name with the same cause.
    """
    journey, stage, instance = about
    cause_id, user_id, anonymous_id, session_id, flags, stamp = cause
    event_id = derived_id(cause, name, subject, at, about)
    customer = {"user_id": user_id, "anonymous_id": anonymous_id, "session_id": session_id}
    body = _BODY % (
        event_id.encode(),
        _encoded(name),
        jsonbytes.dumps(customer),
        stamp,
        to_rfc3339(at).encode(),
        encode(properties),
        journey,
        _encoded(stage),
        jsonbytes.dumps(instance),
        jsonbytes.dumps(cause_id),
    )
    columns = (event_id, Kind.DERIVED, name, user_id, anonymous_id, session_id, at, flags, body)
    return tuple.__new__(Entry, columns)


@functools.lru_cache(maxsize=1024)
def _encoded(name: str | None) -> bytes:
    """Return one of the few names as JSON."""
    return jsonbytes.dumps(name)


def derived_id(cause: Cause, name: str, subject: str, at: int, about: About = About()) -> str:  # noqa: B008 - a named tuple never changes
    """Return the id of what `derive` makes, whatever its properties."""
    text = f"{name}\x1f{cause.id}\x1f{about.instance}\x1f{subject}"
    return id_behind(cause.id, at, text.encode("utf-8", "surrogatepass") + about.journey)


_BODY: Final = (
    b'{"id":"%b","kind":"derived","name":%b,"customer":%b,"context":%b,"occurred_at":"%b",'
    b'"channel":null,"properties":%b,"source":{"app":"journeykit"},%b,"stage":%b,"instance":%b,'
    b'"caused_by":%b,"v":' + str(WIRE_VERSION).encode() + b"}"
)
