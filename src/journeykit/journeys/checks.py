"""What makes no sense in one journey: rules that nothing can meet, and rules against each other."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from journeykit.journeys.plan import compile_plan
from journeykit.model.journey import Migrate, Skip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from journeykit.journeys.plan import Candidate
    from journeykit.model.journey import Exit, Journey, Stage
    from journeykit.model.vocabulary import Vocabulary


def contradictions(where: str, journey: Journey, vocabulary: Vocabulary) -> Iterator[str]:
    """Yield one line for each mistake in a complete *journey* at the key path *where*."""
    wrong = list(_duration_problems(where, journey))
    yield from wrong
    yield from _twin_problems(where, journey)
    yield from _end_problems(where, journey, vocabulary)
    if not wrong:
        yield from _stall_problems(where, journey)
        yield from _unreachable(where, journey, vocabulary)
    yield from _other_problems(where, journey)


def _duration_problems(where: str, journey: Journey) -> Iterator[str]:
    goal, again = journey.goal, journey.reentry
    spans: list[tuple[str, Any, bool]] = [
        ("timeout", journey.timeout, True),
        ("late", journey.late, False),
        ("reentry.wait", again.wait, False),
        ("goal.within", goal.within if goal is not None else None, True),
    ]
    for stage in journey.stages:
        spans.append((f"stages.{stage.key}.expected", stage.expected, True))
        spans.append((f"stages.{stage.key}.stall", stage.stall, True))
    for path, span, lasts in spans:
        if span is None:
            continue
        if not isinstance(span, timedelta):
            yield f"{where}.{path}: is {span!r}, which is no duration; write a timedelta"
        elif span < timedelta(0) or (lasts and not span):
            yield f"{where}.{path}: is {span}; a duration is longer than nothing"


def _stall_problems(where: str, journey: Journey) -> Iterator[str]:
    for stage in journey.stages:
        if (
            journey.timeout is not None
            and stage.stall is not None
            and stage.stall >= journey.timeout
        ):
            yield (
                f"{where}.stages.{stage.key}.stall: nobody can stall for {stage.stall}, because "
                f"timeout ends every run after {journey.timeout}; shorten stall, or take it out"
            )


def _twin_problems(where: str, journey: Journey) -> Iterator[str]:
    """Name rules that ask for the same thing; those without a condition are named elsewhere."""
    rules: Counter[tuple[str, str, str | None]] = Counter()
    for stage in journey.stages:
        for rule in stage.enter:
            if rule.where or rule.after is not None:
                rules[rule.event, repr(sorted(rule.where.items())), rule.after] += 1
    for (event, _, after), count in rules.items():
        if count > 1:
            condition = "where" if after is None else "where and after"
            yield (
                f"{where}.stages: {count} rules for {event!r} have the same {condition}; keep one, "
                f"or tell them apart"
            )


def _end_problems(where: str, journey: Journey, vocabulary: Vocabulary) -> Iterator[str]:
    for index, rule in enumerate(journey.entry):
        if _always_ends(rule.event, rule.where, journey.exits, vocabulary):
            yield (
                f"{where}.entry[{index}]: {rule.event!r} is an exit too, so a run would end as it "
                f"begins; take it out of exits, or tell them apart with where"
            )
    for stage in journey.stages:
        if stage.enter and _only_ends(stage, journey, vocabulary):
            yield (
                f"{where}.stages.{stage.key}.enter: every event that leads here is an exit, which "
                f"ends the run instead; name another event, or take it out of exits"
            )
    goal = journey.goal
    if goal is not None and _always_ends(goal.event, {}, journey.exits, vocabulary):
        yield (
            f"{where}.goal.event: {goal.event!r} is an exit too, which ends the run before the "
            f"goal is met; take it out of exits"
        )


def _always_ends(
    event: str, where: Mapping[str, Any], exits: Sequence[Exit], vocabulary: Vocabulary
) -> bool:
    standard = vocabulary.standard(event)
    return any(
        vocabulary.standard(each.event) == standard and _implied(each.where, where)
        for each in exits
    )


def _implied(where: Mapping[str, Any], by: Mapping[str, Any]) -> bool:
    """Return whether every event that meets *by* meets *where* too."""
    return all(name in by and _within(by[name], wanted) for name, wanted in where.items())


def _within(value: Any, wanted: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    allowed = wanted if isinstance(wanted, list) else [wanted]
    return all(each in allowed for each in values)


def _unreachable(where: str, journey: Journey, vocabulary: Vocabulary) -> Iterator[str]:
    """Name stages that no event leads to, because other rules are always tried before."""
    twice = _named_twice(journey)
    alive: set[int] = set()
    for name, route in compile_plan(journey, vocabulary).routes.items():
        tried: list[Candidate] = []
        for candidate in route.candidates:
            hidden = any(_covers(before, candidate) for before in tried)
            if name in twice or (not hidden and _can_follow(candidate, journey, vocabulary)):
                alive.add(candidate.stage)
            tried.append(candidate)
    for index, stage in enumerate(journey.stages):
        if not stage.enter or index in alive:
            continue
        if _only_ends(stage, journey, vocabulary):
            continue
        yield (
            f"{where}.stages.{stage.key}.enter: nobody can get here, because {_reason(stage)}; "
            f"change the rules"
        )
        if journey.skip is Skip.FORBID:
            # All that come after it are out of reach by this alone.
            return


def _named_twice(journey: Journey) -> set[str]:
    plain = Counter(
        rule.event
        for stage in journey.stages
        for rule in stage.enter
        if not rule.where and rule.after is None
    )
    return {event for event, count in plain.items() if count > 1}


def _covers(before: Candidate, candidate: Candidate) -> bool:
    """Return whether *before* holds wherever *candidate* does, and is not its twin."""
    if (before.where, before.after) == (candidate.where, candidate.after):
        return False
    return before.after in (None, candidate.after) and _implied(before.where, candidate.where)


def _can_follow(candidate: Candidate, journey: Journey, vocabulary: Vocabulary) -> bool:
    """Return whether the event that a rule comes after leaves the run going on."""
    if candidate.after is None or not journey.entry:
        return True
    return not _always_ends(candidate.after, {}, journey.exits, vocabulary)


def _only_ends(stage: Stage, journey: Journey, vocabulary: Vocabulary) -> bool:
    return all(
        _always_ends(rule.event, rule.where, journey.exits, vocabulary) for rule in stage.enter
    )


def _reason(stage: Stage) -> str:
    events = _listed(dict.fromkeys(rule.event for rule in stage.enter))
    return f"another rule is always tried before, or what must come earlier cannot, for {events}"


def _other_problems(where: str, journey: Journey) -> Iterator[str]:
    again = journey.reentry
    if not again.allow and again.max is not None:
        yield f"{where}.reentry.max: means nothing with allow = false; keep one of the two"
    if not again.allow and again.wait:
        yield f"{where}.reentry.wait: means nothing with allow = false; keep one of the two"
    if journey.instance_by is not None and not journey.instance_by.strip():
        yield f"{where}.instance_by: is empty; name a property, or leave it out"
    if isinstance(journey.publish, Migrate):
        yield from _migrate_problems(where, journey, journey.publish)


def _migrate_problems(where: str, journey: Journey, publish: Migrate) -> Iterator[str]:
    keys = [stage.key for stage in journey.stages]
    for old, new in publish.migrate.items():
        if new not in keys:
            yield (
                f"{where}.publish.migrate.{old}: version {journey.version} has no stage {new!r}; "
                f"it has {_listed(keys)}"
            )
    if not publish.migrate:
        yield f'{where}.publish.migrate: names no stage; write publish = "drain"'


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
