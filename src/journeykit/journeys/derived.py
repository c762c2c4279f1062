"""Makes derived events: conclusions with an id that follows from their cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journeykit.capture.encode import encode
from journeykit.capture.ids import id_behind
from journeykit.model.consent import stamp_of
from journeykit.model.event import WIRE_VERSION, Entry, Kind
from journeykit.model.times import to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

    from journeykit.model.event import Stored
    from journeykit.model.journey import Journey

_SOURCE = {"app": "journeykit"}


def derive(  # noqa: PLR0913 - the parts of an event
    cause: Stored,
    name: str,
    subject: str,
    properties: Mapping[str, Any],
    *,
    journey: Journey | None = None,
    stage: str | None = None,
    instance: str | None = None,
) -> Entry:
    """
    Return the event *name* that follows from *cause*.

    Args:
        subject: What tells it apart from other events of this name with the same cause.
    """
    entry = cause.entry
    key = journey.key if journey is not None else None
    version = journey.version if journey is not None else None
    event_id = id_behind(
        entry.id, entry.occurred_at, name, entry.id, key, version, instance, subject
    )
    wire = {
        "id": event_id,
        "kind": Kind.DERIVED,
        "name": name,
        "customer": {
            "user_id": entry.user_id,
            "anonymous_id": entry.anonymous_id,
            "session_id": entry.session_id,
        },
        "context": stamp_of(entry.flags, entry.body).to_context(),
        "occurred_at": to_rfc3339(entry.occurred_at),
        "channel": None,
        "properties": properties,
        "source": _SOURCE,
        "journey": key,
        "version": version,
        "stage": stage,
        "instance": instance,
        "caused_by": entry.id,
        "v": WIRE_VERSION,
    }
    return entry._replace(id=event_id, kind=Kind.DERIVED, name=name, body=encode(wire))
