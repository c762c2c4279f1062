"""Answers from outside: which are what was asked for, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit.model.prompt import PromptKind

if TYPE_CHECKING:
    from journeykit.model.prompt import Prompt, PromptStep

#: Of a form without JavaScript every value is a text.
_DIGITS: Final = 3


class Answers(NamedTuple):
    """Answers that are what was asked for, by step, and what is wrong with the others."""

    given: dict[str, Any]
    errors: dict[str, str]

    def score(self, prompt: Prompt) -> int | None:
        """Return the score among them."""
        return self.given.get(prompt.steps[0].key) if prompt.asks_score else None


def read_answers(prompt: Prompt, said: object, *, complete: bool) -> Answers:
    """
    Return the answers in *said* as far as they are some.

    What was not asked of somebody with this score is left out: they may have changed it.

    Args:
        complete: Whether everything that is required must be there.
    """
    if said is None:
        said = {}
    if not isinstance(said, Mapping):
        return Answers({}, {"": "wrong_type"})
    steps = prompt.steps
    known = {step.key for step in steps}
    errors = {str(key)[:64]: "unknown" for key in said if key not in known}
    given: dict[str, Any] = {}
    score: int | None = None
    for step in steps:
        if not step.is_asked(score):
            continue
        value, error = _read(step, said.get(step.key))
        if error:
            errors[step.key] = error
        elif value is not None:
            given[step.key] = value
            score = value if step.scale is not None else score
        elif complete and step.required:
            errors[step.key] = "required"
    return Answers(given, errors)


def _read(step: PromptStep, value: Any) -> tuple[Any, str]:
    """Return the answer and no error, or none and what is wrong with it."""
    if value is None or value in ("", []):
        return None, ""
    if step.scale is not None:
        return _read_score(step.scale, value)
    return _read_text(step, value) if step.kind is PromptKind.TEXT else _read_choice(step, value)


def _read_choice(step: PromptStep, value: Any) -> tuple[Any, str]:
    options = {option.key for option in step.options}
    if step.kind is PromptKind.CHOICE:
        if not isinstance(value, str):
            return None, "wrong_type"
        return (value, "") if value in options else (None, "no_option")
    chosen = [value] if isinstance(value, str) else value
    if not isinstance(chosen, list) or not all(isinstance(each, str) for each in chosen):
        return None, "wrong_type"
    return (sorted(set(chosen)), "") if options.issuperset(chosen) else (None, "no_option")


def _read_score(scale: tuple[int, int], value: Any) -> tuple[int | None, str]:
    if isinstance(value, str) and len(value) <= _DIGITS and value.isascii() and value.isdigit():
        value = int(value)
    if type(value) is not int:
        return None, "wrong_type"
    return (value, "") if scale[0] <= value <= scale[1] else (None, "out_of_range")


def _read_text(step: PromptStep, value: Any) -> tuple[str | None, str]:
    if not isinstance(value, str):
        return None, "wrong_type"
    text = value.strip()
    return (text or None, "") if len(text) <= step.max_length else (None, "too_long")
