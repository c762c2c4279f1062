"""
What browsers may track by themselves: friction, and the touchpoints that the shop has allowed.

A name must be on the list, and a property must be one that is listed for the name.
Where something happened is told by names that the shop has given: of a page, a form, a field, an
element; never by a text, by what somebody typed, or by an address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from journeykit.web.wire import BadBody

#: Events in one body, at most.
MOST_EVENTS: Final = 50

#: An event may be so much older than the body that brings it, in milliseconds: half an hour.
_MOST_AGO: Final = 30 * 60 * 1000

#: What `id`, `name` and tags look like. Digits in a row may be somebody's number.
_NAME: Final = re.compile(r"[A-Za-z_][\w.:#\[\]-]{0,79}", re.ASCII)
_NUMBERS: Final = re.compile(r"[0-9]{5,}")


def _name(value: Any) -> str | None:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return _NUMBERS.sub("*", value)
    return None


def _milliseconds(value: Any) -> int | None:
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    return round(value) if whole and 0 <= value <= _MOST_AGO else None


_Check = Callable[[Any], Any]

#: Name of an event → its properties, and what makes each fit to be kept.
Allowed = Mapping[str, Mapping[str, _Check]]

#: The events of friction.js and their properties; the names are those that the rules look for.
FRICTION: Final[Allowed] = {
    "Rage Clicked": {"element": _name},
    "Dead Clicked": {"element": _name, "waited_ms": _milliseconds},
    "Element Clicked": {"element": _name},
    "Script Failed": {},
    "Request Failed": {},
    "Form Field Filled": {"form": _name, "field": _name},
    "Form Field Failed": {"form": _name, "field": _name},
    "Form Field Returned": {"form": _name, "field": _name},
    "Form Left": {"form": _name},
    "Form Submitted": {"form": _name},
}


class BrowserEvent(NamedTuple):
    """An event that may be tracked, and how long ago it was, in milliseconds."""

    name: str
    properties: dict[str, Any]
    ago: int
    page: str | None


def read(body: Mapping[str, Any], allowed: Allowed) -> tuple[list[BrowserEvent], int]:
    """
    Return the events of a body that are allowed, and how many are not.

    Raises:
        BadBody: There is no list of events.
    """
    given = body.get("events")
    if not isinstance(given, list):
        raise BadBody(400, "bad_events")
    found = [_event(each, allowed) for each in given[:MOST_EVENTS]]
    kept = [each for each in found if each is not None]
    return kept, len(given) - len(kept)


def _event(given: Any, allowed: Allowed) -> BrowserEvent | None:
    if not isinstance(given, dict):
        return None
    name = given.get("name")
    checks = allowed.get(name) if isinstance(name, str) else None
    if checks is None:
        return None
    checked = {key: check(given.get(key)) for key, check in checks.items() if key in given}
    properties = {key: value for key, value in checked.items() if value is not None}
    return BrowserEvent(
        str(name), properties, _milliseconds(given.get("ago_ms")) or 0, _name(given.get("page"))
    )
