"""All cases in numbers."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Any

import attrs

from journeykit.feedback.case_state import FIRST_RESPONSE, RESOLUTION, stand
from journeykit.feedback.hours import hours_of
from journeykit.model.casework import CaseStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from journeykit.feedback.case_state import Clock, Record


@attrs.frozen(kw_only=True)
class CaseFigures:
    """
    All cases in numbers, as far as events have been folded.

    Args:
        open: Where there is something to do.

        overdue: Of these, where a clock has run out.

        unassigned: Of these, what belongs to nobody.

        waiting: Of these, where it is the customer's turn.

        resolved: Those that may still be reopened.

        closed: Those that are over.

        reopened: How often one was reopened.

        breached: Clock → how many cases it has run out for before it was stopped, or is overdue.

        median_first_response, median_resolution: In seconds of business hours without the time in
            which it was the customer's turn; None without any.

        causes: What lay behind cases that are resolved or closed → how many, the most first.

        rules: Rule → how many cases it has opened.
    """

    open: int = 0
    overdue: int = 0
    unassigned: int = 0
    waiting: int = 0
    resolved: int = 0
    closed: int = 0
    reopened: int = 0
    breached: Mapping[str, int] = attrs.field(factory=dict)
    median_first_response: float | None = None
    median_resolution: float | None = None
    causes: Mapping[str, int] = attrs.field(factory=dict)
    rules: Mapping[str, int] = attrs.field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return them as JSON values."""
        return attrs.asdict(self)


def figures_of(records: Iterable[Record], now: int) -> CaseFigures:
    """Return the figures of cases at the instant *now*."""
    counts: Counter[str] = Counter()
    breached: Counter[str] = Counter({FIRST_RESPONSE: 0, RESOLUTION: 0})
    causes: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    taken: dict[str, list[float]] = {FIRST_RESPONSE: [], RESOLUTION: []}
    for record in records:
        standing = stand(record, now)
        clocks = list(standing.clocks())
        counts["reopened"] += len(standing.rounds) - 1
        rules[record.opened.rule] += 1
        breached.update({clock.name for clock in clocks if clock.is_breached(now)})
        if standing.cause is not None:
            causes[standing.cause] += 1
        for clock in clocks:
            if clock.stopped is not None:
                taken[clock.name].append(_seconds(record, clock, standing.pauses))
        counts[standing.status if not standing.is_open else "open"] += 1
        if standing.is_open:
            running = (clock for clock in clocks if clock.stopped is None)
            counts["overdue"] += any(clock.is_breached(now) for clock in running)
            counts["waiting"] += standing.status is CaseStatus.WAITING
            counts["unassigned"] += standing.owner is None
    names = ("open", "overdue", "unassigned", "waiting", "resolved", "closed", "reopened")
    return CaseFigures(
        **{name: counts[name] for name in names},
        breached=dict(breached),
        median_first_response=_median(taken[FIRST_RESPONSE]),
        median_resolution=_median(taken[RESOLUTION]),
        causes=dict(causes.most_common()),
        rules=dict(rules.most_common()),
    )


def _seconds(record: Record, clock: Clock, pauses: Iterable[Any]) -> float:
    """Return how long a clock has run until it was stopped."""
    terms, stopped = record.opened.terms, clock.stopped or 0
    hours = hours_of(terms.hours, terms.zone)
    found = hours.between(clock.started, stopped)
    for begin, end in pauses if clock.name == RESOLUTION else ():
        until = stopped if end is None else min(end, stopped)
        found -= hours.between(max(begin, clock.started), until)
    return found / 1e6


def _median(found: list[float]) -> float | None:
    return median(found) if found else None
