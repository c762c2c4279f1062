"""
The stage that deletes what is left of customers who were erased.

It runs in one process at a time, and only while there is something to do.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from journeykit.model.event import Kind
from journeykit.store.erasure import Resolved, key_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from journeykit.store.erasure import Erasure, Id
    from journeykit.store.protocol import Store

#: The name of its leadership.
ERASER: Final = "eraser"

#: How long to wait for others at first, and at last: each time twice as long, in seconds.
_FIRST_PAUSE: Final = 0.02
_LAST_PAUSE: Final = 0.5


class Eraser:
    """
    Works off the erasures of *store*.

    Args:
        projected: Whether a projector finds out who the customers are; else this does.

        right: Held while writing; raises in a thread that was abandoned.
    """

    #: It never rests while there is more to do.
    filled = True

    def __init__(
        self,
        store: Store,
        *,
        projected: bool,
        right: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._store = store
        self._projected = projected
        self.right = right
        self._pause = _FIRST_PAUSE

    def step(self) -> float | None:
        """Do a slice of work; returns the seconds until there may be more, None for unknown."""
        pending = self._store.erasing.pending()
        if not pending:
            self._pause = _FIRST_PAUSE
            return None
        if self._advance(pending):
            self._pause = _FIRST_PAUSE
            return 0.0
        pause, self._pause = self._pause, min(self._pause * 2, _LAST_PAUSE)
        return pause

    def _advance(self, pending: list[Erasure]) -> bool:
        erasing = self._store.erasing
        for erasure in pending:
            if erasure.until is None and not self._projected:
                resolved = Resolved(erasure.event, self._resolve(erasure))
                with self.right():
                    erasing.resolve(resolved)
                return True
            if erasure.until is not None and not erasure.swept:
                with self.right():
                    # First: whoever sees that it is swept finds no claim any more.
                    self._store.claims.forget([key_of(one) for one in erasure.ids])
                    erasing.sweep(erasure)
                return True
            if erasure.swept and erasure.answered and not erasure.cleared:
                with self.right():
                    erasing.clear(erasure.number)
                return True
        if any(erasure.swept and not erasure.purged for erasure in pending):
            with self.right():
                return erasing.purge()
        return False

    def _resolve(self, erasure: Erasure) -> frozenset[Id]:
        """
        Return all ids of a customer, as the Log before the fact has them.

        An anonymous id belongs to the first user id that was seen with it.
        """
        users = {one for one in erasure.ids if one[0] == "user"}
        visitors = erasure.ids - users
        owners = self._owners(visitors, erasure)
        users |= set(owners.values())
        met = {entry_ids[1] for entry_ids in self._pairs(users, erasure) if entry_ids[0] in users}
        owners = self._owners(met | visitors, erasure)
        theirs = {visitor for visitor, owner in owners.items() if owner in users}
        return frozenset(users | visitors | theirs)

    def _owners(self, visitors: set[Id] | frozenset[Id], erasure: Erasure) -> dict[Id, Id]:
        owners: dict[Id, Id] = {}
        for user, visitor in self._pairs(visitors, erasure):
            if visitor in visitors:
                owners.setdefault(visitor, user)
        return owners

    def _pairs(self, ids: set[Id] | frozenset[Id], erasure: Erasure) -> list[tuple[Id, Id]]:
        """Return which user and anonymous ids came together, in the order of the Log."""
        found: dict[tuple[Id, Id], None] = {}
        after = None
        while ids and (after is None or after < erasure.position):
            entries, after = self._store.erasing.links(ids, after, erasure.position)
            for entry in entries:
                if entry.kind is not Kind.DERIVED:
                    pair = ("user", str(entry.user_id)), ("anonymous", str(entry.anonymous_id))
                    found.setdefault(pair)
        return list(found)
