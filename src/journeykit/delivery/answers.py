"""What the status of an HTTP answer, or that there is none, means for the events that were sent."""

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
    414: "the address is too long for it; check its address",
    415: "it wants another format",
    429: "it has had too many requests",
    431: "the headers are too large for it; check its credentials and headers",
}

_REDIRECTED: Final = "redirects are not followed; give the address that it leads to"
_PASSES: Final = "the fault is over there; it is tried again"
_REFUSED: Final = "it refuses the event; ask there what is wrong with it"

#: What errors of connections say → what an operator can do about that.
_REMEDIES: Final = (
    ("CERTIFICATE_VERIFY_FAILED", "check its certificate, and what this host trusts"),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS there; check its address"),
    ("gaierror", "its name leads nowhere; check its address, and the resolver of this host"),
    ("[Errno -", "its name leads nowhere; check its address, and the resolver of this host"),
    ("refused", "nobody listens there; check its address"),
    ("unreachable", "there is no way there; check the network of this host"),
    ("Timeout", "it takes too long; it is tried again, or give it more time"),
    ("Disconnected", "it hung up without an answer; it is tried again"),
    ("RemoteProtocolError", "it hung up without an answer; it is tried again"),
    ("LocalProtocolError", "it cannot be asked like that; check its credentials and headers"),
    ("reset", "it hung up without an answer; it is tried again"),
)


def told(status: int) -> str:
    """Return a status as a line tells it, with what to do about it."""
    if 300 <= status < 400:
        advice = _REDIRECTED
    elif status >= 500 or status in NOT_NOW:
        advice = _ADVICE.get(status, _PASSES)
    else:
        advice = _ADVICE.get(status, _REFUSED)
    return f"HTTP {status}; {advice}"


def unanswered(why: str) -> str:
    """Return why there was no answer as a line tells it, with what to do about it."""
    remedy = next((remedy for mark, remedy in _REMEDIES if mark in why), None)
    return f"{why}; {remedy}" if remedy else why


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
