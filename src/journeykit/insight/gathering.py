"""What the watcher makes of events: what customers did, by the day, as it is kept."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.insight.evaluation import ANOMALY_CODE, TOLD, told_of
from journeykit.insight.judging import Measured, measure
from journeykit.insight.trials import DAY
from journeykit.insight.visits import NO_VALUE, OTHER_VALUE, Act, Day, Row, put
from journeykit.journeys.segments import hashed, values_of
from journeykit.model import jsonbytes
from journeykit.model.event import DELIVER, HISTORICAL, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journeykit.insight.watch import Watch
    from journeykit.model.event import Stored

#: The most values of one property that are told apart, in the order in which the Log has them.
MOST_KEPT: Final = 200


@attrs.define
class Meta:
    """
    What the watcher knows of itself.

    Args:
        declared: What it was made by.

        boundary: The day, by the clock, on which it has read the Log last.

        newest: When the newest event occurred; and `live`, whether any was no import.

        dirty: Days to seal, or to seal anew.

        values: Property → its values, in the order of their places.

        unseen: Properties that no event has.

        looked: The last day at which was looked for anomalies.

        silent: Up to which day what is found is no news.

        serial: Counts the parts.

        told: What the Log says was told, where State has forgotten it.
    """

    declared: str
    boundary: int = 0
    newest: int = 0
    live: bool = False
    dirty: list[int] = attrs.field(factory=list)
    values: dict[str, list[str]] = attrs.field(factory=dict)
    looked: int | None = None
    silent: int | None = None
    serial: int = 0
    told: list[dict[str, Any]] = attrs.field(factory=list)


class Reader:
    """Gathers what customers did by the day."""

    def __init__(self, watch: Watch, meta: Meta, salt: str) -> None:
        self._watch = watch
        self._meta = meta
        self._salt = salt
        self._keys = [b'"%b"' % name.encode() for name in watch.segments]
        self._places = [
            {text: place for place, text in enumerate(texts)} for texts in meta.values.values()
        ]
        self._days: defaultdict[int, Day] = defaultdict(dict)
        self._done: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self.measured: Measured = {}
        #: How many rows there are at most.
        self.rows = 0

    def take(self, stored: Stored) -> None:
        """Take one event."""
        entry = stored.entry
        if entry.kind is Kind.TOUCHPOINT:
            self._take(stored)
        elif entry.kind is Kind.DERIVED and entry.name in TOLD and ANOMALY_CODE in entry.body:
            self._meta.told.append(told_of(jsonbytes.loads(entry.body), entry.name))

    def _take(self, stored: Stored) -> None:
        entry, steps, meta = stored.entry, self._watch.steps, self._meta
        name, body = entry.name, entry.body
        at = min(entry.occurred_at, stored.recorded_at)
        needed = steps.knows(name) or any(key in body for key in self._keys)
        wire = jsonbytes.loads(body) if needed else {}
        properties = wire.get("properties") or {}
        values = values_of(self._watch.segments, wire, properties)
        flags = entry.flags & (HISTORICAL | DELIVER)
        who = hashed(self._salt, entry.customer_key)
        if name in self._watch.book.routes:
            measure(self._watch.book, self.measured, stored, at, who)
        row = Row(at, at, self._placed(values), entry.id, flags)
        put(self._days[at // DAY], who, Act(name, steps.choice(name, properties)), row)
        mark = steps.marks.get(name)
        if mark is not None:
            done = self._done[who]
            done[mark] = min(done.get(mark, at), at)
        self.rows += 1
        meta.newest = max(meta.newest, at)
        meta.live = meta.live or not flags

    def _placed(self, values: Sequence[str | None]) -> tuple[int, ...]:
        return tuple(
            NO_VALUE if value is None else self._place(place, value)
            for place, value in enumerate(values)
        )

    def _place(self, number: int, value: str) -> int:
        places = self._places[number]
        if value not in places:
            if len(places) >= MOST_KEPT:
                return OTHER_VALUE
            places[value] = len(places)
            self._meta.values[self._watch.segments[number]].append(value)
        return places[value]

    def taken(self) -> tuple[dict[int, Day], dict[str, dict[str, int]]]:
        """Return what was gathered, and begin anew."""
        self.measured = {}
        days, done = dict(self._days), dict(self._done)
        self._days.clear()
        self._done.clear()
        self.rows = 0
        return days, done
