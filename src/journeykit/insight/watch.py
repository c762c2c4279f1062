"""The pain points of a report: what rules have found in customers, and steps that began to fail."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.insight.alarms import ANOMALY, MOST_MARKS, Record, weight
from journeykit.insight.evaluation import NOTES, RECORDS
from journeykit.insight.judging import JUDGED
from journeykit.insight.pains import pain_points
from journeykit.insight.ranking import WEIGHTS, Loss, Pain, Ranking, rank, wilson
from journeykit.insight.reached import Reached
from journeykit.insight.trials import DAY, MOST_VALUES, OTHER
from journeykit.insight.visits import unpacked
from journeykit.journeys.figures import FIGURES, Figures
from journeykit.journeys.findings import findings
from journeykit.journeys.rulebook import Rulebook
from journeykit.model import jsonbytes
from journeykit.model.pain_point import Severity
from journeykit.model.times import to_datetime

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from journeykit.insight.steps import Steps
    from journeykit.journeys.findings import Finding, FindingKey
    from journeykit.journeys.plan import Plan
    from journeykit.store.protocol import Store

#: Counts up when a new journeykit keeps what it watches in another form.
FORM: Final = 1

#: A segment is named if it has so many times the share among those affected that it has among all,
#: at the least (the lower end of its interval).
_MORE_OFTEN: Final = 1.3


@attrs.frozen(kw_only=True)
class Watch:
    """
    What is watched, as the declarations have it.

    Args:
        segments: The properties to tell customers apart by; without them no step is watched.

        effort: Code → the days of work to better it.

        anomalies: Whether the anomaly rule is on.

        book: The rules that judge what is measured by the day.
    """

    steps: Steps
    segments: tuple[str, ...] = ()
    effort: Mapping[str, float] = attrs.field(factory=dict)
    anomalies: bool = True
    book: Rulebook = attrs.field(factory=lambda: Rulebook((), {}, ()))

    @property
    def digest(self) -> str:
        """What tells it apart from what leads to something else."""
        return f"{FORM} {self.steps.digest} {self.segments!r} {self.book.rules!r}"


_NOTHING: Final = Ranking(points=(), held_back=())


@attrs.frozen(kw_only=True)
class PainPoints:
    """
    What hurts.

    Args:
        ranking: In order, and what rests on too few customers.

        shifts: Steps that failed much more for everybody, and still for less than half.

        notes: What a reader should know of how it was found, a sentence each.
    """

    ranking: Ranking = _NOTHING
    shifts: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()


def ranked_pains(store: Store, plans: Sequence[Plan], watch: Watch) -> PainPoints:
    """Return what hurts, the worst first; it reads no event."""
    found = defaultdict[tuple[str, str | None], list[tuple[str, "Finding"]]](list)
    closed = {each.code for each in pain_points(store, {}) if not each.is_open}
    judged: list[Pain] = []
    for key, finding in findings(store):
        if key.code in closed:
            # A person has muted it, or resolved it, and it was not found since.
            continue
        if key.customer:
            found[key.code, finding.journey].append((key.customer, finding))
        elif key.code != ANOMALY:
            judged.append(_of_judged(store, key, finding))
    if not found and not judged and not watch.segments:
        return PainPoints()
    worth = _worth(store, plans)
    watched = Watched(store, watch)
    reached = Reached(store, plans)
    pains = judged + ([] if ANOMALY in closed else watched.pains(worth))
    pains += [_of_findings(key, each, reached, worth, watched) for key, each in found.items()]
    newest = max(watched.newest, reached.newest // DAY, *_days(found.values()))
    ranking = rank(pains, newest, watch.effort)
    return PainPoints(ranking=ranking, shifts=watched.shifts(), notes=watched.notes())


def _days(found: Iterable[Sequence[tuple[str, Finding]]]) -> Iterable[int]:
    yield 0
    yield from (finding.last_at // DAY for each in found for _, finding in each)


def _worth(store: Store, plans: Sequence[Plan]) -> dict[str, float | None]:
    """Return what a completion of each journey is worth on average."""
    worth: dict[str, float | None] = {}
    for plan in sorted(plans, key=lambda plan: plan.journey.version):
        data = store.state((FIGURES, plan.label))
        figures = Figures.decode(data) if data else None
        known = figures is not None and figures.completed and figures.value
        worth[plan.journey.key] = figures.value / figures.completed if figures and known else None
    return worth


# What rules have found


def _of_findings(
    key: tuple[str, str | None],
    found: Sequence[tuple[str, Finding]],
    reached: Reached,
    worth: Mapping[str, float | None],
    watched: Watched,
) -> Pain:
    code, journey = key
    stages = Counter(finding.stage for _, finding in found if finding.stage)
    # Where most of them were, so that one problem is one line wherever it catches people.
    stage = max(sorted(stages), key=stages.__getitem__, default=None)
    first = min(finding.first_at for _, finding in found)
    last = max(finding.last_at for _, finding in found)
    since: dict[str, int] = {}
    for customer, finding in found:
        since[customer] = min(since.get(customer, finding.first_at), finding.first_at)
    active, loss = reached.compare(journey, stage, since, (first, last))
    if loss is not None and journey is not None:
        loss = attrs.evolve(loss, order_value=worth.get(journey))
    counts = Counter(finding.severity for _, finding in found)
    newest = sorted((finding.last_at, finding.evidence) for _, finding in found)[-MOST_MARKS:]
    evidence = [event for _, events in newest for event in events[-1:]]
    recovered = sum(finding.recovered_at is not None for _, finding in found)
    return Pain(
        code=code,
        journey=journey,
        stage=stage,
        segment=_segment_of(found, watched.shares),
        first_seen=to_datetime(first),
        last_seen=to_datetime(last),
        customers=len(since),
        active=max(active, len(since)),
        events=sum(finding.count for _, finding in found),
        severity=max(counts, key=lambda severity: (counts[severity], WEIGHTS[severity])),
        weight=sum(WEIGHTS[finding.severity] for _, finding in found) / len(found),
        days=frozenset(day for _, finding in found for day in finding.days),
        evidence=tuple(dict.fromkeys(evidence)),
        loss=loss,
        detail={
            **({"recovered": recovered} if recovered else {}),
            **({"stages": dict(sorted(stages.items()))} if len(stages) > 1 else {}),
        },
    )


def _of_judged(store: Store, key: FindingKey, finding: Finding) -> Pain:
    """Return what a population rule has found: of some target, such as a page."""
    data = store.state((JUDGED, key.text))
    active, told = unpacked(data) if data else (0, {})
    return Pain(
        code=key.code,
        journey=None,
        stage=None,
        segment=None,
        first_seen=to_datetime(finding.first_at),
        last_seen=to_datetime(finding.last_at),
        customers=finding.count,
        active=max(active, finding.count),
        events=finding.count,
        severity=finding.severity,
        weight=WEIGHTS[finding.severity],
        days=frozenset(finding.days),
        evidence=finding.evidence,
        detail={"target": key.target, **told},
    )


def _segment_of(
    found: Sequence[tuple[str, Finding]], shares: Mapping[str, Mapping[str, float]]
) -> dict[str, str] | None:
    """Return the one segment that customers belong to far more often than others; else None."""
    customers = {customer: finding.segments for customer, finding in found}
    best: tuple[float, str, str] | None = None
    for name, usual in shares.items():
        counts = Counter(shown[name] for shown in customers.values() if name in shown)
        for value, count in sorted(counts.items()):
            if value not in usual or value == OTHER or 2 * count < len(customers):
                continue
            more = wilson(count, len(customers))[0] / usual[value]
            if more >= _MORE_OFTEN and (best is None or more > best[0]):
                best = more, name, value
    return None if best is None else {best[1]: best[2]}


# Steps that began to fail


def watching(store: Store, segments: Sequence[str]) -> dict[str, Any]:
    """Return what a person who runs the shop wants to know of it, as JSON values."""
    data = store.state(NOTES) if segments else None
    notes = jsonbytes.loads(data) if data else {}
    looked = notes.get("looked")
    return {
        "segments": list(segments),
        "most_values": MOST_VALUES,
        "capped": notes.get("capped", {}),
        "unseen": notes.get("unseen", []),
        "days_until": None if looked is None else to_datetime((looked + 1) * DAY).isoformat(),
    }


class Watched:
    """What the watcher has found when it looked last."""

    def __init__(self, store: Store, watch: Watch) -> None:
        data = store.state(NOTES) if watch.segments else None
        self._notes: dict[str, Any] = jsonbytes.loads(data) if data else {}
        self._is_watching = bool(watch.segments)
        records = [Record.decode(data) for _, data in store.scan(RECORDS)] if data else []
        self._records = [each for each in records if each.body and not each.folded]
        #: The last day at which was looked.
        self.newest: int = self._notes.get("looked", 0)
        #: Property → value → its share of the days on which customers came.
        self.shares: dict[str, dict[str, float]] = self._notes.get("shares", {})

    def pains(self, worth: Mapping[str, float | None]) -> list[Pain]:
        """Return the alarms."""
        return [_pain(each, worth) for each in self._records if each.alarm]

    def shifts(self) -> tuple[Mapping[str, Any], ...]:
        """Return what is no alarm, unless an alarm tells it."""
        return tuple(
            {
                "journey": each.body["journey"],
                "stage": each.body["stage"],
                "first_seen": to_datetime(each.body["first_at"]).isoformat(),
                "last_seen": to_datetime(each.body["last_at"]).isoformat(),
                "customers": each.body["customers"],
                **each.body["detail"],
            }
            for each in self._records
            if not each.alarm
        )

    def notes(self) -> tuple[str, ...]:
        """Return what a reader should know."""
        if self._is_watching and not self._notes:
            return ("steps are watched as soon as the app, or a worker, has seen a day to its end",)
        unseen, capped = self._notes.get("unseen", ()), self._notes.get("capped", {})
        notes = [f"no event has {name!r}, which [insight] segments names" for name in unseen]
        notes += [
            f"{name!r} has {count:,} values; all but the 50 most common are one segment, {OTHER}"
            for name, count in capped.items()
        ]
        if held_back := self._notes.get("held_back"):
            notes.append(
                f"{held_back:,} steps and segments of steps have too few customers for the "
                "anomaly rule"
            )
        return tuple(notes)


def _pain(record: Record, worth: Mapping[str, float | None]) -> Pain:
    body = record.body
    severity = Severity(body["severity"])
    return Pain(
        code=ANOMALY,
        journey=body["journey"],
        stage=body["stage"],
        segment=dict([record.segment]) if record.segment else None,
        first_seen=to_datetime(body["first_at"]),
        last_seen=to_datetime(body["last_at"]),
        customers=body["customers"],
        active=body["active"],
        events=body["events"],
        severity=severity,
        weight=weight(body),
        days=frozenset(body["days"]),
        evidence=tuple(body["evidence"]),
        loss=None if body["loss"] is None else _loss(body, worth),
        detail=body["detail"],
    )


def _loss(body: Mapping[str, Any], worth: Mapping[str, float | None]) -> Loss:
    affected, affected_converted, others, others_converted = body["loss"]
    return Loss(
        affected=affected,
        affected_converted=affected_converted,
        others=others,
        others_converted=others_converted,
        order_value=worth.get(body["journey"]),
    )
