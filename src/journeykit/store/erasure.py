"""
What it takes to forget a customer.

An erasure begins with a fact in the Log, which has a keyed hash of each id and no id.
Until it has come to its end, the ids are kept in a row of their own: whoever comes next goes on
where another process has died.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import attrs

from journeykit.capture.encode import encode
from journeykit.model import jsonbytes
from journeykit.model.customer import Customer, customer_key
from journeykit.model.event import ERASURE, WIRE_VERSION, Entry, Kind
from journeykit.model.times import to_rfc3339

#: One of a customer's ids: `("user", user_id)` or `("anonymous", anonymous_id)`.
Id = tuple[str, str]

#: The name of the fact.
ERASED: Final = "customer.erased"

#: The counters: events that came too late to be kept, and those that were deleted from the Log.
LATE_COUNT: Final = "erased"
DELETED_COUNT: Final = "erased_events"

#: What a sink says that has not been asked yet.
QUEUED: Final = "queued"

_HASH_BYTES: Final = 16
KEY_BYTES: Final = 32


class Resolved(NamedTuple):
    """
    Who the customer is whom the fact *event* is about.

    `ids` are all of their ids; `pieces` is how many pieces of State were removed.
    """

    event: str
    ids: Collection[Id]
    pieces: int = 0


@attrs.frozen(kw_only=True)
class Erasure:
    """
    An erasure, and how far it has come.

    Args:
        number: Counts them.

        event: The id of its fact, which is at *position* in the Log.

        erased_at: Events up to this instant are erased, in microseconds.

        ids: Whom it is about; none once it needs them no more.

        until: The last position that may have something to delete; None until it is known who the
            customer is.

        reached: Up to where the Log was swept.

        swept: Whether the Log and the parked events have nothing any more.

        cleared: Whether the ids are gone.

        purged: Whether no bytes are left in free space.

        counts: Place → how much was erased there.

        sinks: Sink → what it has answered: status and detail.

        follows: The id of the fact of the request, where a late event has told more ids; None for
            a request.

        since: From which position on only what occurred before the request is deleted.
    """

    number: int
    event: str
    position: Any
    erased_at: int
    ids: frozenset[Id]
    until: Any = None
    reached: Any = None
    swept: bool = False
    cleared: bool = False
    purged: bool = False
    counts: Mapping[str, int] = attrs.field(factory=dict)
    sinks: Mapping[str, tuple[str, str]] = attrs.field(factory=dict)
    follows: str | None = None
    since: Any = None

    @property
    def answered(self) -> bool:
        """Whether all sinks have answered."""
        return all(status != QUEUED for status, _ in self.sinks.values())

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.cleared and self.purged

    def customers(self) -> list[Customer]:
        """Return whom to ask sinks to erase: each id comes at least once."""
        # Who is new under the same user id has nothing to do with what a late event told.
        asks = () if self.follows is not None else self.ids
        users = sorted(value for kind, value in asks if kind == "user")
        visitors = sorted(value for kind, value in self.ids if kind == "anonymous")
        if not users:
            return [Customer(anonymous_id=visitor) for visitor in visitors]
        first = [Customer(users[0], visitor) for visitor in visitors] or [Customer(users[0])]
        return [*first, *(Customer(user) for user in users[1:])]

    def takes(self, entry: Entry, position: Any, *, stays: bool = False) -> bool:
        """
        Return whether an event that is about one of the ids is to be deleted.

        Args:
            stays: Whether the event that a derived one follows from is to stay.
        """
        since = self.position if self.follows is None else self.since
        if since is not None and position < since:
            return True
        if self.until is not None and position > self.until:
            return False
        # What time alone has derived tells of what came before.
        new = entry.occurred_at > self.erased_at
        return not (new and (stays or entry.kind is not Kind.DERIVED))


class Erasing(Protocol):
    """What a store does to forget customers; each call is one short transaction."""

    def begin(self, fact: Entry, ids: Collection[Id], sinks: Collection[str], now: int) -> None:
        """
        Append *fact* and note whom it is about; from now on older events of theirs are refused.

        Args:
            sinks: Who is to be asked, besides all that have a cursor.
        """

    def progress(self) -> int:
        """Return a number that grows when an erasure begins, and when it is known who that is."""

    def pending(self) -> list[Erasure]:
        """Return those that have not come to their end, oldest first."""

    def find(self, event: str) -> Erasure | None:
        """Return the erasure whose fact has the id *event*."""

    def recent(self, limit: int) -> list[Erasure]:
        """Return the last requests, the latest first."""

    def following(self, event: str) -> list[Erasure]:
        """Return those that follow the request whose fact has the id *event*."""

    def resolve(self, resolved: Resolved) -> None:
        """Note who the customer is, where no projector does so."""

    def links(self, ids: Collection[Id], after: Any, until: Any) -> tuple[list[Entry], Any]:
        """
        Return events behind *after* that name two ids, one of *ids* among them, in Log order.

        The second value is how far it looked; it ends at the position *until*.
        """

    def sweep(self, erasure: Erasure) -> None:
        """Delete a slice of what the Log has of a customer; at its end what is parked."""

    def answer(self, number: int, sink: str, status: str, detail: str) -> None:
        """Note what *sink* has answered."""

    def clear(self, number: int) -> None:
        """Forget the ids: everybody has been asked."""

    def purge(self) -> bool:
        """Overwrite what deleted rows have left behind; returns False where it must wait."""

    def set_aside(self) -> Sequence[Path]:
        """Return files that were set aside and cannot be edited."""


def id_of(customer: str) -> Id:
    """Return the id that a customer's key is made of."""
    return ("user" if customer.startswith("u:") else "anonymous", customer[2:])


def key_of(one: Id) -> str:
    """Return the customer's key that is made of an id."""
    kind, value = one
    return customer_key(value, None) if kind == "user" else customer_key(None, value)


def ids_of(customer: Customer) -> frozenset[Id]:
    """Return the ids of *customer*."""
    found = {("user", customer.user_id), ("anonymous", customer.anonymous_id)}
    return frozenset((kind, value) for kind, value in found if value)


def hashed(key: bytes, one: Id) -> str:
    """Return the keyed hash of an id."""
    text = "\x1f".join(one).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, key=key, digest_size=_HASH_BYTES).hexdigest()


def without(entry: Entry, is_erased: Callable[[Id], bool]) -> Entry | None:
    """
    Return *entry* as far as it is not about somebody erased.

    None if it is theirs.
    An event of somebody else that came from their browser loses only the browser's id.
    """
    visitor = entry.anonymous_id
    if entry.user_id:
        if is_erased(("user", entry.user_id)):
            return None
        if visitor is None or not is_erased(("anonymous", visitor)):
            return entry
        return entry._replace(anonymous_id=None, body=without_visitor(entry.body))
    return None if visitor is not None and is_erased(("anonymous", visitor)) else entry


def without_visitor(body: bytes) -> bytes:
    """Return the body of an event, or its wire form, without the anonymous id."""
    wire = jsonbytes.loads(body)
    visitor, wire["customer"]["anonymous_id"] = wire["customer"]["anonymous_id"], None
    properties = wire.get("properties") or {}
    # What identity derives says once more who was not made one.
    if properties.get("anonymous_id") == visitor:
        properties["anonymous_id"] = None
    return jsonbytes.dumps(wire)


def with_hashes(body: bytes, hashes: Collection[str]) -> bytes:
    """Return the body of the fact with the hashes of all ids."""
    wire = jsonbytes.loads(body)
    wire["properties"]["ids"] = sorted(hashes)
    return jsonbytes.dumps(wire)


def fact_of(
    event_id: str,
    *,
    actor: str,
    reason: str,
    source: Mapping[str, str],
    at: int,
    properties: Mapping[str, Any],
) -> Entry:
    """Return the fact that somebody is erased at the instant *at*; the store adds the hashes."""
    wire: dict[str, Any] = {
        "id": event_id,
        "kind": Kind.FACT.value,
        "name": ERASED,
        "customer": {"user_id": None, "anonymous_id": None, "session_id": None},
        "context": {},
        "occurred_at": to_rfc3339(at),
        "channel": None,
        "properties": {"ids": [], **properties},
        "source": dict(source),
        "actor": actor,
        "reason": reason,
        "v": WIRE_VERSION,
    }
    return Entry(event_id, Kind.FACT, ERASED, None, None, None, at, ERASURE, encode(wire))
