"""
Who a request comes from, while it lasts: what adapters to frameworks have in common.

The customer is looked up at the first event of the request, and the cookie is set only if there was
one: a visitor whom nobody records gets none.
Who withdraws consent loses the cookie with the next answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from journeykit.capture.context import Bound, bind, unbind
from journeykit.config.settings import Consent, ConsentMode
from journeykit.exceptions import ConfigError
from journeykit.model.consent import ANALYTICS
from journeykit.model.customer import Customer, is_junk
from journeykit.web.consent import denied_by
from journeykit.web.visitor import Visitor, known_visitor, read_visitor, seen_with

if TYPE_CHECKING:
    from contextvars import Token

    from journeykit.kit import JourneyKit

_log = logging.getLogger("journeykit")


class Visits:
    """
    What an app knows about all requests.

    Args:
        consent: The rule for recording people.
    """

    def __init__(self, consent: Consent) -> None:
        self._gpc = consent.gpc
        self._unasked = consent.mode is ConsentMode.OPT_OUT
        #: Whether it was told that the shop's function returns what names nobody.
        self._told_junk = False

    def denied(self, sec_gpc: str | None) -> frozenset[str]:
        """Return what a browser denies by the header `Sec-GPC`."""
        return denied_by(sec_gpc, self._gpc)

    def allows(self, bound: Bound) -> bool:
        """Return whether who is bound may be recorded, as things are now."""
        return bound.stamp.allows(ANALYTICS, unasked=self._unasked)

    def user(self, ask: Callable[[], object] | None) -> str | None:
        """Return the id of who is signed in, by the shop's own function."""
        if ask is None:
            return None
        try:
            found = _as_user(ask())
        except Exception as error:  # noqa: BLE001 - the shop's own function; its page goes on
            _warn("user_id", error)
            return None
        if found is None or not is_junk(found):
            return found
        if not self._told_junk:
            self._told_junk = True
            _log.warning("journeykit.junk_user_id", extra={"callable": "user_id"})
        return None


class Visit:
    """
    One request's visitor.

    Args:
        visits: What the app knows about all requests.

        cookie: Returns the value of the visitor's cookie, or None.

        user_id: Returns the id of who is signed in, or None.
    """

    __slots__ = (
        "_cookie", "_user_id", "_visits", "bound", "failed", "signed_out", "token", "visitor",
    )  # fmt: skip

    def __init__(
        self,
        visits: Visits,
        cookie: Callable[[], str | None],
        user_id: Callable[[], object] | None,
    ) -> None:
        self._visits = visits
        self._cookie = cookie
        self._user_id = user_id
        #: Whether the rest of the request is somebody else's.
        self.signed_out = False
        #: Whether the shop could not say what the visitor has agreed to.
        self.failed = False
        self.bound: Bound | None = None
        self.token: Token[Bound | None] | None = None
        self.visitor: Visitor | None = None

    def begin(
        self,
        purposes: Callable[[], Iterable[str] | bool | None] | None,
        sec_gpc: str | None,
        page: str | None = None,
    ) -> Bound:
        """
        Bind the visitor from here on.

        Args:
            purposes: Returns all that the visitor has agreed to; None where nobody was asked.

            sec_gpc: The header `Sec-GPC`.

            page: The page's name.
        """
        bound = self.bound = Bound(
            self.customer,
            channel="web",
            context={"page": {"name": page}},
            purposes=self._granted(purposes),
            denied=self._visits.denied(sec_gpc),
        )
        self.token = bind(bound)
        return bound

    def end(self) -> None:
        """Bind whoever was bound before."""
        if self.token is not None:
            unbind(self.token)

    def sign_out(self) -> None:
        """Let the rest of the request be the next visitor's."""
        if self.bound is not None:
            self.signed_out, self.visitor = True, None
            self.bound.renew()

    def cookie(self, has_cookie: Callable[[], bool]) -> str | None:
        """
        Return the value of the cookie to set, `""` to delete it, None to leave it.

        Args:
            has_cookie: Returns whether the browser has one.
        """
        if not (self.bound is not None and self._visits.allows(self.bound)):
            goes = self.signed_out or not self.failed
        elif self.visitor is not None and self.visitor.is_stale:
            return self.visitor.cookie
        else:
            goes = self.signed_out
        return "" if goes and has_cookie() else None

    def customer(self) -> Customer:
        """Return who it is, as things are now."""
        cookie = None if self.signed_out else self._cookie()
        user_id, now = self._visits.user(self._user_id), int(time.time())
        if self.bound is None or not self._visits.allows(self.bound):
            # Who withdraws is told by the cookie that they have, and gets none.
            known = known_visitor(cookie, now)
            return Customer(user_id, known.anonymous_id if known is not None else None)
        visitor = self.visitor = seen_with(read_visitor(cookie, now), user_id, now)
        return Customer(user_id, visitor.anonymous_id, visitor.session_id)

    def _granted(
        self, ask: Callable[[], Iterable[str] | bool | None] | None
    ) -> frozenset[str] | None:
        if ask is None:
            return None
        try:
            return _as_purposes(ask())
        except Exception as error:  # noqa: BLE001 - as above
            _warn("purposes", error)
            # Who cannot be asked has not agreed, and has not withdrawn what they agreed to.
            self.failed = True
            return frozenset()


def check_purposes(kit: JourneyKit, purposes: object, where: str, name: str = "purposes=") -> None:
    """
    See to it that there is something to ask for purposes, where only who has agreed is recorded.

    Raises:
        ConfigError: There is nothing.
    """
    if purposes is None and kit.settings.consent.mode is ConsentMode.OPT_IN:
        problem = (
            f'consent.mode is "opt_in", so {where} needs {name}, a function that returns what '
            "the visitor has agreed to; without it nothing would ever be recorded"
        )
        raise ConfigError([problem], source=kit.settings.origin)


def _warn(what: str, error: Exception) -> None:
    _log.warning(
        "journeykit.callable_failed", extra={"callable": what, "error": type(error).__name__}
    )


def _as_user(value: object) -> str | None:
    return str(value) if value not in (None, "", False) else None


def _as_purposes(value: Any) -> frozenset[str] | None:
    if isinstance(value, bool):
        return frozenset([ANALYTICS] if value else [])
    if isinstance(value, str):
        return frozenset([value])
    return None if value is None else frozenset(value)
