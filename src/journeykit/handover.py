"""
Events that something else keeps before the tail does, such as the shop's own transaction.

They are made where they happen, by the same encoder as all others, and handed over when it is sure
that they have happened.
Their id is part of them: to hand one over twice puts it into the Log once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from journeykit.capture.records import unpack
from journeykit.capture.segment import FORM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from journeykit.capture import Tail, Tracker
    from journeykit.model.customer import Customer
    from journeykit.model.receipt import Receipt


class Prepared(NamedTuple):
    """
    An event that was made and not yet recorded.

    `record` is for `Handover.take`, in whichever process and version; empty if the event was
    refused. `form` tells a version that is older whether it can read the record.
    """

    receipt: Receipt
    record: bytes
    form: int = FORM


class Handed(NamedTuple):
    """How far this process had come when it took an event."""

    number: int
    dropped: int


class Handover:
    """
    Takes events that were made before.

    Args:
        refused: Returns the receipt for events that no kit takes any more, or None.

        wake: Called when the tail has something.

        wait: Waits until the Log has so many events of this process, for some seconds at most.
    """

    def __init__(
        self,
        tracker: Tracker,
        tail: Tail,
        *,
        refused: Callable[[str], Receipt | None],
        wake: Callable[[], None],
        wait: Callable[[int], bool],
    ) -> None:
        self._tracker = tracker
        self._tail = tail
        self._refused = refused
        self._wake = wake
        self._wait = wait

    def prepare(
        self,
        name: str,
        properties: Mapping[str, Any] | None = None,
        *,
        customer: Customer | str | None = None,
        at: datetime | None = None,
        id: str | None = None,
    ) -> Prepared:
        """
        Make an event, which counts for nothing until it is taken.

        Raises:
            EventRejected: Only if the kit is strict.
        """
        refused = self._refused(name)
        if refused is not None:
            return Prepared(refused, b"")
        return Prepared(*self._tracker.prepare(name, properties, customer, at, id))

    def take(self, record: bytes, *, durable: bool = False) -> Handed | None:
        """
        Accept a record that `prepare` made; returns None where there is no room for it now.

        Args:
            durable: Wait until the Log has it, for five seconds at most.

        Raises:
            ValueError: It is no record.
        """
        try:
            unpack(record)
        except Exception as error:
            msg = "these bytes are no record of an event"
            raise ValueError(msg) from error
        if self._refused("") is not None or self._tracker.append(record) is not None:
            return None
        handed = Handed(self._tail.appended, self._tail.dropped.count)
        self._wake()
        if durable:
            self._wait(handed.number)
        return handed

    def is_kept(self, handed: Handed) -> bool | None:
        """Return whether the Log has it; None where it made room for others, and is gone."""
        if self._tail.dropped.count != handed.dropped:
            return None
        return self._tail.released >= handed.number
