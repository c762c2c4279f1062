"""Requests to forget a customer, and what became of them, place by place."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.capture.ids import RandomIds
from journeykit.capture.segment import begun_before, damaged_segments
from journeykit.model import jsonbytes
from journeykit.model.times import to_rfc3339
from journeykit.store.erasure import QUEUED, fact_of, ids_of
from journeykit.store.protocol import STALE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from journeykit.model.customer import Customer
    from journeykit.model.event import Entry
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
    return fact_of(event_id, actor=actor, reason=reason, source=source, at=at, properties={})


def report(store: Store, erasure: Erasure) -> ErasureReport:
    """Return what became of *erasure*, and of what late events have added to it."""
    # First: where nothing waits any more, all that follows has begun.
    spool = _spool(store, erasure)
    parts = [erasure, *store.erasing.following(erasure.event)]
    found = store.fetch([erasure.position])
    wire = jsonbytes.loads(found[0].entry.body) if found else {}
    return ErasureReport(
        id=erasure.event,
        erased_at=to_rfc3339(erasure.erased_at),
        actor=wire.get("actor"),
        reason=wire.get("reason"),
        done=all(part.finished for part in parts) and spool.status == DONE,
        places=(
            *_stored(parts, stale=store.state(STALE) is not None),
            spool,
            _set_aside(store),
            *_sinks(parts),
        ),
    )


def _stored(parts: Sequence[Erasure], *, stale: bool) -> list[Place]:
    status = _status(part.swept for part in parts)
    purged = _status(part.swept and part.purged for part in parts)
    # Who the customer is, is known once the fact was folded, which is what removes State.
    folded = QUEUED if stale else _status(part.until is not None for part in parts)
    return [
        *(
            Place(
                name,
                folded if name == "state" else status,
                sum(part.counts.get(name, 0) for part in parts),
                what,
            )
            for name, what in _COUNTED.items()
        ),
        Place("claims", purged),
        Place("free_space", purged),
    ]


def _status(done: Iterable[bool]) -> str:
    return DONE if all(done) else QUEUED


def _spool(store: Store, erasure: Erasure) -> Place:
    waiting = begun_before(store.spool, erasure.erased_at) if store.spool else []
    if not waiting:
        return Place("spool", DONE)
    return Place("spool", QUEUED, None, _paths(waiting))


def _set_aside(store: Store) -> Place:
    files = [*store.erasing.set_aside(), *(damaged_segments(store.spool) if store.spool else [])]
    return Place("set_aside", LISTED if files else NOTHING, None, _paths(files))


def _sinks(parts: Sequence[Erasure]) -> list[Place]:
    answers: dict[str, list[tuple[str, str]]] = {}
    for part in parts:
        for name, answer in part.sinks.items():
            answers.setdefault(name, []).append(answer)
    return [_sink(name, given) for name, given in answers.items()]


def _sink(name: str, answers: Sequence[tuple[str, str]]) -> Place:
    """Return what a sink has answered that leaves most to do; of the same, the first."""
    status, detail = min(answers, key=lambda answer: _rank(answer[0]))
    return Place(f"sink:{name}", status, None, detail)


def _rank(status: str) -> int:
    return 0 if status == QUEUED else 2 if status == DONE else 1


def _paths(files: Sequence[Path]) -> str:
    return ", ".join(map(str, files))
