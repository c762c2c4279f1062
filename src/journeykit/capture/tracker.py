"""What `track()` does in the caller: check, encode, append."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journeykit import native
from journeykit.capture import encode as encoding
from journeykit.capture.context import Bound, Form, current
from journeykit.capture.ids import RandomIds
from journeykit.capture.records import HEAD, columns
from journeykit.capture.redaction import Redactor
from journeykit.exceptions import EventRejected
from journeykit.model import jsonbytes
from journeykit.model.consent import ANALYTICS
from journeykit.model.customer import NOBODY, Customer, is_junk
from journeykit.model.event import WIRE_VERSION, Kind
from journeykit.model.journey import name_problem
from journeykit.model.receipt import Receipt
from journeykit.model.times import EARLIEST, LATEST, to_micros, to_rfc3339
from journeykit.runtime import watched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from journeykit.capture.tail import Tail

#: The most bytes that one encoded event may have.
EVENT_BYTES: Final = 32 * 1024

#: The most characters of an id that the shop gives.
ID_LENGTH: Final = 200

#: How often who waits for room looks, in seconds.
_LOOK_SECONDS: Final = 0.002

#: The most names to remember as checked; a shop that makes up more pays for each check.
_NAMES_REMEMBERED: Final = 4096

#: What a tail says → what a person should know.
_REFUSALS: Final = {
    "full": "the store has not kept up; see `journeykit status`",
    "disk_full": "the disk is full, or cannot be written; make room",
}

#: The most forms to keep for one request, or whatever else is bound.
_FORMS_KEPT: Final = 64

_NOBODY: Final = Bound(Customer())

#: What an encoded mapping begins with.
_BRACE: Final = ord("{")

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

        redactor: Takes out the values of secret keys.

        strict: Raise instead of returning a falsy receipt.

        patience: How many seconds a call waits for room where the tail is full.

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
        redactor: Redactor | None = None,
        strict: bool = False,
        patience: float = 0.0,
        now: Callable[[], int] = _now,
        randomness: random.Random | None = None,
    ) -> None:
        self._tail = tail
        self.source = dict(source)
        self._source = encoding.encode(self.source)
        self._channels = channels
        self._opt_in = opt_in
        self._redactor = redactor or Redactor()
        self._strict = strict
        self._patience = patience
        self._now = now
        self._ids = RandomIds(randomness or random.Random())
        self._names: dict[str, bytes] = {}
        #: The last second that was written out, and how.
        self._second = (-1, b"")
        # An app's signal handler may track while it interrupts a refusal.
        self._count_lock = native.rlock()
        self._refused: Counter[str] = Counter()

    def reset_after_fork(self) -> None:
        """Draw other ids than the parent process, whose threads may have held the lock."""
        self._ids.reset_after_fork()
        self._count_lock = native.rlock()
        self._refused = Counter()

    @property
    def counts(self) -> Counter[str]:
        """Calls by outcome: `accepted`, and each reason for a refusal."""
        return +Counter({"accepted": self._tail.appended, **self._refused})

    def track(
        self,
        name: str,
        properties: Mapping[str, Any] | None,
        customer: Customer | str | None = None,
        at: datetime | None = None,
        id: str | None = None,
        **more: Any,
    ) -> Receipt:
        """
        Accept one event, or say why not.

        `more` goes to `compose`: `kind`, `flags`, `actor`, `reason`, `anyway`.

        Raises:
            EventRejected: The tracker is strict and the event was refused.
        """
        try:
            event_id, record = self.compose(name, properties, customer, at, id, **more)
            refused = self.append(record)
        except Exception as error:  # noqa: BLE001 - the host never breaks because of us
            return self._refusal(name, error)
        if refused is not None:
            return self.refuse(name, refused, _REFUSALS[refused])
        return Receipt(event_id)

    def prepare(
        self,
        name: str,
        properties: Mapping[str, Any] | None,
        customer: Customer | str | None = None,
        at: datetime | None = None,
        id: str | None = None,
    ) -> tuple[Receipt, bytes]:
        """
        Return the receipt and the record of an event that is appended later; none if refused.

        Raises:
            EventRejected: The tracker is strict and the event was refused.
        """
        try:
            event_id, record = self.compose(name, properties, customer, at, id)
        except Exception as error:  # noqa: BLE001 - as above
            return self._refusal(name, error), b""
        return Receipt(event_id), record

    def append(self, record: bytes) -> str | None:
        """Append a record to the tail; returns None, or the reason for refusing it."""
        refused = self._tail.append(record)
        if refused == "full" and self._patience:
            refused = self._wait_for_room(record)
        return refused

    def _refusal(self, name: object, error: Exception) -> Receipt:
        if isinstance(error, _Refused | encoding.Unencodable):
            return self.refuse(name, error.reason, error.detail)
        if self._strict:
            raise error
        return self.refuse(name, "failed", type(error).__name__)

    def _wait_for_room(self, record: bytes) -> str | None:
        # The committer makes room: a plugin that tracks in its thread would wait for itself.
        deadline = time.monotonic() + (0.0 if watched() else self._patience)
        refused: str | None = "full"
        while refused == "full" and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            refused = self._tail.append(record)
        return refused

    def compose(  # noqa: PLR0913 - the parts of an event
        self,
        name: str,
        properties: Mapping[str, Any] | None,
        customer: Customer | str | None = None,
        at: datetime | None = None,
        id: str | None = None,
        *,
        kind: Kind = Kind.TOUCHPOINT,
        flags: int = 0,
        actor: str | None = None,
        reason: str | None = None,
        anyway: bool = False,
    ) -> tuple[str, bytes]:
        """
        Return the id and the record of an event, or raise `_Refused`.

        Args:
            anyway: Whatever the customer has consented to, and without the span that it is in.
        """
        bound = current() or _NOBODY
        span = None if anyway else _span()
        if customer is None and not flags and kind is Kind.TOUCHPOINT:
            form = bound.forms.get((name, span)) if type(name) is str else None
            if form is None:
                self._check_consent(bound)
                form = self._form(bound, span, name, bound.customer, _TOUCHPOINT)
                if len(bound.forms) >= _FORMS_KEPT:
                    bound.forms = {}
                bound.forms[name, span] = form
        else:
            if not anyway:
                self._check_consent(bound)
            fact = _fact(actor, reason) if kind is Kind.FACT else b""
            who = bound.customer if customer is None else Customer.of(customer)
            if who is NOBODY:
                # Nor is it about where whoever states it happens to be.
                bound = _NOBODY
            form = self._form(bound, span, name, who, _Nature(kind, flags, fact))
        occurred_at = self._now() if at is None else _instant(at)
        if id is None:
            event_id = self._ids.new(occurred_at)
            json_id = id_bytes = event_id.encode()
        else:
            event_id = _checked_id(id)
            id_bytes, json_id = event_id.encode(), jsonbytes.dumps(event_id)[1:-1]
        record = b"".join(
            (
                HEAD.pack(occurred_at, len(id_bytes)),
                form.columns,
                id_bytes,
                b'{"id":"',
                json_id,
                form.before,
                self._time(occurred_at),
                form.between,
                self._properties(properties),
                form.after,
            )
        )
        if len(record) > EVENT_BYTES:
            _check_size(len(record) - HEAD.size - len(form.columns) - len(id_bytes))
        return event_id, record

    def _form(
        self, bound: Bound, span: _Span | None, name: str, who: Customer, nature: _Nature
    ) -> Form:
        """Return what every such event has in common, checked."""
        encoded_name = (self._names.get(name) if type(name) is str else None) or self._check_name(
            name
        )
        is_nobody = who is NOBODY
        who = _with_texts(who)
        if not who and not is_nobody:
            detail = "no customer is bound here; pass customer=, or see init_app and bind_customer"
            raise _Refused("no_customer", detail)
        channel = self._channels.get(name) or bound.channel
        kind, flags, fact = nature
        flags |= bound.stamp.flags
        customer, context = _encode_customer(who), self._encode_context(bound, span)
        return Form(
            columns(kind, flags, name, who.user_id, who.anonymous_id, who.session_id),
            b'","kind":"%b","name":%b,"customer":%b,"context":%b,"occurred_at":"'
            % (_KIND_BYTES[kind], encoded_name, customer, context),
            b'","channel":%b,"properties":'
            % (b"null" if channel is None else encoding.encode(channel)),
            b',"source":%b,%b"v":%d}' % (self._source, fact, WIRE_VERSION),
        )

    def _check_consent(self, bound: Bound) -> None:
        if not bound.stamp.allows(ANALYTICS, unasked=not self._opt_in):
            said = "not agreed" if self._opt_in else "objected"
            raise _Refused("no_consent", f"the customer has {said} to being recorded")

    def _encode_context(self, bound: Bound, span: _Span | None) -> bytes:
        # Ours come first, so that who looks for the stamp need not read on.
        own = {"library": _LIBRARY, **bound.stamp.to_context()}
        context = {**own, **bound.context, **own}
        if span is not None:
            context["trace"] = {"trace_id": f"{span[0]:032x}", "span_id": f"{span[1]:016x}"}
        return self._redactor.by_key(context, encoding.encode(context))

    def _check_name(self, name: object) -> bytes:
        problem = name_problem(name)
        if problem is not None or not isinstance(name, str):
            raise _Refused("bad_name", f"the event's name {problem}")
        encoded = encoding.encode(name)
        if len(self._names) < _NAMES_REMEMBERED:
            self._names[name] = encoded
        return encoded

    def _time(self, micros: int) -> bytes:
        """Return *micros* as on the wire; the part up to the second is kept for the next event."""
        seconds, rest = divmod(micros, 1_000_000)
        known, text = self._second
        if seconds != known:
            text = to_rfc3339(seconds * 1_000_000)[: -len("000000Z")].encode()
            self._second = seconds, text
        return b"%b%06dZ" % (text, rest)

    def _properties(self, properties: Mapping[str, Any] | None) -> bytes:
        if not properties:
            return b"{}"
        encoded = encoding.encode(properties)
        if encoded[0] != _BRACE:
            detail = f"properties are {type(properties).__name__}, not a mapping"
            raise _Refused("unencodable", detail)
        return self._redactor.by_key(properties, encoded)

    def refuse(self, name: object, reason: str, detail: str) -> Receipt:
        """Count a refusal and return its receipt; raises `EventRejected` if strict."""
        with self._count_lock:
            self._refused[reason] += 1
        if self._strict:
            raise EventRejected(name, f"{reason}: {detail}")
        return Receipt(None, reason, detail)


class _Nature(NamedTuple):
    """Of what kind events are, how they are flagged, and who stated a fact and why, encoded."""

    kind: Kind
    flags: int
    fact: bytes


_TOUCHPOINT: Final = _Nature(Kind.TOUCHPOINT, 0, b"")

#: Trace and span of the caller, as OpenTelemetry's numbers.
_Span = tuple[int, int]


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
    for what, value in (("user id", who.user_id), ("anonymous id", who.anonymous_id)):
        if value is not None and is_junk(value):
            detail = f"{value!r} is no {what}, but what programs write for none; pass None for none"
            raise _Refused("bad_customer", detail)
    return encoding.encode(
        {
            "user_id": who.user_id,
            "anonymous_id": who.anonymous_id,
            "session_id": who.session_id,
        }
    )


def _fact(actor: str | None, reason: str | None) -> bytes:
    return b'"actor":%b,"reason":%b,' % (encoding.encode(actor), encoding.encode(reason))


def _span() -> _Span | None:
    # An app that traces has imported this; where nobody has, there is no span to find.
    module = sys.modules.get("opentelemetry.trace")
    if module is None:
        return None
    span = module.get_current_span().get_span_context()
    return (span.trace_id, span.span_id) if span.is_valid else None


def _check_size(size: int) -> None:
    if size > EVENT_BYTES:
        detail = f"it has {size:,} bytes encoded; {EVENT_BYTES:,} is the most"
        raise _Refused("too_large", detail)


_LIBRARY: Final = "journeykit"
