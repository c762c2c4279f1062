"""Parked events that are tried once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journeykit.delivery.window import Ids, ids_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from journeykit.store.protocol import Parked, Store

#: More than anybody parks before they look.
ALL: Final = 100_000

#: Why a strict sink's event is parked that nobody refused; it goes out when the earlier one has.
BEHIND: Final = "an earlier event of this customer is parked"


class Replay:
    """
    Chooses among the parked events of *owner*, oldest first.

    Args:
        strict: Whether an event waits until those of its customer that were parked before it are
            settled.
    """

    def __init__(self, store: Store, owner: str, *, strict: bool) -> None:
        self._store = store
        self._owner = owner
        self._strict = strict
        self._most = ALL

    def take(self, most: int) -> tuple[list[Parked], list[int]]:
        """Return up to *most* events to try, and the numbers of those that must wait after all."""
        most = min(most, self._most)
        if self._strict:
            return self._heads(most)
        return self._store.parked(self._owner, replay=True, limit=most), []

    def halve(self, count: int) -> None:
        """Take fewer than *count* the next time, to find what is refused."""
        self._most = max(1, count // 2)

    def settle(self, tried: Sequence[Parked], failed: Mapping[str, str]) -> None:
        """Remove what was taken of *tried*; what *failed* (id → reason) stays parked."""
        again = {item.number: failed[item.entry.id] for item in tried if item.entry.id in failed}
        self._store.settle([item.number for item in tried if item.number not in again], again)
        self._most = min(self._most * 2, ALL)

    def _heads(self, most: int) -> tuple[list[Parked], list[int]]:
        chosen: list[Parked] = []
        stuck: list[int] = []
        waiting, blocked = Ids(), Ids()
        for item in self._store.parked(self._owner, limit=ALL):
            ids = ids_of(item.entry)
            if not blocked.isdisjoint(ids):
                blocked |= ids
                stuck += [item.number] if item.replay else []
            elif not item.replay and item.reason != BEHIND:
                blocked |= ids
            else:
                if waiting.isdisjoint(ids) and len(chosen) < most:
                    chosen.append(item)
                waiting |= ids
        return chosen, stuck
