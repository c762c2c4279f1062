"""
Every hook that a plugin can implement.

A plugin is a module or an object with functions marked by `@hookimpl`.
An implementation takes only the arguments that it needs, by these names.
Arguments are only ever added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from journeykit.model.casework import Answer, Case
    from journeykit.model.customer import Customer
    from journeykit.model.event import Event
    from journeykit.model.extension import Endpoint, SinkType, SourceType
    from journeykit.model.impression import Candidate, Page
    from journeykit.model.journey import Instance, Journey
    from journeykit.model.pain_point import PainPoint
    from journeykit.model.rule import PainPointRule

PROJECT: Final = "journeykit"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_sinks() -> Iterable[SinkType]:  # type: ignore[empty-body]
    """
    Return the kinds of sinks that this plugin adds.

    Asked when a `journeykit.toml` is read, not where an app makes its `Settings` in Python.
    If it raises, the start fails and names the plugin.
    """


@hookspec
def register_sources() -> Iterable[SourceType]:  # type: ignore[empty-body]
    """
    Return the kinds of sources that this plugin adds.

    Asked when a `journeykit.toml` is read, not where an app makes its `Settings` in Python.
    If it raises, the start fails and names the plugin.
    """


@hookspec
def register_journeys() -> Iterable[Journey]:  # type: ignore[empty-body]
    """
    Return the journeys that this plugin declares.

    Asked once, when a kit is built.
    If it raises, the start fails and names the plugin.
    """


@hookspec
def register_rules() -> Iterable[PainPointRule]:  # type: ignore[empty-body]
    """
    Return the pain-point rules that this plugin adds.

    Asked once, when a kit is built.
    If it raises, or two rules have one code, the start fails and names the plugin.
    A rule that raises later means nothing by that event; one that hangs trips its plugin.
    """


@hookspec
def register_endpoints(settings: Any, kit: Any) -> Iterable[Endpoint]:  # type: ignore[empty-body]
    """
    Return HTTP endpoints to serve under the mount point.

    Asked once, when a kit is built.
    If it raises, the start fails and names the plugin.

    Args:
        settings: The kit's `Settings`.

        kit: The kit itself; it is whole when the first request comes, and not before.
    """


@hookspec
def register_commands(cli: Any) -> None:
    """
    Add commands to the command line.

    Asked when `journeykit` starts.
    If it raises, its commands are missing and a warning names the plugin.

    Args:
        cli: The `click.Group` of the `journeykit` command.
    """


@hookspec
def enrich_event(event: Event) -> Mapping[str, Any] | None:
    """
    Return properties to add to *event* before it enters the Log.

    Properties that the app has set stay as they are.
    If it raises, this plugin is skipped for this event.
    """


@hookspec
def accept_event(event: Event) -> bool | None:
    """
    Return False to keep *event* out of the Log.

    A withheld event is counted under the plugin's name.
    If it raises, the event is parked under the plugin's name and can be replayed.
    """


@hookspec
def detect_stage(event: Event, journey: Journey, instance: Instance) -> str | None:
    """
    Return the key of the stage that *event* brings *instance* to, or None for no opinion.

    The first plugin with an opinion wins; the declared rules come last.
    If it raises, the next one is asked.
    """


@hookspec
def detect_pain_points(event: Event, customer: Customer) -> Iterable[PainPoint] | None:
    """
    Return or yield the pain points that *event* shows.

    Asked once for each event that is not derived.
    If it raises, what it had found for this event is dropped, and the others' findings stay.
    """


@hookspec
def select_prompt(
    candidates: Sequence[Candidate], customer: Customer, page: Page
) -> Candidate | str | None:
    """
    Return which of *candidates* to show, or its key, or None for no opinion.

    Every gate lets each of them through, and the chosen one is claimed as any other.
    The first plugin with an opinion wins.
    All plugins together have 50 ms; a page waits.
    If it raises, the next one is asked; if it hangs, it is not asked again until the process
    restarts, and the highest priority is shown.

    Args:
        candidates: What may be shown, the highest priority first; at least two.

        customer: Who is on the page.

        page: The page.
    """


@hookspec
def read_answer(answer: Answer) -> Mapping[str, Any] | None:
    """
    Return what *answer* says: any of `sentiment`, `themes` and `root_cause`.

    Asked for answers that open a case or belong to one, again for each that says more.
    What several plugins return is put together; the first one to name a key wins.
    If it raises, this plugin is skipped for this answer.

    Args:
        answer: All that the customer has answered so far.
    """


@hookspec
def route_case(case: Case) -> str | None:
    """
    Return whose a new case is, or None for no opinion.

    The first plugin with an opinion wins; without any, it is the owner that is declared.
    If it raises, the next one is asked.

    Args:
        case: The case, with the owner that is declared.
    """


@hookspec
def event_parked(event: Event, sink: str, reason: str) -> None:
    """
    Hear that *event* was set aside.

    Args:
        event: What was parked.

        sink: The sink that did not take it, or `plugin:NAME` where a plugin failed on it.

        reason: What the sink or the plugin said.
    """
