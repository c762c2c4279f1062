"""
The first-party cookie that tells an anonymous visitor's requests belong together.

It holds three things: the anonymous id, the id of the visit, and when the visit was last active.
It names nobody, is not signed, and is only believed as far as its form goes.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

import attrs

COOKIE: Final = "journeykit_id"

#: A year: shops want to know returning customers, and browsers keep no cookie beyond 400 days.
MAX_AGE: Final = 365 * 86400

#: A visit ends after half an hour without an event, as in most web analytics.
VISIT_SECONDS: Final = 30 * 60

#: The cookie is written again when its time is older than this.
_REFRESH_SECONDS: Final = 60

_FORM: Final = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{16})\.([0-9]{1,12})")


@attrs.frozen
class Visitor:
    """
    Who a request comes from, as far as the cookie tells.

    Args:
        anonymous_id: The visitor.

        session_id: The visit.

        active_at: When the visit was last active, in seconds since the epoch.

        is_stale: Whether the cookie has to be written.
    """

    anonymous_id: str
    session_id: str
    active_at: int
    is_stale: bool

    @property
    def cookie(self) -> str:
        """The cookie's value."""
        return f"{self.anonymous_id}.{self.session_id}.{self.active_at}"


def read_visitor(cookie: str | None, now: int) -> Visitor:
    """Return the visitor of a cookie value; a new one if there is none or it is malformed."""
    known = known_visitor(cookie, now)
    if known is not None:
        return known
    return Visitor(secrets.token_hex(16), secrets.token_hex(8), now, is_stale=True)


def known_visitor(cookie: str | None, now: int) -> Visitor | None:
    """Return the visitor of a cookie value; None if there is none or it is malformed."""
    match = _FORM.fullmatch(cookie or "")
    if match is None:
        return None
    anonymous_id, session_id, active_at = match[1], match[2], int(match[3])
    idle = now - active_at
    if not 0 <= idle <= VISIT_SECONDS:
        return Visitor(anonymous_id, secrets.token_hex(8), now, is_stale=True)
    stale = idle > _REFRESH_SECONDS
    return Visitor(anonymous_id, session_id, now if stale else active_at, is_stale=stale)
