from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from journeykit import Customer, EventRejected, bind_customer
from journeykit.capture import Bound, MemoryTail, Tracker
from journeykit.capture.context import bind, unbind
from journeykit.capture.tracker import EVENT_BYTES
from journeykit.model import Entry, Event, Kind, Receipt
from journeykit.model.event import HISTORICAL
from journeykit.model.times import from_rfc3339
from journeykit.runtime import Worker

REASONS = {
    "no_customer",
    "no_consent",
    "bad_name",
    "bad_time",
    "bad_id",
    "bad_customer",
    "too_large",
    "too_deep",
    "cycle",
    "unencodable",
    "full",
    "closed",
    "failed",
}


def make(
    *, opt_in: bool = False, strict: bool = False, limit: int = 10**7, **more: Any
) -> tuple[Tracker, MemoryTail]:
    """Return a tracker and its tail."""
    tail = MemoryTail(limit)
    arguments: dict[str, Any] = {
        "source": {"app": "shop", "host": "h1"},
        "channels": {"Letter Sent": "post", "Call Made": None},
        "now": lambda: 1_772_452_800_000_000,
        "randomness": random.Random(7),
        **more,
    }
    return Tracker(tail, opt_in=opt_in, strict=strict, **arguments), tail


def wire(tail: MemoryTail) -> dict[str, Any]:
    """Return the newest event's body."""
    body: dict[str, Any] = json.loads(tail.take(1_000).entries[-1].body)
    return body


# What an accepted event is.


def test_an_event_in_full() -> None:
    """The body of an event is the wire form, without what only the Log knows."""
    tracker, tail = make()
    with bind_customer(Customer("u1", "a1", "s1"), channel="web", context={"page": "/cart"}):
        receipt = tracker.track("Product Added", {"sku": "x", "price": Decimal("9.5")})
    assert receipt
    assert UUID(receipt.id).version == 7
    assert wire(tail) == {
        "id": receipt.id,
        "kind": "touchpoint",
        "name": "Product Added",
        "customer": {"user_id": "u1", "anonymous_id": "a1", "session_id": "s1"},
        "context": {"page": "/cart", "library": "journeykit"},
        "occurred_at": "2026-03-02T12:00:00.000000Z",
        "channel": "web",
        "properties": {"sku": "x", "price": 9.5},
        "source": {"app": "shop", "host": "h1"},
        "v": 1,
    }


def test_the_columns_are_those_of_the_body() -> None:
    """What the path reads beside the body says the same as the body."""
    tracker, tail = make()
    at = datetime(2026, 1, 1, 3, tzinfo=timezone(timedelta(hours=3)))
    assert tracker.track(
        "Paid", None, customer=Customer(None, "a1", "s1"), at=at, id="my-1", flags=HISTORICAL
    )
    (entry,) = tail.take(9).entries
    assert entry[:8] == (
        "my-1",
        Kind.TOUCHPOINT,
        "Paid",
        None,
        "a1",
        "s1",
        from_rfc3339("2026-01-01T00:00:00Z"),
        HISTORICAL,
    )
    event = entry.event()
    assert (event.id, event.name, event.historical) == ("my-1", "Paid", True)
    assert event.customer == Customer(None, "a1", "s1")
    assert event.occurred_at == at


def test_a_fact_carries_actor_and_reason() -> None:
    """A fact says who did it and why; a touchpoint says neither."""
    tracker, tail = make()
    tracker.track(
        "customer.identified", None, customer="u1", kind=Kind.FACT, actor="clerk", reason='"new"'
    )
    assert (wire(tail)["actor"], wire(tail)["reason"]) == ("clerk", '"new"')
    assert wire(tail)["kind"] == "fact"
    tracker.track("Paid", None, customer="u1")
    assert not {"actor", "reason"} & set(wire(tail))


@pytest.mark.parametrize(
    ("name", "channel"), [("Letter Sent", "post"), ("Call Made", "web"), ("Paid", "web")]
)
def test_channels(name: str, channel: str) -> None:
    """The channel is that of the declared touchpoint, else the bound one."""
    tracker, tail = make()
    with bind_customer("u1", channel="web"):
        tracker.track(name, None)
    assert wire(tail)["channel"] == channel
    tracker.track("Paid", None, customer="u1")
    assert wire(tail)["channel"] is None


def test_a_given_customer_comes_before_the_bound_one() -> None:
    """`customer=` wins over the bound customer, in the context that is bound."""
    tracker, tail = make()
    with bind_customer("u1", context={"page": "/"}):
        tracker.track("Paid", None, customer="u2")
        assert wire(tail)["customer"]["user_id"] == "u2"
        assert wire(tail)["context"]["page"] == "/"
        tracker.track("Paid", None)
        assert wire(tail)["customer"]["user_id"] == "u1"


def test_signing_in_changes_the_customer_of_later_events() -> None:
    """What was encoded of a request's first customer is not used for its second."""
    tracker, tail = make()
    bound = Bound(lambda: Customer(anonymous_id="a1"))
    token = bind(bound)
    tracker.track("Paid", None)
    assert wire(tail)["customer"]["user_id"] is None
    bound.rebind(Customer("u1", "a1"))
    tracker.track("Paid", None)
    unbind(token)
    assert wire(tail)["customer"] == {"user_id": "u1", "anonymous_id": "a1", "session_id": None}


def test_a_naive_time_is_utc() -> None:
    """A time without a zone is taken as UTC."""
    tracker, tail = make()
    tracker.track("Paid", None, customer="u1", at=datetime(2026, 1, 1))  # noqa: DTZ001
    assert wire(tail)["occurred_at"] == "2026-01-01T00:00:00.000000Z"


def test_ids_after_a_fork_differ() -> None:
    """A child process draws other ids than its parent."""
    source = random.Random(7)
    tracker, _ = make(randomness=source)
    state = source.getstate()
    first = tracker.track("Paid", None, customer="u1").id
    source.setstate(state)
    assert tracker.track("Paid", None, customer="u1").id == first
    source.setstate(state)
    tracker.reset_after_fork()
    assert tracker.track("Paid", None, customer="u1").id != first


def test_every_receipt_is_counted() -> None:
    """Accepted events and refused ones by their reason are counted, from all threads."""
    tracker, _ = make()

    def work() -> None:
        for _ in range(200):
            tracker.track("Paid", None, customer="u1")
            tracker.track("", None, customer="u1")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracker.counts == {"accepted": 800, "bad_name": 800}


# Refusals.


class Surprise(tzinfo):
    """A zone that raises."""

    def utcoffset(self, _: datetime | None) -> timedelta:
        """Raise."""
        raise RuntimeError("no offset")


def nested(depth: int) -> list[Any]:
    """Return lists, *depth* of them, one in the other."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def cycle() -> dict[str, Any]:
    """Return a value that contains itself."""
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def refusing(error: Exception) -> Callable[[], Customer]:
    """Return a function that cannot find the customer."""

    def find() -> Customer:
        raise error

    return find


SOMEBODY = {"customer": "u1"}
REFUSED: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("no_customer", ("Paid", None), {}),
    ("no_customer", ("Paid", None), {"customer": ""}),
    ("no_customer", ("Paid", None), {"customer": Customer(session_id="s1")}),
    ("bad_name", ("", None), SOMEBODY),
    ("bad_name", (" Paid", None), SOMEBODY),
    ("bad_name", ("a" * 201, None), SOMEBODY),
    ("bad_name", ("a\nb", None), SOMEBODY),
    ("bad_name", ("\ud800", None), SOMEBODY),
    ("bad_name", (None, None), SOMEBODY),
    ("bad_name", (["Paid"], None), SOMEBODY),
    ("bad_name", (b"Paid", None), SOMEBODY),
    ("bad_time", ("Paid", None), {**SOMEBODY, "at": "2026-01-01"}),
    ("bad_time", ("Paid", None), {**SOMEBODY, "at": 1_772_452_800}),
    ("bad_time", ("Paid", None), {**SOMEBODY, "at": date(2026, 1, 1)}),
    (
        "bad_time",
        ("Paid", None),
        {**SOMEBODY, "at": datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))},
    ),
    ("bad_id", ("Paid", None), {**SOMEBODY, "id": ""}),
    ("bad_id", ("Paid", None), {**SOMEBODY, "id": 7}),
    ("bad_id", ("Paid", None), {**SOMEBODY, "id": "a" * 201}),
    ("bad_id", ("Paid", None), {**SOMEBODY, "id": "a\x00"}),
    ("bad_id", ("Paid", None), {**SOMEBODY, "id": "\udc80"}),
    ("bad_customer", ("Paid", None), {"customer": "a" * 201}),
    ("bad_customer", ("Paid", None), {"customer": "a\nb"}),
    ("bad_customer", ("Paid", None), {"customer": Customer("u1", "\ud800")}),
    ("bad_customer", ("Paid", None), {"customer": Customer("u1", session_id="\x00")}),
    ("bad_customer", ("Paid", None), {"customer": "undefined"}),
    ("bad_customer", ("Paid", None), {"customer": 0}),
    ("bad_customer", ("Paid", None), {"customer": Customer("u1", "[object Object]")}),
    ("too_large", ("Paid", {"text": "x" * EVENT_BYTES}), SOMEBODY),
    ("too_large", ("Paid", {"text": "é" * (EVENT_BYTES // 2)}), SOMEBODY),
    ("too_deep", ("Paid", {"deep": nested(100)}), SOMEBODY),
    ("cycle", ("Paid", cycle()), SOMEBODY),
    ("unencodable", ("Paid", {"a": object()}), SOMEBODY),
    ("unencodable", ("Paid", ["a", "b"]), SOMEBODY),
    ("unencodable", ("Paid", "text"), SOMEBODY),
    ("unencodable", ("Paid", 7), SOMEBODY),
    ("failed", ("Paid", None), {**SOMEBODY, "at": datetime(2026, 1, 1, tzinfo=Surprise())}),
]


@pytest.mark.parametrize(("reason", "arguments", "more"), REFUSED)
def test_a_refusal_has_a_reason(
    reason: str, arguments: tuple[Any, ...], more: dict[str, Any]
) -> None:
    """What cannot be accepted is refused with its word and a sentence, counted, and not kept."""
    tracker, tail = make()
    receipt = tracker.track(*arguments, **more)
    assert not receipt
    assert receipt.reason == reason
    assert receipt.detail
    assert tracker.counts == {reason: 1}
    assert len(tail) == 0


@pytest.mark.parametrize(("reason", "arguments", "more"), REFUSED)
def test_a_strict_refusal_raises(
    reason: str, arguments: tuple[Any, ...], more: dict[str, Any]
) -> None:
    """A strict tracker raises what it would have refused; what failed raises its own error."""
    tracker, tail = make(strict=True)
    if reason == "failed":
        with pytest.raises(RuntimeError, match="no offset"):
            tracker.track(*arguments, **more)
    else:
        with pytest.raises(EventRejected, match=reason):
            tracker.track(*arguments, **more)
    assert len(tail) == 0


def test_every_reason_is_documented() -> None:
    """The reasons that the receipt's docstring lists are those that there are."""
    documented = Receipt.__doc__ or ""
    for reason in {reason for reason, _, _ in REFUSED} | {"full", "no_consent"}:
        assert f"`{reason}`" in documented


def test_a_full_tail_refuses() -> None:
    """When the store has not kept up, new events are refused as full, and the old ones stay."""
    tracker, tail = make(limit=1_500)
    assert tracker.track("Paid", None, customer="u1")
    receipts = [tracker.track("Paid", None, customer="u1") for _ in range(3)]
    assert [receipt.reason for receipt in receipts][-1] == "full"
    kept = len(tail)
    assert kept == tracker.counts["accepted"]
    strict, _ = make(limit=0, strict=True)
    with pytest.raises(EventRejected, match="full"):
        strict.track("Paid", None, customer="u1")


def test_the_largest_event_is_accepted() -> None:
    """An event of exactly 32 KB is kept, and one byte more is too large."""
    tracker, tail = make()
    tracker.track("Paid", {"text": ""}, customer="u1")
    room = EVENT_BYTES - len(tail.take(1).entries[0].body)
    assert tracker.track("Paid", {"text": "x" * room}, customer="u1")
    assert tracker.track("Paid", {"text": "x" * (room + 1)}, customer="u1").reason == "too_large"


def test_a_bad_context_is_refused_by_its_reason() -> None:
    """A bound context or channel without a JSON form is refused as unencodable, strict or not."""
    for context, channel in (({"a": object()}, None), ({}, object())):
        with bind_customer("u1", context=context, channel=channel):  # type: ignore[arg-type]
            assert make()[0].track("Paid", None).reason == "unencodable"
            with pytest.raises(EventRejected, match="unencodable"):
                make(strict=True)[0].track("Paid", None)


def test_a_customer_that_cannot_be_found() -> None:
    """Where the app's own function fails, the event is refused and the request goes on."""
    tracker, _ = make()
    token = bind(Bound(refusing(LookupError("no session"))))
    receipt = tracker.track("Paid", None)
    unbind(token)
    assert (receipt.reason, receipt.detail) == ("failed", "LookupError")


class Hostile:
    """An object that raises at every look."""

    def _raise(self, *_: object) -> Any:
        raise RuntimeError("hostile")

    __bool__ = __eq__ = __hash__ = __len__ = __iter__ = __str__ = __repr__ = _raise
    __getitem__ = __int__ = __float__ = __getattr__ = _raise


class HostileText(str):
    """A text that raises where a text should not."""

    __slots__ = ()

    def __eq__(self, _: object) -> bool:
        raise RuntimeError("hostile")

    def __hash__(self) -> int:
        raise RuntimeError("hostile")

    def strip(self, *_: object) -> str:
        """Raise."""
        raise RuntimeError("hostile")


class HostileDict(dict[str, Any]):
    """A mapping that raises when it is read."""

    def items(self) -> Any:
        """Raise."""
        raise RuntimeError("hostile")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("hostile")


anything = st.one_of(
    st.none(),
    st.text(max_size=10),
    st.text(st.characters(categories=["Cs", "Cc"]), max_size=3),
    st.integers(),
    st.floats(),
    st.binary(max_size=3),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.builds(Hostile),
    st.builds(HostileText, st.text(max_size=3)),
    st.builds(HostileDict, st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)),
    st.lists(st.integers() | st.builds(Hostile), max_size=2),
    st.dictionaries(
        st.text(max_size=3) | st.integers(), st.text() | st.builds(Hostile), max_size=3
    ),
    st.builds(Customer, st.none() | st.text(max_size=3), st.builds(Hostile) | st.integers()),
    st.sampled_from([object(), type, len, Ellipsis, Kind.FACT]),
)


@given(name=anything, properties=anything, customer=anything, at=anything, id=anything)
def test_nothing_raises_into_the_host(
    name: Any, properties: Any, customer: Any, at: Any, id: Any
) -> None:
    """Whatever the host passes, it gets a receipt; what is accepted is an event."""
    tracker, tail = make()
    receipt = tracker.track(name, properties, customer=customer, at=at, id=id)
    assert sum(tracker.counts.values()) == 1
    if receipt:
        (entry,) = tail.take(9).entries
        assert isinstance(entry.event(), Event)
        assert entry.id == receipt.id
    else:
        assert receipt.reason in REASONS
        assert len(tail) == 0


@given(name=st.just("Paid") | anything, properties=st.just({}) | anything, at=st.none() | anything)
def test_one_argument_alone_may_be_bad(name: Any, properties: Any, at: Any) -> None:
    """With a good customer, a receipt still comes of any name, properties and time."""
    tracker, tail = make()
    receipt = tracker.track(name, properties, customer="u1", at=at)
    assert bool(receipt) == (len(tail) == 1)
    for entry in tail.take(9).entries:
        assert isinstance(entry.event().properties, dict)


# Consent.


@pytest.mark.parametrize(
    ("opt_in", "purposes", "accepted"),
    [
        (False, None, True),
        (False, ["analytics"], True),
        (False, ["analytics", "ads"], True),
        (False, [], False),
        (False, ["ads"], False),
        (True, None, False),
        (True, ["analytics"], True),
        (True, [], False),
        (True, ["ads"], False),
    ],
)
def test_consent(opt_in: bool, purposes: list[str] | None, accepted: bool) -> None:
    """opt_out records who has not objected, opt_in only who has agreed to analytics."""
    tracker, tail = make(opt_in=opt_in)
    with bind_customer("u1", purposes=purposes):
        for more in ({}, {"customer": "u2"}):
            receipt = tracker.track("Paid", None, **more)
            assert bool(receipt) == accepted
            if not accepted:
                assert receipt.reason == "no_consent"
    assert len(tail) == (2 if accepted else 0)


def test_opt_in_needs_a_binding() -> None:
    """Where nobody was asked, opt_in records nobody, also not a customer given by hand."""
    tracker, _ = make(opt_in=True)
    assert tracker.track("Paid", None, customer="u1").reason == "no_consent"


def test_granted_purposes_are_stamped() -> None:
    """An event carries what its customer has consented to, and nothing where nobody was asked."""
    tracker, tail = make(opt_in=True)
    with bind_customer("u1", purposes={"ads", "analytics"}):
        tracker.track("Paid", None)
    assert wire(tail)["context"]["purposes"] == ["ads", "analytics"]
    tracker, tail = make()
    tracker.track("Paid", None, customer="u1")
    assert "purposes" not in wire(tail)["context"]


# Traces.


def test_the_current_span_goes_with_the_event() -> None:
    """An event inside a span carries its ids in hexadecimal; outside there is no trace."""
    tracker, tail = make()
    provider = TracerProvider()
    with bind_customer("u1"):
        tracker.track("Paid", None)
        assert "trace" not in wire(tail)["context"]
        with provider.get_tracer("tests").start_as_current_span("checkout") as span:
            tracker.track("Paid", None)
            context = span.get_span_context()
        assert wire(tail)["context"]["trace"] == {
            "trace_id": trace.format_trace_id(context.trace_id),
            "span_id": trace.format_span_id(context.span_id),
        }
        tracker.track("Paid", None)
        assert "trace" not in wire(tail)["context"]
    provider.shutdown()


def test_each_event_carries_its_own_span() -> None:
    """Two spans of one request are told apart, though the request is encoded once."""
    tracker, tail = make()
    provider = TracerProvider()
    spans = []
    with bind_customer("u1"):
        for name in ("one", "two"):
            with provider.get_tracer("tests").start_as_current_span(name):
                tracker.track("Paid", None)
                spans.append(wire(tail)["context"]["trace"]["span_id"])
    provider.shutdown()
    assert len(set(spans)) == 2


def test_no_tracing_library_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the app has not imported OpenTelemetry, nothing is looked for or imported."""
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    tracker, tail = make()
    assert tracker.track("Paid", None, customer="u1")
    assert "opentelemetry.trace" not in sys.modules
    assert "trace" not in wire(tail)["context"]


# Names remembered.


def test_made_up_names_do_not_fill_the_memory() -> None:
    """A shop that makes up a name for each event pays with time, not with memory."""
    tracker, tail = make(limit=10**9)
    for number in range(5_000):
        assert tracker.track(f"Name {number}", None, customer="u1")
    assert len(tracker._names) == 4096
    assert wire_names(tail.take(10_000).entries) == {f"Name {number}" for number in range(5_000)}


def wire_names(entries: tuple[Entry, ...]) -> set[str]:
    """Return the names in the bodies."""
    return {json.loads(entry.body)["name"] for entry in entries}


def test_times_are_those_of_the_clock() -> None:
    """Without `at`, the event is of the tracker's now, and so is its id."""
    now = [from_rfc3339("2026-03-02T12:00:00Z")]
    tracker, tail = make(now=lambda: now[0])
    tracker.track("Paid", None, customer="u1")
    now[0] += 1_000_000
    tracker.track("Paid", None, customer="u1")
    first, second = tail.take(9).entries
    assert second.occurred_at - first.occurred_at == 1_000_000
    assert UUID(second.id).int >> 80 == now[0] // 1000
    assert first.event().occurred_at == datetime(2026, 3, 2, 12, tzinfo=UTC)


# Waiting for room.


class Full:
    """A tail that is full for some time."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.appended = 0

    def append(self, record: bytes) -> str | None:
        """Refuse, until it has often enough."""
        self.refusals -= 1
        if self.refusals >= 0:
            return "full"
        self.appended += 1
        return None


def waiting(tail: Full, patience: float) -> Tracker:
    """Return a tracker whose calls wait for room."""
    more: Any = {"source": {}, "channels": {}, "opt_in": False, "patience": patience}
    return Tracker(tail, **more)  # type: ignore[arg-type]


def test_a_patient_call_waits_for_room() -> None:
    """Where a full tail lets calls wait, the event is accepted once there is room."""
    tail = Full(refusals=5)
    assert waiting(tail, 10.0).track("Paid", None, customer="u1")
    assert tail.appended == 1


def test_patience_ends() -> None:
    """A call that has waited long enough is refused, and an impatient one at once."""
    tail = Full(refusals=10**9)
    assert waiting(tail, 0.05).track("Paid", None, customer="u1").reason == "full"
    assert 10**9 - tail.refusals > 2
    tail = Full(refusals=1)
    assert waiting(tail, 0.0).track("Paid", None, customer="u1").reason == "full"


def test_a_plugin_does_not_wait_for_itself() -> None:
    """In the threads that make room nobody waits for room."""
    tail, found = Full(refusals=10**9), []

    def step() -> None:
        found.append(waiting(tail, 60.0).track("Paid", None, customer="u1").reason)

    worker = Worker("committer", step)
    worker.start()
    deadline = time.monotonic() + 20
    while not found and time.monotonic() < deadline:
        time.sleep(0.001)
    worker.stop()
    worker.join(20)
    assert found[0] == "full"


# What is kept from one event to the next.


def test_events_of_one_request_differ_in_what_differs() -> None:
    """Kept parts of earlier events bring nothing of these into later ones."""
    tracker, tail = make(now=iter(range(10**12, 10**13, 700_000)).__next__)
    with bind_customer(Customer("u1", "a1"), channel="web", context={"page": "/"}):
        for name, given in [("Viewed", {"n": 1}), ("Letter Sent", None), ("Viewed", {"n": 2})]:
            assert tracker.track(name, given)
        assert tracker.track("Viewed", None, customer="u2")
        assert tracker.track("Viewed", {"n": 3}, flags=HISTORICAL)
    found = [(each, json.loads(each.body)) for each in tail.take(10).entries]
    shown = [
        (each.name, wire["customer"]["user_id"], wire["channel"], wire["properties"], each.flags)
        for each, wire in found
    ]
    assert shown == [
        ("Viewed", "u1", "web", {"n": 1}, 0),
        ("Letter Sent", "u1", "post", {}, 0),
        ("Viewed", "u1", "web", {"n": 2}, 0),
        ("Viewed", "u2", "web", {}, 0),
        ("Viewed", "u1", "web", {"n": 3}, HISTORICAL),
    ]
    assert all(
        (each.id, each.name, each.user_id, each.occurred_at)
        == (
            wire["id"],
            wire["name"],
            wire["customer"]["user_id"],
            from_rfc3339(wire["occurred_at"]),
        )
        for each, wire in found
    )


def test_many_names_in_one_request_are_not_all_kept() -> None:
    """What is kept for a request stays small, however many names it uses."""
    tracker, tail = make()
    with bind_customer("u1") as bound:
        for number in range(1_000):
            assert tracker.track(f"Name {number}", None)
        assert len(bound.forms) < 100
    assert [each.name for each in tail.take(2_000).entries] == [f"Name {n}" for n in range(1_000)]


@pytest.mark.parametrize("event_id", ['a"b', "a\\b", "ä", "</script>"])
def test_an_id_of_the_shops_own_is_the_same_everywhere(event_id: str) -> None:
    """An id is escaped in the body, and itself in the column and the receipt."""
    tracker, tail = make()
    receipt = tracker.track("Paid", None, customer="u1", id=event_id)
    (entry,) = tail.take(1).entries
    assert receipt.id == entry.id == json.loads(entry.body)["id"] == event_id
