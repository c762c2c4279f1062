"""`journeykit webhook …`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from journeykit.cli.app import Failure, Misconfigured, Session, common, pass_session
from journeykit.cli.output import print_json, print_table
from journeykit.store.kept import Kept
from journeykit_webhook.gone import Gone
from journeykit_webhook.posting import Target
from journeykit_webhook.settings import WebhookSettings, reveal

if TYPE_CHECKING:
    from journeykit import JourneyKit


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def webhook() -> None:
    """Webhooks: the endpoints, and which of them are gone."""


@webhook.command("list")
@common
@pass_session
def list_command(session: Session, config: str, as_json: bool) -> None:
    """List the endpoints, and since when one that answered 410 is gone."""
    with session.kit(config) as kit:
        found = [
            {"sink": sink, "endpoint": str(target), "gone": gone.since()}
            for sink, (target, gone) in _endpoints(kit).items()
        ]
    if as_json:
        print_json(found)
        return
    rows = [[each["sink"], each["endpoint"], each["gone"] or "–"] for each in found]
    print_table(("sink", "endpoint", "gone since"), rows)


@webhook.command("enable")
@click.argument("sink")
@common
@pass_session
def enable_command(session: Session, config: str, as_json: bool, sink: str) -> None:
    """Let SINK post again to an endpoint that answered 410, within five minutes."""
    with session.kit(config) as kit:
        endpoints = _endpoints(kit)
        if sink not in endpoints:
            raise Misconfigured(
                f'sinks.{sink}: there is no such sink with type = "webhook" in '
                f"{kit.settings.origin}; there is {', '.join(sorted(endpoints))}"
            )
        target, gone = endpoints[sink]
        since = gone.since()
        if since is None:
            raise Failure(f"{sink} is enabled: {target} has not answered 410")
        gone.forget()
    if as_json:
        print_json({"enabled": sink})
    else:
        click.echo(f"enabled {sink}: it posts to {target} again within five minutes")


def _endpoints(kit: JourneyKit) -> dict[str, tuple[Target, Gone]]:
    found = {}
    for name, declared in kit.settings.sinks.items():
        if isinstance(declared.settings, WebhookSettings):
            url = reveal(declared.settings.url)
            gone = Gone(url)
            gone.keep_in(Kept(kit.store, f"sink:{name}"))
            found[name] = Target.of(url, plain=bool(declared.settings.allow)), gone
    if not found:
        raise Misconfigured(f'there is no sink with type = "webhook" in {kit.settings.origin}')
    return found
