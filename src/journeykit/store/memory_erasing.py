"""How a store in memory forgets a customer."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import attrs

from journeykit.model.event import Kind
from journeykit.store.erasure import (
    DELETED_COUNT,
    KEY_BYTES,
    QUEUED,
    Erasure,
    Resolved,
    hashed,
    key_of,
    screen,
    with_hashes,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from journeykit.model.event import Entry, Stored
    from journeykit.store.erasure import Id
    from journeykit.store.memory import MemoryStore
    from journeykit.store.protocol import Parked


class MemoryErasing:
    """The erasures of *store*."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._key = secrets.token_bytes(KEY_BYTES)
        self._erasures: dict[int, Erasure] = {}
        self._hashes: dict[str, int] = {}
        #: Counts up with each change, for the store's signal.
        self.changes = 0

    def begin(self, fact: Entry, ids: Collection[Id], sinks: Collection[str], now: int) -> None:
        """Append *fact* and note whom it is about; from now on older events are refused."""
        with self._store.lock:
            hashes = [hashed(self._key, one) for one in ids]
            fact = fact._replace(body=with_hashes(fact.body, hashes))
            position = self._store.append_fact(fact, now)
            asked = {*sinks, *self._store.sinks()}
            erasure = Erasure(
                number=len(self._erasures) + 1,
                event=fact.id,
                position=position,
                erased_at=fact.occurred_at,
                ids=frozenset(ids),
                sinks=dict.fromkeys(sorted(asked), (QUEUED, "")),
            )
            self._keep(erasure)
            self._remember(hashes, fact.occurred_at)

    def newest(self) -> int:
        """Return the number of the last erasure, 0 without any."""
        return len(self._erasures)

    def pending(self) -> list[Erasure]:
        """Return those that have not come to their end, oldest first."""
        return [erasure for erasure in self._all() if not erasure.finished]

    def find(self, event: str) -> Erasure | None:
        """Return the erasure whose fact has the id *event*."""
        return next((erasure for erasure in self._all() if erasure.event == event), None)

    def recent(self, limit: int) -> list[Erasure]:
        """Return the last ones, the latest first."""
        return self._all()[::-1][:limit]

    def resolve(self, resolved: Resolved) -> None:
        """Note who the customer is, where no projector does so."""
        with self._store.lock:
            self.note(resolved)
            self.close_window([resolved])

    def note(self, resolved: Resolved) -> None:
        """Note who the customer is."""
        erasure = self.find(resolved.event)
        if erasure is None or erasure.cleared:
            return
        ids = erasure.ids | set(resolved.ids)
        hashes = [hashed(self._key, one) for one in ids]
        self._remember(hashes, erasure.erased_at)
        trail = sum(self._store.forget_trail(key_of(one), erasure.position) for one in ids)
        counts = {"state": resolved.pieces, "trail": trail}
        self._keep(attrs.evolve(erasure, ids=ids), counts)
        self._store.rewrite_log(
            lambda stored: (
                stored._replace(
                    entry=stored.entry._replace(body=with_hashes(stored.entry.body, hashes))
                )
                if stored.id == erasure.event
                else stored
            )
        )

    def close_window(self, erased: Iterable[Resolved]) -> None:
        """Note that older events are refused from here on, under all ids."""
        for resolved in erased:
            erasure = self.find(resolved.event)
            if erasure is not None and erasure.until is None:
                self._keep(attrs.evolve(erasure, until=self._store.last_position()))

    def links(self, ids: Collection[Id], after: Any, until: Any) -> tuple[list[Entry], Any]:
        """Return events behind *after* that name two ids, one of *ids* among them."""
        wanted, everything = set(ids), len(self._erasures) + self._store.length()
        entries = [
            stored.entry
            for stored in self._store.read(after, everything)
            if stored.position <= until
        ]
        found = [
            entry
            for entry in entries
            if entry.user_id
            and entry.anonymous_id
            and wanted & {("user", entry.user_id), ("anonymous", entry.anonymous_id)}
        ]
        return found, until

    def sweep(self, erasure: Erasure) -> None:
        """Delete what the Log has of a customer, and what is parked."""
        with self._store.lock:
            keys = {key_of(one) for one in erasure.ids}
            log, observed = self._store.rewrite_log(lambda stored: _left(erasure, stored))
            trail = sum(self._store.forget_trail(key, erasure.position) for key in keys)
            parked = self._store.rewrite_parked(lambda parked: _still_parked(erasure, parked))
            self._store.count({DELETED_COUNT: observed} if observed else {})
            counts = {"log": log, "trail": trail, "parked": parked}
            self._keep(attrs.evolve(erasure, reached=erasure.until, swept=True), counts)

    def answer(self, number: int, sink: str, status: str, detail: str) -> None:
        """Note what *sink* has answered."""
        with self._store.lock:
            erasure = self._erasures[number]
            self._keep(attrs.evolve(erasure, sinks={**erasure.sinks, sink: (status, detail)}))

    def clear(self, number: int) -> None:
        """Forget the ids: everybody has been asked."""
        erasure = self._erasures[number]
        self._keep(attrs.evolve(erasure, ids=frozenset(), cleared=True, purged=False))

    def purge(self) -> bool:
        """Note that nothing is left: memory keeps no deleted rows."""
        for erasure in self.pending():
            if erasure.swept:
                self._keep(attrs.evolve(erasure, purged=True))
        return True

    def set_aside(self) -> Sequence[Path]:
        """Return nothing: there are no files."""
        return ()

    def screen(self, entries: Sequence[Entry]) -> list[Entry]:
        """Leave out what is about people who were erased since."""
        return screen(entries, max(self._hashes.values(), default=None), self._find)

    def _find(self, ids: Iterable[Id]) -> Mapping[Id, int]:
        found = {one: self._hashes.get(hashed(self._key, one)) for one in ids}
        return {one: erased_at for one, erased_at in found.items() if erased_at is not None}

    def _remember(self, hashes: Iterable[str], erased_at: int) -> None:
        for each in hashes:
            self._hashes[each] = max(erased_at, self._hashes.get(each, erased_at))

    def _keep(self, erasure: Erasure, counts: Mapping[str, int] | None = None) -> None:
        known = dict(erasure.counts)
        for place, count in (counts or {}).items():
            known[place] = known.get(place, 0) + count
        self._erasures[erasure.number] = attrs.evolve(erasure, counts=known)
        self.changes += 1

    def _all(self) -> list[Erasure]:
        return list(self._erasures.values())


def _left(erasure: Erasure, stored: Stored) -> Stored | None:
    entry = stored.entry
    if not erasure.takes(entry, stored.position, derived=entry.kind is Kind.DERIVED):
        return stored
    left = without(entry, erasure.ids.__contains__)
    return None if left is None else stored._replace(entry=left)


def _still_parked(erasure: Erasure, parked: Parked) -> Parked | None:
    if min(parked.entry.occurred_at, parked.parked_at) > erasure.erased_at:
        return parked
    left = without(parked.entry, erasure.ids.__contains__)
    return None if left is None else parked._replace(entry=left)
