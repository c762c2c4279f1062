"""What the status of an HTTP answer means for the events that were sent."""

from __future__ import annotations

import email.utils
from typing import Final

#: Statuses that pass by themselves, besides 5xx: a timeout, a lock, too early, too many.
NOT_NOW: Final = frozenset({408, 423, 425, 429})

#: Statuses of an address or of credentials, which refuse every event alike.
ALL_ALIKE: Final = frozenset({401, 403, 404, 405, 407, 410})

#: What an operator can do about a status.
_ADVICE: Final = {
    401: "check its credentials",
    403: "check its credentials, and what they permit",
    404: "check its address",
    405: "check its address",
    407: "check the credentials of the proxy",
    410: "what was there has been taken away; give another address, or remove the sink",
    413: "the event is too large for it",
    415: "it wants another format",
    429: "it has had too many requests",
}


def told(status: int) -> str:
    """Return a status as a line tells it, with what to do about it."""
    if 300 <= status < 400:
        advice: str | None = "redirects are not followed; give the address that it leads to"
    else:
        advice = _ADVICE.get(status)
    return f"HTTP {status}; {advice}" if advice else f"HTTP {status}"


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, whether a number or a date."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return max(0.0, moment.timestamp() - now)
