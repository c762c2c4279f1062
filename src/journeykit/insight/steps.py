"""What events mean as steps of a journey: which comes after which, and where a customer gets on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.journeys.plan import matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from journeykit.journeys.plan import Plan
    from journeykit.model.vocabulary import Vocabulary


class Step(NamedTuple):
    """
    One place of a journey that customers get on from, or do not.

    `place` is where it comes in the journey: the steps of a stage in the order in which its `enter`
    lists them; None behind the goal, where nobody has to get on any more.
    `event` is as the declaration writes it.
    """

    journey: str
    label: str
    place: int | None
    stage: str
    event: str


class Failing(NamedTuple):
    """An event that says by itself that something failed."""

    event: str


class Reading(NamedTuple):
    """A step that an event may be, with the event that must have come before, if any."""

    step: Step
    after: str | None


class _Rule(NamedTuple):
    reading: Reading
    where: Mapping[str, Any]


#: What names of events have in them that say that something failed.
_SAYS_SO: Final = re.compile(
    r"error|fail|declin|denied|reject|exception|crash|bug(?![a-z])", re.IGNORECASE
)


class Steps:
    """
    The steps of *plans*, of each journey its newest version.

    Args:
        failures: Names of events that say that something failed; None for those of no stage whose
            name says so.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        vocabulary: Vocabulary,
        failures: Iterable[str] | None = None,
    ) -> None:
        self._failures = (
            None
            if failures is None
            else {alias: Failing(name) for name in failures for alias in vocabulary.same(name)}
        )
        #: The step that meets the goal, by the journey's label.
        self.goals: dict[str, Step] = {}
        self.evaluated: list[Step] = []
        self.guards: frozenset[str] = frozenset()
        self._rules: dict[str, list[list[_Rule]]] = {}
        #: What makes an `after` condition true: each name, and what the declaration calls it.
        self.marks: dict[str, str] = {}
        for plan in _newest(plans):
            self._add(plan, vocabulary)

    def _add(self, plan: Plan, vocabulary: Vocabulary) -> None:
        journey, rules, ends = plan.journey, list[tuple[int, _Rule]](), None
        goal = journey.goal.event if journey.goal is not None else None
        goals = set(vocabulary.same(goal)) if goal is not None else set()
        steps: list[Step] = []
        for index, stage in enumerate(journey.stages):
            for rule in stage.enter:
                step = Step(journey.key, plan.label, len(steps), stage.key, rule.event)
                steps.append(step)
                rules.append((index, _Rule(Reading(step, rule.after), rule.where)))
                if ends is None and rule.event in goals and rule.after is None:
                    ends = step.place
        if ends is None and goal is not None:
            ends = len(steps)
            steps.append(Step(journey.key, plan.label, ends, journey.stages[-1].key, goal))
            rules.append((len(journey.stages), _Rule(Reading(steps[-1], None), {})))
        if ends is not None:
            self.goals[plan.label] = steps[ends]
        last = len(steps) - 1 if ends is None else ends
        self.evaluated += steps[:last]
        self._route([_behind(rule, last) for _, rule in sorted(rules, key=_preference)], vocabulary)

    def _route(self, rules: Sequence[_Rule], vocabulary: Vocabulary) -> None:
        written = {rule.reading.step.event for rule in rules}
        here: dict[str, list[_Rule]] = {}
        for rule in rules:
            event, after = rule.reading.step.event, rule.reading.after
            for name in vocabulary.same(event):
                if name == event or name not in written:
                    here.setdefault(name, []).append(rule)
            for name in vocabulary.same(after) if after is not None else ():
                self.marks[name] = str(after)
        for name, found in here.items():
            self._rules.setdefault(name, []).append(found)

    def knows(self, name: str) -> bool:
        """Return whether events of this name are steps."""
        return name in self._rules

    def failing(self, name: str) -> Failing | None:
        """Return what events of this name say that failed; None if they say nothing such."""
        if self._failures is not None:
            return self._failures.get(name)
        said = not self.knows(name) and _SAYS_SO.search(name) is not None
        return Failing(name) if said else None

    def readings(self, name: str, properties: Mapping[str, Any]) -> tuple[tuple[Reading, ...], ...]:
        """Return for each journey what an event may be to it, the first that holds first."""
        return tuple(
            tuple(
                rule.reading for rule in rules if not rule.where or matches(rule.where, properties)
            )
            for rules in self._rules.get(name, ())
        )


def _behind(rule: _Rule, last: int) -> _Rule:
    step = rule.reading.step
    if step.place is None or step.place <= last:
        return rule
    return rule._replace(reading=rule.reading._replace(step=step._replace(place=None)))


def _newest(plans: Sequence[Plan]) -> list[Plan]:
    newest: dict[str, Plan] = {}
    for plan in plans:
        known = newest.get(plan.journey.key)
        if known is None or known.journey.version < plan.journey.version:
            newest[plan.journey.key] = plan
    return list(newest.values())


def _preference(placed: tuple[int, _Rule]) -> tuple[bool, bool, int]:
    # As the fold of stages prefers them.
    stage, rule = placed
    return rule.reading.after is None, not rule.where, -stage
