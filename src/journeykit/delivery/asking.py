"""
Asking a sink to erase a customer.

The relay stops before the fact: all that came before is settled, and nothing that came behind is on
its way, when the sink is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journeykit.delivery.reason import RubbishAnswer, plain
from journeykit.delivery.sink import ErasureResult, ErasureStatus
from journeykit.model.event import ERASURE
from journeykit.store.erasure import QUEUED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journeykit.delivery.sink import Sink
    from journeykit.delivery.window import Window
    from journeykit.model.event import Outgoing
    from journeykit.store.erasure import Erasure
    from journeykit.store.protocol import Store

#: How long to wait until the Log has nothing of a customer any more, in seconds.
ASK_AGAIN: Final = 0.05

#: Of several answers, the one that counts: what is left to do comes first.
_WORST: Final = (
    ErasureStatus.FAILED,
    ErasureStatus.UNSUPPORTED,
    ErasureStatus.QUEUED,
    ErasureStatus.ERASED,
)


class Asking:
    """Whom *sink* is to be asked to erase; `fact` is what the relay has come to."""

    def __init__(self, store: Store, sink: Sink) -> None:
        self._store = store
        self._sink = sink
        self.fact: Outgoing | None = None

    def cut(self, events: Sequence[Outgoing]) -> Sequence[Outgoing]:
        """Return *events* up to the first erasure, and note that one if it is the next."""
        facts = (index for index, event in enumerate(events) if event.flags & ERASURE)
        first = next(facts, None)
        if first is None:
            return events
        if first == 0:
            self.fact = events[0]
        return events[:first]

    def erasure(self, fact: Outgoing) -> Erasure | None:
        """Return the erasure of *fact*; None if there is nothing to ask any more."""
        erasure = self._store.erasing.find(fact.id)
        if erasure is None or erasure.cleared:
            return None
        status, _ = erasure.sinks.get(self._sink.name, (QUEUED, ""))
        return erasure if status == QUEUED else None

    def may(self, erasure: Erasure) -> bool:
        """Return whether it is known who the customer is, and nothing of theirs can follow."""
        return erasure.swept or not hasattr(self._sink, "erase")

    def drop(self, erasure: Erasure, window: Window) -> None:
        """Settle what waits of the customer; of others it goes out as the Log has it now."""
        items = window.naming(erasure.ids)
        found = self._store.fetch([item.event.position for item in items])
        stored = {each.position: each for each in found}
        for item in items:
            user, visitor = item.event.user_id, item.event.anonymous_id
            theirs = (("user", user) if user else ("anonymous", visitor)) in erasure.ids
            known = stored.get(item.event.position)
            if known is None:
                item.done = True
            elif not erasure.swept:
                item.done = theirs and erasure.takes(known.entry, known.position)
            else:
                item.event = known.outgoing()

    def ask(self, erasure: Erasure) -> tuple[str, str]:
        """Ask the sink; returns its answer, or the worst one where it is asked several times."""
        customers = erasure.customers()
        if not customers:
            # What a late event told was another's.
            return ErasureStatus.ERASED.value, ""
        erase = getattr(self._sink, "erase", None)
        if erase is None:
            return ErasureStatus.UNSUPPORTED.value, "it has no way to erase; see to it there"
        results = [_checked(erase(customer)) for customer in customers]
        worst = min(results, key=lambda result: _WORST.index(result.status))
        # To be asked again is what "queued" means here; the other side has it.
        status = worst.status
        return (f"{status.value} there" if status is ErasureStatus.QUEUED else status.value), plain(
            worst.detail
        )


def _checked(result: object) -> ErasureResult:
    if not isinstance(result, ErasureResult):
        raise RubbishAnswer(f"erase returned {type(result).__name__}, expected ErasureResult")
    return result
