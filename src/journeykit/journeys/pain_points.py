"""The fold that asks plugins where an event hurts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journeykit.capture.encode import Unencodable
from journeykit.journeys.derived import Cause, derive
from journeykit.journeys.identity import TOTALS
from journeykit.model import jsonbytes
from journeykit.model.customer import Customer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journeykit.model.event import Entry
    from journeykit.plugins import Plugins
    from journeykit.store.projector import Step
    from journeykit.store.view import View


#: Customer → how many pain points were found in their events.
PAINS: Final = "pains"


class PainPointFold:
    """Derives `pain_point.detected` for what *plugins* find in an event."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    def __call__(self, view: View, step: Step) -> Iterator[Entry]:
        """Fold one event."""
        stored = step.stored
        entry = stored.entry
        customer = Customer(entry.user_id, entry.anonymous_id, entry.session_id)
        found = self._plugins.detect_pain_points(stored.event(), customer)
        for number, (plugin, point) in enumerate(found):
            properties = {
                **point.properties,
                "code": point.code,
                "severity": point.severity,
                "evidence": list(point.evidence) or [entry.id],
                "plugin": plugin,
            }
            subject = f"{plugin}:{point.code}:{number}"
            try:
                derived = derive(
                    Cause.of(stored), "pain_point.detected", subject, entry.occurred_at, properties
                )
            except Unencodable:
                continue
            _count(view, TOTALS, "pain_points", 1)
            _count(view, PAINS, entry.customer_key, 1)
            yield derived

    def forget(self, view: View, customers: Iterable[str]) -> int:
        """Remove what is kept of *customers*; returns how many pieces that were."""
        pieces = 0
        for customer in customers:
            found = view.get(PAINS, customer, jsonbytes.loads)
            if found:
                _count(view, TOTALS, "pain_points", -found)
                _count(view, PAINS, customer, -found)
                pieces += 1
        return pieces


def _count(view: View, space: str, key: str, change: int) -> None:
    count = (view.get(space, key, jsonbytes.loads) or 0) + change
    view.put(space, key, count or None, jsonbytes.dumps)
