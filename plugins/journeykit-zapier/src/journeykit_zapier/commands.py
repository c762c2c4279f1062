"""`journeykit zapier …`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
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
    """Zapier: the integration, and what Zaps have subscribed to."""


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


@zapier.command("integration")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="zapier-integration",
    show_default=True,
    help="The folder to write to.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def integration_command(as_json: bool, out: Path) -> None:
    """Write the private integration that Zaps subscribe and record with, to push to Zapier."""
    if out.exists():
        raise Failure(f"{out} is there already; choose another --out")
    try:
        out.mkdir(parents=True)
        for each in resources.files("journeykit_zapier").joinpath("integration").iterdir():
            (out / each.name).write_bytes(each.read_bytes())
    except OSError as error:
        raise Failure(f"{out}: {error.strerror}") from error
    if as_json:
        print_json({"folder": str(out), "files": sorted(path.name for path in out.iterdir())})
        return
    click.echo(f"wrote {out}; next:")
    click.echo(f"  cd {out} && npm install")
    click.echo("  npx zapier-platform-cli login")
    click.echo("  npx zapier-platform-cli register && npx zapier-platform-cli push")


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
