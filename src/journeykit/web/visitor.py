"""
The first-party cookie that tells an anonymous visitor's requests belong together.

It holds the anonymous id, the id of the visit, and when the visit was last active; once somebody
has signed in, also a mark of whom.
It names nobody, is not signed, and is only believed as far as its form goes.
The next person in the same browser gets another one: see `seen_with`, and a sign-out takes it away.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

import attrs

from journeykit.model.customer import is_junk

COOKIE: Final = "journeykit_id"

#: A year: shops want to know returning customers, and browsers keep no cookie beyond 400 days.
MAX_AGE: Final = 365 * 86400

#: A visit ends after half an hour without an event, as in most web analytics.
VISIT_SECONDS: Final = 30 * 60

#: The cookie is written again when its time is older than this.
_REFRESH_SECONDS: Final = 60

_FORM: Final = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{16})\.([0-9]{1,12})(?:\.([0-9a-f]{4}))?")


@attrs.frozen
class Visitor:
    """
    Who a request comes from, as far as the cookie tells.

    Args:
        anonymous_id: The visitor.

        session_id: The visit.

        active_at: When the visit was last active, in seconds since the epoch.

        is_stale: Whether the cookie has to be written.

        mark: Tells whether it is still the same person who signs in; empty if nobody has.
    """

    anonymous_id: str
    session_id: str
    active_at: int
    is_stale: bool
    mark: str = ""

    @property
    def cookie(self) -> str:
        """The cookie's value."""
        mark = f".{self.mark}" if self.mark else ""
        return f"{self.anonymous_id}.{self.session_id}.{self.active_at}{mark}"


def read_visitor(cookie: str | None, now: int) -> Visitor:
    """Return the visitor of a cookie value; a new one if there is none or it is malformed."""
    known = known_visitor(cookie, now)
    return _new_visitor(now) if known is None else known


def known_visitor(cookie: str | None, now: int) -> Visitor | None:
    """Return the visitor of a cookie value; None if there is none or it is malformed."""
    match = _FORM.fullmatch(cookie or "")
    if match is None or is_junk(match[1]):
        return None
    anonymous_id, session_id, active_at, mark = match[1], match[2], int(match[3]), match[4] or ""
    idle = now - active_at
    if not 0 <= idle <= VISIT_SECONDS:
        return Visitor(anonymous_id, secrets.token_hex(8), now, is_stale=True, mark=mark)
    stale = idle > _REFRESH_SECONDS
    return Visitor(anonymous_id, session_id, now if stale else active_at, is_stale=stale, mark=mark)


def seen_with(visitor: Visitor, user_id: str | None, now: int) -> Visitor:
    """
    Return the visitor when *user_id* is signed in: another one if somebody else was before.

    Where nobody is signed in any more it is the same visitor: most sessions end by themselves, and
    the person comes back. A sign-out is told by the shop, which removes the cookie.
    """
    if user_id is None:
        return visitor
    mark = _mark(visitor.anonymous_id, user_id)
    if visitor.mark == mark:
        return visitor
    if visitor.mark:
        visitor = _new_visitor(now)
        mark = _mark(visitor.anonymous_id, user_id)
    return attrs.evolve(visitor, mark=mark, is_stale=True)


def _new_visitor(now: int) -> Visitor:
    return Visitor(secrets.token_hex(16), secrets.token_hex(8), now, is_stale=True)


def _mark(anonymous_id: str, user_id: str) -> str:
    # Two bytes: enough to see that it is somebody else, and too few to tell who it is.
    text = f"{anonymous_id}\x1f{user_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=2).hexdigest()
