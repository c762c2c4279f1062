"""Commands for complaints that somebody follows up: `cases list`, `show`, `assign`, `resolve`, …"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from journeykit.cli.app import FAILED, Failure, Misconfigured, Session, common, pass_session
from journeykit.cli.output import print_json, print_table
from journeykit.cli.pains import actor
from journeykit.exceptions import EventRejected
from journeykit.model.casework import CaseStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from journeykit.feedback import CaseFigures
    from journeykit.kit import JourneyKit
    from journeykit.model.casework import Case, CaseChange, CaseEvidence
    from journeykit.model.receipt import Receipt


@click.group()
def cases() -> None:
    """Complaints that somebody follows up: whose they are, by when, and what was done."""


@cases.command("list")
@common
@click.option("--owner", help='Only of this owner; "" for those of nobody.')
@click.option("--rule", help="Only of this rule.")
@click.option("--customer", help="Only of the customer with this user id.")
@click.option("--overdue", is_flag=True, help="Only what is overdue.")
@click.option("--all", "everything", is_flag=True, help="Also what is resolved or closed.")
@pass_session
def list_cases(
    session: Session, /, config: str, as_json: bool, everything: bool, **chosen: Any
) -> None:
    """List open cases, the overdue ones first, then by when they are due."""
    with session.kit(config) as kit:
        current = kit.catch_up()
        found = kit.cases.list(everything=everything, **chosen)
        rules = kit.settings.cases.rules
    if as_json:
        print_json({"cases": [each.to_dict() for each in found], "current": current})
        return
    if found:
        columns = ("case", "what", "status", "severity", "owner", "customer", "due (UTC)", "")
        print_table(columns, [_row(each) for each in found])
    elif not rules:
        click.echo("No case rule is declared; see docs/cases.md.")
    else:
        narrowed = everything or any(value not in (None, False) for value in chosen.values())
        click.echo("There is no such case." if narrowed else "No case is open.")
    _warn(current=current)


def _warn(*, current: bool) -> None:
    if not current:
        click.echo("There are events that were not folded yet; cases may be missing.")


def _row(case: Case) -> tuple[object, ...]:
    late = "overdue" if case.is_overdue else ""
    return (
        case.reference,
        f"{case.title}: {case.summary}",
        case.status.value,
        case.severity.value,
        case.owner,
        _customer(case),
        None if case.due is None else f"{case.due:%Y-%m-%d %H:%M}",
        late,
    )


def _customer(case: Case) -> str:
    who = case.customer
    return who.user_id or f"{(who.anonymous_id or '')[:8]}… (anonymous)"


@cases.command()
@click.argument("case")
@common
@pass_session
def show(session: Session, case: str, config: str, as_json: bool) -> None:
    """
    Show one case: what it rests on, its clocks, and what has happened.

    CASE is its id, or the end of it.
    """
    with session.kit(config) as kit:
        kit.catch_up()
        found = _look_up(kit, case)
        causes, actions = kit.cases.causes_of(found.id), kit.cases.actions_of(found.id)
    if as_json:
        print_json({**found.to_dict(), "causes": list(causes), "actions": list(actions)})
        return
    click.echo(f"{found.title}: {found.summary} ({found.id})")
    where = f" in {found.stage}" if found.stage else ""
    click.echo(f"{_customer(found)}{where}, {found.severity.value}")
    owned = f"owner {found.owner}" if found.owner else "nobody owns it"
    click.echo(f"{found.status.value}, {owned}")
    if found.cause is not None:
        click.echo(f"because of {found.cause}; {found.action}")
    if found.recovery_score is not None:
        click.echo(f"recovery score {found.recovery_score}")
    _print_read(found)
    for name, options in (("causes", causes), ("actions", actions)):
        if options and found.is_open:
            click.echo(f"{name}: {', '.join(options)}")
    click.echo()
    print_table(("clock", "due (UTC)", ""), [_clock_row(each) for each in found.clocks])
    click.echo()
    print_table(("when (UTC)", "complaint", ""), [_evidence_row(each) for each in found.evidence])
    click.echo()
    columns = ("when (UTC)", "what", "by", "because")
    print_table(columns, [_change_row(each) for each in found.history])


def _print_read(case: Case) -> None:
    """Print what plugins have read out of the answers."""
    read = [f"sentiment {case.sentiment}"] if case.sentiment is not None else []
    read += [f"themes {', '.join(case.themes)}"] if case.themes else []
    read += [f"may lie in {case.root_cause}"] if case.root_cause else []
    if read:
        click.echo("; ".join(read))


def _clock_row(clock: Any) -> tuple[object, ...]:
    said = "running"
    if clock.stopped is not None:
        said = f"{'too late' if clock.breached else 'in time'}, {clock.stopped:%Y-%m-%d %H:%M}"
    elif clock.breached:
        said = "overdue"
    elif clock.due is None:
        said = "stands still"
    due = None if clock.due is None else f"{clock.due:%Y-%m-%d %H:%M}"
    return clock.name.replace("_", " "), due, said


def _evidence_row(found: CaseEvidence) -> tuple[object, ...]:
    if found.code is not None:
        what = f"{found.code} {found.target or ''}".strip()
        return _when(found.at), what, found.status or ""
    said = [
        f"{key}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in found.answers.items()
        if key != "score"
    ]
    score = "" if found.score is None else f" {found.score}"
    kind = "recovery, " if found.kind == "recovery" else ""
    return _when(found.at), f"{kind}{found.prompt}{score}", ", ".join(said)


def _change_row(change: CaseChange) -> tuple[object, ...]:
    details = {name: value for name, value in change.details.items() if value is not None}
    owner, note = details.get("owner"), details.get("note")
    what = f"{change.what} to {owner}" if change.what == "assigned" else change.what
    if change.what == "opened" and owner:
        what = f"opened for {owner}"
    if change.what == "resolved":
        what = f"resolved ({details.get('cause')}; {details.get('action')})"
    return _when(change.at), what, change.actor, note or change.reason


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _look_up(kit: JourneyKit, case: str) -> Case:
    try:
        return kit.cases.get(case)
    except LookupError as error:
        raise Misconfigured(str(error.args[0])) from error


# What is done


def _working(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what commands that do something to a case have in common."""
    timeout = click.option(
        "--timeout", type=float, default=60.0, show_default=True, help="Seconds to wait."
    )
    return click.argument("case")(common(actor(timeout(pass_session(command)))))


def _because(default: str | None = None) -> Callable[..., Any]:
    why = "Why, for those who read it later."
    if default is None:
        return click.option("--reason", required=True, help=why)
    return click.option("--reason", default=default, show_default=True, help=why)


@cases.command()
@_working
@click.argument("owner")
@_because("assigned")
def assign(session: Session, /, case: str, owner: str, **options: Any) -> None:
    """Give CASE to OWNER: a person, a team or a queue. Exit code 1: not folded yet."""
    _do(session, case, "assign", {"owner": owner}, **options)


@cases.command()
@_working
@_because("answered")
def acknowledge(session: Session, /, case: str, **options: Any) -> None:
    """Say that the customer has had a first answer, which stops the first clock."""
    _do(session, case, "acknowledge", {}, **options)


@cases.command()
@_working
@_because()
def wait(session: Session, /, case: str, **options: Any) -> None:
    """Say that it is the customer's turn: clocks stand still."""
    _do(session, case, "wait", {}, **options)


@cases.command()
@_working
@_because("the customer has answered")
def resume(session: Session, /, case: str, **options: Any) -> None:
    """Say that it is the shop's turn again."""
    _do(session, case, "resume", {}, **options)


@cases.command()
@_working
@click.argument("text")
def note(session: Session, /, case: str, text: str, **options: Any) -> None:
    """Add TEXT for those who work CASE."""
    _do(session, case, "note", {"text": text}, reason=None, **options)


@cases.command()
@_working
@click.option("--cause", required=True, help="What lay behind it.")
@click.option("--action", required=True, help="What was done.")
@_because("resolved")
def resolve(session: Session, /, case: str, cause: str, action: str, **options: Any) -> None:
    """Say that a case is resolved, with its root cause and what was done."""
    _do(session, case, "resolve", {"cause": cause, "action": action}, **options)


@cases.command()
@_working
@_because()
def reopen(session: Session, /, case: str, **options: Any) -> None:
    """Say that a case is not resolved after all."""
    _do(session, case, "reopen", {}, **options)


def _do(
    session: Session,
    case: str,
    what: str,
    more: Mapping[str, Any],
    *,
    config: str,
    as_json: bool,
    actor: str,
    timeout: float,
    reason: str | None,
) -> None:
    given = {**more, "actor": actor, **({} if reason is None else {"reason": reason})}
    with session.kit(config) as kit:
        kit.catch_up(timeout)
        kit.start(worker=True)
        found = _look_up(kit, case)
        receipt = _record(lambda: getattr(kit.cases, what)(found.id, **given))
        done = kit.catch_up(timeout)
        now = kit.cases.get(found.id) if done else found
    if as_json:
        print_json({"case": found.id, "status": now.status, "fact": receipt.id, "done": done})
    elif done:
        click.echo(f"{now.reference} is {_said(now, what)}")
    if not done:
        click.echo("it is recorded, and does not show yet", err=True)
    click.get_current_context().exit(0 if done else FAILED)


def _said(case: Case, what: str) -> str:
    if what == "assign":
        return f"{case.owner}'s"
    if case.status is CaseStatus.WAITING:
        return "waiting for the customer"
    due = "" if case.due is None else f", due {case.due:%Y-%m-%d %H:%M} UTC"
    return f"{case.status.value}{due}"


def _record(record: Callable[[], Receipt]) -> Receipt:
    try:
        receipt = record()
    except ValueError as error:
        raise Misconfigured(str(error.args[0])) from error
    except EventRejected as error:
        raise Failure(error.reason) from error
    if not receipt:
        raise Failure(f"{receipt.reason}: {receipt.detail}")
    return receipt


# In other commands


def print_case_figures(figures: CaseFigures) -> None:
    """Print the line of a report about cases."""
    click.echo()
    said = [f"{figures.open:,} open"]
    said += [f"{figures.overdue:,} overdue"] if figures.overdue else []
    said += [f"{figures.unassigned:,} of nobody"] if figures.unassigned else []
    said += [f"{figures.waiting:,} waiting"] if figures.waiting else []
    said += [f"{figures.resolved + figures.closed:,} resolved"]
    click.echo(f"Cases: {', '.join(said)}")
    if figures.median_first_response is not None:
        length = _length(figures.median_first_response)
        click.echo(f"     half of them had a first answer within {length}")
    if figures.causes:
        causes = (f"{cause} {count:,}" for cause, count in figures.causes.items())
        click.echo(f"     because of: {', '.join(causes)}")


def _length(seconds: float) -> str:
    """Return a duration of business hours in the unit that people think in."""
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def print_cases_of(found: Sequence[Case]) -> None:
    """Print the cases of one customer."""
    if found:
        click.echo()
        columns = ("case", "what", "status", "owner", "opened (UTC)")
        rows = [
            (
                case.reference,
                f"{case.title}: {case.summary}",
                case.status.value,
                case.owner,
                f"{case.opened_at:%Y-%m-%d %H:%M}",
            )
            for case in found
        ]
        print_table(columns, rows, title="cases")


COMMANDS = (cases,)
