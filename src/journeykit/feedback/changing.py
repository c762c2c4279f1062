"""What can be changed of a prompt, as a form shows it, and several changes checked at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.feedback.overrides import FEEDBACK_KEYS, PROMPT_KEYS, lay_over, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

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
        problems: Path → what is wrong with its value.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(f"{path}: {said}" for path, said in problems.items()))


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
    changes: Mapping[str, Any],
    seen: Mapping[str, Any],
    check: Callable[[Overlaid, str], None],
) -> dict[str, str]:
    """
    Return what is wrong with *changes*, by path.

    Args:
        seen: What whoever makes them took the keys to hold.

        check: Raises what else is wrong with one.
    """
    problems: dict[str, str] = {}
    for path, value in changes.items():
        try:
            now = value_of(overlaid, path)
            changed = lay_over(overlaid, path, now if value is None else value)
            if value is not None:
                check(changed, path)
        except (LookupError, ValueError, TypeError) as error:
            problems[path] = str(error.args[0]) if error.args else type(error).__name__
            continue
        if path in seen and seen[path] != now:
            problems[path] = _CHANGED_MEANWHILE.format("nothing" if now is None else repr(now))
        # What is right by itself may be wrong beside another change.
        overlaid = changed
    return problems
