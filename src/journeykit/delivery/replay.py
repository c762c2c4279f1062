"""Parked events that are tried once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from journeykit.delivery.window import Ids, ids_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from journeykit.store.protocol import Parked, Store

#: More than anybody parks before they look.
ALL: Final = 100_000

#: Parked events that a strict sink's relay looks at in one step.
PAGE: Final = 500

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
        #: Where a strict sink's round is, and whose events were left behind there.
        self._round: Round | None = None
        self._seen: object = None

    @property
    def looking(self) -> bool:
        """Whether a strict sink's round has not come to its end."""
        return self._round is not None

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
        """
        Return what nothing of the same customer was parked before.

        One page is looked at, until nothing in it can go; then the next.
        A round over all pages begins only when somebody has asked for a replay, or has dropped
        something.
        """
        if self._round is None:
            changes = self._changes()
            if changes == self._seen:
                return [], []
            self._seen, self._round = changes, Round(0, Ids())
        page = self._store.parked(self._owner, after=self._round.after, limit=PAGE)
        chosen, stuck, blocked = _heads(page, self._round.blocked, most)
        if not chosen:
            more = len(page) == PAGE
            self._round = Round(page[-1].number, blocked) if more else None
        return chosen, stuck

    def _changes(self) -> object:
        counters = self._store.counters()
        return counters.get("replayed"), counters.get("dropped")


class Round(NamedTuple):
    """How far a round has come: the last number of the page before, and whom events wait of."""

    after: int
    blocked: Ids


def _heads(page: Sequence[Parked], blocked: Ids, most: int) -> tuple[list[Parked], list[int], Ids]:
    """Return what of *page* may go, what must wait after all, and whose events stay parked."""
    chosen: list[Parked] = []
    stuck: list[int] = []
    waiting, blocked = Ids(), set(blocked)
    for item in page:
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
    return chosen, stuck, blocked
