"""
What people change without a deployment: a few keys, as facts, laid over what is declared.

A change names its key as the declaration does: `prompts.after-checkout.ask.sample`.
"""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import attrs

from journeykit.config.settings import FeedbackSettings
from journeykit.model import jsonbytes
from journeykit.model.case import Cases
from journeykit.model.language import ANY, Texts, normal
from journeykit.model.prompt import Ask, Cap, Prompt
from journeykit.model.times import parse_duration, to_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from journeykit.model.event import Stored
    from journeykit.store.protocol import Store
    from journeykit.store.view import View

#: In State: path → its changes, the latest first.
SETTINGS: Final = "setting"

#: The changes of one key that are kept for reading; the Log has all.
KEPT_CHANGES: Final = 20

#: The longest path, and the most paths: prompts times keys times languages.
_PATH_LENGTH: Final = 200


@attrs.frozen(kw_only=True)
class Change:
    """
    One change of one key.

    Args:
        path: What was changed.

        new, old: JSON values; None stands for what is declared.

        at: When.

        actor, reason: Who did it, and why.
    """

    path: str
    new: Any
    old: Any
    at: datetime
    actor: str | None
    reason: str | None


@attrs.frozen
class Overlaid:
    """
    Prompts, `[feedback]` and the owners of cases with the changes laid over.

    Args:
        cases: The table `[cases]`.

        ignored: Path → why its change does not count: what is declared may have moved on.
    """

    prompts: tuple[Prompt, ...]
    feedback: FeedbackSettings
    ignored: Mapping[str, str] = attrs.field(factory=dict)
    cases: Cases = attrs.field(factory=Cases)

    def prompt(self, key: str) -> Prompt | None:
        """Return the prompt of this key."""
        return next((prompt for prompt in self.prompts if prompt.key == key), None)


def fold_setting(view: View, stored: Stored) -> None:
    """Fold a fact `setting.changed`."""
    wire = jsonbytes.loads(stored.entry.body)
    properties = wire["properties"]
    path = properties.get("path")
    if not isinstance(path, str) or not 0 < len(path) <= _PATH_LENGTH:
        return
    changes = view.get(SETTINGS, path, jsonbytes.loads) or []
    change = [
        properties.get("new"),
        properties.get("old"),
        stored.entry.occurred_at,
        wire.get("actor"),
        wire.get("reason"),
    ]
    view.put(SETTINGS, path, [change, *changes][:KEPT_CHANGES], jsonbytes.dumps)


def read_changes(store: Store, prefix: str = "") -> list[Change]:
    """Return the changes of the keys that begin with *prefix*, the latest first."""
    found = [
        Change(path=path, new=new, old=old, at=to_datetime(at), actor=actor, reason=reason)
        for path, data in store.scan(SETTINGS, prefix)
        for new, old, at, actor, reason in jsonbytes.loads(data)
    ]
    return sorted(found, key=lambda change: change.at, reverse=True)


def overlay(
    prompts: Sequence[Prompt],
    feedback: FeedbackSettings,
    settings: Iterable[tuple[str, bytes]],
    cases: Cases = Cases(),  # noqa: B008 - a frozen value
) -> Overlaid:
    """Return what is declared with *settings*, pieces of State, laid over."""
    overlaid = Overlaid(tuple(prompts), feedback, cases=cases)
    for path, data in settings:
        new = jsonbytes.loads(data)[0][0]
        if new is None:
            continue
        try:
            overlaid = lay_over(overlaid, path, new)
        except (LookupError, ValueError, TypeError) as error:
            told = str(error.args[0]) if error.args else type(error).__name__
            overlaid = attrs.evolve(overlaid, ignored={**overlaid.ignored, path: told})
    return overlaid


def lay_over(overlaid: Overlaid, path: str, value: Any) -> Overlaid:
    """
    Return *overlaid* with one more change.

    Raises:
        LookupError: There is no such key, or it is none that can be changed.

        TypeError, ValueError: The value is none for it.
    """
    return change_at(overlaid, path)(value)


def change_at(overlaid: Overlaid, path: str) -> Callable[[Any], Overlaid]:
    """
    Return what makes *overlaid* with another value of one key.

    Raises:
        LookupError: There is no such key, or it is none that can be changed.
    """
    area, _, rest = path.partition(".")
    if area == "feedback" and rest in _FEEDBACK:
        return functools.partial(_with_feedback, overlaid, rest)
    if area == "cases" and rest.rpartition(".")[2] == _OWNER:
        return functools.partial(_with_owner, overlaid, _case_rule(overlaid, path, rest))
    key, _, name = rest.partition(".")
    prompt, change = overlaid.prompt(key), _of(name)
    if area != "prompts" or (prompt is None and change is not None):
        known = ", ".join(repr(prompt.key) for prompt in overlaid.prompts) or "none"
        msg = f"there is no key {path!r}; {KEYS_HINT}; the prompts are {known}"
        raise LookupError(msg)
    if prompt is None or change is None:
        msg = f"{path!r} cannot be changed without a deployment; {KEYS_HINT}"
        raise LookupError(msg)
    return lambda value: _with_prompt(
        overlaid, prompt, change(prompt, name.rpartition(".")[2], value)
    )


def _with_feedback(overlaid: Overlaid, name: str, value: Any) -> Overlaid:
    changed = attrs.evolve(overlaid.feedback, **{name: _FEEDBACK[name](value)})
    return attrs.evolve(overlaid, feedback=changed)


def _with_prompt(overlaid: Overlaid, known: Prompt, changed: Prompt) -> Overlaid:
    prompts = tuple(changed if each is known else each for each in overlaid.prompts)
    return attrs.evolve(overlaid, prompts=prompts)


def _case_rule(overlaid: Overlaid, path: str, rest: str) -> str | None:
    """Return the key of the rule whose owner *path* is; None for that of all cases."""
    if rest == _OWNER:
        return None
    key = rest.rpartition(".")[0]
    if overlaid.cases.rule(key) is None:
        known = ", ".join(repr(rule.key) for rule in overlaid.cases.rules) or "none"
        msg = f"there is no key {path!r}; the rules of cases are {known}"
        raise LookupError(msg)
    return key


def _with_owner(overlaid: Overlaid, key: str | None, value: Any) -> Overlaid:
    """Return *overlaid* with another owner of cases, of all or of those of the rule *key*."""
    if value is not None and (not isinstance(value, str) or not 0 < len(value) <= _PATH_LENGTH):
        msg = f"expected who owns such cases, 1 to {_PATH_LENGTH} characters, got {value!r}"
        raise TypeError(msg)
    cases = overlaid.cases
    if key is None:
        return attrs.evolve(overlaid, cases=attrs.evolve(cases, owner=value))
    rules = (attrs.evolve(rule, owner=value) if rule.key == key else rule for rule in cases.rules)
    return attrs.evolve(overlaid, cases=attrs.evolve(cases, rules=tuple(rules)))


def value_of(overlaid: Overlaid, path: str) -> Any:
    """Return what a key holds now, as a JSON value."""
    area, _, rest = path.partition(".")
    holder: Any = overlaid.feedback
    if area == "prompts":
        key, _, rest = rest.partition(".")
        holder = overlaid.prompt(key)
    elif area == "cases":
        key, _, name = rest.rpartition(".")
        holder, rest = (overlaid.cases.rule(key) if key else overlaid.cases), name
    for name in rest.split("."):
        if isinstance(holder, Texts):
            return holder.by_language.get(normal(name) if name != "*" else ANY)
        holder = getattr(holder, name, None)
    return _json(holder)


def _json(value: Any) -> Any:
    if isinstance(value, timedelta):
        return _length(value)
    if isinstance(value, Cap):
        told = {"most": value.most, "per": _json(value.per), "group": value.group}
        return {name: each for name, each in told.items() if each is not None}
    return [_json(each) for each in value] if isinstance(value, tuple) else value


def _length(value: timedelta) -> str:
    """Return a duration as it is written, in the longest unit that it is whole in."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if value and not value % timedelta(seconds=length):
            return f"{value // timedelta(seconds=length)}{unit}"
    return f"{value.total_seconds():g}s"


def _of(name: str) -> Callable[[Prompt, str, Any], Prompt] | None:
    """Return what changes the key *name* of a prompt."""
    if name in _PROMPT:
        return _PROMPT[name]
    field, dot, language = name.partition(".")
    return _TEXTS[field] if dot and language and field in _TEXTS else None


def _set_on(prompt: Prompt, _: str, value: Any) -> Prompt:
    return attrs.evolve(prompt, on=_boolean(value))


def _set_priority(prompt: Prompt, _: str, value: Any) -> Prompt:
    return attrs.evolve(prompt, priority=_whole(value, 0, 100))


def _asking(convert: Callable[[Any], Any]) -> Callable[[Prompt, str, Any], Prompt]:
    def change(prompt: Prompt, name: str, value: Any) -> Prompt:
        ask: Ask = attrs.evolve(prompt.ask, **{name: convert(value)})
        if name == "every":
            ask = attrs.evolve(ask, once=False, until_answered=False, always=False)
        return attrs.evolve(prompt, ask=ask)

    return change


def _texts(field: str) -> Callable[[Prompt, str, Any], Prompt]:
    def change(prompt: Prompt, language: str, value: Any) -> Prompt:
        texts: Texts | None = getattr(prompt, field)
        known = dict(texts.by_language) if texts is not None else {}
        tag = ANY if language == "*" else normal(language)
        changed: dict[str, Any] = {field: Texts({**known, tag: value})}
        return attrs.evolve(prompt, **changed)

    return change


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        msg = f"expected true or false, got {value!r}"
        raise TypeError(msg)
    return value


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        msg = f"expected a whole number from {least} to {most:,}, got {value!r}"
        raise ValueError(msg)
    return value


def _share(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        msg = f"expected a number from 0 to 1, got {value!r}"
        raise ValueError(msg)
    return float(value)


def _duration(value: Any) -> timedelta:
    if not isinstance(value, str):
        msg = f'expected a duration such as "90s", "24h" or "7d", got {value!r}'
        raise TypeError(msg)
    return parse_duration(value)


def _caps(value: Any) -> tuple[Cap, ...]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        msg = f'expected a list of caps such as [{{"most": 1, "per": "7d"}}], got {value!r}'
        raise TypeError(msg)
    return tuple(_cap(**each) for each in value)


def _cap(most: Any = None, per: Any = None, group: Any = None) -> Cap:
    from journeykit.model.prompt import MOST_COUNTED

    length = None if per is None else _duration(per)
    return Cap(most=_whole(most, 1, MOST_COUNTED), per=length, group=group)


_PROMPT: Final[Mapping[str, Callable[[Prompt, str, Any], Prompt]]] = {
    "on": _set_on,
    "priority": _set_priority,
    "ask.sample": _asking(_share),
    "ask.every": _asking(_duration),
    "ask.limit": _asking(lambda value: _whole(value, 1, 10**9)),
    "ask.max_shows": _asking(lambda value: _whole(value, 1, 1000)),
}

_TEXTS: Final[Mapping[str, Callable[[Prompt, str, Any], Prompt]]] = {
    field: _texts(field) for field in ("text", "low", "high", "thanks")
}

_FEEDBACK: Final[Mapping[str, Callable[[Any], Any]]] = {
    "caps": _caps,
    "per_session": lambda value: _whole(value, 0, 10),
    "back_off": _duration,
    "quiet": _duration,
    "min_answers": lambda value: _whole(value, 5, 10**6),
}

#: The names of what can be changed: of a prompt, besides its texts, and of what holds for all.
PROMPT_KEYS: Final = tuple(_PROMPT)
FEEDBACK_KEYS: Final = tuple(_FEEDBACK)

#: What can be changed of cases: whose they are.
_OWNER: Final = "owner"

#: What can be changed, as a sentence.
KEYS_HINT: Final = (
    "what can be changed of a prompt is "
    + ", ".join((*_PROMPT, *(f"{field}.LANGUAGE" for field in _TEXTS)))
    + ", and of feedback "
    + ", ".join(_FEEDBACK)
    + f", and of cases {_OWNER} and RULE.{_OWNER}"
)
