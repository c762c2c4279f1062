"""
Claims: who is shown which prompt at the moment, so that two pages do not show two.

They are no State: a process that serves a page takes one at once, and it ends by itself.
To lose them all costs one repeated question, never an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from journeykit import native

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

#: What was reported of an impression, as a claim keeps it; the folds' ranks, and none before them.
CLAIMED: Final = 0

#: How long after its time a prompt keeps another page from getting one, in microseconds: by then
#: the customer has left the page that had it.
PATIENCE: Final = 10_000_000

#: How long a claim is kept: until every fact about it has surely been folded, in microseconds.
KEPT: Final = 48 * 3600 * 1_000_000


class Claim(NamedTuple):
    """
    A prompt that one customer is shown, or was a while ago.

    Instants are in microseconds.

    Args:
        impression: The id of this showing.

        customer: The key of the customer whom it was claimed for.

        prompt: The prompt's key.

        session: The visit.

        language: The language of its texts.

        claimed_at: Since when.

        due_at: When the page shows it, if nobody leaves the page.

        expires_at: Until when it may be shown.

        shown_at: When it was shown; None before.

        rank: What was reported of it last.

        seq: The number of its last answer.

        withdrawn: Whether it turned out that it must not be shown.
    """

    impression: str
    customer: str
    prompt: str
    session: str | None
    language: str
    claimed_at: int
    due_at: int
    expires_at: int
    shown_at: int | None = None
    rank: int = CLAIMED
    seq: int = 0
    withdrawn: bool = False

    def holds(self, now: int) -> bool:
        """Return whether it keeps others away: it is to be shown, and the page may still do so."""
        return self.waits and now < min(self.expires_at, self.due_at + PATIENCE)

    @property
    def waits(self) -> bool:
        """Whether it may still be shown, as far as time allows."""
        return self.shown_at is None and not self.withdrawn


class Claims(Protocol):
    """
    Keeps claims; each call is atomic among all processes.

    Methods raise `StoreError`.
    """

    def of(self, customers: Collection[str]) -> list[Claim]:
        """Return the claims of customers by their keys, the oldest first."""

    def find(self, impression: str) -> Claim | None:
        """Return the claim of this impression."""

    def take(self, claim: Claim, customers: Collection[str], known: Sequence[Claim]) -> bool:
        """
        Take *claim*, unless the claims of *customers* are others by now than *known*.

        Those that still wait are withdrawn: the customer has left their pages.
        Returns whether it was taken.
        """

    def change(self, before: Claim, after: Claim) -> bool:
        """Replace a claim by another of the same impression, if it still is *before*."""

    def forget(self, customers: Collection[str]) -> int:
        """Delete the claims of customers by their keys; returns how many there were."""


class MemoryClaims:
    """Keeps claims in this process."""

    def __init__(self) -> None:
        self._lock = native.lock()
        self._claims: dict[str, Claim] = {}

    def reset_after_fork(self) -> None:
        """Begin anew: the parent's thread may have held the lock."""
        self._lock = native.lock()

    def of(self, customers: Collection[str]) -> list[Claim]:
        """Return the claims of customers by their keys, the oldest first."""
        with self._lock:
            return self._of(customers)

    def find(self, impression: str) -> Claim | None:
        """Return the claim of this impression."""
        return self._claims.get(impression)

    def take(self, claim: Claim, customers: Collection[str], known: Sequence[Claim]) -> bool:
        """Take *claim*, unless the claims of *customers* are others by now than *known*."""
        with self._lock:
            old = claim.claimed_at - KEPT
            self._claims = {
                key: each for key, each in self._claims.items() if each.claimed_at >= old
            }
            if self._of(customers) != [each for each in known if each.claimed_at >= old]:
                return False
            for each in known:
                if each.waits and each.impression in self._claims:
                    self._claims[each.impression] = each._replace(withdrawn=True)
            self._claims[claim.impression] = claim
            return True

    def change(self, before: Claim, after: Claim) -> bool:
        """Replace a claim by another of the same impression, if it still is *before*."""
        with self._lock:
            if self._claims.get(before.impression) != before:
                return False
            self._claims[before.impression] = after
            return True

    def forget(self, customers: Collection[str]) -> int:
        """Delete the claims of customers by their keys; returns how many there were."""
        with self._lock:
            found = self._of(customers)
            for each in found:
                del self._claims[each.impression]
            return len(found)

    def _of(self, customers: Collection[str]) -> list[Claim]:
        found = [each for each in self._claims.values() if each.customer in customers]
        return sorted(found, key=lambda each: (each.claimed_at, each.impression))
