"""Requests to forget a customer, and what became of them, place by place."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.capture.encode import encode
from journeykit.capture.ids import RandomIds
from journeykit.capture.segment import begun_before, damaged_segments
from journeykit.model import jsonbytes
from journeykit.model.event import ERASURE, WIRE_VERSION, Entry, Kind
from journeykit.model.times import to_rfc3339
from journeykit.store.erasure import ERASED, QUEUED, ids_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from journeykit.model.customer import Customer
    from journeykit.store.erasure import Erasure
    from journeykit.store.protocol import Store

#: What a place says besides what sinks say: a person has to see to it.
LISTED: Final = "listed"
DONE: Final = "erased"
NOTHING: Final = "nothing"

#: Places in the store → what is counted there.
_COUNTED: Final = {"log": "events", "state": "pieces", "trail": "places", "parked": "events"}


@attrs.frozen
class Place:
    """
    One place where something of a customer was, or may be.

    Args:
        name: `log`, `state`, `trail`, `parked`, `claims`, `free_space`, `spool`, `set_aside`,
            `sink:NAME`.

        status: `erased`; `queued`: not yet; `listed`: a person has to see to what the detail names;
            `nothing`: there is nothing to see to; of a sink also `unsupported`, `failed` and
            `queued there`.

        count: How much was erased, where that is counted.
    """

    name: str
    status: str
    count: int | None = None
    detail: str = ""


@attrs.frozen(kw_only=True)
class ErasureReport:
    """
    What became of a request to forget a customer; it holds nothing about them.

    Args:
        id: The id of the fact in the Log.

        erased_at: Everything up to then is erased.

        actor, reason: Who asked for it, and why.

        done: Whether there is nothing left that journeykit will do.

        places: What was done where.
    """

    id: str
    erased_at: str
    actor: str | None
    reason: str | None
    done: bool
    places: tuple[Place, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return attrs.asdict(self)


def check(customer: Customer, actor: str, reason: str) -> None:
    """
    See that *customer* can be erased.

    Raises:
        ValueError: There is no id, or the actor or the reason has it in it.
    """
    ids = ids_of(customer)
    if not ids:
        msg = "there is no customer to erase: pass a user id or an anonymous id"
        raise ValueError(msg)
    if not reason or not actor:
        msg = (
            "an erasure stays in the Log as a fact: say who asked for it (actor), and why (reason)"
        )
        raise ValueError(msg)
    if any(value in text for _, value in ids for text in (actor, reason)):
        msg = "the actor and the reason stay in the Log, so they must not name the customer"
        raise ValueError(msg)


def fact(actor: str, reason: str, source: Mapping[str, str], at: int) -> Entry:
    """Return the fact that somebody is erased at the instant *at*; the store adds the hashes."""
    event_id = RandomIds(random.Random()).new(at)
    wire: dict[str, Any] = {
        "id": event_id,
        "kind": Kind.FACT.value,
        "name": ERASED,
        "customer": {"user_id": None, "anonymous_id": None, "session_id": None},
        "context": {},
        "occurred_at": to_rfc3339(at),
        "channel": None,
        "properties": {"ids": []},
        "source": dict(source),
        "actor": actor,
        "reason": reason,
        "v": WIRE_VERSION,
    }
    return Entry(event_id, Kind.FACT, ERASED, None, None, None, at, ERASURE, encode(wire))


def report(store: Store, erasure: Erasure) -> ErasureReport:
    """Return what became of *erasure*."""
    found = store.fetch([erasure.position])
    wire = jsonbytes.loads(found[0].entry.body) if found else {}
    spool = _spool(store, erasure)
    return ErasureReport(
        id=erasure.event,
        erased_at=to_rfc3339(erasure.erased_at),
        actor=wire.get("actor"),
        reason=wire.get("reason"),
        done=erasure.finished and spool.status == DONE,
        places=(*_stored(erasure), spool, _set_aside(store), *_sinks(erasure)),
    )


def _stored(erasure: Erasure) -> list[Place]:
    status = DONE if erasure.swept else QUEUED
    # Who the customer is, is known once the fact was folded, which is what removes State.
    folded = DONE if erasure.until is not None else QUEUED
    return [
        *(
            Place(
                name,
                folded if name == "state" else status,
                erasure.counts.get(name, 0),
                what,
            )
            for name, what in _COUNTED.items()
        ),
        Place("claims", status),
        Place("free_space", DONE if erasure.swept and erasure.purged else QUEUED),
    ]


def _spool(store: Store, erasure: Erasure) -> Place:
    waiting = begun_before(store.spool, erasure.erased_at) if store.spool else []
    if not waiting:
        return Place("spool", DONE)
    return Place("spool", QUEUED, None, _paths(waiting))


def _set_aside(store: Store) -> Place:
    files = [*store.erasing.set_aside(), *(damaged_segments(store.spool) if store.spool else [])]
    return Place("set_aside", LISTED if files else NOTHING, None, _paths(files))


def _sinks(erasure: Erasure) -> list[Place]:
    return [
        Place(f"sink:{name}", status, None, detail)
        for name, (status, detail) in erasure.sinks.items()
    ]


def _paths(files: Sequence[Path]) -> str:
    return ", ".join(map(str, files))
