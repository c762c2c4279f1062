"""`journeykit unmerge`: takes back that an anonymous customer is a known person."""

from __future__ import annotations

import click

from journeykit.cli.app import FAILED, Failure, Session, common, pass_session
from journeykit.cli.output import print_json
from journeykit.exceptions import EventRejected
from journeykit.kit import JourneyKit
from journeykit.model.receipt import Receipt


@click.command()
@click.argument("anonymous_id")
@common
@click.option("--reason", required=True, help="Why, for those who read it later.")
@click.option("--actor", default="operator", show_default=True, help="Who says so.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds to wait.")
@pass_session
def unmerge(
    session: Session,
    anonymous_id: str,
    config: str,
    as_json: bool,
    reason: str,
    actor: str,
    timeout: float,
) -> None:
    """
    Take the anonymous customer ANONYMOUS_ID out of the person whom they were taken for.

    Both histories are folded again, and corrections go to the sinks; no event is sent twice.
    Exit code 1: the two are not one person, or it is recorded and not folded yet.
    """
    with session.kit(config) as kit:
        kit.catch_up(timeout)
        user_id = kit.merged_with(anonymous_id)
        if user_id is None:
            msg = f"nobody known is the anonymous customer {anonymous_id!r}; nothing was changed"
            raise Failure(msg)
        kit.start(worker=True)
        receipt = _record(kit, anonymous_id, reason, actor)
        done = kit.catch_up(timeout)
    if as_json:
        result = {"anonymous_id": anonymous_id, "user_id": user_id, "fact": receipt.id}
        print_json({**result, "done": done})
    else:
        click.echo(f"{anonymous_id} is not {user_id} any more")
    if not done:
        click.echo("it is recorded, and not in the figures yet", err=True)
    click.get_current_context().exit(0 if done else FAILED)


def _record(kit: JourneyKit, anonymous_id: str, reason: str, actor: str) -> Receipt:
    try:
        receipt = kit.unmerge(anonymous_id, reason=reason, actor=actor)
    except EventRejected as error:
        raise Failure(error.reason) from error
    if not receipt:
        raise Failure(f"{receipt.reason}: {receipt.detail}")
    return receipt


COMMANDS = (unmerge,)
