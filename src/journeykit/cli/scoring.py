"""How `journeykit report` prints what customers have answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from journeykit.cli.output import print_table
from journeykit.model.score import Metric, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from journeykit.model.score import Change, Measure, Score, ScoreFigures, ScoreGroup, ScorePeriod

#: How many weeks and months are printed, and how many values of one kind of group.
_PERIODS: Final = 3
_GROUPS: Final = 10

_NAMES: Final = {"nps": "NPS", "csat": "CSAT", "ces": "CES"}

_Row = tuple[object, ...]


def print_scores(scores: Sequence[Score]) -> None:
    """Print a table for each prompt: all answers, the last weeks and months, and who gave them."""
    for score in scores:
        click.echo()
        _print_score(score)


def _print_score(score: Score) -> None:
    name = _NAMES.get(score.kind, score.kind)
    asked = f'"{score.text}"' if score.text is not None else "not asked any more"
    head = _head(score)
    rows = [*_all(score), *_periods(score), *_groups(score)]
    columns = ("", head, "95 %", "answers", "of shown")
    when = f"{score.first:%Y-%m-%d} to {score.last:%Y-%m-%d}"
    print_table(columns, rows, title=f"{name} {score.prompt}: {asked}, {when}")
    for line in _lines(score):
        click.echo(line)


def _head(score: Score) -> str:
    """Return what the figures are."""
    if score.kind == "nps":
        return "NPS"
    low, high = score.scale
    return f"4 and {high}" if score.kind == "csat" else f"mean, {low} to {high}"


def _all(score: Score) -> Iterator[_Row]:
    yield _row("all answers", score.figures)
    for measure in score.figures.measures[1:]:
        label = "mean" if measure.metric is Metric.MEAN else f"5 to {score.scale[1]}"
        yield _told(f"  {label}", measure, score.figures)


def _periods(score: Score) -> Iterator[_Row]:
    """Yield the last weeks and months in which the question was shown."""
    for unit, form, periods in (
        ("week of", "%Y-%m-%d", score.weeks),
        ("month", "%Y-%m", score.months),
    ):
        for period in periods[-_PERIODS:]:
            if period.figures.shown:
                so_far = "" if period.is_over else ", so far"
                yield _row(f"{unit} {period.start:{form}}{so_far}", period.figures)


def _groups(score: Score) -> Iterator[_Row]:
    for by, found in _by(score).items():
        for group in found[:_GROUPS]:
            yield _row(f"{by} {group.value}", group.figures)


def _by(score: Score) -> dict[str, list[ScoreGroup]]:
    """Return the groups that are not everybody, by what they have in common."""
    found: dict[str, list[ScoreGroup]] = {}
    for group in score.groups:
        if group.figures.shown < score.figures.shown:
            found.setdefault(group.name or group.by, []).append(group)
    return found


def _row(label: str, figures: ScoreFigures) -> _Row:
    if figures.is_held_back:
        said = f"held back: {figures.answers} of {figures.needed} answers"
        return label, None, said, figures.answers, _rate(figures)
    return _told(label, figures.measures[0], figures)


def _told(label: str, measure: Measure, figures: ScoreFigures) -> _Row:
    return label, _value(measure), _interval(measure), figures.answers, _rate(figures)


def _rate(figures: ScoreFigures) -> str:
    return f"{figures.response_rate or 0:.0%}"


def _value(measure: Measure | Change) -> str:
    return number(measure.metric, measure.value)


def _interval(measure: Measure | Change) -> str:
    low, high = (number(measure.metric, each) for each in (measure.low, measure.high))
    return f"{low} to {high}"


def _lines(score: Score) -> Iterator[str]:
    """Yield what all have in common, what has changed, and what to know of the figures."""
    everybody = [
        f"{group.name or group.by} {group.value}"
        for group in score.groups
        if group.figures.shown == score.figures.shown
    ]
    if everybody:
        yield f"all of it: {', '.join(everybody)}"
    for by, found in _by(score).items():
        if len(found) > _GROUPS:
            yield f"{by}: {len(found) - _GROUPS} more (--json lists them)"
    yield from _compared("week of", "that of", score.weeks)
    yield from _compared("month", "", score.months)
    if score.figures.reworded:
        yield "note: the question was asked in other words before, and all answers are in one line"


def _compared(unit: str, other: str, periods: Sequence[ScorePeriod]) -> Iterator[str]:
    """Yield what has changed in the last period that can be compared, if it is one of the last."""
    told = [number for number, each in enumerate(periods) if each.changes]
    if not told or told[-1] < len(periods) - 2:
        return
    period, before = periods[told[-1]], periods[told[-1] - 1]
    form = "%Y-%m" if unit == "month" else "%Y-%m-%d"
    so_far = "" if period.is_over else ", so far,"
    against = f"{other} {before.start:{form}}".strip()
    change = _change(period.changes[0])
    yield f"{unit} {period.start:{form}}{so_far} against {against}: {change}"


def _change(change: Change) -> str:
    """Return how much a figure has changed, as far as it has."""
    low, high = (_signed(change.metric, each) for each in (change.low, change.high))
    if not change.is_clear:
        return f"no clear change (95 %: {low} to {high})"
    way = "up" if change.value > 0 else "down"
    size = _signed(change.metric, abs(change.value)).lstrip("+")
    points = "" if change.metric is Metric.MEAN else " points"
    return f"{way} by {size}{points} (95 %: {low} to {high})"


def _signed(metric: Metric, value: float) -> str:
    """Return a difference; one of shares is in points."""
    if metric is Metric.MEAN:
        return f"{value:+.2f}"
    points = round(100 * value if metric is Metric.SHARE else value)
    return f"{points:+d}" if points else "0"
