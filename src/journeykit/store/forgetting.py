"""
How the projector folds an erasure.

The fact has no ids; they are in the store until the erasure has come to its end.
Folded again after that, it means nothing: the events of before are no more in the Log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journeykit.store.erasure import Erasure, Resolved, id_of, key_of, without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journeykit.model.event import Stored
    from journeykit.store.protocol import Position, Store


class Erasures:
    """Removes the customers who were erased from what *folds* keep."""

    def __init__(self, store: Store, folds: Sequence[Any]) -> None:
        self._store = store
        self._spans = [fold.span for fold in folds if hasattr(fold, "span")]
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
            if not erasure.swept and position is not None and erasure.position <= position
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
        customers = {key_of(one) for one in erasure.ids}
        for span in self._spans:
            customers |= set(span(view, customers))
        ordered = sorted(customers)
        pieces = sum(forget(view, ordered) for forget in self._forgets)
        view.forget(ordered, stored.position)
        ids = frozenset(map(id_of, ordered))
        self._folded.append(Resolved(stored.id, ids, pieces))
        self._open = [each for each in self._open if not self._is_swept(each)]
        self._open.append(_known(erasure, ids))

    def screen(self, stored: Stored) -> Stored | None:
        """Return an event as far as it is not about somebody who was erased before."""
        left: Stored | None = stored
        for erasure in self._open:
            if left is None or stored.entry.occurred_at > erasure.erased_at:
                continue
            if stored.position > erasure.position:
                entry = without(left.entry, erasure.ids.__contains__)
                left = None if entry is None else left._replace(entry=entry)
        return left

    def _is_swept(self, erasure: Erasure) -> bool:
        known = self._store.erasing.find(erasure.event)
        return known is None or known.swept


def _known(erasure: Erasure, ids: frozenset[Any]) -> Erasure:
    return Erasure(
        number=erasure.number,
        event=erasure.event,
        position=erasure.position,
        erased_at=erasure.erased_at,
        ids=ids,
    )
