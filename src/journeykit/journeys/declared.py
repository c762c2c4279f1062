"""Declarations made ready to fold: templates filled in, touchpoints joined, mistakes named."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs

from journeykit.journeys.checks import contradictions
from journeykit.journeys.templates import TEMPLATES, extend
from journeykit.model.journey import Journey, Rule, Stage, Touchpoint
from journeykit.model.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@attrs.frozen
class Declared:
    """
    Journeys that are complete, and the names that they are matched by.

    Args:
        given: The same journeys as somebody has written them.

        names: The shop's own names.
    """

    journeys: tuple[Journey, ...]
    vocabulary: Vocabulary
    touchpoints: tuple[Touchpoint, ...]
    given: tuple[Journey, ...]
    names: Mapping[str, str]

    @property
    def channels(self) -> Mapping[str, str | None]:
        """Event name → the channel that its touchpoint declares."""
        return {point.name: point.channel for point in self.touchpoints}


def declare(
    journeys: Sequence[Journey], touchpoints: Sequence[Touchpoint], names: Mapping[str, str]
) -> tuple[Declared, list[str]]:
    """Return the declarations made ready, and one line for each mistake in them."""
    vocabulary = Vocabulary(names, (point.name for point in touchpoints))
    complete = tuple(_join(extend(journey), touchpoints) for journey in journeys)
    problems = [
        *_twice("journeys", (journey.label for journey in journeys)),
        *_twice("touchpoints", (point.name for point in touchpoints)),
        *_name_problems(names),
        *_touchpoint_problems(touchpoints, complete),
    ]
    for given, journey in zip(journeys, complete, strict=True):
        problems += _journey_problems(given, journey, vocabulary)
    return Declared(complete, vocabulary, tuple(touchpoints), tuple(journeys), names), problems


def _join(journey: Journey, touchpoints: Sequence[Touchpoint]) -> Journey:
    """Let the touchpoints that name a stage lead to it."""
    stages = tuple(_with_touchpoints(stage, touchpoints) for stage in journey.stages)
    return attrs.evolve(journey, stages=stages)


def _with_touchpoints(stage: Stage, touchpoints: Sequence[Touchpoint]) -> Stage:
    present = {rule.event for rule in stage.enter}
    added = [
        Rule(point.name)
        for point in touchpoints
        if point.stage == stage.key and point.name not in present
    ]
    return attrs.evolve(stage, enter=(*stage.enter, *added)) if added else stage


def _twice(what: str, labels: Iterable[str]) -> Iterator[str]:
    for label, count in Counter(labels).items():
        if count > 1:
            yield f"{what}: {label!r} is declared {count} times; once is enough"


def _name_problems(names: Mapping[str, str]) -> Iterator[str]:
    for own, meant in names.items():
        if meant in names:
            yield f"names.{own}: {meant!r} is itself a name of your own; write what it means"


def _touchpoint_problems(
    touchpoints: Sequence[Touchpoint], journeys: Sequence[Journey]
) -> Iterator[str]:
    stages = dict.fromkeys(stage.key for journey in journeys for stage in journey.stages)
    for index, point in enumerate(touchpoints):
        if point.stage is not None and point.stage not in stages:
            yield (
                f"touchpoints[{index}].stage: no journey has a stage {point.stage!r}; "
                f"there are {_listed(stages)}"
            )


def _journey_problems(given: Journey, journey: Journey, vocabulary: Vocabulary) -> Iterator[str]:
    where = f"journeys.{given.key}"
    if given.extends is not None and given.extends not in TEMPLATES:
        yield f"{where}.extends: is {given.extends!r}; expected one of {_listed(TEMPLATES)}"
        return
    if given.extends is not None:
        known = [stage.key for stage in TEMPLATES[given.extends].stages]
        for stage in given.stages:
            if stage.key not in known:
                yield (
                    f"{where}.stages: {given.extends!r} has no stage {stage.key!r}; "
                    f"it has {_listed(known)}"
                )
    if not journey.stages:
        yield f'{where}.stages: is empty; declare stages, or write extends = "ecommerce"'
    yield from _twice(f"{where}.stages", (stage.key for stage in journey.stages))
    for stage in journey.stages:
        yield from _stage_problems(f"{where}.stages.{stage.key}", stage, vocabulary)
    yield from _rule_problems(where, journey, vocabulary)
    if journey.goal is not None:
        yield from _doubts(f"{where}.goal.event", journey.goal.event, vocabulary)
    for index, rule in enumerate(journey.entry):
        yield from _doubts(f"{where}.entry[{index}].event", rule.event, vocabulary)
    for index, each in enumerate(journey.exits):
        yield from _doubts(f"{where}.exits[{index}].event", each.event, vocabulary)
    yield from contradictions(where, journey, vocabulary)


def _stage_problems(where: str, stage: Stage, vocabulary: Vocabulary) -> Iterator[str]:
    if not stage.enter:
        yield f"{where}.enter: is empty, so nobody can get here; name an event"
    for rule in stage.enter:
        yield from _doubts(f"{where}.enter", rule.event, vocabulary)
        if rule.after is not None:
            yield from _doubts(f"{where}.enter.after", rule.after, vocabulary)


def _doubts(where: str, name: str, vocabulary: Vocabulary) -> Iterator[str]:
    meanings = vocabulary.doubt(name)
    if meanings:
        yield (
            f"{where}: {name!r} may mean {_listed(meanings)}; write the one you mean, or declare "
            f"a touchpoint named {name!r}"
        )


def _rule_problems(where: str, journey: Journey, vocabulary: Vocabulary) -> Iterator[str]:
    """Name events that two rules without a condition lead to different places, or twice to one."""
    plain = [
        (rule.event, stage.key)
        for stage in journey.stages
        for rule in stage.enter
        if not rule.where and rule.after is None
    ]
    stages: dict[str, list[str]] = {}
    for event, key in plain:
        stages.setdefault(event, []).append(key)
    for event, keys in stages.items():
        if len(keys) > 1:
            yield (
                f"{where}.stages: {event!r} leads to {_listed(keys)}; keep one, or tell them apart "
                f"with where or after"
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
