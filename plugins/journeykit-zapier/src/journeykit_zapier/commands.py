"""`journeykit zapier …`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from journeykit.cli.app import Failure, Misconfigured, Session, common, pass_session
from journeykit.cli.output import print_json, print_table
from journeykit.store.kept import Kept
from journeykit_zapier.settings import ZapierSettings
from journeykit_zapier.subscriptions import Subscriptions

if TYPE_CHECKING:
    from journeykit import JourneyKit


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def zapier() -> None:
    """Zapier: what Zaps have subscribed to."""


@zapier.command("list")
@common
@pass_session
def list_command(session: Session, config: str, as_json: bool) -> None:
    """List the subscriptions; their addresses are secrets, and are not shown."""
    with session.kit(config) as kit:
        found = [
            {
                "sink": sink,
                "id": each.id,
                "event": each.event,
                "host": urlsplit(each.url).hostname,
                "since": each.since,
            }
            for sink, subscriptions in _sinks(kit).items()
            for each in subscriptions.all()
        ]
    if as_json:
        print_json(found)
        return
    columns = ("sink", "id", "event", "host", "since")
    print_table(columns, [[each[column] for column in columns] for each in found])


@zapier.command("remove")
@click.argument("id")
@common
@pass_session
def remove_command(session: Session, config: str, as_json: bool, id: str) -> None:
    """Forget a subscription, as if its Zap had been switched off."""
    with session.kit(config) as kit:
        for subscriptions in _sinks(kit).values():
            if any(each.id == id for each in subscriptions.all()):
                subscriptions.remove(id)
                break
        else:
            raise Failure(f"there is no subscription {id}; `journeykit zapier list` shows all")
    if as_json:
        print_json({"removed": id})
    else:
        click.echo(f"removed {id}; switch the Zap off and on to have it back")


def _sinks(kit: JourneyKit) -> dict[str, Subscriptions]:
    found = {
        name: Subscriptions(Kept(kit.store, f"sink:{name}"))
        for name, declared in kit.settings.sinks.items()
        if isinstance(declared.settings, ZapierSettings)
    }
    if not found:
        raise Misconfigured(f'there is no sink with type = "zapier" in {kit.settings.origin}')
    return found
