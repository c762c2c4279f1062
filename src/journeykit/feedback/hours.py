"""
Business hours as clocks need them: how much of them lies between two instants.

Hours are those on the wall in a time zone; what is counted is the time that really passes, so that
the night in which clocks change is an hour shorter, or longer.
"""

from __future__ import annotations

import functools
import logging
import zoneinfo
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final

from journeykit.model.hours import parse_opening
from journeykit.model.times import EPOCH, to_datetime

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from journeykit.model.hours import Opening

_log = logging.getLogger("journeykit")

#: From when to when, in microseconds; the end is None while it lasts.
Span = tuple[int, int | None]

_MICROSECOND: Final = timedelta(microseconds=1)
_ONE_DAY: Final = timedelta(days=1)

#: How many days are looked at for the end of a clock, before it is taken to have none.
_MOST_DAYS: Final = 4000

#: Days whose hours are kept.
_KEPT_DAYS: Final = 2000


class Hours:
    """
    The hours of *openings* in *zone*; every hour if there are none.

    Instants and lengths are in microseconds.
    """

    def __init__(self, openings: Iterable[Opening], zone: tzinfo) -> None:
        self._openings = tuple(openings)
        self._zone = zone
        self._days: dict[date, list[tuple[int, int]]] = {}

    def between(self, start: int, end: int) -> int:
        """Return how much of the hours lies between two instants."""
        if end <= start:
            return 0
        if not self._openings:
            return end - start
        found, day, last = 0, self._day(start), self._day(end)
        while day <= last:
            for opens, closes in self._spans(day):
                found += max(0, min(closes, end) - max(opens, start))
            day += _ONE_DAY
        return found

    def after(self, start: int, length: int) -> int | None:
        """Return the instant by which *length* of the hours has passed; None if it never has."""
        if not self._openings or length <= 0:
            return start + max(0, length)
        day = self._day(start)
        for _ in range(_MOST_DAYS):
            for opens, closes in self._spans(day):
                begin = max(opens, start)
                if closes - begin >= length:
                    return begin + length
                length -= max(0, closes - begin)
            day += _ONE_DAY
        return None

    def due(self, start: int, length: int, pauses: Sequence[Span] = ()) -> int | None:
        """
        Return when a clock that began at *start* has run for *length*, apart from *pauses*.

        None while it stands still.
        """
        for begin, end in pauses:
            run = self.between(start, begin)
            if run >= length:
                break
            if end is None:
                return None
            length, start = length - run, max(start, end)
        return self.after(start, length)

    def _day(self, at: int) -> date:
        return to_datetime(at).astimezone(self._zone).date()

    def _spans(self, day: date) -> list[tuple[int, int]]:
        known = self._days.get(day)
        if known is None:
            if len(self._days) >= _KEPT_DAYS:
                self._days = {}
            known = self._days[day] = self._find_spans(day)
        return known

    def _find_spans(self, day: date) -> list[tuple[int, int]]:
        weekday, found = day.weekday(), list[tuple[int, int]]()
        for opening in sorted(self._openings, key=lambda each: each.start):
            if weekday not in opening.days:
                continue
            opens, closes = self._instant(day, opening.start), self._instant(day, opening.end)
            if found and opens <= found[-1][1]:
                opens, closes = found[-1][0], max(found[-1][1], closes)
                found.pop()
            found.append((opens, closes))
        return found

    def _instant(self, day: date, minutes: int) -> int:
        days, minutes = divmod(minutes, 24 * 60)
        day += timedelta(days=days)
        hour, minute = divmod(minutes, 60)
        # Of an hour that comes twice the first; one that is skipped ends where it would have begun.
        wall = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self._zone)
        return (wall.astimezone(UTC) - EPOCH) // _MICROSECOND


def find_zone(name: str) -> tzinfo:
    """
    Return the time zone of an IANA name.

    Raises:
        LookupError: There is none of that name, or this machine knows no time zones.
    """
    if name == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    if not zoneinfo.available_timezones():
        msg = (
            f"this machine knows no time zones, so not {name!r} either; install the package tzdata "
            f"(pip install tzdata, or that of the system)"
        )
    else:
        msg = f"there is no time zone {name!r}; write an IANA name such as Europe/Vienna"
    raise LookupError(msg)


@functools.lru_cache(maxsize=256)
def hours_of(openings: tuple[str, ...], zone: str) -> Hours:
    """
    Return the hours that a case was opened with.

    A zone that this machine does not know any more is taken for UTC: cases go on.
    """
    try:
        found = find_zone(zone)
    except LookupError:
        _log.warning("journeykit.zone_is_missing", extra={"zone": zone})
        found = UTC
    return Hours(map(parse_opening, openings), found)
