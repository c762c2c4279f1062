"""`journeykit salesforce …`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from journeykit.cli.app import Failure, Misconfigured, Session, common, pass_session
from journeykit.cli.output import print_json
from journeykit_salesforce.metadata import PERMISSIONS, describe
from journeykit_salesforce.records import Recorder, Unfit
from journeykit_salesforce.settings import SalesforceSettings

if TYPE_CHECKING:
    from journeykit import JourneyKit


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def salesforce() -> None:
    """Salesforce: what to deploy there, and what would be written."""


@salesforce.command("describe")
@common
@click.option("--sink", help="The sink, if there are several of Salesforce.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="salesforce-metadata",
    show_default=True,
    help="The folder to write to.",
)
@pass_session
def describe_command(
    session: Session, config: str, as_json: bool, sink: str | None, out: Path
) -> None:
    """Write the objects and fields that the mapping needs, to deploy."""
    with session.kit(config) as kit:
        settings = _settings(kit, sink)
    files = describe(settings.mappings, settings.api_version)
    try:
        for name, text in files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failure(f"{out}: {error.strerror}") from error
    if as_json:
        print_json({"folder": str(out), "files": sorted(files)})
        return
    for name in sorted(files):
        click.echo(str(out / name))
    click.echo(
        f"Deploy it: sf project deploy start --metadata-dir {out}\n"
        f"and assign the permission set: sf org assign permset --name {PERMISSIONS}"
    )


@salesforce.command("preview")
@common
@click.option("--sink", help="The sink, if there are several of Salesforce.")
@click.option("--limit", default=20, show_default=True, help="How many of the last events.")
@pass_session
def preview_command(
    session: Session, config: str, as_json: bool, sink: str | None, limit: int
) -> None:
    """Print the records that the last events make; nothing is sent."""
    with session.kit(config) as kit:
        settings = _settings(kit, sink)
        events = _last(kit, limit)
    recorders = [Recorder(mapping) for mapping in settings.mappings]
    found = [made for event in events for made in _records(recorders, event)]
    if as_json:
        print_json(found)
        return
    for made in found:
        click.echo(f"{made['event']}  {made['name']} → {made['object']} {made.get('key', '–')}")
        for field, value in (made.get("fields") or {}).items():
            click.echo(f"    {field} = {value}")
        if "problem" in made:
            click.echo(f"    would be parked: {made['problem']}")
    click.echo(f"{len(found)} records of the last {len(events)} events; nothing was sent")


def _settings(kit: JourneyKit, name: str | None) -> SalesforceSettings:
    found = {
        sink: declared.settings
        for sink, declared in kit.settings.sinks.items()
        if isinstance(declared.settings, SalesforceSettings)
    }
    if name is not None:
        found = {sink: settings for sink, settings in found.items() if sink == name}
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        which = f"sinks.{name}: there is no such sink" if name else "there is no sink"
        raise Misconfigured(f'{which} with type = "salesforce" in {kit.settings.origin}')
    raise Misconfigured(f"there are several; choose one with --sink: {', '.join(sorted(found))}")


def _last(kit: JourneyKit, limit: int) -> list[dict[str, Any]]:
    """Return the last events of the Log in their wire form."""
    from collections import deque

    from journeykit.model import jsonbytes

    kept: deque[bytes] = deque(maxlen=max(0, limit))
    position = None
    while page := kit.store.read(position, 1_000):
        kept.extend(stored.wire() for stored in page)
        position = page[-1].position
    return [jsonbytes.loads(wire) for wire in kept]


def _records(recorders: list[Recorder], wire: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for recorder in recorders:
        told = {"event": wire["id"], "name": wire["name"], "object": recorder.object}
        try:
            made = recorder.record(wire)
        except Unfit as problem:
            found.append({**told, "problem": str(problem)})
            continue
        if made is not None:
            found.append({**told, "key": made[0], "fields": made[1]})
    return found
