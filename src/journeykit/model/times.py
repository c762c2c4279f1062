"""
Instants and durations.

Inside, an instant is an integer: microseconds since the epoch, UTC.
Outside, it is an aware `datetime`, and on the wire RFC 3339 with a `Z`.
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

#: Years 1 and 9999: what a `datetime` can hold.
EARLIEST = (datetime.min.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND
LATEST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SHORT = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|[smhdw])")
_ISO = re.compile(
    r"P(?:(?P<w>\d+)W)?(?:(?P<d>\d+)D)?"
    r"(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?"
)


def to_micros(moment: datetime) -> int:
    """Return *moment* as microseconds; one without a zone is taken as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // _MICROSECOND


def to_datetime(micros: int) -> datetime:
    """Return the aware UTC `datetime` of *micros*."""
    return EPOCH + timedelta(microseconds=micros)


def to_rfc3339(micros: int) -> str:
    """Return *micros* as RFC 3339 with six decimals and a `Z`."""
    seconds, rest = divmod(micros, 1_000_000)
    return f"{_second(seconds)}.{rest:06d}Z"


@functools.lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """Return the part up to the second, which many events share."""
    return (EPOCH + timedelta(seconds=seconds)).isoformat()[:-6]


def from_rfc3339(text: str) -> int:
    """Return the microseconds of an RFC 3339 text; raises `ValueError` on anything else."""
    return to_micros(datetime.fromisoformat(text))


def parse_duration(text: str) -> timedelta:
    """
    Return the duration that *text* names: `"90s"`, `"24h"`, `"7d"` or ISO 8601 such as `"PT5M"`.

    Raises:
        ValueError: *text* is not a duration, or is zero, negative or longer than a `timedelta`.
    """
    try:
        duration = timedelta(seconds=_short_seconds(text) or _iso_seconds(text))
    except OverflowError:
        duration = timedelta(0)
    if not duration:
        msg = f'{text!r} is not a duration; write one such as "90s", "24h", "7d" or "PT5M"'
        raise ValueError(msg)
    return duration


def _short_seconds(text: str) -> float:
    match = _SHORT.fullmatch(text.strip())
    return float(match[1]) * _UNITS[match[2]] if match else 0.0


def _iso_seconds(text: str) -> float:
    match = _ISO.fullmatch(text.strip())
    if match is None:
        return 0.0
    return sum(float(value) * _UNITS[unit] for unit, value in match.groupdict().items() if value)
