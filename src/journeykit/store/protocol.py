"""
What a store is: the Log, the State, the cursors, and what was parked.

Positions are opaque: only the store that made one can compare it.
Nothing here calls anybody else's code while a transaction is open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

import attrs

from journeykit.capture.tail import Watermark
from journeykit.model.event import Entry, Outgoing, Stored
from journeykit.store.claims import Claims
from journeykit.store.erasure import Erasing, Id, Resolved

#: A place in the Log; None is before the first event.
Position = Any

#: No counts.
NOTHING: Final[Mapping[str, int]] = MappingProxyType({})

#: The reader whose cursor belongs to State.
PROJECTOR: Final = "projector"

#: The reader that watches what customers do by the day; its cursor belongs to State, too.
WATCHER: Final = "watcher"

#: The readers who begin at the beginning where State is forgotten.
STATEFUL: Final = (PROJECTOR, WATCHER)

#: The space and the key that a piece of State is kept under.
StateKey = tuple[str, str]

#: Between the parts of a key.
SEPARATOR: Final = "\x1f"

#: The spaces of State that most events read or write, and whose keys are a customer's key, alone or
#: with more behind the separator. A store keeps what they have of one customer together.
#: One that is looked through as a whole does not belong here.
BY_CUSTOMER: Final = frozenset(
    (
        *("checkpoint", "customer", "instance", "link", "members"),
        *("rules", "rules_checkpoint", "prompts", "scored", "case_file"),
    )
)

#: In State: the last event that an unfinished rebuild folds for the second time.
REBUILDING: Final[StateKey] = ("projector", "rebuilding")

#: In State: that it has of somebody who was erased what cannot be taken out, so it is to be made
#: again from the Log.
STALE: Final[StateKey] = ("projector", "stale")


class Parking(NamedTuple):
    """
    Something to set aside.

    `owner` is `sink:NAME` or `plugin:NAME`; `reason` is what that said.
    An owner parks an event once; again only changes the reason.
    """

    owner: str
    entry: Entry
    reason: str


class Parked(NamedTuple):
    """
    Something that was set aside.

    `number` names it, `parked_at` is in microseconds, and so is `recorded_at`, which is None for an
    event that is not in the Log.
    """

    number: int
    owner: str
    entry: Entry
    reason: str
    parked_at: int
    replay: bool
    recorded_at: int | None = None


@attrs.frozen
class Commit:
    """
    What the committer writes in one transaction.

    Args:
        entries: Go into the Log; one whose id is there already is left out.

        parked: Are set aside.

        counts: Are added to the counters.

        unparked: Numbers of parked events that this commit settles.

        watermarks: How far files of events were read for it; one never moves back.

        again: The entries were in the Log before; those that are added had been lost.
    """

    entries: Sequence[Entry] = ()
    parked: Sequence[Parking] = ()
    counts: Mapping[str, int] = attrs.field(factory=dict)
    unparked: Sequence[int] = ()
    watermarks: Sequence[Watermark] = ()
    again: bool = False


class Committed(NamedTuple):
    """
    What became of the entries of a commit.

    `added` came to the Log, `repeated` were there already, `erased` were left out because they are
    about somebody who was erased since. `screened` says that anything of the commit, also of what
    it parks, named somebody who was.
    """

    added: int
    repeated: int
    erased: int = 0
    screened: bool = False


class Changes(Mapping[StateKey, "bytes | None"]):
    """
    What changes in State, by space and key.

    Most of a batch is in a few spaces; a key of both for each piece would cost more than the piece.
    """

    def __init__(self, by_space: dict[str, dict[str, bytes | None]]) -> None:
        self.by_space = by_space

    def __getitem__(self, key: StateKey) -> bytes | None:
        """Return what a piece becomes."""
        return self.by_space[key[0]][key[1]]

    def __iter__(self) -> Iterator[StateKey]:
        """Yield the keys of all pieces."""
        return ((space, key) for space, changed in self.by_space.items() for key in changed)

    def __len__(self) -> int:
        """Return how many pieces change."""
        return sum(map(len, self.by_space.values()))

    def set(self, key: StateKey, data: bytes | None) -> None:
        """Have one more piece change."""
        self.by_space.setdefault(key[0], {})[key[1]] = data


def by_space(state: Mapping[StateKey, bytes | None]) -> Mapping[str, Mapping[str, bytes | None]]:
    """Return what changes in each space."""
    if isinstance(state, Changes):
        return state.by_space
    found: dict[str, dict[str, bytes | None]] = {}
    for (space, key), data in state.items():
        found.setdefault(space, {})[key] = data
    return found


@attrs.frozen
class Projection:
    """
    What the projector writes in one transaction.

    Args:
        cursor: The cursor to move.

        expected: Where it must stand; elsewhere, nothing is written.

        position: Where it moves to.

        state: What changes in State; None removes.

        trail: Customer key → positions of events that were about this customer.

        derived: Derived events, each with the event that caused it; they join the Log.

        counts: Are added to the counters.

        erased: Who the customers are whose erasure was folded; their trails end there.
    """

    cursor: str
    expected: Position
    position: Position
    state: Mapping[StateKey, bytes | None] = attrs.field(factory=dict)
    trail: Sequence[tuple[str, Position]] = ()
    derived: Sequence[Entry] = ()
    counts: Mapping[str, int] = attrs.field(factory=dict)
    erased: Sequence[Resolved] = ()


class Lease(Protocol):
    """A leadership that ends with `release` or with the process."""

    def release(self) -> None:
        """Let another process lead."""


class Store(Protocol):
    """
    Keeps events, what they add up to, and how far each reader is.

    Methods raise `StoreError`; `StoreBusy` where trying again helps.
    """

    @property
    def erasing(self) -> Erasing:
        """What the store does to forget customers."""

    @property
    def claims(self) -> Claims:
        """Who is shown which prompt at the moment."""

    @property
    def name(self) -> str:
        """What messages call this store."""

    def open(self) -> None:
        """Make the store ready; a second call does nothing."""

    def mend(self, now: int) -> bool:
        """
        Repair what somebody of this process has found damaged; returns whether it did.

        Whoever then writes what follows from what it had read before gets `StoreReplaced`, once.
        """

    def close(self) -> None:
        """Let go of what this process holds of the store."""

    def reset_after_fork(self) -> None:
        """Forget, without closing, what the parent process has open."""

    @property
    def spool(self) -> Path | None:
        """The directory where processes keep what they have not committed; None for memory."""

    def sizes(self) -> Mapping[str, int]:
        """Return how many bytes each part of the store takes on the disk, by a name of its own."""

    # The Log

    def watermark(self, file: str) -> int | None:
        """Return how far a file of events was read; None if not at all."""

    def watermarks(self) -> list[str]:
        """Return the files of events that were read from."""

    def commit(self, commit: Commit, now: int) -> Committed:
        """Write *commit*; its entries are recorded at *now*, or later if the Log is later."""

    def read(self, after: Position, limit: int, *, derived: bool = True) -> list[Stored]:
        """Return up to *limit* events behind *after*, in Log order; *derived* ones too or not."""

    def outgoing(self, after: Position, limit: int) -> list[Outgoing]:
        """Return up to *limit* events behind *after*, in Log order, as a relay reads them."""

    def fetch(self, positions: Sequence[Position]) -> list[Stored]:
        """Return the events at *positions*, in Log order."""

    def named(self, ids: Collection[str]) -> list[Stored]:
        """Return the events with these ids, as far as there are any, in Log order."""

    def publish(self, fact: Entry, now: int) -> Stored:
        """Append a fact about what is declared; it is not counted among the `events`."""

    def published(self) -> list[Stored]:
        """Return every fact that a version is published, in Log order."""

    def peek_published(self) -> list[Stored]:
        """
        Return what `published` does, as far as that can be read now; it never raises.

        Opens nothing for writing, creates nothing, waits for nobody and leaves nothing open.
        """

    def signal(self) -> object:
        """Return a value that changes when the Log has changed; cheap enough to ask at any time."""

    # State

    def state(self, key: StateKey) -> bytes | None:
        """Return one piece of State."""

    def states(self, wanted: Mapping[str, Collection[str]]) -> dict[str, dict[str, bytes]]:
        """Return those pieces that are there of the *wanted* keys of each space."""

    def page(
        self, space: str, after: str, limit: int, *, backwards: bool = False
    ) -> list[tuple[str, bytes]]:
        """
        Return up to *limit* keys behind *after*, and their State, in order of keys.

        Args:
            backwards: Those before *after*, the last one first.
        """

    def scan(self, space: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """
        Yield the keys that begin with *prefix*, and their State, in order of keys.

        What changes meanwhile is read as it was before, or as it is then.
        """

    def find(self, space: str, part: str) -> list[str]:
        """Return the keys of *space* that contain *part*; it looks at all of them."""

    def trail(self, customer: str) -> list[Position]:
        """Return the positions of a customer's events, in Log order."""

    def history(self, customers: Sequence[str], since: Position = None) -> Iterator[Stored]:
        """Yield the events of these customers from the position *since* on, in Log order."""

    def project(self, projection: Projection, now: int) -> None:
        """
        Write *projection*.

        Raises:
            Superseded: The cursor was not where the projector read it; nothing was written.
        """

    def forget_state(self, keep: Mapping[StateKey, bytes]) -> None:
        """Replace all State by *keep*; those whose cursor belongs to it begin at the beginning."""

    # Readers

    def cursor(self, name: str) -> Position:
        """Return where the reader *name* is; None at the beginning."""

    def advance(
        self,
        name: str,
        position: Position,
        parked: Sequence[Parking],
        now: int,
        counts: Mapping[str, int] = NOTHING,
    ) -> None:
        """Move the reader *name*, set aside what it could not deliver, and count: all at once."""

    def tell_status(self, name: str, status: bytes) -> None:
        """Keep what the reader *name* says of itself, for other processes."""

    def told_status(self, name: str) -> bytes | None:
        """Return what the reader *name* has said of itself last."""

    def keep(self, name: str, value: bytes | None) -> None:
        """Keep *value* under *name*, or nothing if it is None; see `Kept`."""

    def kept(self, prefix: str) -> dict[str, bytes]:
        """Return what is kept under names that begin with *prefix*."""

    def check_writer(self) -> None:
        """
        See that this process may write, before it does for others what it could not record.

        Raises:
            Outdated: A newer journeykit has changed the store; all that writes raises this.
        """

    def lead(self, role: str) -> Lease | None:
        """Return the leadership of *role*, or None while another process has it."""

    # Parked events and counters

    def parked(
        self,
        owner: str | None = None,
        *,
        replay: bool | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[Parked]:
        """
        Return parked events, oldest first.

        Args:
            owner: Only this owner's.

            replay: Only those that wait for a replay, or only those that do not.

            after: Only those behind this number.
        """

    def with_parked(self, owner: str, customers: Collection[Id]) -> set[Id]:
        """Return those of *customers* of whom *owner* has parked an event."""

    def parked_counts(self) -> dict[str, int]:
        """Return how many events each owner has parked."""

    def replay(self, owner: str | None = None, numbers: Collection[int] | None = None) -> int:
        """
        Mark parked events for another try, and count them as `replayed`; returns how many.

        Args:
            owner: Only this owner's.

            numbers: Only those with these numbers.
        """

    def settle(self, numbers: Sequence[int], failed: Mapping[int, str]) -> None:
        """Remove replayed events; those in *failed* stay parked, with a new reason."""

    def drop(self, numbers: Sequence[int]) -> int:
        """Delete parked events, and count them as `dropped`; returns how many there were."""

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the counters."""

    def counters(self) -> dict[str, int]:
        """Return the counters; `events` is the number of events in the Log that are not derived."""
