"""What `track()` does in the caller: check, encode, append."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from journeykit import native
from journeykit.capture import encode as encoding
from journeykit.capture.context import ANALYTICS, Bound, current
from journeykit.capture.ids import random_id
from journeykit.exceptions import EventRejected
from journeykit.model import jsonbytes
from journeykit.model.customer import Customer
from journeykit.model.event import WIRE_VERSION, Entry, Kind
from journeykit.model.journey import name_problem
from journeykit.model.receipt import Receipt
from journeykit.model.times import EARLIEST, LATEST, to_micros, to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from journeykit.capture.tail import Tail

#: The most bytes that one encoded event may have.
EVENT_BYTES: Final = 32 * 1024

#: The most characters of an id that the shop gives.
ID_LENGTH: Final = 200

#: The most names to remember as checked; a shop that makes up more pays for each check.
_NAMES_REMEMBERED: Final = 4096

#: What a tail says → what a person should know.
_REFUSALS: Final = {
    "full": "the store has not kept up; see `journeykit status`",
    "disk_full": "the disk is full, or cannot be written; make room",
}

_NOBODY: Final = Bound(Customer())

#: What an id is made of, or its absence.
_TEXT: Final = (str, type(None))

_KIND_BYTES: Final = {kind: kind.value.encode() for kind in Kind}


def _now() -> int:
    return time.time_ns() // 1000


class Tracker:
    """
    Makes events out of calls and appends them to the tail.

    Args:
        tail: Where events wait for the store.

        source: What events carry as their source: app and host.

        channels: Event name → the channel that its touchpoint declares.

        opt_in: Whether only customers who have agreed are recorded.

        strict: Raise instead of returning a falsy receipt.

        now: The clock, in microseconds.

        randomness: Where ids come from.
    """

    def __init__(  # noqa: PLR0913 - each is given by the kit, and replaced in some test
        self,
        tail: Tail,
        *,
        source: Mapping[str, str],
        channels: Mapping[str, str | None],
        opt_in: bool,
        strict: bool = False,
        now: Callable[[], int] = _now,
        randomness: random.Random | None = None,
    ) -> None:
        self._tail = tail
        self._source = encoding.encode(dict(source))
        self._channels = channels
        self._opt_in = opt_in
        self._strict = strict
        self._now = now
        self._random = randomness or random.Random()
        self._names: dict[str, bytes] = {}
        self._count_lock = native.lock()
        #: Refused events by reason, and the accepted ones.
        self.counts: Counter[str] = Counter()

    def reset_after_fork(self) -> None:
        """Draw other ids than the parent process, whose threads may have held the lock."""
        self._random.seed()
        self._count_lock = native.lock()
        self.counts = Counter()

    def track(
        self,
        name: str,
        properties: Mapping[str, Any] | None,
        *,
        customer: Customer | str | None = None,
        at: datetime | None = None,
        id: str | None = None,
        **more: Any,
    ) -> Receipt:
        """
        Accept one event, or say why not.

        `more` goes to `compose`: `kind`, `flags`, `actor`, `reason`, `channel`.

        Raises:
            EventRejected: The tracker is strict and the event was refused.
        """
        try:
            entry = self.compose(name, properties, customer=customer, at=at, id=id, **more)
            refused = self._tail.append(entry)
        except _Refused as refusal:
            return self.refuse(name, refusal.reason, refusal.detail)
        except encoding.Unencodable as error:
            return self.refuse(name, error.reason, error.detail)
        except Exception as error:  # the host never breaks because of us
            if self._strict:
                raise
            return self.refuse(name, "failed", type(error).__name__)
        if refused is not None:
            return self.refuse(name, refused, _REFUSALS[refused])
        with self._count_lock:
            self.counts["accepted"] += 1
        return Receipt(entry.id)

    def compose(  # noqa: PLR0913 - the parts of an event
        self,
        name: str,
        properties: Mapping[str, Any] | None,
        *,
        customer: Customer | str | None = None,
        at: datetime | None = None,
        id: str | None = None,
        kind: Kind = Kind.TOUCHPOINT,
        flags: int = 0,
        actor: str | None = None,
        reason: str | None = None,
    ) -> Entry:
        """Return the entry of an event, or raise `_Refused`."""
        known = self._names.get(name) if type(name) is str else None
        encoded_name = known or self._check_name(name)
        bound = current() or _NOBODY
        if self._opt_in and ANALYTICS not in (bound.purposes or ()):
            raise _Refused("no_consent", "the customer has not agreed to being recorded")
        if bound.purposes is not None and ANALYTICS not in bound.purposes:
            raise _Refused("no_consent", "the customer has objected to being recorded")
        who = bound.customer if customer is None else Customer.of(customer)
        who = _with_texts(who)
        if not who:
            detail = "no customer is bound here; pass customer=, or see init_app and bind_customer"
            raise _Refused("no_customer", detail)
        occurred_at = self._now() if at is None else _instant(at)
        event_id = random_id(occurred_at, self._random) if id is None else _checked_id(id)
        channel = self._channels.get(name) or bound.channel
        body = _BODY % (
            jsonbytes.dumps(event_id),
            _KIND_BYTES[kind],
            encoded_name,
            *self._surroundings(bound, who, is_bound=customer is None),
            to_rfc3339(occurred_at).encode(),
            b"null" if channel is None else encoding.encode(channel),
            self._properties(properties),
            self._source,
            _fact(actor, reason) if kind is Kind.FACT else b"",
        )
        if len(body) > EVENT_BYTES:
            detail = f"it has {len(body):,} bytes encoded; {EVENT_BYTES:,} is the most"
            raise _Refused("too_large", detail)
        return Entry(
            event_id,
            kind,
            name,
            who.user_id,
            who.anonymous_id,
            who.session_id,
            occurred_at,
            flags,
            body,
        )

    def _check_name(self, name: object) -> bytes:
        problem = name_problem(name)
        if problem is not None or not isinstance(name, str):
            raise _Refused("bad_name", f"the event's name {problem}")
        encoded = encoding.encode(name)
        if len(self._names) < _NAMES_REMEMBERED:
            self._names[name] = encoded
        return encoded

    @staticmethod
    def _surroundings(bound: Bound, who: Customer, *, is_bound: bool) -> tuple[bytes, bytes]:
        trace = _trace()
        if not is_bound or trace:
            return _encode_customer(who), _encode_context(bound, trace)
        if bound.encoded is None:
            bound.encoded = _encode_customer(who), _encode_context(bound, {})
        return bound.encoded

    @staticmethod
    def _properties(properties: Mapping[str, Any] | None) -> bytes:
        if not properties:
            return b"{}"
        encoded = encoding.encode(properties)
        if not encoded.startswith(b"{"):
            detail = f"properties are {type(properties).__name__}, not a mapping"
            raise _Refused("unencodable", detail)
        return encoded

    def refuse(self, name: object, reason: str, detail: str) -> Receipt:
        """Count a refusal and return its receipt; raises `EventRejected` if strict."""
        with self._count_lock:
            self.counts[reason] += 1
        if self._strict:
            raise EventRejected(name, f"{reason}: {detail}")
        return Receipt(None, reason, detail)


_BODY: Final = (
    b'{"id":%b,"kind":"%b","name":%b,"customer":%b,"context":%b,"occurred_at":"%b",'
    b'"channel":%b,"properties":%b,"source":%b,%b"v":' + str(WIRE_VERSION).encode() + b"}"
)


class _Refused(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(reason)


def _instant(at: datetime) -> int:
    try:
        micros = to_micros(at)
    except (TypeError, AttributeError, OverflowError):
        raise _Refused("bad_time", f"at is {type(at).__name__}, not a datetime") from None
    if not EARLIEST <= micros <= LATEST:
        raise _Refused("bad_time", "at is out of range")
    return micros


def _checked_id(value: object) -> str:
    if not isinstance(value, str) or not _is_id(value):
        raise _Refused("bad_id", f"an id is 1 to {ID_LENGTH} printable characters")
    return value


def _is_id(value: str) -> bool:
    return 1 <= len(value) <= ID_LENGTH and value.isprintable()


def _with_texts(who: Customer) -> Customer:
    """Return *who* with ids that are text: shops pass the numbers of their database."""
    if (
        type(who.user_id) in _TEXT
        and type(who.anonymous_id) in _TEXT
        and type(who.session_id) in _TEXT
    ):
        return who
    ids = (who.user_id, who.anonymous_id, who.session_id)
    return Customer(*(None if value is None else str(value) for value in ids))


def _encode_customer(who: Customer) -> bytes:
    for value in (who.user_id, who.anonymous_id, who.session_id):
        if value is not None and not _is_id(str(value)):
            raise _Refused("bad_customer", f"an id is 1 to {ID_LENGTH} printable characters")
    return encoding.encode(
        {
            "user_id": who.user_id,
            "anonymous_id": who.anonymous_id,
            "session_id": who.session_id,
        }
    )


def _encode_context(bound: Bound, trace: dict[str, str]) -> bytes:
    context = {**bound.context, "library": _LIBRARY}
    if bound.purposes is not None:
        context["purposes"] = sorted(bound.purposes)
    if trace:
        context["trace"] = trace
    return encoding.encode(context)


def _fact(actor: str | None, reason: str | None) -> bytes:
    return b'"actor":%b,"reason":%b,' % (encoding.encode(actor), encoding.encode(reason))


def _trace() -> dict[str, str]:
    # An app that traces has imported this; where nobody has, there is no span to find.
    module = sys.modules.get("opentelemetry.trace")
    if module is None:
        return {}
    span = module.get_current_span().get_span_context()
    if not span.is_valid:
        return {}
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


_LIBRARY: Final = "journeykit"
