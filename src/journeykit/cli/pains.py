"""Commands for pain points: `pains list`, `show`, `mute`, `resolve`."""

from __future__ import annotations

import getpass
from collections.abc import Callable

import click

from journeykit.cli.app import FAILED, Failure, Misconfigured, Session, common, pass_session
from journeykit.cli.output import print_json, print_table
from journeykit.exceptions import EventRejected
from journeykit.insight import PainPointCase, PainPointFigures
from journeykit.kit import JourneyKit
from journeykit.model.receipt import Receipt


@click.group()
def pains() -> None:
    """Where it hurts: what the rules have found, and what was decided about it."""


@pains.command("list")
@common
@click.option("--all", "everything", is_flag=True, help="Also what is muted or resolved.")
@pass_session
def list_pains(session: Session, config: str, as_json: bool, everything: bool) -> None:
    """List pain points by code, the most customers first."""
    with session.kit(config) as kit:
        current = kit.catch_up()
        found = kit.pain_points(everything=everything)
        held = 0 if everything else len(kit.pain_points(everything=True)) - len(found)
    if as_json:
        points = [each.to_dict() for each in found]
        print_json({"pain_points": points, "held_back": held, "current": current})
        return
    if found:
        columns = ("pain point", "severity", "customers", "times", "first seen", "last seen", "")
        print_table(columns, [_row(each) for each in found])
    else:
        click.echo("Nothing was found.")
    if held:
        click.echo(f"{held:,} more are muted or resolved (journeykit pains list --all)")
    if not current:
        click.echo("There are events that were not folded yet; these figures lack them.")


def _row(each: PainPointFigures) -> tuple[object, ...]:
    status = "" if each.status == "open" else each.status
    seen = f"{each.first_seen:%Y-%m-%d}", f"{each.last_seen:%Y-%m-%d}"
    return each.code, each.severity.value, each.customers, each.events, *seen, status


@pains.command()
@click.argument("code")
@common
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@pass_session
def show(session: Session, code: str, config: str, as_json: bool, limit: int) -> None:
    """Show for whom and what a pain point was found, the latest first, with the evidence."""
    with session.kit(config) as kit:
        kit.catch_up()
        try:
            figures, found = kit.pain_point(code, limit)
        except LookupError as error:
            raise Misconfigured(str(error)) from error
    if as_json:
        value = None if figures is None else figures.to_dict()
        print_json({"pain_point": value, "cases": [each.to_dict() for each in found]})
        return
    if figures is None:
        click.echo(f"{code} was not found yet.")
        return
    click.echo(
        f"{figures.code}: {figures.status}, {figures.customers:,} customers, "
        f"{figures.events:,} times, {figures.recovered:,} recovered"
    )
    for what, said in (("muted", figures.muted), ("resolved", figures.resolved)):
        if said is not None:
            click.echo(f"{what} by {said.actor} on {said.at:%Y-%m-%d}: {said.reason}")
    if figures.causes:
        click.echo(f"causes: {', '.join(figures.causes)}")
    click.echo()
    columns = ("customer", "of what", "stage", "times", "last seen (UTC)", "evidence")
    print_table(columns, [_case_row(each) for each in found])


def _case_row(each: PainPointCase) -> tuple[object, ...]:
    customer = each.customer if each.known else f"{each.customer[:8]}… (anonymous)"
    seen = f"{each.last_seen:%Y-%m-%d %H:%M}" + (" recovered" if each.recovered else "")
    newest = each.evidence[-1] if each.evidence else None
    return customer, each.target or None, each.stage, each.events, seen, newest


def _login() -> str:
    """Return who is logged in, as far as the system knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "operator"


_actor = click.option(
    "--actor", default=_login, show_default="your login name", help="Who says so."
)


@pains.command()
@click.argument("code")
@common
@click.option("--reason", required=True, help="Why, for those who read it later.")
@_actor
@click.option("--undo", is_flag=True, help="Take it back.")
@pass_session
def mute(
    session: Session,
    code: str,
    config: str,
    as_json: bool,
    reason: str,
    actor: str,
    undo: bool,
) -> None:
    """Leave a pain point out of the list; it is found as before. Exit code 1: not folded yet."""
    with session.kit(config) as kit:
        _decide(kit, as_json, lambda: kit.mute(code, reason=reason, actor=actor, undo=undo))
    if not as_json:
        click.echo(f"{code} is {'not muted any more' if undo else 'muted'}")


@pains.command()
@click.argument("code")
@common
@click.option("--reason", required=True, help="What was done, for those who read it later.")
@_actor
@click.option("--cause", help="What lay behind it.")
@pass_session
def resolve(
    session: Session,
    code: str,
    config: str,
    as_json: bool,
    reason: str,
    actor: str,
    cause: str | None,
) -> None:
    """Say that a pain point is resolved; found again later, it is open again."""
    with session.kit(config) as kit:
        _decide(kit, as_json, lambda: kit.resolve(code, reason=reason, actor=actor, cause=cause))
    if not as_json:
        click.echo(f"{code} is resolved")


def _decide(kit: JourneyKit, as_json: bool, record: Callable[[], Receipt]) -> None:
    kit.catch_up()
    kit.start(worker=True)
    try:
        receipt = record()
    except LookupError as error:
        raise Misconfigured(str(error)) from error
    except EventRejected as error:
        raise Failure(error.reason) from error
    if not receipt:
        raise Failure(f"{receipt.reason}: {receipt.detail}")
    done = kit.catch_up()
    if as_json:
        print_json({"fact": receipt.id, "done": done})
    if not done:
        click.echo("it is recorded, and not in the figures yet", err=True)
        click.get_current_context().exit(FAILED)


COMMANDS = (pains,)
