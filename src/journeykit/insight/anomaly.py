"""
Finds out by itself that a step began to fail, for whom, and from when to when.

A *trial* is one customer at one step on one day; it failed or it did not.
For each step, each segment and each span of days, the rate inside is compared with the segment's
rate at other times, and with what everybody else's did meanwhile.
Everything looked at is paid for in the threshold, so that of twenty shops in which nothing is
wrong, one at most is told of anything.

`docs/pain-point-ranking.md` says how, and what was measured.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from journeykit.insight.likelihood import Cell, Table, excess, log_ratio, log_ratio_of, worth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

#: Property and value; None stands for everybody.
Segment = tuple[str, str] | None

#: Spans of days that are looked at grow by about √2; between them the dates are found afterwards.
_LENGTHS: Final = (2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181)

#: The most alarms of one step; who has more has another problem than a list can tell.
_MOST_A_STEP: Final = 4

#: How many days around what was found are set aside with it.
_EDGE: Final = 2

#: How many spans of a segment are counted by customer, best first.
_MOST_TRIED: Final = 8


class Trial(NamedTuple):
    """
    One customer at one step on one day.

    `segments` has a value, or None, for each property; `mark` is what proves the trial; `converted`
    says whether the goal was reached then.
    """

    customer: int
    day: int
    failed: bool
    segments: tuple[str | None, ...]
    at: int
    mark: Any = None
    converted: bool = False


@attrs.frozen(kw_only=True)
class Limits:
    """
    What it takes to raise an alarm.

    Args:
        alpha: The chance of any false alarm, over all steps, segments and spans.

        customers: The fewest customers inside the span, and the fewest outside (10: with fewer, one
            person more or less moves the rate by more than ten points).

        failed: The fewest customers who failed (5: fewer are cases, not a rate).

        odds: By how much the odds of failing must have risen for a segment (1.5: less is nothing
            that a team would act on, however sure it is).

        odds_of_all: The same for everybody together (4: nobody is left to compare with, and
            campaigns, seasons and releases move everybody's rate without anything being broken).

        rate_of_all: From which rate on it is an alarm where everybody fails (half; below that it is
            told as a shift, for the same reason).

        days: The newest days that are looked at (400: a year, and the season a year ago).
    """

    alpha: float = 0.05
    customers: int = 10
    failed: int = 5
    odds: float = 1.5
    odds_of_all: float = 4.0
    rate_of_all: float = 0.5
    days: int = 400


@attrs.frozen(kw_only=True)
class Anomaly:
    """
    A step that failed more than usual.

    Args:
        step: Which step.

        segment: For whom; None for everybody.

        first_day, last_day: The span, in days since the epoch.

        first_at, last_at: The first and the last failed trial in it, in microseconds.

        trials: Trials in the span; `failed` of them failed, of `customers` customers.

        expected: How many would have failed at the usual rate.

        surprise: The natural logarithm of how much likelier it is that something happened.

        ongoing: Whether it goes on up to the newest day.

        failures: The failed trials, oldest first.
    """

    step: Any
    segment: Segment
    first_day: int
    last_day: int
    first_at: int
    last_at: int
    trials: int
    failed: int
    customers: int
    expected: float
    surprise: float
    ongoing: bool
    failures: tuple[Trial, ...] = attrs.field(repr=False)

    @property
    def rate(self) -> float:
        """The share of trials in the span that failed."""
        return self.failed / self.trials

    @property
    def usual(self) -> float:
        """The share that was to be expected."""
        return self.expected / self.trials


@attrs.frozen(kw_only=True)
class Scan:
    """
    What was found.

    Args:
        anomalies: Alarms, the most surprising first.

        shifts: What everybody's rate did, where that is no alarm.

        tests: How many combinations of step, segment and span were looked at.

        held_back: Steps, and segments of steps, that have too few customers to tell anything.
    """

    anomalies: tuple[Anomaly, ...]
    shifts: tuple[Anomaly, ...]
    tests: int
    held_back: int


def scan(
    steps: Mapping[Any, Sequence[Trial]], properties: Sequence[str], limits: Limits | None = None
) -> Scan:
    """
    Return where *steps* failed more than usual.

    The same trials give the same result, in whatever order they come.

    Args:
        steps: The trials of each step.

        properties: What the trials' segments are called.
    """
    limits = limits or Limits()
    days = [trial.day for trials in steps.values() for trial in trials]
    if not days:
        return Scan(anomalies=(), shifts=(), tests=0, held_back=len(steps))
    newest = max(days)
    oldest = max(min(days), newest - limits.days + 1)
    spans = list(_spans(newest - oldest + 1))
    series = {
        step: _Series(step, trials, properties, oldest, newest, limits)
        for step, trials in steps.items()
    }
    tests = len(spans) * sum(len(each.groups) for each in series.values())
    held_back = sum(each.held_back for each in series.values())
    if not tests:
        return Scan(anomalies=(), shifts=(), tests=0, held_back=held_back)
    least = log_ratio_of(limits.alpha / tests)
    found = [anomaly for each in series.values() for anomaly in each.alarms(spans, least)]
    found.sort(key=lambda anomaly: (-anomaly.surprise, str(anomaly.step), str(anomaly.segment)))
    alarms = tuple(each for each in found if each.segment or each.rate >= limits.rate_of_all)
    shifts = tuple(each for each in found if each not in alarms)
    return Scan(anomalies=alarms, shifts=shifts, tests=tests, held_back=held_back)


def _spans(size: int) -> Iterator[tuple[int, int]]:
    """Yield the spans to look at: first day and the day behind the last, up to half of all."""
    for length in _LENGTHS:
        if 2 * length > size:
            return
        step = max(1, length // 4)
        yield from ((start, start + length) for start in range(0, size - length + 1, step))


class _Series:
    """The trials of one step."""

    def __init__(
        self,
        step: Any,
        trials: Iterable[Trial],
        properties: Sequence[str],
        oldest: int,
        newest: int,
        limits: Limits,
    ) -> None:
        self._step = step
        self._properties = properties
        self._oldest = oldest
        self._size = newest - oldest + 1
        self._limits = limits
        self._trials = sorted(
            (trial for trial in trials if trial.day >= oldest),
            key=lambda trial: (trial.at, trial.customer, trial.failed),
        )
        #: The segments with enough customers, everybody first.
        self.groups, self.held_back = self._groups()
        # Where everybody's rate did move, each segment may be taken for the cause, in each round.
        chances = (len(self.groups) or 1) * len(_LENGTHS) * _MOST_A_STEP
        self._least_excess = log_ratio_of(limits.alpha / chances)

    def _groups(self) -> tuple[list[Segment], int]:
        customers: dict[Segment, set[int]] = defaultdict(set)
        failed: dict[Segment, set[int]] = defaultdict(set)
        for trial in self._trials:
            for group in self._groups_of(trial):
                customers[group].add(trial.customer)
                if trial.failed:
                    failed[group].add(trial.customer)
        least = 2 * self._limits.customers
        enough = [group for group, who in customers.items() if len(who) >= least]
        # Where hardly anybody failed there is nothing to find, and nothing to pay for.
        groups = [group for group in enough if len(failed[group]) >= self._limits.failed]
        groups.sort(key=lambda group: group or ("", ""))
        return groups, max(1, len(customers)) - len(enough)

    def _groups_of(self, trial: Trial) -> Iterator[Segment]:
        yield None
        for name, value in zip(self._properties, trial.segments, strict=True):
            if value is not None:
                yield name, value

    def alarms(self, spans: Sequence[tuple[int, int]], least: float) -> Iterator[Anomaly]:
        """Yield what happened; each is set aside before the next is looked for."""
        left = self._trials
        for _ in range(_MOST_A_STEP):
            found = self._best(left, spans, least) if self.groups else None
            if found is None:
                return
            yield found
            left = [trial for trial in left if not self._is_in(trial, found)]

    def _is_in(self, trial: Trial, found: Anomaly) -> bool:
        # The edges are known to a day or two, and what is left there must not be found again.
        within = found.first_day - _EDGE <= trial.day <= found.last_day + _EDGE
        return within and self._belongs(trial, found.segment)

    def _belongs(self, trial: Trial, group: Segment) -> bool:
        if group is None:
            return True
        return trial.segments[self._properties.index(group[0])] == group[1]

    def _best(
        self, trials: Sequence[Trial], spans: Sequence[tuple[int, int]], least: float
    ) -> Anomaly | None:
        sums = self._sums(trials)
        candidates: list[tuple[float, int, tuple[int, int]]] = []
        for index, group in enumerate(self.groups):
            found = self._candidates(sums[group], sums[None] if group else None, spans, least)
            best = sorted(found, reverse=True)[:_MOST_TRIED]
            candidates += [(surprise, -index, span) for surprise, span in best]
        confirmed: dict[bool, tuple[float, Segment, tuple[int, int]]] = {}
        for _, index, span in sorted(candidates, reverse=True):
            group = self.groups[-index]
            is_all = group is None
            if is_all in confirmed:
                continue
            surprise = self._confirmed(trials, group, span, least)
            if surprise is not None:
                confirmed[is_all] = surprise, group, span
            if len(confirmed) == 2:
                break
        if not confirmed:
            return None
        surprise, group, span = _chosen(confirmed)
        return self._anomaly(trials, group, self._dated(sums[group], span), surprise)

    def _sums(self, trials: Sequence[Trial]) -> dict[Segment, tuple[list[int], list[int]]]:
        """Return for each group how many trials, and failures, there were before each day."""
        count: dict[Segment, list[int]] = {group: [0] * self._size for group in self.groups}
        failed = {group: [0] * self._size for group in self.groups}
        for trial in trials:
            day = trial.day - self._oldest
            for group in self._groups_of(trial):
                if group in count:
                    count[group][day] += 1
                    failed[group][day] += trial.failed
        return {
            group: (
                list(accumulate(count[group], initial=0)),
                list(accumulate(failed[group], initial=0)),
            )
            for group in self.groups
        }

    def _candidates(
        self,
        sums: tuple[list[int], list[int]],
        everybody: tuple[list[int], list[int]] | None,
        spans: Sequence[tuple[int, int]],
        least: float,
    ) -> Iterator[tuple[float, tuple[int, int]]]:
        trials, failures = sums
        n, f = trials[-1], failures[-1]
        fewest, fewest_failed = self._limits.customers, self._limits.failed
        for span in spans:
            start, end = span
            inside_f = failures[end] - failures[start]
            if inside_f < fewest_failed:
                continue
            inside_n = trials[end] - trials[start]
            if inside_n < fewest or inside_f * n <= f * inside_n:
                continue
            inside, outside = Cell(inside_n, inside_f), Cell(n - inside_n, f - inside_f)
            surprise = log_ratio(inside, outside)
            if surprise < least:
                continue
            if everybody is not None:
                all_n = everybody[0][end] - everybody[0][start]
                all_f = everybody[1][end] - everybody[1][start]
                rest_inside = Cell(all_n - inside_n, all_f - inside_f)
                rest_outside = Cell(
                    everybody[0][-1] - all_n - outside.n, everybody[1][-1] - all_f - outside.f
                )
                table = Table(inside, outside, rest_inside, rest_outside)
                if excess(table) < self._least_excess:
                    continue
            yield surprise, span

    def _table(
        self, trials: Sequence[Trial], group: Segment, span: tuple[int, int]
    ) -> tuple[Table, int, int]:
        """
        Return what the trials are worth; and how many customers are inside, and how many failed.

        Trials of one customer are alike, so that ten of them say less than one of each of ten.
        """
        cells: list[dict[int, list[int]]] = [{}, {}, {}, {}]
        first, behind = span[0] + self._oldest, span[1] + self._oldest
        for trial in trials:
            index = 0 if self._belongs(trial, group) else 2
            index += not first <= trial.day < behind
            seen = cells[index].setdefault(trial.customer, [0, 0])
            seen[0] += 1
            seen[1] += trial.failed
        failed = sum(f > 0 for _, f in cells[0].values())
        return Table(*map(worth, cells)), len(cells[0]), failed

    def _confirmed(
        self, trials: Sequence[Trial], group: Segment, span: tuple[int, int], least: float
    ) -> float | None:
        """Return the surprise of a span, counted by customer; None if there is too little of it."""
        limits = self._limits
        table, customers, failed = self._table(trials, group, span)
        inside, outside = table.inside, table.outside
        if customers < limits.customers or failed < limits.failed:
            return None
        rise = limits.odds if group is not None else limits.odds_of_all
        if inside.odds < rise * outside.odds:
            return None
        surprise = log_ratio(inside, outside)
        if surprise < least or (group is not None and excess(table) < self._least_excess):
            return None
        return surprise if self._began(trials, group, span, inside) else None

    def _began(
        self, trials: Sequence[Trial], group: Segment, span: tuple[int, int], inside: Cell
    ) -> bool:
        """Return whether it was better before; else something got better since, not worse."""
        before = [trial for trial in trials if trial.day < span[0] + self._oldest]
        outside = self._table(before, group, (span[0], span[0]))[0].outside
        if outside.n < self._limits.customers:
            return True
        return inside.rate > outside.rate and log_ratio(inside, outside) > _LIKELY

    def _dated(self, sums: tuple[list[int], list[int]], span: tuple[int, int]) -> tuple[int, int]:
        """Return the likeliest span around one that was found."""
        trials, failures = sums
        n, f = trials[-1], failures[-1]
        length = span[1] - span[0]
        low, high = max(0, span[0] - length), min(self._size, span[1] + length)
        best, where = -1.0, span
        for start in range(low, span[1]):
            if failures[start + 1] == failures[start]:
                # One that begins with nothing failed is less likely than one that begins later.
                continue
            for end in range(max(start + 1, span[0] + 1), high + 1):
                inside = Cell(trials[end] - trials[start], failures[end] - failures[start])
                if inside.f * n <= f * inside.n or failures[end] == failures[end - 1]:
                    continue
                surprise = log_ratio(inside, Cell(n - inside.n, f - inside.f))
                if surprise > best:
                    best, where = surprise, (start, end)
        return where

    def _anomaly(
        self, trials: Sequence[Trial], group: Segment, span: tuple[int, int], surprise: float
    ) -> Anomaly:
        first, last = span[0] + self._oldest, span[1] + self._oldest - 1
        chosen = [trial for trial in trials if self._belongs(trial, group)]
        inside = [trial for trial in chosen if first <= trial.day <= last]
        outside = len(chosen) - len(inside)
        failures = [trial for trial in inside if trial.failed]
        usual = (sum(trial.failed for trial in chosen) - len(failures)) / max(1, outside)
        seen = [trial.day for trial in trials]
        return Anomaly(
            step=self._step,
            segment=group,
            first_day=first,
            last_day=last,
            first_at=failures[0].at,
            last_at=failures[-1].at,
            trials=len(inside),
            failed=len(failures),
            customers=len({trial.customer for trial in failures}),
            expected=usual * len(inside),
            surprise=surprise,
            ongoing=last >= max(seen) - 1,
            failures=tuple(failures),
        )


#: e^3 to 1: what is taken for likely where it is not searched for.
_LIKELY: Final = 3.0


def _chosen(
    confirmed: Mapping[bool, tuple[float, Segment, tuple[int, int]]],
) -> tuple[float, Segment, tuple[int, int]]:
    """Return a segment, unless that it is everybody explains much more."""
    for_all, for_some = confirmed.get(True), confirmed.get(False)
    if for_all is not None and (for_some is None or for_some[0] < _AS_GOOD * for_all[0]):
        return for_all
    return for_some or next(iter(confirmed.values()))


#: Where only a segment fails, everybody together is hardly more surprising than the segment.
_AS_GOOD: Final = 0.75
