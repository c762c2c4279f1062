"""A journey compiled for folding: which event means what, found by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import attrs

from journeykit.model import jsonbytes
from journeykit.model.journey import Loop

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from journeykit.journeys.published import Publication
    from journeykit.model.journey import Journey
    from journeykit.model.vocabulary import Vocabulary


_T = TypeVar("_T")


class Candidate(NamedTuple):
    """A rule that may lead to a stage: the stage's index, and what must hold."""

    stage: int
    after: str | None
    where: Mapping[str, Any]


class Way(NamedTuple):
    """What begins or ends a run: what must hold, and what the end is called."""

    where: Mapping[str, Any]
    outcome: str = ""


class Route(NamedTuple):
    """
    What events of one name mean to a journey.

    `candidates` are in the order in which they are tried; `marks` are the `after` conditions that
    such an event fulfils for later ones.
    `ends_all` tells that one without an instance ends all that the customer has.
    """

    candidates: tuple[Candidate, ...] = ()
    marks: tuple[str, ...] = ()
    is_goal: bool = False
    needs_properties: bool = False
    entries: tuple[Way, ...] = ()
    exits: tuple[Way, ...] = ()
    ends_all: bool = False


@attrs.frozen
class Plan:
    """
    A journey and its routes by event name.

    Durations are in microseconds; `stalls` has one item a stage.
    """

    journey: Journey
    keys: tuple[str, ...]
    routes: Mapping[str, Route]
    within: int | None
    timeout: int | None
    stalls: tuple[int | None, ...]
    late: int
    wait: int
    #: Key and version: `"shop@1"`.
    label: str
    #: The journey and its version as derived events carry them.
    encoded: bytes
    #: Whether time alone can change a run, and whether a move may derive nothing.
    has_deadlines: bool
    moves_in_silence: bool
    #: When it was published; None for a plan that stands alone.
    publication: Publication | None = None


def compile_plan(
    journey: Journey, vocabulary: Vocabulary, publication: Publication | None = None
) -> Plan:
    """
    Return the plan of a complete *journey*.

    A rule for the very name of an event goes before one for a name that means the same.
    """
    within = journey.goal.within if journey.goal is not None else None
    stalls = tuple(_micros(stage.stall) for stage in journey.stages)
    return Plan(
        journey=journey,
        keys=tuple(stage.key for stage in journey.stages),
        routes=_routes(journey, vocabulary),
        within=_micros(within),
        timeout=_micros(journey.timeout),
        stalls=stalls,
        late=_micros(journey.late) or 0,
        wait=_micros(journey.reentry.wait) or 0,
        label=journey.label,
        encoded=b'"journey":%b,"version":%d' % (jsonbytes.dumps(journey.key), journey.version),
        has_deadlines=journey.timeout is not None or any(stall is not None for stall in stalls),
        moves_in_silence=journey.loop is Loop.ALLOW,
        publication=publication,
    )


def _micros(duration: timedelta | None) -> int | None:
    return None if duration is None else round(duration.total_seconds() * 1_000_000)


def _routes(journey: Journey, vocabulary: Vocabulary) -> dict[str, Route]:
    rules = [(index, rule) for index, stage in enumerate(journey.stages) for rule in stage.enter]
    written = {rule.event for _, rule in rules}
    candidates: dict[str, list[Candidate]] = {}
    for index, rule in rules:
        for name in vocabulary.same(rule.event):
            if name == rule.event or name not in written:
                candidate = Candidate(index, rule.after, rule.where)
                candidates.setdefault(name, []).append(candidate)
    guards = sorted({rule.after for _, rule in rules if rule.after is not None})
    marks = _by_name(vocabulary, ((guard, guard) for guard in guards))
    entries = _by_name(vocabulary, ((rule.event, Way(rule.where)) for rule in journey.entry))
    exits = _by_name(
        vocabulary, ((each.event, Way(each.where, each.outcome)) for each in journey.exits)
    )
    every = _by_name(
        vocabulary, ((each.event, True) for each in journey.exits if not each.match_instance)
    )
    goal = journey.goal
    goals = set(vocabulary.same(goal.event)) if goal is not None else set()
    has_worth = goal is not None and goal.value is not None
    return {
        name: _route(
            candidates.get(name, []),
            marks.get(name, ()),
            entries.get(name, ()),
            exits.get(name, ()),
            is_goal=name in goals,
            has_worth=has_worth and name in goals,
            ends_all=name in every,
        )
        for name in {*candidates, *marks, *goals, *entries, *exits}
    }


def _by_name(vocabulary: Vocabulary, pairs: Iterable[tuple[str, _T]]) -> dict[str, list[_T]]:
    found: dict[str, list[_T]] = {}
    for event, item in pairs:
        for name in vocabulary.same(event):
            found.setdefault(name, []).append(item)
    return found


def _route(  # noqa: PLR0913 - what an event may mean
    candidates: list[Candidate],
    marks: Sequence[str],
    entries: Sequence[Way],
    exits: Sequence[Way],
    *,
    is_goal: bool,
    has_worth: bool,
    ends_all: bool,
) -> Route:
    conditions = [rule.where for rule in candidates]
    conditions += [way.where for way in (*entries, *exits)]
    return Route(
        _in_order(candidates),
        tuple(marks),
        is_goal,
        any(conditions) or has_worth,
        tuple(entries),
        tuple(exits),
        ends_all,
    )


def _in_order(candidates: list[Candidate]) -> tuple[Candidate, ...]:
    # A rule with more conditions says more about the event; a later stage, more about the customer.
    return tuple(
        sorted(candidates, key=lambda rule: (rule.after is None, not rule.where, -rule.stage))
    )


def matches(where: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
    """Return whether *properties* have the values that *where* asks for."""
    return all(
        properties.get(name) in wanted
        if isinstance(wanted, list)
        else properties.get(name) == wanted
        for name, wanted in where.items()
    )
