"""Events: the only record that travels."""

from __future__ import annotations

import functools
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from journeykit.model import jsonbytes
from journeykit.model.customer import Customer, customer_key
from journeykit.model.times import from_rfc3339, to_datetime, to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: The version of the wire form, sent with every event as `v`.
WIRE_VERSION = 1

#: The fact that a version of a journey is published; it concerns no customer.
PUBLISHED = "journey.published"


class Kind(StrEnum):
    """What an event is a record of."""

    #: The customer met the company.
    TOUCHPOINT = "touchpoint"
    #: Something a person or journeykit did that nobody could derive again.
    FACT = "fact"
    #: A conclusion that the projector drew from other events.
    DERIVED = "derived"


#: The event was imported, or follows from one that was.
HISTORICAL = 1
#: Historical, and its import asked for delivery.
DELIVER = 2
#: The context says what the customer had granted.
ASKED = 4
#: The context says what the customer, or a signal of their browser, had denied.
DENIED = 8
#: A customer was erased here: sinks are not sent this, they are asked to erase.
ERASURE = 64
#: A version of a journey was published here.
PUBLICATION = 128
#: It concerns no customer, so it goes to no sink.
ABOUT_NOBODY = ERASURE | PUBLICATION


class Entry(NamedTuple):
    """
    An event on its way: the columns that the path reads, and the encoded wire form.

    `body` is the JSON object of the wire form without `recorded_at` and `historical`.
    `occurred_at` is in microseconds.
    """

    id: str
    kind: Kind
    name: str
    user_id: str | None
    anonymous_id: str | None
    session_id: str | None
    occurred_at: int
    flags: int
    body: bytes

    @property
    def customer_key(self) -> str:
        """The key of the customer as the event saw them."""
        return customer_key(self.user_id, self.anonymous_id)

    def event(self) -> Event:
        """Return the event that plugins see before the Log has it."""
        wire = jsonbytes.loads(self.body)
        return Event.from_wire({**wire, "historical": bool(self.flags & HISTORICAL)})


class Outgoing(NamedTuple):
    """
    An event as a relay passes it on: what it reads of it, and the body.

    `position` is None for one that was parked and is tried once more.
    """

    position: Any
    recorded_at: int | None
    id: str
    user_id: str | None
    anonymous_id: str | None
    flags: int
    body: bytes

    @classmethod
    def of(cls, entry: Entry, position: Any, recorded_at: int | None) -> Outgoing:
        """Return what a relay reads of *entry*."""
        customer = entry.user_id, entry.anonymous_id
        return cls(position, recorded_at, entry.id, *customer, entry.flags, entry.body)

    def wire(self) -> bytes:
        """Return the whole wire form, without parsing the body."""
        return self.body[:-1] + _wire_end(self.recorded_at, self.flags & HISTORICAL)

    def event(self) -> Event:
        """Return the event that plugins see."""
        return Event.from_wire(jsonbytes.loads(self.wire()))


class Stored(NamedTuple):
    """An entry with its place in the Log; `position` means something to its store only."""

    position: Any
    recorded_at: int
    entry: Entry

    @property
    def id(self) -> str:
        """The event's id."""
        return self.entry.id

    def outgoing(self) -> Outgoing:
        """Return what a relay reads of it."""
        return Outgoing.of(self.entry, self.position, self.recorded_at)

    def wire(self) -> bytes:
        """Return the whole wire form, without parsing the body."""
        return self.outgoing().wire()

    def event(self) -> Event:
        """Return the event that plugins see."""
        return self.outgoing().event()


@functools.lru_cache(maxsize=64)
def _wire_end(recorded_at: int | None, historical: int) -> bytes:
    """Return what follows the body, which the events of one commit share."""
    recorded = "" if recorded_at is None else f',"recorded_at":"{to_rfc3339(recorded_at)}"'
    return f'{recorded},"historical":{"true" if historical else "false"}}}'.encode()


@attrs.frozen(kw_only=True)
class Event:
    """
    One thing that happened once, to one customer, as plugins see it.

    The fields are those of the wire form.
    Facts carry `actor` and `reason`; derived events `journey`, `version`, `stage`, `instance` and
    `caused_by`.
    """

    id: str
    name: str
    customer: Customer
    occurred_at: datetime
    kind: Kind = Kind.TOUCHPOINT
    recorded_at: datetime | None = None
    channel: str | None = None
    properties: Mapping[str, Any] = attrs.field(factory=dict)
    context: Mapping[str, Any] = attrs.field(factory=dict)
    source: Mapping[str, Any] = attrs.field(factory=dict)
    historical: bool = False
    actor: str | None = None
    reason: str | None = None
    journey: str | None = None
    version: int | None = None
    stage: str | None = None
    instance: str | None = None
    caused_by: str | None = None

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Event:
        """
        Return the event that the wire form describes.

        Raises:
            KeyError, ValueError, TypeError: *wire* is not a wire form.
        """
        fields = {name: wire[name] for name in _PLAIN if name in wire}
        recorded = wire.get("recorded_at")
        return cls(
            customer=Customer(**(wire["customer"] or {})),
            kind=Kind(wire["kind"]),
            occurred_at=to_datetime(from_rfc3339(wire["occurred_at"])),
            recorded_at=to_datetime(from_rfc3339(recorded)) if recorded else None,
            **fields,
        )


_CONVERTED = frozenset({"customer", "kind", "occurred_at", "recorded_at"})
_PLAIN = tuple(field.name for field in attrs.fields(Event) if field.name not in _CONVERTED)
