"""Business hours as they are written: `"mon-fri 09:00-17:00"`."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: Weekdays as they are written; Monday is 0.
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_FORM: Final = re.compile(
    r"([a-z]{3})(?:-([a-z]{3}))? ([0-2]\d):([0-5]\d)-([0-2]\d):([0-5]\d)", re.IGNORECASE
)
_DAY: Final = 24 * 60


class Opening(NamedTuple):
    """Some weekdays, from when to when: in minutes since midnight, by the clock on the wall."""

    days: frozenset[int]
    start: int
    end: int


def parse_opening(text: str) -> Opening:
    """
    Return the hours that *text* names.

    Raises:
        ValueError: It names none.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise _no_hours(text)
    first, last, *numbers = match.groups()
    names = [name.lower() for name in (first, last or first)]
    if not all(name in DAYS for name in names):
        raise _no_hours(text)
    begin, end = (DAYS.index(name) for name in names)
    # "sat-mon" goes over the end of the week.
    days = frozenset((begin + step) % 7 for step in range((end - begin) % 7 + 1))
    hour, minute, end_hour, end_minute = map(int, numbers)
    opening = Opening(days, hour * 60 + minute, end_hour * 60 + end_minute)
    if not opening.start < opening.end <= _DAY:
        msg = f"{text!r} ends before it begins; write two hours of one day, up to 24:00"
        raise ValueError(msg)
    return opening


def _no_hours(text: str) -> ValueError:
    return ValueError(f'{text!r} are no hours; write some such as "mon-fri 09:00-17:00"')
