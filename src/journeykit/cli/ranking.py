"""How `journeykit report` prints where customers hurt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from journeykit.insight import RankedPain, Report

#: How many of those that are held back are printed.
_HELD_BACK = 10


def print_pain_points(
    report: Report, points: Sequence[RankedPain], *, watched: bool | None = None
) -> None:
    """
    Print *points*, the worst first, and what else a reader should know.

    Args:
        watched: Whether segments are declared, so that steps are watched; None to leave it unsaid.
    """
    if not watched and not points and not report.held_back:
        return
    click.echo()
    click.echo("Where it hurts, worst first" if points else "Where it hurts: nothing found")
    for number, point in enumerate(points, 1):
        click.echo()
        _print_point(number, point)
    _print_shifts(report.shifts)
    _print_held_back(report.held_back)
    for note in report.notes:
        click.echo(f"note: {note}")
    if watched is False:
        click.echo("note: no step is watched, for [insight] declares no segments")


def _print_point(number: int, point: RankedPain) -> None:
    """Print what, where and for whom; since when; how bad; what it may cost; what proves it."""
    when = _period(point.first_seen, point.last_seen)
    click.echo(f"{number:>3}. {_what(point)}, {_whom(point.segment)}, {when}")
    said = [f"score {point.score:g}"] if point.score is not None else []
    said += [point.severity.value, f"{point.customers:,} customers", f"{point.events:,} times"]
    if recovered := point.detail.get("recovered"):
        said.append(f"{recovered:,} recovered")
    click.echo(f"     {', '.join(said)}")
    if rate := _rate(point.detail):
        click.echo(f"     {rate}")
    if point.money is not None:
        click.echo(f"     {_money(point.money)}")
    click.echo(f"     evidence: {', '.join(point.evidence[:3]) or 'none'}")


def _what(point: RankedPain) -> str:
    place = f" in {point.stage}" if point.stage else ""
    step = point.detail.get("step")
    return f"{point.code}{place}" + (f": {step} {point.detail['what']}" if step else "")


def _whom(segment: Mapping[str, str] | None) -> str:
    if not segment:
        return "everybody"
    return ", ".join(f"{name} {value}" for name, value in segment.items())


def _period(first: datetime, last: datetime) -> str:
    if first.date() == last.date():
        return f"{first:%Y-%m-%d}"
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"


def _rate(detail: Mapping[str, Any]) -> str | None:
    if "rate" not in detail:
        return None
    said = f"{detail['rate']:.0%} of {detail['trials']:,}, usually {detail['usual_rate']:.0%}"
    if detail.get("ongoing"):
        said += "; still going on"
    beside = (f"{name} ({share:.0%})" for name, share in detail.get("together_with", {}).items())
    together = ", ".join(beside)
    if together:
        said += f"; together with {together}"
    dropped = detail.get("drop_off")
    if dropped:
        said += (
            f"; {dropped['step']} got no further in {dropped['rate']:.0%}, "
            f"usually {dropped['usual_rate']:.0%}"
        )
    return said


def _money(money: Mapping[str, Any]) -> str:
    what, unit = money["lost_conversions"], "orders"
    low, high = money["lost_low"], money["lost_high"]
    if money["amount"] is not None:
        what, low, high, unit = money["amount"], money["low"], money["high"], ""
    said = f"at stake: {what:,.1f} {unit}".rstrip()
    return f"{said} (95 %: {low:,.1f} to {high:,.1f}); {money['label']}"


def _print_shifts(shifts: Sequence[Mapping[str, Any]]) -> None:
    for shift in shifts:
        click.echo()
        click.echo(
            f"everybody: {shift['step']} {shift['what']} {shift['first_seen'][:10]} to "
            f"{shift['last_seen'][:10]}, {_rate(shift)}"
        )
        click.echo("     no alarm: nobody is left to compare with, so it may be the season")


def _print_held_back(points: Sequence[RankedPain]) -> None:
    if not points:
        return
    click.echo()
    click.echo(f"Too few customers to be ranked: {len(points):,}")
    for point in points[:_HELD_BACK]:
        when = _period(point.first_seen, point.last_seen)
        evidence = point.evidence[-1] if point.evidence else "none"
        click.echo(
            f"  -  {_what(point)}, {when}, {point.severity.value}, customers {point.customers:,}, "
            f"times {point.events:,}, evidence {evidence}"
        )
    if len(points) > _HELD_BACK:
        click.echo(f"  -  and {len(points) - _HELD_BACK:,} more (--json lists them)")
