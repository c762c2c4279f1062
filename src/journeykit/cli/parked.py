"""Commands for events that were set aside: `parked list`, `show`, `replay`, `drop`."""

from __future__ import annotations

import json
import time

import click

from journeykit.cli.app import FAILED, Session, common, pass_session
from journeykit.cli.output import print_json, print_table
from journeykit.kit import JourneyKit
from journeykit.model.times import to_rfc3339

#: More than anybody parks.
_ALL = 10**9


@click.group()
def parked() -> None:
    """Events that a sink or a plugin could not take: look at them, try them again."""


@parked.command("list")
@common
@click.option("--owner", help="Only those of sink:NAME or plugin:NAME.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@pass_session
def list_parked(
    session: Session, config: str, as_json: bool, owner: str | None, limit: int
) -> None:
    """List parked events with the reason, oldest first."""
    with session.kit(config) as kit:
        found = kit.parked(owner, limit=limit)
    rows = [
        (item.number, item.owner, item.entry.name, item.reason, to_rfc3339(item.parked_at)[:19])
        for item in found
    ]
    columns = ("number", "owner", "event", "reason", "since")
    if as_json:
        print_json(
            [
                {**dict(zip(columns, row, strict=True)), "id": item.entry.id}
                for row, item in zip(rows, found, strict=True)
            ]
        )
    elif rows:
        print_table(columns, rows)
    else:
        click.echo("Nothing is parked.")


@parked.command()
@common
@click.option("--owner", help="Only those of sink:NAME or plugin:NAME.")
@click.option("--timeout", type=float, default=30.0, show_default=True, help="Seconds to wait.")
@pass_session
def replay(session: Session, config: str, as_json: bool, owner: str | None, timeout: float) -> None:
    """Try parked events once more; those that fail again stay parked. Exit code 1 if any did."""
    with session.kit(config) as kit:
        count = kit.replay_parked(owner)
        _wait(kit, owner, timeout)
        left = len(kit.parked(owner, limit=100_000))
    if as_json:
        print_json({"tried": count, "parked": left})
    else:
        click.echo(f"tried {count:,} again; {left:,} are still parked")
    click.get_current_context().exit(FAILED if count and left else 0)


@parked.command()
@click.argument("number", type=int)
@common
@pass_session
def show(session: Session, config: str, as_json: bool, number: int) -> None:
    """Show one parked event whole, with what it holds about its customer."""
    with session.kit(config) as kit:
        found = [item for item in kit.parked(limit=_ALL) if item.number == number]
    if not found:
        raise click.UsageError(f"nothing is parked under {number}; see journeykit parked list")
    item = found[0]
    event = json.loads(item.entry.body)
    if as_json:
        print_json({"number": number, "owner": item.owner, "reason": item.reason, "event": event})
        return
    click.echo(f"{item.owner}: {item.reason}")
    print_json(event)


@parked.command()
@click.argument("numbers", type=int, nargs=-1, required=True)
@common
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_session
def drop(session: Session, numbers: tuple[int, ...], config: str, as_json: bool, yes: bool) -> None:
    """Delete parked events by their numbers; they are gone for good. Exit code 1 if one is not."""
    if not yes:
        click.confirm(f"Delete {len(numbers):,} parked events for good?", abort=True, err=True)
    with session.kit(config) as kit:
        dropped = kit.drop_parked(numbers)
    if as_json:
        print_json({"dropped": dropped})
    else:
        click.echo(f"dropped {dropped:,}")
    click.get_current_context().exit(0 if dropped == len(set(numbers)) else FAILED)


def _wait(kit: JourneyKit, owner: str | None, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while kit.store.parked(owner, replay=True, limit=1) and time.monotonic() < deadline:
        time.sleep(0.01)
    kit.flush(deadline - time.monotonic())


COMMANDS = (parked,)
