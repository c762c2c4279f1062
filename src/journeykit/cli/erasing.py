"""`journeykit erase`: forgets a customer, and tells what became of such requests."""

from __future__ import annotations

import click

from journeykit.cli.app import FAILED, Misconfigured, Session, common, pass_session
from journeykit.cli.output import print_json, print_table
from journeykit.erasing import ErasureReport
from journeykit.kit import JourneyKit
from journeykit.model.customer import Customer


@click.command()
@click.argument("customer", required=False)
@common
@click.option("--anonymous", metavar="ID", help="The anonymous id, for somebody without a user id.")
@click.option("--reason", help="Why. It stays in the Log, so it must not name the customer.")
@click.option(
    "--actor",
    default="operator",
    show_default=True,
    help="Who asked for it. It stays in the Log too.",
)
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds to wait.")
@click.option("--status", is_flag=True, help="Only tell what became of earlier requests.")
@click.option("--give-up", metavar="SINK", help="Wait no longer for a sink that is no more.")
@pass_session
def erase(
    session: Session,
    customer: str | None,
    config: str,
    as_json: bool,
    anonymous: str | None,
    reason: str | None,
    actor: str,
    timeout: float,
    status: bool,
    give_up: str | None,
) -> None:
    """
    Forget CUSTOMER, a user id: everything up to now, in every place.

    That is also what they did before they were known, as far as journeykit knows that.
    It cannot be undone; what the customer does from now on begins anew.
    Exit code 1: something is not done yet (it goes on when your app runs), or a person has to see
    to it.
    """
    with session.kit(config) as kit:
        if give_up is not None:
            kit.give_up_erasing(give_up)
        if status or give_up is not None:
            _print_all(kit.erasures(), as_json=as_json)
            return
        if customer is None and anonymous is None:
            raise click.UsageError("name a CUSTOMER, or --anonymous ID, or ask for --status")
        if reason is None:
            raise click.UsageError("say why: --reason TEXT")
        found = _erase(kit, Customer(customer, anonymous), reason, actor, timeout)
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    click.get_current_context().exit(0 if _is_over(found) else FAILED)


def _erase(
    kit: JourneyKit, customer: Customer, reason: str, actor: str, timeout: float
) -> ErasureReport:
    # Without the app's plugins this process must not fold: the app does that when it runs.
    knows = kit.knows_all_hooks
    kit.start(worker=knows, commits_only=not knows)
    try:
        return kit.erase(customer, reason=reason, actor=actor, timeout=timeout)
    except ValueError as error:
        raise Misconfigured(str(error)) from error


def _is_over(found: ErasureReport) -> bool:
    return found.done and all(place.status in ("erased", "nothing") for place in found.places)


def _print(found: ErasureReport) -> None:
    rows = [(place.name, place.status, place.count, place.detail) for place in found.places]
    print_table(("place", "status", "count", ""), rows)
    if not found.done:
        click.echo("not all is done yet; journeykit erase --status tells how it goes on", err=True)


def _print_all(found: list[ErasureReport], *, as_json: bool) -> None:
    if as_json:
        print_json([each.to_dict() for each in found])
        return
    if not found:
        click.echo("Nobody was erased.")
        return
    rows = [
        (each.erased_at[:19], each.actor, each.reason, "done" if each.done else _waiting(each))
        for each in found
    ]
    print_table(("erased at (UTC)", "asked for by", "reason", "status"), rows)


def _waiting(found: ErasureReport) -> str:
    names = [place.name for place in found.places if place.status == "queued"]
    return f"waits for {', '.join(names) or 'the rest'}"


COMMANDS = (erase,)
