"""
How the projector folds an erasure.

The fact has no ids; they are in the store until the erasure has come to its end.
Folded again after that, it means nothing: the events of before are no more in the Log.
Where State is made again before that, they are passed over, for they may go at any moment.

An erasure that follows another takes only what occurred before the request. Where State has both
that and what came later of the same customer, it is made again from the Log, without that.
Events of others from the same browser count as well, for they lose its id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from journeykit.model import jsonbytes
from journeykit.store.erasure import Resolved, id_of, key_of, without
from journeykit.store.late import theirs
from journeykit.store.protocol import STALE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from journeykit.model.event import Entry, Stored
    from journeykit.store.erasure import Erasure, Id
    from journeykit.store.protocol import Position, Store


class Erasures:
    """Removes the customers who were erased from what *folds* keep."""

    def __init__(self, store: Store, folds: Sequence[Any]) -> None:
        self._store = store
        self._spans = [fold.span for fold in folds if hasattr(fold, "span")]
        self._others = [fold.others for fold in folds if hasattr(fold, "others")]
        self._forgets = [fold.forget for fold in folds if hasattr(fold, "forget")]
        #: Those of which the Log may have something still, behind the fact.
        self._open: list[Erasure] = []
        self._folded: list[Resolved] = []

    @property
    def are_open(self) -> bool:
        """Whether any event may have to be screened."""
        return bool(self._open)

    def begin(self, position: Position) -> None:
        """Begin behind *position*."""
        self._folded = []
        self._open = [
            erasure
            for erasure in self._store.erasing.pending()
            if not erasure.swept and _is_known(erasure, position)
        ]

    def folded(self) -> list[Resolved]:
        """Return who was erased since this was asked last."""
        folded, self._folded = self._folded, []
        return folded

    def fold(self, view: Any, stored: Stored) -> None:
        """Fold the fact of an erasure."""
        erasure = self._store.erasing.find(stored.id)
        if erasure is None or erasure.cleared:
            return
        if erasure.follows is None:
            customers = self._span(view, map(key_of, erasure.ids))
            pieces = self._forget(view, customers, stored.position)
            ids = frozenset(map(id_of, customers))
        else:
            ids, pieces = self._follow(view, erasure)
        self._folded.append(Resolved(stored.id, ids, pieces))
        self._open = [each for each in self._open if not self._is_swept(each)]
        self._open.append(attrs.evolve(erasure, ids=ids, until=None))

    def _span(self, view: Any, customers: Iterable[str]) -> set[str]:
        """Return the keys of *customers*, and of whoever is the same person."""
        found = set(customers)
        for span in self._spans:
            found |= set(span(view, found))
        return found

    def _forget(self, view: Any, customers: Iterable[str], position: Position) -> int:
        ordered = sorted(customers)
        pieces: int = sum(forget(view, ordered) for forget in self._forgets)
        view.forget(ordered, position)
        return pieces

    def _follow(self, view: Any, erasure: Erasure) -> tuple[frozenset[Id], int]:
        """Forget what is there under ids that late events told; returns the ids, and pieces."""
        if erasure.until is not None:
            # State is being made again, and has passed over all of it: once known, whose ids these
            # are stays so, whoever the browser belongs to without that.
            return erasure.ids, 0

        def person(one: Id) -> set[str]:
            return self._span(view, [key_of(one)])

        def owner(one: Id) -> set[Id]:
            return {each for each in map(id_of, person(one)) if each[0] == "user"}

        ids = theirs(erasure, owner)
        customers = {key for one in ids if one[0] == "anonymous" for key in person(one)}
        goes = stays = False
        for stored in self._concerned(view, customers, ids):
            left: Entry | None = stored.entry
            # Not all that these customers did was under one of the ids.
            if erasure.takes(stored.entry, stored.position):
                left = without(stored.entry, ids.__contains__)
            goes, stays = goes or left is not stored.entry, stays or left is not None
            if goes and stays:
                view.put(*STALE, 1, jsonbytes.dumps)
                return ids, 0
        return ids, self._forget(view, customers, erasure.position) if goes else 0

    def _concerned(self, view: Any, customers: set[str], ids: Collection[Id]) -> Iterator[Stored]:
        """Yield what was folded of *customers*, and what of others names one of *ids*."""
        yield from view.history(sorted(customers))
        others = {other for find in self._others for other in find(view, customers)}
        for stored in view.history(sorted(others - customers)):
            if ("anonymous", stored.entry.anonymous_id) in ids:
                yield stored

    def screen(self, stored: Stored) -> Stored | None:
        """Return an event as far as it is not about somebody who was erased before."""
        left: Stored | None = stored
        for erasure in self._open:
            if left is None or not erasure.takes(stored.entry, stored.position):
                continue
            entry = without(left.entry, erasure.ids.__contains__)
            left = None if entry is None else left._replace(entry=entry)
        return left

    def _is_swept(self, erasure: Erasure) -> bool:
        known = self._store.erasing.find(erasure.event)
        return known is None or known.swept


def _is_known(erasure: Erasure, position: Position) -> bool:
    """Return whether it was folded, up to *position* or before State began to be made again."""
    # The eraser goes on meanwhile: once the ids are gone, nothing would be removed any more.
    if erasure.until is not None:
        return True
    return position is not None and bool(erasure.position <= position)
