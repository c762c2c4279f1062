"""How a store in memory forgets a customer."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import attrs

from journeykit.model import jsonbytes
from journeykit.model.event import Kind
from journeykit.store import late
from journeykit.store.erasure import (
    DELETED_COUNT,
    KEY_BYTES,
    QUEUED,
    Erasure,
    Resolved,
    hashed,
    key_of,
    with_hashes,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from journeykit.model.event import Entry, Stored
    from journeykit.store.erasure import Id
    from journeykit.store.late import Screened
    from journeykit.store.memory import MemoryStore
    from journeykit.store.protocol import Parked, Position


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
            self._begin(fact, ids, sinks, now)

    def follow(self, screened: Screened, now: int) -> None:
        """Begin to erase under the ids that late events have told."""
        for user, visitor, erased_at, _ in screened.parted:
            self._remember([late.apart(user, visitor)], erased_at)
        others = self._find([late.apart(*told[:2]) for told in screened.told])
        told = [each for each in screened.told if each.sure or late.apart(*each[:2]) not in others]
        for erased_at, ids in late.by_request(told).items():
            begun = (each for each in self._all() if each.follows is not None)
            if any(ids <= each.ids and each.until is None for each in begun):
                continue
            first = next(
                each for each in self._all() if (each.erased_at, each.follows) == (erased_at, None)
            )
            fact = late.following_fact(first.event, len(self._erasures) + 1, erased_at)
            self._begin(fact, ids, first.sinks, now, first)

    def _begin(
        self,
        fact: Entry,
        ids: Collection[Id],
        sinks: Collection[str],
        now: int,
        first: Erasure | None = None,
    ) -> None:
        # Whose an id is that a late event told, is known when the fact folds.
        sure = [one for one in ids if first is None or one[0] == "user"]
        digests = self._remember(sure, fact.occurred_at)
        fact = fact._replace(body=with_hashes(fact.body, digests))
        position = self._store.append_fact(fact, now)
        asked = {*sinks, *self._store.sinks()}
        erasure = Erasure(
            number=len(self._erasures) + 1,
            event=fact.id,
            position=position,
            erased_at=fact.occurred_at,
            ids=frozenset(ids),
            sinks=dict.fromkeys(sorted(asked), (QUEUED, "")),
            follows=None if first is None else first.event,
            since=None if first is None else first.position,
        )
        self._keep(erasure)

    def progress(self) -> int:
        """Return a number that grows when an erasure begins, and when it is known who that is."""
        return len(self._erasures) + sum(each.until is not None for each in self._all())

    def pending(self) -> list[Erasure]:
        """Return those that have not come to their end, oldest first."""
        return [erasure for erasure in self._all() if not erasure.finished]

    def find(self, event: str) -> Erasure | None:
        """Return the erasure whose fact has the id *event*."""
        return next((erasure for erasure in self._all() if erasure.event == event), None)

    def recent(self, limit: int) -> list[Erasure]:
        """Return the last requests, the latest first."""
        return [each for each in self._all()[::-1] if each.follows is None][:limit]

    def following(self, event: str) -> list[Erasure]:
        """Return those that follow the request whose fact has the id *event*."""
        return [each for each in self._all() if each.follows == event]

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
        ids = late.resolved_ids(erasure, resolved)
        digests = self._remember(ids, erasure.erased_at)
        self._remember(late.not_theirs(erasure, ids), erasure.erased_at)
        trail = self._forget_trails(erasure, ids)
        counts = {"state": resolved.pieces, "trail": trail}
        self._keep(attrs.evolve(erasure, ids=ids), counts)
        self._store.rewrite_log(
            lambda stored: (
                stored._replace(
                    entry=stored.entry._replace(body=with_hashes(stored.entry.body, digests))
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
            staying = {each.id for each in self._staying(erasure)}
            before = self._store.read(None, self._store.length(), derived=False)
            apart = late.apart_by(each.entry for each in before)
            self._remember(apart, erasure.erased_at)
            log, observed = self._store.rewrite_log(lambda each: _left(erasure, each, staying))
            trail = self._forget_trails(erasure, erasure.ids)
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

    def screen(self, entries: Sequence[Entry]) -> Screened:
        """Leave out what is about people who were erased since."""
        return late.screen(entries, max(self._hashes.values(), default=None), self._find)

    def _forget_trails(self, erasure: Erasure, ids: Collection[Id]) -> int:
        staying = {each.position for each in self._staying(erasure)}

        def goes(position: Position) -> bool:
            return bool(position < erasure.position) and position not in staying

        return sum(self._store.forget_trail(key_of(one), goes) for one in ids)

    def _staying(self, erasure: Erasure) -> list[Stored]:
        observed = self._store.read(None, self._store.length(), derived=False)
        return [each for each in observed if not erasure.takes(each.entry, each.position)]

    def _find(self, ids: Iterable[Id]) -> Mapping[Id, int]:
        found = {one: self._hashes.get(hashed(self._key, one)) for one in ids}
        return {one: erased_at for one, erased_at in found.items() if erased_at is not None}

    def _remember(self, ids: Iterable[Id], erased_at: int) -> list[str]:
        digests = [hashed(self._key, one) for one in ids]
        for each in digests:
            self._hashes[each] = max(erased_at, self._hashes.get(each, erased_at))
        return digests

    def _keep(self, erasure: Erasure, counts: Mapping[str, int] | None = None) -> None:
        known = dict(erasure.counts)
        for place, count in (counts or {}).items():
            known[place] = known.get(place, 0) + count
        self._erasures[erasure.number] = attrs.evolve(erasure, counts=known)
        self.changes += 1

    def _all(self) -> list[Erasure]:
        return list(self._erasures.values())


def _left(erasure: Erasure, stored: Stored, staying: Collection[str]) -> Stored | None:
    entry = stored.entry
    derived = entry.kind is Kind.DERIVED
    stays = derived and jsonbytes.loads(entry.body).get("caused_by") in staying
    if not erasure.takes(entry, stored.position, stays=stays):
        return stored
    left = without(entry, erasure.ids.__contains__)
    return None if left is None else stored._replace(entry=left)


def _still_parked(erasure: Erasure, parked: Parked) -> Parked | None:
    if min(parked.entry.occurred_at, parked.parked_at) > erasure.erased_at:
        return parked
    left = without(parked.entry, erasure.ids.__contains__)
    return None if left is None else parked._replace(entry=left)
