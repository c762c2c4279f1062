"""The fold that asks plugins where an event hurts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from journeykit.capture.encode import Unencodable
from journeykit.journeys.derived import Cause, derive
from journeykit.journeys.findings import FINDINGS, MOST_EVIDENCE, Finding, FindingKey, day_of
from journeykit.journeys.identity import TOTALS
from journeykit.model import jsonbytes
from journeykit.model.customer import Customer
from journeykit.model.event import HISTORICAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journeykit.model.event import Entry, Stored
    from journeykit.model.pain_point import PainPoint
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
            _keep(view, stored, point)
            yield derived

    def forget(self, view: View, customers: Iterable[str]) -> int:
        """Remove what is kept of *customers*; returns how many pieces that were."""
        pieces = 0
        for customer in customers:
            found = view.get(PAINS, customer, jsonbytes.loads)
            if found:
                _count(view, TOTALS, "pain_points", -found)
                _count(view, PAINS, customer, -found)
                pieces += 1 + _forget_findings(view, customer)
        return pieces


def _keep(view: View, stored: Stored, point: PainPoint) -> None:
    """Add what was found to the record of its code, in any order to the same effect."""
    entry = stored.entry
    key = FindingKey(point.code, entry.customer_key, "").text
    at = min(entry.occurred_at, stored.recorded_at)
    new = Finding(
        code=point.code,
        first_at=at,
        last_at=at,
        severity=point.severity,
        days=(day_of(at),),
        evidence=tuple(sorted(point.evidence or (entry.id,))[-MOST_EVIDENCE:]),
        historical=bool(entry.flags & HISTORICAL),
    )
    known = view.get(FINDINGS, key, Finding.decode)
    if known is not None:
        # By their ids, which are by time: the newest are the same in any order.
        newest = tuple(sorted({*known.evidence, *new.evidence})[-MOST_EVIDENCE:])
        new = attrs.evolve(known.again(new), evidence=newest)
    view.put(FINDINGS, key, new, Finding.encode)


def _forget_findings(view: View, customer: str) -> int:
    found = view.find(FINDINGS, f"\x1f{customer}\x1f")
    for key in found:
        view.put(FINDINGS, key, None, Finding.encode)
    return len(found)


def _count(view: View, space: str, key: str, change: int) -> None:
    count = (view.get(space, key, jsonbytes.loads) or 0) + change
    view.put(space, key, count or None, jsonbytes.dumps)
