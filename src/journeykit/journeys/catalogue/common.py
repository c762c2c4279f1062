"""What the rules of the catalogue share: their settings, and how they read an event."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs

from journeykit.journeys.findings import MOST_EVIDENCE
from journeykit.model.journey import name_problem
from journeykit.model.rule import EVERY

if TYPE_CHECKING:
    from journeykit.model.rule import EventView

_MICROSECOND = timedelta(microseconds=1)

#: Properties from outside may hold any number; more than this is a mistake.
_MOST_WORTH = 1e15

_LENGTH = 200

#: What tells carts, orders and conversations apart.
CART = ("cart_id",)
ORDER = ("order_id",)
CONVERSATION = ("conversation_id", "ticket_id", "case_id")
PAGE = ("path", "page", "url")
WORTH = ("value", "total", "revenue", "amount")


def names(*default: str) -> Any:
    """Return a field of event names."""
    return attrs.field(default=default, converter=_to_names, validator=_check_names)


def _to_names(value: Any) -> Any:
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def _check_names(_: object, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, tuple):
        msg = f"{field.name} is {value!r}; expected a list of event names"
        raise TypeError(msg)
    if not value and field.name == "on":
        msg = "on is empty; name an event, or switch the rule off with off = true"
        raise ValueError(msg)
    for name in value:
        problem = name_problem(name)
        if problem is not None:
            msg = f"{field.name}: {name!r} {problem}"
            raise ValueError(msg)


def duration(**default: float) -> Any:
    """Return a field of a duration that is longer than zero."""
    return attrs.field(default=timedelta(**default), validator=_check_duration)


def _check_duration(_: object, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, timedelta):
        msg = f"{field.name} is {value!r}; expected a timedelta"
        raise TypeError(msg)
    if value <= timedelta(0):
        msg = f"{field.name} is {value}; expected a duration longer than zero"
        raise ValueError(msg)


def count(default: int, least: int = 1) -> Any:
    """Return a field of a number of times."""

    def check(_: object, field: attrs.Attribute[Any], value: Any) -> None:
        if type(value) is not int:
            msg = f"{field.name} is {value!r}; expected a whole number"
            raise TypeError(msg)
        if not least <= value <= MOST_COUNTED:
            msg = f"{field.name} is {value}; expected {least} to {MOST_COUNTED}"
            raise ValueError(msg)

    return attrs.field(default=default, validator=check)


#: The most events that a memory counts: each takes 60 bytes of the 2 KB that it may have.
MOST_COUNTED = 15


def micros(value: timedelta) -> int:
    """Return a duration in microseconds."""
    return value // _MICROSECOND


def text(event: EventView, keys: Iterable[str]) -> str | None:
    """Return the first of the properties *keys* that is an id or a short text."""
    for key in keys:
        value = event.properties.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)[:_LENGTH]
    return None


def key_of(event: EventView, keys: Iterable[str]) -> str:
    """Return what tells the target apart; "" where the event does not say."""
    return text(event, keys) or ""


def key_or_every(event: EventView, keys: Iterable[str]) -> str:
    """Return the target that an event ends: every one, where it does not say which."""
    return text(event, keys) or EVERY


def number(properties: Mapping[str, Any], *keys: str) -> float | None:
    """Return the first of the properties *keys* that is a number."""
    for key in keys:
        value = properties.get(key)
        if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        try:
            found = float(value)
        except (ValueError, OverflowError):
            continue
        if math.isfinite(found) and abs(found) <= _MOST_WORTH:
            return found
    return None


def newest(evidence: list[str], more: str) -> list[str]:
    """Return the newest ids of *evidence* and *more*: three, for the memory is written often."""
    return [*evidence, more][-3:]


def within(memory: Any, event: EventView, window: int, most: int) -> list[list[Any]]:
    """Return the instants and ids of *memory* that *window* still holds, and the event's own."""
    since = event.at - window
    kept = [pair for pair in memory or () if pair[0] >= since]
    return [*kept, [event.at, event.id]][-most:]


def ids(pairs: Iterable[list[Any]]) -> tuple[str, ...]:
    """Return the ids of the newest of *pairs*."""
    return tuple(pair[1] for pair in pairs)[-MOST_EVIDENCE:]


def derived(build: Callable[[Any], Any]) -> Any:
    """Return a field that follows from the others."""
    return attrs.field(init=False, default=attrs.Factory(build, takes_self=True))
