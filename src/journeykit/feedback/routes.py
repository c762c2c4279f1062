"""Prompts compiled for folding: which event arms, cancels or comes before which of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from journeykit.model.pain_point import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from journeykit.config.settings import FeedbackSettings
    from journeykit.journeys.plan import Plan
    from journeykit.model.prompt import Prompt, When
    from journeykit.model.vocabulary import Vocabulary

#: Counts up when this version makes another State of the same Log.
VERSION: Final = 1

#: What an event does to a prompt.
ARMS, CANCELS, PRECEDES = range(3)

_SEVERITIES: Final = tuple(Severity)


class Way(NamedTuple):
    """What an event of some name does to a prompt, and the rule that says so."""

    what: int
    prompt: str
    when: When


class Routes(NamedTuple):
    """
    What events mean to prompts.

    `instances` are the labels of the journeys with several instances a customer, of which it is
    kept where a stage was entered last; `severe` from which severity on a pain point is kept.
    """

    by_event: Mapping[str, Sequence[Way]]
    by_stage: Mapping[str, Sequence[Way]]
    by_pain: Sequence[Way]
    keys: frozenset[str]
    instances: frozenset[str]
    severe: int

    @property
    def fingerprint(self) -> str:
        """What changes when the same Log would fold to another State, but for the instances."""
        told = [
            VERSION,
            sorted((name, list(ways)) for name, ways in self.by_event.items()),
            sorted((name, list(ways)) for name, ways in self.by_stage.items()),
            self.by_pain,
            sorted(self.keys),
            self.severe,
        ]
        return hashlib.blake2b(repr(told).encode(), digest_size=8).hexdigest()


def rank(severity: str) -> int:
    """Return how severe *severity* is; one that is none is not severe."""
    try:
        return _SEVERITIES.index(Severity(severity))
    except ValueError:
        return -1


def compile_routes(
    prompts: Sequence[Prompt],
    feedback: FeedbackSettings,
    plans: Sequence[Plan],
    vocabulary: Vocabulary,
) -> Routes:
    """Return the routes of *prompts*."""
    by_event: dict[str, list[Way]] = {}
    by_stage: dict[str, list[Way]] = {}
    by_pain: list[Way] = []
    for prompt in prompts:
        when = prompt.when
        _route(by_event, vocabulary, when.event, Way(ARMS, prompt.key, when))
        _route(by_event, vocabulary, when.after, Way(PRECEDES, prompt.key, when))
        for name in prompt.cancel:
            _route(by_event, vocabulary, name, Way(CANCELS, prompt.key, when))
        if when.stage is not None:
            by_stage.setdefault(when.stage, []).append(Way(ARMS, prompt.key, when))
        if when.pain_point is not None:
            by_pain.append(Way(ARMS, prompt.key, when))
    stages = set(stages_asked_for(prompts, feedback))
    return Routes(
        by_event={name: tuple(ways) for name, ways in by_event.items()},
        by_stage={name: tuple(ways) for name, ways in by_stage.items()},
        by_pain=tuple(by_pain),
        keys=frozenset(prompt.key for prompt in prompts),
        instances=frozenset(
            plan.label
            for plan in plans
            if plan.journey.instance_by is not None and asks_for(plan, stages)
        ),
        severe=rank(feedback.quiet_severity),
    )


def stages_asked_for(prompts: Iterable[Prompt], feedback: FeedbackSettings) -> Iterable[str]:
    """Return the stages that a customer's being there matters of, as they were written."""
    yield from feedback.never_stages
    for prompt in prompts:
        yield from prompt.where.stage
        yield from prompt.where.not_stage


def asks_for(plan: Plan, stages: Iterable[str]) -> bool:
    """Return whether one of *stages* is a stage of this journey."""
    own = {*plan.keys, *(f"{plan.journey.key}.{key}" for key in plan.keys)}
    return not own.isdisjoint(stages)


def _route(
    by_event: dict[str, list[Way]], vocabulary: Vocabulary, name: str | None, way: Way
) -> None:
    for same in vocabulary.same(name) if name is not None else ():
        by_event.setdefault(same, []).append(way)
