"""
What surrounds a call of `track()`: the customer, the channel, the page, the consent.

A framework integration binds it for a request; code outside requests binds it with `bind_customer`.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from journeykit.model.consent import Stamp
from journeykit.model.customer import Customer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextvars import Token


class Form(NamedTuple):
    """
    What the events of one name have in common where one customer is bound.

    `columns` are those of the record; the others stand in the body before the time, between time
    and properties, and after these.
    """

    columns: bytes
    before: bytes
    between: bytes
    after: bytes


class Bound:
    """
    One request's surroundings, worked out at its first event and kept for its others.

    Args:
        customer: Whom it concerns, or a function that finds out when it is needed.

        channel: Where it takes place.

        context: What events carry about the page and the library.

        purposes: All that the customer has consented to; None where nobody was asked.

        denied: What the customer has refused by name, or by a signal of their browser.
    """

    __slots__ = ("_find", "_found", "_stamp", "channel", "context", "forms")

    def __init__(
        self,
        customer: Customer | Callable[[], Customer],
        *,
        channel: str | None = None,
        context: Mapping[str, Any] | None = None,
        purposes: Iterable[str] | None = None,
        denied: Iterable[str] = (),
    ) -> None:
        self._found = customer if isinstance(customer, Customer) else None
        self._find = None if isinstance(customer, Customer) else customer
        self.channel = channel
        self.context: Mapping[str, Any] = dict(context or {})
        granted = None if purposes is None else frozenset(purposes)
        self._stamp = Stamp(granted, frozenset(denied))
        #: What `capture.Tracker` keeps of the events of a name, by name and span.
        self.forms: dict[tuple[str, tuple[int, int] | None], Form] = {}

    @property
    def customer(self) -> Customer:
        """Whom it concerns."""
        if self._found is None:
            self._found = self._find() if self._find is not None else Customer()
        return self._found

    @property
    def stamp(self) -> Stamp:
        """What the customer has consented to, and what not."""
        return self._stamp

    @property
    def purposes(self) -> frozenset[str] | None:
        """All that the customer has consented to; None where nobody was asked."""
        return self._stamp.granted

    @property
    def denied(self) -> frozenset[str]:
        """What the customer has refused by name, or by a signal of their browser."""
        return self._stamp.denied

    def rebind(self, customer: Customer) -> None:
        """Go on as *customer*, who signed in or out in the middle of the request."""
        self._found = customer
        self.forms = {}

    def renew(self) -> None:
        """Find out anew whom it concerns, where a function tells: somebody has signed out."""
        if self._find is not None:
            self._found = None
            self.forms = {}

    def restamp(self, stamp: Stamp) -> None:
        """Go on with the consent of *stamp*, which the customer has given or withdrawn just now."""
        self._stamp = stamp
        self.forms = {}
        before = self._found
        if before is not None and not before.anonymous_id and self._find is not None:
            # Who may be recorded from now on may have a cookie, and so another id.
            with contextlib.suppress(Exception):
                found = self._find()
                user_id = before.user_id or found.user_id
                self._found = Customer(user_id, found.anonymous_id, found.session_id)


_bound: ContextVar[Bound | None] = ContextVar("journeykit_bound", default=None)


def current() -> Bound | None:
    """Return what is bound here, or None."""
    return _bound.get()


def current_customer() -> Customer:
    """Return whom it concerns here; nobody where nothing is bound, or the app cannot tell."""
    bound = current()
    try:
        return bound.customer if bound is not None else Customer()
    except Exception:  # noqa: BLE001 - the app's own function; its page goes on
        return Customer()


def bind(bound: Bound | None) -> Token[Bound | None]:
    """Bind *bound* from here on; give the token to `unbind`."""
    return _bound.set(bound)


def unbind(token: Token[Bound | None]) -> None:
    """Return to what was bound before."""
    # A server may end a request in another context than it began in.
    with contextlib.suppress(ValueError):
        _bound.reset(token)
        return
    _bound.set(None)


@contextlib.contextmanager
def bind_customer(
    customer: Customer | str,
    *,
    channel: str | None = None,
    context: Mapping[str, Any] | None = None,
    purposes: Iterable[str] | None = None,
    denied: Iterable[str] = (),
) -> Iterator[Bound]:
    """
    Let every `track()` in the block be about *customer*.

    Args:
        customer: A `Customer`, or the user id of a known person.

        channel: Where it takes place, such as `"email"`.

        context: JSON values that the events carry as their context.

        purposes: All that the customer has consented to; needed where consent is `"opt_in"`.

        denied: What the customer has refused by name.
    """
    bound = Bound(
        Customer.of(customer), channel=channel, context=context, purposes=purposes, denied=denied
    )
    token = bind(bound)
    try:
        yield bound
    finally:
        unbind(token)
