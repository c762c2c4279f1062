"""`journeykit diff`: what a change of the declarations does, and to whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import click

from journeykit.assembly import declared_in
from journeykit.cli.app import Session, common, pass_session
from journeykit.cli.output import print_json, print_table
from journeykit.exceptions import ConfigError
from journeykit.insight.report import figures_of
from journeykit.journeys import declare
from journeykit.journeys.compare import Change, Running, changes, fates
from journeykit.journeys.declared import Declared
from journeykit.journeys.plan import compile_plan
from journeykit.journeys.published import Version, publications
from journeykit.store import Store, open_store

#: By journey, then by number.
_Versions = dict[str, dict[int, Version]]

_FATES = {"stay": "stay on {version}", "close": "end as superseded", "migrate": "go on in {to}"}


@click.command()
@click.argument("old", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.argument("new", required=False, type=click.Path(path_type=Path, dir_okay=False))
@common
@pass_session
def diff(session: Session, config: str, as_json: bool, old: Path | None, new: Path | None) -> None:
    """
    Show what is different in the declarations, and what that means to the runs under way.

    OLD and NEW are files like journeykit.toml. Without NEW, the configuration is compared with OLD;
    without both, with what was published.
    Reads only. Exit code 0, whether there is a difference or not.
    """
    declared, store = _declared(session, str(new or config))
    if new is not None:
        store = _declared(session, config)[1] if Path(config).exists() else store
    published = _published(store)
    other = _declared(session, str(old))[0] if old is not None else None
    before = _by_key(Version.all_of(other)) if other is not None else published
    after = _by_key(Version.all_of(declared))
    found = [
        _compare(key, before.get(key, {}), after.get(key, {}), published.get(key, {}), store)
        for key in {**before, **after}
    ]
    if as_json:
        print_json({"journeys": found})
        return
    for each in found:
        _print(each)
    if not found:
        click.echo("no journey is declared on either side")


def _declared(session: Session, path: str) -> tuple[Declared, Store | None]:
    """Return what is declared, whether it goes with what was published or not, and the store."""
    if session.given is not None and not Path(path).exists():
        settings = session.given.settings
        journeys = (*settings.journeys, *session.given.plugins.register_journeys())
        return declare(journeys, settings.touchpoints, settings.names)[0], session.given.store
    settings, declared = declared_in(path)
    try:
        return declared, open_store(settings.core.store, str(settings.base))
    except ConfigError:
        return declared, None


def _published(store: Store | None) -> _Versions:
    if store is None:
        return {}
    return _by_key([made.version for made in publications(store.peek_published()).values()])


def _by_key(versions: list[Version]) -> _Versions:
    found: _Versions = {}
    for version in versions:
        found.setdefault(version.journey.key, {})[version.journey.version] = version
    return found


def _compare(
    key: str,
    before: dict[int, Version],
    after: dict[int, Version],
    published: dict[int, Version],
    store: Store | None,
) -> dict[str, Any]:
    old = before[max(before)] if before else None
    new = after[max(after)] if after else None
    found = changes(old, new) if old is not None and new is not None else []
    running = [
        each
        for version in published.values()
        if new is not None and version.journey.version < new.journey.version
        for each in fates(version, new, _current(store, version))
    ]
    same = old is not None and new is not None and old.label == new.label
    return {
        "key": key,
        "old": old.journey.version if old is not None else None,
        "new": new.journey.version if new is not None else None,
        "publish": _policy(new),
        "in_place": bool(found) and same,
        "changes": [attrs.asdict(change) for change in found],
        "running": [attrs.asdict(each) for each in running],
    }


def _current(store: Store | None, version: Version) -> list[int]:
    """Return how many runs are under way, by stage; nothing is opened that is not there."""
    if store is None or not any(store.sizes().values()):
        return [0] * len(version.journey.stages)
    return list(figures_of(store, compile_plan(version.journey, version.vocabulary)).current)


def _policy(version: Version | None) -> Any:
    if version is None:
        return None
    policy = version.journey.publish
    return policy if isinstance(policy, str) else attrs.asdict(policy)


def _print(found: dict[str, Any]) -> None:
    key, old, new = found["key"], found["old"], found["new"]
    if old is None:
        click.echo(f"{key}: version {new} is a new journey; it counts the whole Log")
        return
    if new is None:
        click.echo(f"{key}: is not declared any more; nothing folds, and its figures go")
        return
    label = f"{key}@{old} → {key}@{new}"
    if not found["changes"]:
        click.echo(f"{label}: events fold as before")
    else:
        rows = [_row(Change(**change)) for change in found["changes"]]
        print_table(("what", "where", "old", "new"), rows, title=label)
    if found["in_place"]:
        click.echo(f"This changes version {new} in place: write version = {new + 1}")
    if found["running"]:
        click.echo()
        under_way = [_fate(key, new, Running(**each)) for each in found["running"]]
        print_table(("runs", "under way in", "will"), under_way)


def _row(change: Change) -> tuple[str, str, str | None, str | None]:
    return change.what, change.path, _shown(change.old), _shown(change.new)


def _shown(value: Any) -> str | None:
    """Return a JSON value as people write it; rules by their events where that says all."""
    if isinstance(value, dict) and set(value) == {"enter"}:
        value = value["enter"]
    if isinstance(value, list):
        return ", ".join(
            each["event"] if isinstance(each, dict) and set(each) == {"event"} else _json(each)
            for each in value
        )
    return None if value is None else _json(value)


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _fate(key: str, new: int, each: Running) -> tuple[int, str, str]:
    label = f"{key}@{each.version}"
    to = f"{each.to} of {key}@{new}"
    return each.count, f"{each.stage} of {label}", _FATES[each.fate].format(version=label, to=to)


COMMANDS = (diff,)
