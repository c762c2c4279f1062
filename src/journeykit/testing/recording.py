"""A sink that keeps what it is handed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journeykit.delivery.sink import ErasureResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from journeykit.delivery.sink import Batch, Rejection
    from journeykit.model.customer import Customer
    from journeykit.model.event import Event

#: What one delivery comes to: all taken, some refused, or an error.
Outcome = BaseException | list["Rejection"] | None


class RecordingSink:
    """
    Keeps the events that it is handed, and does on the way what it was told to.

    Args:
        name: The sink's name.

        outcomes: What the first deliveries come to, one each: None takes the batch, a list of
            `Rejection` takes the rest of it, an exception is raised. Later ones are taken.
    """

    third_party = False

    def __init__(self, name: str = "recording", outcomes: Iterable[Outcome] = ()) -> None:
        self.name = name
        self.outcomes = list(outcomes)
        self.batches: list[Sequence[Event]] = []
        self.events: list[Event] = []
        self.erased: list[Customer] = []
        self.closed = 0

    @property
    def names(self) -> list[str]:
        """The names of the events that were taken, in order."""
        return [event.name for event in self.events]

    def named(self, name: str) -> list[Event]:
        """Return the events of this name that were taken, in order."""
        return [event for event in self.events if event.name == name]

    def deliver(self, batch: Batch) -> list[Rejection] | None:
        """Take *batch*, or do what the next outcome says."""
        self.batches.append(list(batch))
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, BaseException):
            raise outcome
        refused = {rejection.id for rejection in outcome or ()}
        self.events += [event for event in batch if event.id not in refused]
        return outcome

    def erase(self, customer: Customer) -> ErasureResult:
        """Forget the events of *customer*."""
        self.erased.append(customer)
        kept = [event for event in self.events if not _is_of(event.customer, customer)]
        count, self.events = len(self.events) - len(kept), kept
        return ErasureResult("erased", f"{count} events")

    def close(self) -> None:
        """Count how often it was closed."""
        self.closed += 1


def _is_of(whose: Customer, customer: Customer) -> bool:
    if whose.user_id is not None:
        return whose.user_id == customer.user_id
    return whose.anonymous_id is not None and whose.anonymous_id == customer.anonymous_id
