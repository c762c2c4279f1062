"""The fold that asks plugins where an event hurts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journeykit.capture.encode import Unencodable
from journeykit.journeys.derived import Cause, derive
from journeykit.journeys.identity import TOTALS
from journeykit.model import jsonbytes
from journeykit.model.customer import Customer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journeykit.model.event import Entry
    from journeykit.plugins import Plugins
    from journeykit.store.projector import Step, View


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
            count = view.get(TOTALS, "pain_points", jsonbytes.loads) or 0
            view.put(TOTALS, "pain_points", count + 1, jsonbytes.dumps)
            yield derived
