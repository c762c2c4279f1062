"""Mistakes in declared prompts, all at once, each with its key path and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from journeykit.model.language import is_language, normal
from journeykit.model.prompt import MOST_COUNTED, MOST_PROMPTS, NPS_BANDS, PromptKind, Style
from journeykit.model.vocabulary import ALIASES, STANDARD_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from journeykit.config.settings import FeedbackSettings, Settings
    from journeykit.journeys.plan import Plan
    from journeykit.model.language import Texts
    from journeykit.model.prompt import Ask, Prompt, PromptStep
    from journeykit.model.vocabulary import Vocabulary

_CODE: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*(\.\*)?")
_CHOOSING: Final = (PromptKind.CHOICE, PromptKind.CHOICES)

#: The most of what one customer is shown at once: more is no prompt.
_MOST_OPTIONS: Final = 20
_MOST_STEPS: Final = 20

#: The fewest answers that a score may be told of.
LEAST_ANSWERS: Final = 5

#: How like a known name an unknown one must be to be taken for a slip of the pen.
_LIKENESS: Final = 0.88


def problems(settings: Settings, plans: Sequence[Plan], vocabulary: Vocabulary) -> Iterator[str]:
    """Yield one line for each mistake in prompts and in `[feedback]`."""
    prompts, feedback = settings.prompts, settings.feedback
    if len(prompts) > MOST_PROMPTS:
        yield f"prompts: there are {len(prompts)}; {MOST_PROMPTS} is the most"
    for key, count in Counter(prompt.key for prompt in prompts).items():
        if count > 1:
            yield f"prompts: {key!r} is declared {count} times; give each its own key"
    yield from feedback_problems(feedback)
    known = _known_names(settings, plans)
    for prompt in prompts:
        yield from prompt_problems(prompt, feedback)
        yield from _name_problems(prompt, vocabulary, known)
        yield from _stage_problems(prompt, plans)


def feedback_problems(feedback: FeedbackSettings) -> Iterator[str]:
    """Yield what is wrong with the table `[feedback]`."""
    if not is_language(feedback.language):
        yield f"feedback.language: {feedback.language!r} is no language; write a tag such as en"
    if not 0 <= feedback.per_session <= MOST_COUNTED:
        yield f"feedback.per_session: is {feedback.per_session}; 0 to {MOST_COUNTED}, 0 for no cap"
    if feedback.min_answers < LEAST_ANSWERS:
        yield (
            f"feedback.min_answers: is {feedback.min_answers}; write {LEAST_ANSWERS} or more: "
            f"fewer answers say nothing, and may be told whose they are"
        )
    for index, cap in enumerate(feedback.caps):
        if not 1 <= cap.most <= MOST_COUNTED:
            yield f"feedback.caps[{index}].most: is {cap.most}; write 1 to {MOST_COUNTED}"
        if cap.per is not None and cap.per <= timedelta(0):
            yield f"feedback.caps[{index}].per: is {cap.per}; write a duration such as 7d"


def prompt_problems(prompt: Prompt, feedback: FeedbackSettings) -> Iterator[str]:
    """Yield what is wrong with one prompt, whatever else is declared."""
    where = f"prompts.{prompt.key}"
    yield from _when_problems(f"{where}.when", prompt)
    yield from _ask_problems(f"{where}.ask", prompt.ask)
    yield from _text_problems(where, prompt, feedback)
    yield from _steps_problems(where, prompt)
    if not 0 <= prompt.priority <= 100:
        yield f"{where}.priority: is {prompt.priority}; write 0 to 100"
    start, end = prompt.schedule.start, prompt.schedule.end
    if start is not None and end is not None and end <= start:
        yield f"{where}.schedule.end: is not later than the start"
    if prompt.style is not Style.NUMBERS and prompt.kind is not PromptKind.CSAT:
        yield f"{where}.style: is for csat only; leave it out"
    for name in ("low", "high"):
        if getattr(prompt, name) is not None and not prompt.asks_score:
            yield f"{where}.{name}: is for scores only; leave it out"
    for name in ("page", "not_page"):
        yield from _pattern_problems(f"{where}.where.{name}", getattr(prompt.where, name))


def _when_problems(where: str, prompt: Prompt) -> Iterator[str]:
    when = prompt.when
    ways = {"event": when.event, "stage": when.stage, "page": when.page}
    given = [name for name, value in {**ways, "pain_point": when.pain_point}.items() if value]
    if len(given) != 1:
        got = f"has {' and '.join(given)}" if given else "has none of them"
        yield f"{where}: {got}; write one of event, stage, pain_point and page"
    if when.pain_point is not None and not _CODE.fullmatch(when.pain_point):
        yield (
            f"{where}.pain_point: is {when.pain_point!r}; write a code such as payment.declined, "
            f"or payment.* for all that begin so"
        )
    if when.severity is not None and when.pain_point is None:
        yield f"{where}.severity: goes with pain_point only; leave it out"
    if when.journey is not None and when.stage is None:
        yield f"{where}.journey: goes with stage only; leave it out"
    if when.where and when.event is None and when.pain_point is None:
        yield f"{where}.where: goes with event and pain_point only; leave it out"
    if when.after is not None and when.page is not None:
        yield f"{where}.after: does not go with page; leave it out"
    for name in ("delay", "within", "after_within"):
        if getattr(when, name) < timedelta(0):
            yield f"{where}.{name}: is less than nothing; write a duration such as 3s"
    if when.page is not None:
        yield from _pattern_problems(f"{where}.page", (when.page,))


def _pattern_problems(where: str, patterns: Iterable[str]) -> Iterator[str]:
    for pattern in patterns:
        if not isinstance(pattern, str) or not pattern.startswith(("/", "*")):
            yield f"{where}: {pattern!r} is no path; write one such as /orders/*"


def _ask_problems(where: str, ask: Ask) -> Iterator[str]:
    policies = {
        "every": ask.every is not None,
        "once": ask.once,
        "until_answered": ask.until_answered,
        "always": ask.always,
    }
    given = [name for name, is_given in policies.items() if is_given]
    if len(given) > 1:
        yield f"{where}: has {' and '.join(given)}; write one of them"
    if not 0 <= ask.sample <= 1:
        yield f"{where}.sample: is {ask.sample:g}; write a share from 0 to 1, as 0.5 for half"
    if ask.max_shows < 1:
        yield f"{where}.max_shows: is {ask.max_shows}; write 1 or more"
    if ask.limit is not None and ask.limit < 1:
        yield f"{where}.limit: is {ask.limit}; write 1 or more, or leave it out"
    if ask.every is not None and ask.every <= timedelta(0):
        yield f"{where}.every: is {ask.every}; write a duration such as 90d"


def _text_problems(where: str, prompt: Prompt, feedback: FeedbackSettings) -> Iterator[str]:
    default, languages = normal(feedback.language), set(prompt.text.languages)
    if languages and prompt.text.find([default]) is None:
        yield (
            f"{where}.text: has no text in {default!r}, to which the others fall back; add one, or "
            f"set feedback.language"
        )
    for path, texts in _texts(where, prompt):
        if not texts.languages:
            continue
        wanted = languages or {default}
        for tag in sorted(tag for tag in wanted if texts.find([tag]) is None):
            yield f"{path}: has no text in {tag!r}, as the question has; add one"


def _texts(where: str, prompt: Prompt) -> Iterator[tuple[str, Texts]]:
    for name in ("low", "high", "thanks"):
        texts = getattr(prompt, name)
        if texts is not None:
            yield f"{where}.{name}", texts
    for option in prompt.options:
        yield f"{where}.options.{option.key}", option.text
    for step in prompt.then:
        yield f"{where}.then.{step.key}.text", step.text
        for option in step.options:
            yield f"{where}.then.{step.key}.options.{option.key}", option.text


def _steps_problems(where: str, prompt: Prompt) -> Iterator[str]:
    if len(prompt.then) > _MOST_STEPS:
        yield f"{where}.then: has {len(prompt.then)} questions; {_MOST_STEPS} is the most"
    first = prompt.steps[0]
    for key, count in Counter(step.key for step in prompt.steps).items():
        if count > 1:
            yield f"{where}.then: {key!r} is there {count} times; give each question its own key"
    yield from _option_problems(where, first)
    for step in prompt.then:
        yield from _step_problems(f"{where}.then.{step.key}", step, first.scale)
    if prompt.kind is PromptKind.NPS_PLUS:
        yield from _band_problems(where, prompt)


def _step_problems(where: str, step: PromptStep, scale: tuple[int, int] | None) -> Iterator[str]:
    if step.scale is not None:
        yield f"{where}.kind: is {step.kind.value!r}; write choice, choices or text"
    if step.low is not None or step.high is not None:
        yield f"{where}.low: is for the first question only; leave it out"
    if not 1 <= step.max_length <= 5000:
        yield f"{where}.max_length: is {step.max_length}; write 1 to 5000"
    yield from _option_problems(where, step)
    bounds = {"at_least": step.at_least, "at_most": step.at_most}
    for name, value in bounds.items():
        if value is None:
            continue
        if scale is None:
            yield f"{where}.{name}: the first question has no score; leave it out"
        elif not scale[0] <= value <= scale[1]:
            yield f"{where}.{name}: is {value}; scores are {scale[0]} to {scale[1]}"
    if None not in bounds.values() and (step.at_least or 0) > (step.at_most or 0):
        yield f"{where}.at_least: is more than at_most, so nobody is asked"


def _option_problems(where: str, step: PromptStep) -> Iterator[str]:
    if step.kind not in _CHOOSING:
        if step.options:
            yield f"{where}.options: go with choice and choices only; leave them out"
        return
    if not 2 <= len(step.options) <= _MOST_OPTIONS:
        yield f"{where}.options: has {len(step.options)}; write 2 to {_MOST_OPTIONS}"
    for key, count in Counter(option.key for option in step.options).items():
        if count > 1:
            yield f"{where}.options: {key!r} is there {count} times; once is enough"


def _band_problems(where: str, prompt: Prompt) -> Iterator[str]:
    for band, low, high in NPS_BANDS:
        if not any(
            step.kind in _CHOOSING and step.is_asked(low) and step.is_asked(high)
            for step in prompt.then
        ):
            yield (
                f"{where}.then: nps_plus asks each band for a reason; add a choice for {band}, "
                f"with at_least = {low} and at_most = {high}"
            )
    if not any(step.kind is PromptKind.TEXT for step in prompt.then):
        yield f"{where}.then: nps_plus ends with a comment; add a question of the kind text"


# What can only be told beside the rest of the declaration


def _known_names(settings: Settings, plans: Sequence[Plan]) -> set[str]:
    known = {*STANDARD_NAMES, *ALIASES, *settings.names, *settings.names.values()}
    known |= {point.name for point in settings.touchpoints}
    return known | {name for plan in plans for name in plan.routes}


def _name_problems(prompt: Prompt, vocabulary: Vocabulary, known: Iterable[str]) -> Iterator[str]:
    where = f"prompts.{prompt.key}"
    named: list[tuple[str, Any]] = [("when.event", prompt.when.event)]
    named += [("when.after", prompt.when.after), *(("cancel", name) for name in prompt.cancel)]
    by_fold = {name.casefold(): name for name in known}
    for path, name in named:
        if name is None or name in by_fold.values():
            continue
        if not isinstance(name, str):
            yield f"{where}.{path}: expected an event's name, got {name!r}"
            continue
        meanings = vocabulary.doubt(name)
        if meanings:
            yield f"{where}.{path}: {name!r} may mean {_listed(meanings)}; write the one you mean"
            continue
        # Shops have events of their own, so only what looks like a slip is a mistake.
        close = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=_LIKENESS)
        if close:
            yield (
                f"{where}.{path}: no event is known as {name!r}; did you mean "
                f"{by_fold[close[0]]!r}? If not, declare a touchpoint of that name"
            )


def _stage_problems(prompt: Prompt, plans: Sequence[Plan]) -> Iterator[str]:
    where, when = f"prompts.{prompt.key}", prompt.when
    journeys: dict[str, set[str]] = {}
    for plan in plans:
        journeys.setdefault(plan.journey.key, set()).update(plan.keys)
    if when.journey is not None and when.journey not in journeys:
        yield f"{where}.when.journey: there is no journey {when.journey!r}; {_has(journeys)}"
    elif when.stage is not None:
        stages = journeys.get(when.journey or "", set().union(*journeys.values()))
        if when.stage not in stages:
            yield f"{where}.when.stage: there is no stage {when.stage!r}; {_has(stages)}"
    known = set().union(*journeys.values())
    known |= {f"{key}.{stage}" for key, stages in journeys.items() for stage in stages}
    for name in ("stage", "not_stage"):
        for stage in getattr(prompt.where, name):
            if stage not in known:
                yield f"{where}.where.{name}: there is no stage {stage!r}; {_has(known)}"


def _has(names: Iterable[str] | Mapping[str, Any]) -> str:
    return f"there are {_listed(sorted(names))}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
