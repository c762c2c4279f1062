"""A journey compiled for folding: which event means what, found by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from journeykit.model.journey import Goal, Journey
    from journeykit.model.vocabulary import Vocabulary


class Candidate(NamedTuple):
    """A rule that may lead to a stage: the stage's index, and what must hold."""

    stage: int
    after: str | None
    where: Mapping[str, Any]


class Route(NamedTuple):
    """
    What events of one name mean to a journey.

    `candidates` are in the order in which they are tried; `marks` are the `after` conditions that
    such an event fulfils for later ones.
    """

    candidates: tuple[Candidate, ...]
    marks: tuple[str, ...]
    is_goal: bool
    needs_properties: bool


@attrs.frozen
class Plan:
    """A journey and its routes by event name."""

    journey: Journey
    keys: tuple[str, ...]
    routes: Mapping[str, Route]
    within: int | None

    @property
    def label(self) -> str:
        """Key and version: `"shop@1"`."""
        return self.journey.label


def compile_plan(journey: Journey, vocabulary: Vocabulary) -> Plan:
    """
    Return the plan of a complete *journey*.

    A rule for the very name of an event goes before one for a name that means the same.
    """
    rules = [(index, rule) for index, stage in enumerate(journey.stages) for rule in stage.enter]
    written = {rule.event for _, rule in rules}
    candidates: dict[str, list[Candidate]] = {}
    for index, rule in rules:
        for name in vocabulary.same(rule.event):
            if name == rule.event or name not in written:
                candidate = Candidate(index, rule.after, rule.where)
                candidates.setdefault(name, []).append(candidate)
    marks: dict[str, list[str]] = {}
    for guard in sorted({rule.after for _, rule in rules if rule.after is not None}):
        for name in vocabulary.same(guard):
            marks.setdefault(name, []).append(guard)
    goal = journey.goal
    goals = set(vocabulary.same(goal.event)) if goal is not None else set()
    routes = {
        name: _route(candidates.get(name, []), marks.get(name, []), goal if name in goals else None)
        for name in {*candidates, *marks, *goals}
    }
    within = goal.within if goal is not None else None
    keys = tuple(stage.key for stage in journey.stages)
    micros = None if within is None else round(within.total_seconds() * 1_000_000)
    return Plan(journey, keys, routes, micros)


def _route(candidates: list[Candidate], marks: list[str], goal: Goal | None) -> Route:
    # A rule with more conditions says more about the event; a later stage, more about the customer.
    order = sorted(candidates, key=lambda rule: (rule.after is None, not rule.where, -rule.stage))
    needs = any(rule.where for rule in order) or (goal is not None and goal.value is not None)
    return Route(tuple(order), tuple(marks), goal is not None, needs)


def matches(where: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
    """Return whether *properties* have the values that *where* asks for."""
    return all(
        properties.get(name) in wanted
        if isinstance(wanted, list)
        else properties.get(name) == wanted
        for name, wanted in where.items()
    )
