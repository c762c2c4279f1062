"""One look of the anomaly rule at the days that are over, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journeykit.capture.ids import id_behind
from journeykit.insight.alarms import (
    ANOMALY,
    DETECTED,
    RECOVERED,
    USUAL_DAYS,
    WITHDRAWN,
    Record,
    Teller,
    besides,
    is_over,
    tell,
)
from journeykit.insight.anomaly import LOOKS, Known, Limits, examine
from journeykit.insight.sealing import Sealed
from journeykit.insight.series import EDGE
from journeykit.insight.steps import Failing, Step
from journeykit.insight.trials import DAY
from journeykit.journeys.findings import FINDINGS, Finding, FindingKey
from journeykit.model import jsonbytes
from journeykit.model.event import HISTORICAL
from journeykit.model.times import from_rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from journeykit.insight.alarms import Beside, Met, Told
    from journeykit.insight.anomaly import Anomaly, Scan
    from journeykit.insight.trials import Source, Trial
    from journeykit.insight.visits import Day
    from journeykit.insight.watch import Watch
    from journeykit.model.event import Entry
    from journeykit.store.protocol import Store

#: Id → what was found; and what a report says of the whole.
RECORDS: Final = "watch_found"
NOTES: Final = ("watch", "notes")

#: The derived events by which the Log knows what was told.
TOLD: Final = frozenset((DETECTED, RECOVERED, WITHDRAWN))
ANOMALY_CODE: Final = b'"' + ANOMALY.encode() + b'"'

#: What ended so many days ago is looked at again only where its days have changed.
_OPEN_DAYS: Final = 14

State = dict[tuple[str, str], bytes | None]


class Evaluation:
    """
    Looks at sealed days.

    Args:
        values: What the places of values stand for, of each property.

        days: The oldest and the newest day to look at.

        since: Until when was looked before.

        rows: Returns what customers did on a day.

        told: What the Log says was told, where State does not know of it.
    """

    def __init__(  # noqa: PLR0913 - what was looked at before, and what is there now
        self,
        store: Store,
        watch: Watch,
        values: Mapping[str, Sequence[str]],
        days: tuple[int, int],
        *,
        since: int | None,
        rows: Callable[[int], Day],
        told: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._store = store
        self._steps = watch.steps
        self._is_on = watch.anomalies
        self._newest = days[1]
        self._oldest = days[0]
        self._since = since
        self._rows = rows
        self._sealed = Sealed(store, watch.steps, values, days)
        self._records = [Record.decode(data) for _, data in store.scan(RECORDS)]
        self._records += _from_log(told, watch.steps, {each.id for each in self._records})
        self._unseen = [name for name, texts in values.items() if not texts]

    def look(self, changed: set[int], *, silent: bool) -> tuple[State, list[Entry]]:
        """
        Return what to keep, and what to tell.

        Args:
            changed: Days that were sealed, or sealed anew.

            silent: Whether what is found is no news.
        """
        sources = self._sealed.sources() if self._is_on else []
        properties = self._sealed.capped.properties
        known = self._known(sources, changed)
        found = examine(
            sources,
            properties,
            Limits(looks=LOOKS),
            newest=self._newest,
            since=self._since,
            known=known,
        )
        teller = Teller(sources, properties, self._beside)
        kept = self._matched(teller, found)
        lost = self._lost(found, kept)
        state, derived = self._kept(kept, lost, silent=silent)
        state[NOTES] = jsonbytes.dumps(self._notes(found))
        return state, derived

    def _known(self, sources: Iterable[Source], changed: set[int]) -> dict[Any, list[Known]]:
        known: dict[Any, list[Known]] = {}
        for source in sources:
            step = source.step
            of = [
                Known(
                    place, each.segment, each.first_day, each.last_day, self._is_open(each, changed)
                )
                for place, each in enumerate(self._records)
                if (
                    each.failing == step.event
                    if isinstance(step, Failing)
                    else each.step == step.key
                )
            ]
            if of:
                known[step] = of
        return known

    def _is_open(self, record: Record, changed: set[int]) -> bool:
        if not record.body or record.last_day >= self._newest - _OPEN_DAYS:
            return True
        return any(record.first_day - EDGE <= day <= record.last_day + EDGE for day in changed)

    def _matched(self, teller: Teller, found: Scan) -> list[Record]:
        """Return the records of what was found, up to date."""
        told: list[tuple[Record, Told, bool]] = []
        taken: set[str] = set()
        for anomaly in (*found.anomalies, *found.shifts):
            record = self._record(anomaly, taken)
            if record is not None:
                taken.add(record.id)
                told.append((record, teller.told(anomaly), anomaly in found.anomalies))
        for record, each, is_alarm in told:
            record.first_day, record.last_day = each.anomaly.first_day, each.anomaly.last_day
            record.alarm = is_alarm
            alarms = [(other, one) for other, one, alarm in told if alarm and one is not each]
            by = [pair for pair in alarms if pair[1].covers(each)]
            # A change of everybody's is told by the alarm that it comes with.
            tells = [pair for pair in alarms if each.covers(pair[1])] if is_alarm else by
            record.folded = tells[0][0].id if tells else None
            record.body = teller.body(each, by[0][1] if by and is_alarm else None)
        return [record for record, _, _ in told]

    def _record(self, anomaly: Anomaly, taken: set[str]) -> Record | None:
        if anomaly.known is not None:
            record = self._records[anomaly.known]
            return None if record.id in taken else record
        for record in self._records:
            if record.is_of(anomaly) and record.overlaps(anomaly, EDGE):
                return None if record.id in taken else record
        step, first = anomaly.step, anomaly.failures[0]
        failing = step.event if isinstance(step, Failing) else None
        key = None if failing else step.key
        event = first.mark.event
        what = f"{ANOMALY}\x1f{event}\x1f{key}\x1f{failing}\x1f{anomaly.segment}".encode()
        return Record(
            id=id_behind(event, first.at, what),
            cause=event,
            step=key,
            failing=failing,
            segment=anomaly.segment,
            first_day=anomaly.first_day,
            last_day=anomaly.last_day,
        )

    def _lost(self, found: Scan, kept: Sequence[Record]) -> list[Record]:
        """Return records that are none any more: looked at again, switched off, or too old."""
        still = {record.id for record in kept}
        gone = {place for place in found.looked_again if self._records[place].id not in still}
        return [
            record
            for place, record in enumerate(self._records)
            if record.id not in still
            and (place in gone or not self._is_on or record.last_day < self._oldest)
        ]

    def _kept(
        self, kept: Sequence[Record], lost: Sequence[Record], *, silent: bool
    ) -> tuple[State, list[Entry]]:
        state: State = {}
        derived: list[Entry] = []
        gone = {record.id for record in lost}
        for record in lost:
            state[RECORDS, record.id] = None
            state[FINDINGS, _finding_key(record)] = None
            if record.told and record.body and record.last_day >= self._oldest and self._is_on:
                derived.append(tell(record, self._steps, WITHDRAWN))
        known = {record.id for record in kept}
        others = [each for each in self._records if each.id not in gone | known]
        for record in (*kept, *others):
            derived += self._tell(record)
            state[RECORDS, record.id] = record.encode()
            is_shown = record.alarm and not record.folded and record.body
            finding = _finding(record).encode() if is_shown else None
            state[FINDINGS, _finding_key(record)] = finding
        return state, [] if silent else derived

    def _tell(self, record: Record) -> list[Entry]:
        """Note that a record is told, as far as it has become news; return by what."""
        over = is_over(record, self._newest)
        derived = []
        if record.alarm and not record.folded and record.body and not record.told:
            record.told = True
            derived.append(tell(record, self._steps, DETECTED))
        if not record.told or not record.body:
            return derived
        if over and not record.over:
            record.over = True
            derived.append(tell(record, self._steps, RECOVERED))
        elif record.over and not over:
            record.over, record.times = False, record.times + 1
            derived.append(tell(record, self._steps, DETECTED))
        return derived

    def _beside(self, anomaly: Anomaly, others: Sequence[Trial]) -> list[Beside]:
        first = max(anomaly.first_day - USUAL_DAYS, self._oldest)
        near = [trial for trial in others if first <= trial.day <= anomaly.last_day]
        return besides(anomaly.failures, near, self._met)

    def _met(self, day: int) -> Met:
        met: Met = {}
        for (who, act), row in self._rows(day).items():
            if not self._steps.knows(act.name):
                met.setdefault(who, {})[act.name] = row.first, row.mark
        return met

    def _notes(self, found: Scan) -> dict[str, Any]:
        return {
            "looked": self._newest,
            "held_back": found.held_back,
            "unseen": self._unseen,
            "capped": dict(self._sealed.capped.counts),
            "shares": self._sealed.shares(),
        }


def _finding_key(record: Record) -> str:
    return FindingKey(ANOMALY, "", record.id).text


def _finding(record: Record) -> Finding:
    """Return what lists of pain points have of *record*."""
    body = record.body
    return Finding(
        code=ANOMALY,
        target=record.id,
        count=body["customers"],
        first_at=body["first_at"],
        last_at=body["last_at"],
        severity=body["severity"],
        days=body["days"],
        evidence=body["evidence"][-5:],
        journey=body["journey"],
        stage=body["stage"],
        segments=dict([record.segment]) if record.segment else {},
        recovered_at=body["last_at"] if record.over else None,
        historical=bool(body["flags"] & HISTORICAL),
    )


# What the Log says was told


def told_of(wire: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what a derived event tells of an alarm, for a State that does not know of it."""
    properties = wire["properties"]
    return {
        "name": name,
        "id": properties["target"],
        "cause": wire["caused_by"],
        "journey": wire["journey"],
        "stage": wire["stage"],
        "step": properties.get("step"),
        "what": properties.get("what"),
        "segments": properties["segments"],
        "first_at": from_rfc3339(properties["first_seen"]),
        "last_at": from_rfc3339(properties["last_seen"]),
    }


def _from_log(told: Sequence[Mapping[str, Any]], steps: Any, known: set[str]) -> list[Record]:
    """Return the records of what was told, in Log order, unless they are known."""
    records: dict[str, Record] = {}
    for each in told:
        name, number = each["name"], each["id"]
        if number in known:
            continue
        if name == WITHDRAWN:
            records.pop(number, None)
        elif name == RECOVERED and number in records:
            records[number].over = True
            records[number].last_day = each["last_at"] // DAY
        elif name == DETECTED and number in records:
            records[number].over, records[number].times = False, records[number].times + 1
        elif name == DETECTED:
            record = _of_log(each, steps)
            if record is not None:
                records[number] = record
    return list(records.values())


def _of_log(told: Mapping[str, Any], steps: Any) -> Record | None:
    step: Step | None = None
    failing = told["step"] if told["what"] == "failed" else None
    if failing is None:
        place = told["journey"], told["stage"], told["step"]
        same = (each for each in steps.evaluated if (each.journey, each.stage, each.event) == place)
        step = next(same, None)
        if step is None:
            return None
    segments = list(told["segments"].items())
    return Record(
        id=told["id"],
        cause=told["cause"],
        step=step.key if step is not None else None,
        failing=failing,
        segment=segments[0] if segments else None,
        first_day=told["first_at"] // DAY,
        last_day=told["last_at"] // DAY,
        told=True,
    )
