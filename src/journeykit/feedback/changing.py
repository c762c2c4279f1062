"""What can be changed of a prompt, as a form shows it, and several changes checked at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.feedback.checks import feedback_problems, prompt_problems
from journeykit.feedback.overrides import FEEDBACK_KEYS, PROMPT_KEYS, change_at, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from journeykit.feedback.overrides import Change, Overlaid
    from journeykit.model.prompt import Prompt


@attrs.frozen(kw_only=True)
class Setting:
    """
    One key that can be changed without a deployment.

    Args:
        path: As in the declaration: `"prompts.after-checkout.ask.sample"`.

        name: The same, without what it belongs to: `"ask.sample"`.

        value, declared: What it holds now, and by the declaration; JSON values, None for nothing.

        change: The change that holds; None where that is the declaration.
    """

    path: str
    name: str
    value: Any
    declared: Any
    change: Change | None = None


class ChangesRefused(ValueError):
    """
    None of several changes was made.

    Args:
        problems: Path → what is wrong with its value; "" → what is wrong besides.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        said = (f"{path}: {why}" if path else why for path, why in problems.items())
        super().__init__("; ".join(said))


def settings_of(
    prompt: str | None, overlaid: Overlaid, declared: Overlaid, changes: Iterable[Change]
) -> tuple[Setting, ...]:
    """
    Return all that can be changed of one prompt, or for all prompts.

    Args:
        prompt: Its key; None for what holds for all.

        changes: The latest first.
    """
    held: dict[str, Change | None] = {}
    for change in changes:
        held.setdefault(change.path, change if change.new is not None else None)
    now = None if prompt is None else overlaid.prompt(prompt)
    area = "feedback" if prompt is None else f"prompts.{prompt}"
    names = FEEDBACK_KEYS if now is None else (*PROMPT_KEYS, *_texts(now))
    return tuple(
        Setting(
            path=f"{area}.{name}",
            name=name,
            value=value_of(overlaid, f"{area}.{name}"),
            declared=value_of(declared, f"{area}.{name}"),
            # What does not count any more is not what holds.
            change=None if f"{area}.{name}" in overlaid.ignored else held.get(f"{area}.{name}"),
        )
        for name in names
    )


def _texts(prompt: Prompt) -> Iterator[str]:
    """Yield the names of texts: of each that there is, and in each language that one is in."""
    fields = ("text", *(("low", "high") if prompt.asks_score else ()), "thanks")
    written = [getattr(prompt, field) for field in ("text", "low", "high", "thanks")]
    languages = {each: None for texts in written if texts for each in texts.by_language}
    for field in fields:
        for language in languages:
            yield f"{field}.{language or '*'}"


_CHANGED_MEANWHILE: Final = "somebody has changed it meanwhile; it is {} now"


def find_problems(
    overlaid: Overlaid,
    base: Overlaid,
    changes: Mapping[str, Any],
    seen: Mapping[str, Any],
) -> dict[str, str]:
    """
    Return what is wrong with *changes*, by path; under "" what is wrong with none of them alone.

    Args:
        overlaid: What holds now.

        base: The same without whatever was changed of these paths before.

        seen: What whoever makes them took the keys to hold.
    """
    problems: dict[str, str] = {}
    for path, value in changes.items():
        try:
            now, change = value_of(overlaid, path), change_at(base, path)
            if value is not None:
                base = change(value)
        except (LookupError, ValueError, TypeError) as error:
            problems[path] = str(error.args[0]) if error.args else type(error).__name__
            continue
        if path in seen and seen[path] != now:
            problems[path] = _CHANGED_MEANWHILE.format("nothing" if now is None else repr(now))
    return problems or _together(base, changes)


def _together(changed: Overlaid, changes: Iterable[str]) -> dict[str, str]:
    """Return what is wrong with everything together, though each is right by itself."""
    said: list[str] = []
    keys = {path.split(".")[1] for path in changes if path.startswith("prompts.")}
    for key in sorted(keys):
        prompt = changed.prompt(key)
        said += [] if prompt is None else prompt_problems(prompt, changed.feedback)
    if any(path.startswith("feedback.") for path in changes):
        said += feedback_problems(changed.feedback)
    problems: dict[str, str] = {}
    for each in said:
        where, _, what = each.partition(": ")
        whose = next((path for path in changes if _is_about(where, path)), "")
        known = problems.get(whose)
        told = what if whose else each
        problems[whose] = told if known is None else f"{known}; {told}"
    return problems


def _is_about(where: str, path: str) -> bool:
    """Return whether what is wrong at *where* is wrong at *path*, or in a language of it."""
    return where.partition("[")[0] in (path, path.rpartition(".")[0])
