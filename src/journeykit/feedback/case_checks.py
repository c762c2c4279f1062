"""Mistakes in the declared cases, all at once, each with its key path and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from journeykit.config.settings import Pattern
from journeykit.feedback.facts import CASE_RESOLVED
from journeykit.feedback.hours import find_zone
from journeykit.model.case import LONGEST_CLOCK
from journeykit.model.prompt import SCALES, PromptKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from journeykit.config.settings import Settings
    from journeykit.model.case import CaseRule, Cases, CaseWhen
    from journeykit.model.prompt import Prompt

_CODE: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*(\.\*)?")

#: How like a known code an unknown one must be to be taken for a slip of the pen.
_LIKENESS: Final = 0.8

#: More are not looked through by a person who chooses.
_MOST_RULES: Final = 100

#: Not the name of a rule, for `cases.owner` is whose all cases are.
_TAKEN: Final = ("owner", "rules")


def problems(settings: Settings, codes: Sequence[str]) -> Iterator[str]:
    """
    Yield one line for each mistake in `[cases]`.

    Args:
        codes: Of the pain-point rules that there are.
    """
    cases = settings.cases
    prompts = {prompt.key: prompt for prompt in settings.prompts}
    yield from _table_problems(cases)
    if len(cases.rules) > _MOST_RULES:
        yield f"cases.rules: there are {len(cases.rules)}; {_MOST_RULES} is the most"
    for key, count in Counter(rule.key for rule in cases.rules).items():
        if count > 1:
            yield f"cases.rules: {key!r} is declared {count} times; give each its own key"
    for rule in cases.rules:
        where = f"cases.rules.{rule.key}"
        if rule.key in _TAKEN:
            yield f"{where}.key: {rule.key!r} is taken; choose another key"
        yield from _when_problems(f"{where}.when", rule.when, prompts, codes)
        yield from _length_problems(where, rule)
        yield from _recovery_problems(where, rule, cases, prompts)
    if Pattern.EMAIL in settings.redaction.patterns:
        yield from _address_problems(settings)


def is_address(owner: object) -> bool:
    """Return whether a name would be taken out of the Log as an e-mail address."""
    return isinstance(owner, str) and "@" in owner


def _table_problems(cases: Cases) -> Iterator[str]:
    yield from _length_problems("cases", cases)
    try:
        find_zone(cases.zone)
    except LookupError as error:
        yield f"cases.zone: {error.args[0]}"


def _length_problems(where: str, declared: CaseRule | Cases) -> Iterator[str]:
    for name in ("first_response", "resolution", "reopen_within"):
        length: timedelta | None = getattr(declared, name)
        if length is not None and not timedelta(0) < length <= LONGEST_CLOCK:
            yield f"{where}.{name}: is {length}; write a duration such as 24h, 365d at most"


def _when_problems(
    where: str, when: CaseWhen, prompts: Mapping[str, Prompt], codes: Sequence[str]
) -> Iterator[str]:
    ways = {"prompt": when.prompt, "kind": when.kind, "pain_point": when.pain_point}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) != 1:
        got = f"has {' and '.join(given)}" if given else "has none of them"
        yield f"{where}: {got}; write one of prompt, kind and pain_point"
        return
    if when.pain_point is not None:
        yield from _pain_problems(where, when, codes)
    else:
        yield from _answer_problems(where, when, prompts)


def _pain_problems(where: str, when: CaseWhen, codes: Sequence[str]) -> Iterator[str]:
    code = when.pain_point or ""
    for name in ("at_least", "at_most"):
        if getattr(when, name) is not None:
            yield f"{where}.{name}: goes with prompt and kind only; leave it out"
    if not _CODE.fullmatch(code):
        yield (
            f"{where}.pain_point: is {code!r}; write a code such as payment.declined, or "
            f"payment.* for all that begin so"
        )
    elif not code.endswith(".*") and code not in codes:
        # Plugins find pain points of their own, so only what looks like a slip is a mistake.
        close = difflib.get_close_matches(code, codes, n=1, cutoff=_LIKENESS)
        if close:
            yield f"{where}.pain_point: no rule finds {code!r}; did you mean {close[0]!r}?"


def _answer_problems(where: str, when: CaseWhen, prompts: Mapping[str, Prompt]) -> Iterator[str]:
    if when.severity is not None:
        yield f"{where}.severity: goes with pain_point only; leave it out"
    prompt = prompts.get(when.prompt) if when.prompt is not None else None
    if when.prompt is not None and prompt is None:
        yield f"{where}.prompt: there is no prompt {when.prompt!r}; {_has(prompts)}"
        return
    kinds = {each.kind for each in prompts.values()}
    asked = {PromptKind.NPS_PLUS if when.kind is PromptKind.NPS else when.kind, when.kind}
    if when.kind is not None and kinds.isdisjoint(asked):
        yield f"{where}.kind: there is no prompt of the kind {when.kind.value!r}; {_has(prompts)}"
    kind = when.kind if prompt is None else prompt.kind
    scale = SCALES.get(kind) if kind is not None else None
    yield from _bound_problems(where, when, scale)
    if scale is None and not when.where and when.at_least is when.at_most is None:
        yield f"{where}.where: is missing; the prompt asks for no score, so say which answers"
    steps = {step.key for step in prompt.steps} if prompt is not None else None
    for key in when.where:
        if steps is not None and key not in steps:
            yield f"{where}.where: the prompt has no question {key!r}; it has {_listed(steps)}"


def _bound_problems(where: str, when: CaseWhen, scale: tuple[int, int] | None) -> Iterator[str]:
    bounds = {"at_least": when.at_least, "at_most": when.at_most}
    for name, value in bounds.items():
        if value is None:
            continue
        if scale is None:
            yield f"{where}.{name}: the prompt asks for no score; leave it out"
        elif not scale[0] <= value <= scale[1]:
            yield f"{where}.{name}: is {value}; scores are {scale[0]} to {scale[1]}"
    if None not in bounds.values() and (when.at_least or 0) > (when.at_most or 0):
        yield f"{where}.at_least: is more than at_most, so no answer fits"


def _recovery_problems(
    where: str, rule: CaseRule, cases: Cases, prompts: Mapping[str, Prompt]
) -> Iterator[str]:
    if rule.recovery is None:
        if rule.recovery_at_most is not None:
            yield f"{where}.recovery_at_most: goes with recovery only; leave it out"
        return
    prompt = prompts.get(rule.recovery)
    if prompt is None:
        yield f"{where}.recovery: there is no prompt {rule.recovery!r}; {_has(prompts)}"
        return
    scale = SCALES.get(prompt.kind)
    if scale is None:
        yield f"{where}.recovery: {prompt.key!r} asks for no score; name one that does"
        return
    if rule.recovery_at_most is not None and not scale[0] <= rule.recovery_at_most < scale[1]:
        yield (
            f"{where}.recovery_at_most: is {rule.recovery_at_most}; scores are {scale[0]} to "
            f"{scale[1]}, and one of them must be good"
        )
    if prompt.when.event != CASE_RESOLVED:
        yield (
            f"prompts.{prompt.key}.when: asks whether a case is resolved well; write "
            f'when = {{ event = "{CASE_RESOLVED}", delay = "24h", within = "7d" }}'
        )
    elif prompt.when.delay >= (rule.reopen_within or cases.reopen_within):
        yield (
            f"prompts.{prompt.key}.when.delay: is {prompt.when.delay}, and by then the case is "
            f"closed; make it shorter, or reopen_within of {rule.key!r} longer"
        )


def _address_problems(settings: Settings) -> Iterator[str]:
    cases = settings.cases
    owners = [("cases", cases.owner)]
    owners += [(f"cases.rules.{rule.key}", rule.owner) for rule in cases.rules]
    if cases.rules:
        owners += [(f"touchpoints.{each.name}", each.owner) for each in settings.touchpoints]
        for journey in settings.journeys:
            owners.append((f"journeys.{journey.key}", journey.owner))
            owners += [
                (f"journeys.{journey.key}.stages.{stage.key}", stage.owner)
                for stage in journey.stages
            ]
    for where, owner in owners:
        if is_address(owner):
            yield (
                f"{where}.owner: {owner!r} looks like an e-mail address, which is taken out of the "
                f"Log; write the name of a person, a team or a queue"
            )


def _has(prompts: Mapping[str, Prompt]) -> str:
    return f"there are {_listed(prompts)}"


def _listed(names: Mapping[str, Prompt] | set[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "none"
