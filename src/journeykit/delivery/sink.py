"""What a sink is, and what it is handed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, overload

import attrs

if TYPE_CHECKING:
    from journeykit.model.event import Event, Outgoing, Stored


@attrs.frozen
class Rejection:
    """
    One event of a batch that the other side did not take.

    Args:
        id: The event's id.

        reason: What the other side said, without personal data.

        retryable: Whether the same event may be taken later.
    """

    id: str
    reason: str
    retryable: bool = attrs.field(default=False, kw_only=True)


class Batch(Sequence["Event"]):
    """
    Events in Log order, decoded when they are looked at.

    A sink that passes on what it is handed joins `lines` and never decodes.
    """

    def __init__(self, events: Sequence[Outgoing | Stored]) -> None:
        self._taken = tuple(events)

    @cached_property
    def _events(self) -> tuple[Event, ...]:
        return tuple(item.event() for item in self._taken)

    @cached_property
    def lines(self) -> tuple[bytes, ...]:
        """The wire form of each event: one JSON object in UTF-8."""
        return tuple(item.wire() for item in self._taken)

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of each event."""
        return tuple(item.id for item in self._taken)

    def __len__(self) -> int:
        return len(self._taken)

    @overload
    def __getitem__(self, index: int) -> Event: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...

    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        return self._events[index]

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)


class ErasureStatus(StrEnum):
    """What became of a request to erase a customer."""

    #: The other side has nothing of them any more.
    ERASED = "erased"
    #: It cannot be asked to: somebody has to see to it there.
    UNSUPPORTED = "unsupported"
    #: It has taken the request, and does it later.
    QUEUED = "queued"
    #: It refuses, for good.
    FAILED = "failed"


@attrs.frozen
class ErasureResult:
    """
    What a sink says of a request to erase a customer.

    Args:
        status: What became of it; also as text.

        detail: A sentence for people, without personal data.
    """

    status: ErasureStatus = attrs.field(converter=ErasureStatus)
    detail: str = ""


class Sink(Protocol):
    """
    Delivers events to one outside system.

    The relay calls it from one thread, one batch at a time, and moves on when it returns.
    After a crash the same events may come again: `event.id` tells.

    One that can make the other side forget somebody has `erase(customer) -> ErasureResult`.
    The relay asks it between two batches, with at most one user id and one anonymous id at a time,
    when all that came before is delivered; what it raises means the same as in `deliver`.
    It may be asked again for a customer whom it has erased.

    It is taken for a third party's unless it has an attribute `third_party = False`.
    One that is built in Python may also have a `purpose`, which the configuration gives to others.

    One whose calls are dear may have a `rest`: so many seconds the relay waits after a batch that
    was not full, so that the next one has more in it.
    Nobody waits for that who calls `flush()`, nor while there are full batches.

    One that has to remember something beyond a restart has `keep_in(kept)`: it is given its `Kept`,
    a few small pieces in the store, before its first batch.

    A sink that keeps connections or files open may have `reset_after_fork()`: a forked child calls
    it to forget, without closing, what its parent goes on using.
    """

    name: str

    def deliver(self, batch: Batch) -> Iterable[Rejection] | None:
        """
        Deliver *batch*; returns None if all was taken, else what was not.

        Raises:
            DeliveryError: Nothing was taken, or nobody knows.
                Any other exception means the same, and that trying again may help.
        """

    def close(self) -> None:
        """Let go of connections and files."""
