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

from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.insight.likelihood import log_ratio_of
from journeykit.insight.series import LENGTHS, Anomaly, Known, Limits, Series
from journeykit.insight.trials import Segment, Source, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["LOOKS", "Anomaly", "Known", "Limits", "Scan", "Segment", "Trial", "examine", "scan"]

#: How many days after its end a span is looked at: each time, twice as much has come behind it.
_AGES: Final = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)

#: How often each span is looked at.
LOOKS: Final = len(_AGES)


@attrs.frozen
class Scan:
    """
    What was found.

    Args:
        anomalies: Alarms, the most surprising first.

        shifts: What everybody's rate did, where that is no alarm.

        tests: How many combinations of step, segment and span were looked at.

        held_back: Steps, and segments of steps, that have too few customers to tell anything.

        looked_again: Which of those that were known were looked at again, by their places.
    """

    anomalies: tuple[Anomaly, ...]
    shifts: tuple[Anomaly, ...]
    tests: int
    held_back: int
    looked_again: frozenset[int] = frozenset()


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
    sources = [Source.of(step, trials, properties) for step, trials in steps.items()]
    return examine(sources, properties, limits or Limits())


def examine(
    sources: Sequence[Source],
    properties: Sequence[str],
    limits: Limits,
    *,
    newest: int | None = None,
    since: int | None = None,
    known: Mapping[Any, Sequence[Known]] | None = None,
) -> Scan:
    """
    Return where steps failed more than usual.

    Args:
        newest: The last day to look at; by default the last that has a trial.

        since: The last day at which was looked before: only spans whose turn came since are looked
            at. By default, all are.

        known: For each step what was found before. It is looked at again, by a milder measure.
    """
    days = [day for source in sources for of in source.daily.values() for day in of]
    if newest is not None:
        days = [day for day in days if day <= newest]
    if not days:
        return Scan(anomalies=(), shifts=(), tests=0, held_back=len(sources))
    last = max(days)
    oldest = max(min(days), last - limits.days + 1)
    every = list(_spans(oldest, last + 1))
    series = [Series(source, properties, (oldest, last), limits) for source in sources]
    tests = len(every) * sum(len(each.groups) for each in series)
    held_back = sum(each.held_back for each in series)
    if not tests:
        return Scan(anomalies=(), shifts=(), tests=0, held_back=held_back)
    least = log_ratio_of(limits.alpha / (tests * limits.looks))
    due = [
        (start - oldest, end - oldest) for start, end in every if _is_due(end - 1, since, newest)
    ]
    found: list[Anomaly] = []
    again: set[int] = set()
    for source, each in zip(sources, series, strict=True):
        before = (known or {}).get(source.step, ())
        found += each.alarms(due, least, before)
        again |= {one.place for one in before if each.has_loaded}
    found.sort(key=lambda anomaly: (-anomaly.surprise, str(anomaly.step), str(anomaly.segment)))
    alarms = tuple(each for each in found if each.segment or each.rate >= limits.rate_of_all)
    shifts = tuple(each for each in found if each not in alarms)
    return Scan(alarms, shifts, tests, held_back, frozenset(again))


def _spans(oldest: int, behind: int) -> Iterator[tuple[int, int]]:
    """
    Yield the spans to look at: first day and the day behind the last, up to half of all.

    They lie on a grid that stays where it is while days go by, so that what was looked at once is
    no other span on the next day.
    """
    for length in LENGTHS:
        if 2 * length > behind - oldest:
            return
        step = max(1, length // 4)
        first = -(-oldest // step) * step
        yield from ((start, start + length) for start in range(first, behind - length + 1, step))


def _is_due(last_day: int, since: int | None, newest: int | None) -> bool:
    """Return whether it was a span's turn behind *since*, and until *newest*."""
    if since is None or newest is None:
        return True
    return any(since < last_day + age <= newest for age in _AGES)
