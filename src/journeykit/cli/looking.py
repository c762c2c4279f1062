"""Commands that look: `check`, `report`, `status`, `plugins`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import click

from journeykit.cli.app import Misconfigured, Session, common, pass_session
from journeykit.cli.cases import print_case_figures
from journeykit.cli.output import print_json, print_table
from journeykit.cli.ranking import print_pain_points
from journeykit.cli.scoring import print_scores
from journeykit.costs import costs_of
from journeykit.delivery import builtin
from journeykit.insight import CustomerStage, JourneyFigures, JourneyTotal
from journeykit.kit import JourneyKit
from journeykit.model.journey import Journey
from journeykit.plugins import Plugin, Plugins

_NO_SHOP: Final = "there is no journeykit.toml here: these are the plugins that are installed"

#: How long a report waits for what was never looked at, such as the first import, in seconds.
_WATCH_SECONDS = 600.0


@click.command()
@common
@pass_session
def check(session: Session, config: str, as_json: bool) -> None:
    """
    Read the declarations and name every mistake in them.

    Opens no store and sends nothing.
    Exit code 0: they are fine; 2: they are not.
    """
    with session.kit(config) as kit:
        journeys = kit.journeys
        if as_json:
            print_json(
                {
                    "ok": True,
                    "source": kit.settings.origin,
                    "store": kit.store.name,
                    "consent": kit.settings.consent.mode,
                    "journeys": [
                        {
                            "key": journey.key,
                            "version": journey.version,
                            "stages": [stage.key for stage in journey.stages],
                        }
                        for journey in journeys
                    ],
                    "sinks": [_gate_json(sink.name, kit) for sink in kit.sinks],
                    "segments": list(kit.settings.insight.segments),
                    "plugins": [plugin.name for plugin in kit.plugins],
                    "pain_points": [rule.name for rule in kit.rules],
                    "without_events": [rule.name for rule in kit.unfed_rules],
                    "cases": [rule.key for rule in kit.settings.cases.rules],
                    "without_owner": _unowned(kit),
                }
            )
            return
        click.echo(f"{kit.settings.origin}: fine")
        click.echo(f"store    {kit.store.name}")
        click.echo(f"consent  {kit.settings.consent.mode}")
        click.echo(f"sinks    {', '.join(_gate(sink.name, kit) for sink in kit.sinks) or 'none'}")
        if kit.rules:
            unfed = ", ".join(rule.name for rule in kit.unfed_rules)
            said = f"; no declared event reaches {unfed}" if unfed else ""
            click.echo(f"pains    {len(kit.rules)} rules{said}")
        if kit.settings.cases.rules:
            unowned = ", ".join(_unowned(kit))
            said = f"; cases of {unowned} may belong to nobody" if unowned else ""
            click.echo(f"cases    {len(kit.settings.cases.rules)} rules{said}")
        segments = kit.settings.insight.segments
        if segments:
            click.echo(f"segments {', '.join(segments)}")
        for journey in journeys:
            _print_declared(journey)


def _unowned(kit: JourneyKit) -> list[str]:
    """Return the case rules whose cases nobody has for sure; a plugin may say whose they are."""
    cases = kit.settings.cases
    if cases.owner or any("route_case" in plugin.hooks for plugin in kit.plugins):
        return []
    return [rule.key for rule in cases.rules if not rule.owner]


def _gate(sink: str, kit: JourneyKit) -> str:
    """Return a sink's name, with what it asks of its events."""
    gate = kit.gates[sink]
    said = [f"purpose {gate.purpose}"] if gate.purpose else []
    said += ["third party"] if gate.third_party else []
    return f"{sink} ({', '.join(said)})" if said else sink


def _gate_json(sink: str, kit: JourneyKit) -> dict[str, Any]:
    gate = kit.gates[sink]
    return {"name": sink, "purpose": gate.purpose, "third_party": gate.third_party}


def _print_declared(journey: Journey) -> None:
    rows = [
        (stage.key, ", ".join(rule.event for rule in stage.enter), _duration(stage.expected))
        for stage in journey.stages
    ]
    click.echo()
    print_table(
        ("stage", "entered by", "expected"), rows, title=f"{journey.title} ({journey.label})"
    )


def _duration(value: Any) -> str | None:
    return None if value is None else str(value)


@click.command()
@common
@click.option("--journey", "key", help="Only the journey with this key.")
@click.option(
    "--customers",
    "count",
    type=click.IntRange(min=1),
    help="Also list this many customers with the stage each is in, the latest seen first.",
)
@pass_session
def report(
    session: Session, config: str, as_json: bool, key: str | None, count: int | None
) -> None:
    """
    Show how many customers are in which stage, what they say, and where it hurts.

    entered: have been there. now: are there at present. no further: got as far as that.
    """
    with session.kit(config) as kit:
        current = kit.catch_up(watch=_WATCH_SECONDS)
        figures = kit.report()
        chosen = [journey for journey in figures.journeys if key in (None, journey.key)]
        if key is not None and not chosen:
            known = ", ".join(sorted({journey.key for journey in figures.journeys})) or "none"
            raise Misconfigured(f"there is no journey {key!r}; there are: {known}")
        who = (
            {journey.key: kit.customers(journey.key, count) for journey in chosen} if count else {}
        )
        cases = kit.cases.figures() if kit.settings.cases.rules else None
        points = [point for point in figures.pain_points if key in (None, point.journey)]
        scores = [score for score in figures.scores if key is None or score.is_of(key)]
        if as_json:
            value = {
                **figures.to_dict(),
                "journeys": [attrs.asdict(item) for item in chosen],
                "pain_points": [point.to_dict() for point in points],
                "scores": [score.to_dict() for score in scores],
                "cases": None if cases is None else cases.to_dict(),
            }
            value["totals"] = [each for each in value["totals"] if key in (None, each["key"])]
            for journey, item in zip(chosen, value["journeys"], strict=True) if count else ():
                item["customers"] = [_customer_json(one) for one in _of_version(journey, who)]
            print_json({**value, "current": current})
            return
        click.echo(f"{figures.events:,} events of {figures.customers:,} customers")
        if not current:
            click.echo(
                "These figures are not up to date. Either the app has plugins that this command "
                "does not know (then run: flask journeykit report), or a running app has other "
                "declarations (then restart it), or a new version of a journey waits until the app "
                "starts with it."
            )
        totals = {total.key: total for total in figures.totals}
        for journey in chosen:
            if journey.key in totals:
                _print_total(totals.pop(journey.key))
            print_journey(journey)
            if count:
                _print_customers(journey, _of_version(journey, who))
        print_scores(scores)
        print_pain_points(figures, points, watched=bool(kit.settings.insight.segments))
        if cases is not None:
            print_case_figures(cases)


def _of_version(
    journey: JourneyFigures, who: dict[str, list[CustomerStage]]
) -> list[CustomerStage]:
    return [item for item in who[journey.key] if item.version == journey.version]


def _print_total(total: JourneyTotal) -> None:
    """Print what the versions of a journey come to."""
    *most, last = (str(version) for version in total.versions)
    versions = f"versions {', '.join(most)} and {last} together"
    click.echo()
    click.echo(_headline(f"{total.title} ({total.key}), {versions}", total))
    if total.moved:
        click.echo(f"({total.moved:,} went on in another version, and are counted once here)")


def _headline(name: str, figures: JourneyFigures | JourneyTotal) -> str:
    line = f"{name}: {figures.instances:,} begun"
    if figures.completed is not None:
        line += f", {figures.completed:,} completed"
    if figures.value:
        line += f", worth {figures.value:,.2f}"
    return line


def print_journey(journey: JourneyFigures) -> None:
    """Print the stages of a journey as a table."""
    click.echo()
    if not journey.instances:
        click.echo(f"{journey.title} ({journey.key}@{journey.version}): nobody yet")
        return
    rows = [
        (
            stage.title,
            stage.entered,
            f"{stage.entered / journey.instances:.0%}",
            stage.current,
            stage.furthest,
            f"{stage.furthest / journey.instances:.0%}",
        )
        for stage in journey.stages
    ]
    title = _headline(f"{journey.title} ({journey.key}@{journey.version})", journey)
    print_table(("stage", "entered", "of all", "now", "no further", "of all"), rows, title=title)


def _print_customers(journey: JourneyFigures, found: list[CustomerStage]) -> None:
    rows = [
        (
            item.customer if item.known else f"{item.customer[:8]}… (anonymous)",
            item.instance or None,
            item.stage,
            item.furthest,
            f"{item.last_seen:%Y-%m-%d %H:%M}",
        )
        for item in found
    ]
    click.echo()
    columns = ("customer", "instance", "now", "furthest", "last seen (UTC)")
    print_table(columns, rows, title=f"Customers of {journey.key}, latest first")


def _customer_json(item: CustomerStage) -> dict[str, Any]:
    return {**attrs.asdict(item), "last_seen": item.last_seen.isoformat()}


@click.command()
@common
@pass_session
def status(session: Session, config: str, as_json: bool) -> None:
    """Show how the store and the sinks are doing, and what was parked, withheld or tripped."""
    with session.kit(config) as kit:
        value = kit.status()
    if as_json:
        print_json(value)
        return
    counters = value["counters"]
    click.echo(f"store    {value['store']}")
    if sizes := value["store_bytes"]:
        parts = (
            f"{name.replace('_', ' ')} {size / 2**20:,.1f} MiB" for name, size in sizes.items()
        )
        click.echo(f"disk     {', '.join(parts)}")
    click.echo(f"events   {counters['events']:,}")
    click.echo(f"folded   {'not all of them yet' if value['behind'] else 'all'}")
    if value["watch"]["segments"]:
        click.echo(f"watched  {_watched(value['watch'])}")
    if value["damage"]:
        _print_damage(**value["damage"])
    for sink in value["sinks"]:
        click.echo(f"sink     {sink['name']}: {_sink(sink)}")
    for owner, count in sorted(value["parked"].items()):
        click.echo(f"parked   {count:,} by {owner} (journeykit parked list)")
    _print_counters(counters)


def _print_counters(counters: dict[str, int]) -> None:
    """Print what became of events that did not simply pass."""
    for name, count in sorted(counters.items()):
        what, _, whose = name.partition(":")
        if what in ("withheld", "tripped"):
            click.echo(f"{what:<8} {count:,} by {whose}")
        elif what == "redacted":
            click.echo(f"redacted {count:,} times: {whose}")
        elif what == "unconsented":
            click.echo(f"not sent {count:,} to {whose}: the customers have not agreed")
        elif what == "erased" and count:
            click.echo(f"erased   {count:,} events came after their customer was erased")


def _watched(watch: dict[str, Any]) -> str:
    """Return how far steps are watched, and which properties have more values than are."""
    until = watch["days_until"]
    said = f"days until {until[:10]}" if until else "no day yet"
    said += f", by {', '.join(watch['segments'])}; {watch['most_values']} values of each at most"
    for name, count in watch["capped"].items():
        said += f"; {name} has {count:,}"
    return said


def _sink(sink: dict[str, Any]) -> str:
    """Return how a sink is doing, as the process that delivers to it has told last."""
    said = "has events to deliver" if sink["behind"] else "has everything"
    if sink["failures"]:
        said += f"; failed {sink['failures']:,} times in a row: {sink['last_error']}"
    if sink["next_try"]:
        said += f"; next try {sink['next_try'][:19]}Z"
    if sink["held_back"]:
        said += f"; {sink['held_back']:,} events are held back"
    if sink["failures"] or sink["held_back"]:
        said += f" (process {sink['process']} at {sink['as_of'][:19]}Z)"
    return said


def _print_damage(salvaged: int, lost: int, files: list[str]) -> None:
    click.echo(f"damaged  {lost:,} events lost, {salvaged:,} taken over from what was set aside:")
    for file in files:
        click.echo(f"         {file}")


@click.command()
@common
@pass_session
def plugins(session: Session, config: str, as_json: bool) -> None:
    """
    List the plugins: where each comes from, what it hooks into, and whether it ever hung.

    What hooks have cost is that of all processes since the store was made.
    Where there is no shop, it is the installed ones.
    """
    if session.is_without_shop(config):
        found, more = _plugins_json(Plugins(builtin=[builtin]), {}), _NO_SHOP
    else:
        with session.kit(config) as kit:
            found, more = _plugins_json(kit.plugins, kit.store.counters()), None
    if as_json:
        print_json(found)
        return
    rows = [
        (item["name"], item["origin"], ", ".join(item["hooks"]), item["tripped"]) for item in found
    ]
    print_table(("plugin", "from", "hooks", "hung in"), rows)
    _print_costs({item["name"]: item["costs"] for item in found})
    if more is not None:
        click.echo(more, err=True)


def _plugins_json(plugins: Iterable[Plugin], counters: Mapping[str, int]) -> list[dict[str, Any]]:
    tripped = _tripped(counters)
    return [
        {**_plugin_json(plugin, counters), "tripped": tripped.get(plugin.name)}
        for plugin in plugins
    ]


def _plugin_json(plugin: Plugin, counters: Mapping[str, int]) -> dict[str, Any]:
    costs = costs_of(plugin.name, counters)
    return {
        "name": plugin.name,
        "origin": plugin.origin,
        "hooks": list(plugin.hooks),
        "calls": sum(cost.asked for cost in costs.values()),
        "errors": sum(cost.failed for cost in costs.values()),
        "seconds": round(sum((cost.seconds for cost in costs.values()), 0.0), 6),
        "costs": {hook: cost._asdict() for hook, cost in costs.items()},
    }


def _print_costs(costs: Mapping[str, Mapping[str, dict[str, Any]]]) -> None:
    rows = [
        (
            plugin,
            hook,
            cost["asked"],
            cost["failed"],
            f"{cost['seconds']:,.3f}",
            f"{1e6 * cost['seconds'] / cost['asked']:,.0f}" if cost["asked"] else None,
        )
        for plugin, hooks in costs.items()
        for hook, cost in hooks.items()
    ]
    if rows:
        click.echo()
        columns = ("plugin", "hook", "asked", "failed", "seconds", "µs each")
        print_table(columns, rows, title="What they have cost, in all processes")


def _tripped(counters: Mapping[str, int]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in counters:
        what, _, rest = name.partition(":")
        if what == "tripped":
            plugin, _, hook = rest.rpartition(":")
            found[plugin] = hook
    return found


COMMANDS = (check, report, status, plugins)
