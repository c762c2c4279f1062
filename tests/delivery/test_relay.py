from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit import hookimpl
from journeykit.delivery import Backoff, Batch, Rejection, Relay
from journeykit.delivery import relay as module
from journeykit.exceptions import DeliveryError, StoreBusy, Superseded
from journeykit.model import Entry, Event
from journeykit.model.event import DELIVER, HISTORICAL
from journeykit.plugins import Plugins
from journeykit.store.memory import MemoryStore
from journeykit.store.protocol import Commit, Store

MakeEntry = Callable[..., Entry]


class Scripted:
    """A sink that does what it is told to, delivery by delivery, and then takes everything."""

    name = "crm"

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.batches: list[tuple[str, ...]] = []
        self.taken: list[str] = []

    def deliver(self, batch: Batch) -> Iterable[Rejection] | None:
        """Take *batch*, or not."""
        self.batches.append(batch.ids)
        step = self.script.pop(0) if self.script else None
        if isinstance(step, BaseException):
            raise step
        answer = step(batch) if callable(step) else step
        refused = {item.id for item in answer or () if isinstance(item, Rejection)}
        self.taken += [event for event in batch.ids if event not in refused]
        return answer

    def close(self) -> None:
        """Do nothing."""


class Bench:
    """A store, a relay with a clock of its own, and its sink."""

    def __init__(self, store: Any, sink: Any, *plugins: object, **more: Any) -> None:
        self.store = store
        self.sink = sink
        self.time = 1000.0
        self.waits: list[float] = []
        self.relay = Relay(
            store,
            sink,
            Plugins(plugins, installed=False),
            now=lambda: 7,
            **{"randomness": random.Random(1), "monotonic": lambda: self.time, **more},
        )

    def add(self, *entries: Entry) -> Bench:
        """Commit *entries*."""
        self.store.commit(Commit(entries), 1)
        return self

    def run(self) -> Bench:
        """Deliver until nothing is left; time flies where the relay waits."""
        while (wait := self.relay.step()) is not None:
            if wait > 0:
                self.waits.append(wait)
                self.time += wait
        return self

    @property
    def delivered(self) -> int:
        """How many events of the Log lie behind the cursor's back."""
        return len(self.store.read(None, 9999)) - len(
            self.store.read(self.store.cursor(self.relay.owner), 9999)
        )

    @property
    def parked(self) -> list[tuple[str, str]]:
        """What was parked, and why."""
        return [(item.entry.id, item.reason) for item in self.store.parked("sink:crm")]


def make(make_entry: MakeEntry, ids: str) -> list[Entry]:
    """Return entries with these one-letter ids."""
    return [make_entry(id=event) for event in ids]


def test_everything_is_delivered_in_log_order(
    monkeypatch: pytest.MonkeyPatch, store: Store, make_entry: MakeEntry
) -> None:
    """Events are handed over in Log order, in batches of a bounded size, and only once."""
    monkeypatch.setattr(module, "BATCH_EVENTS", 3)
    bench = Bench(store, Scripted()).add(*make(make_entry, "abcdefg")).run()
    bench.run()

    assert bench.sink.batches == [("a", "b", "c"), ("d", "e", "f"), ("g",)]
    assert bench.delivered == 7
    assert bench.relay.step() is None


def test_each_sink_has_its_own_cursor(store: Store, make_entry: MakeEntry) -> None:
    """A sink that is down does not hold up another."""
    other = Scripted()
    other.name = "archive"
    down = Bench(store, Scripted(*[DeliveryError("down")] * 99)).add(*make(make_entry, "ab"))
    up = Bench(store, other).run()

    assert (down.relay.step() or 0) > 0
    assert (up.delivered, down.delivered) == (2, 0)


def test_cursor_moves_only_after_delivery(store: Store, make_entry: MakeEntry) -> None:
    """While a sink has a batch the cursor stands; when the sink has taken it, it has moved."""
    seen: list[int] = []
    told: list[int] = []
    bench = Bench(
        store,
        Scripted(lambda _: seen.append(bench.delivered)),
        delivered=lambda: told.append(bench.delivered),
    )
    bench.add(*make(make_entry, "abc")).run()

    assert (seen, told) == ([0], [3])


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (DeliveryError("the other side is down"), "the other side is down"),
        (RuntimeError("ada@example.com"), "RuntimeError"),
        (KeyError("ada"), "KeyError"),
        (SystemExit(1), "SystemExit"),
        (RecursionError(), "RecursionError"),
        (asyncio.CancelledError(), "CancelledError"),
    ],
)
def test_failure_backs_off_and_delivers_later(
    store: Store, make_entry: MakeEntry, failure: BaseException, said: str
) -> None:
    """Whatever a sink raises, its batch is tried again, later and later, and nothing is lost."""
    bench = Bench(store, Scripted(*[failure] * 3)).add(*make(make_entry, "ab"))
    for number in range(1, 4):
        wait = bench.relay.step()
        assert wait is not None
        assert 2 ** (number - 2) <= wait <= 2 ** (number - 1)
        assert (bench.relay.failures, bench.relay.last_error) == (number, said)
        assert bench.delivered == 0
        bench.time += wait / 2
        assert bench.relay.step() == pytest.approx(wait / 2)
        assert len(bench.sink.batches) == number
        bench.time += wait / 2

    bench.run()
    assert bench.sink.taken == ["a", "b"]
    assert (bench.relay.failures, bench.relay.last_error) == (0, None)
    assert bench.parked == []


@pytest.mark.parametrize("rubbish", [7, [7], ["a"], [None]], ids=repr)
def test_rubbish_answer_is_a_failure(store: Store, make_entry: MakeEntry, rubbish: object) -> None:
    """A sink whose answer makes no sense is told of, and tried again."""
    bench = Bench(store, Scripted(lambda _: rubbish)).add(*make(make_entry, "ab"))

    assert (bench.relay.step() or 0) > 0
    assert bench.relay.last_error == "TypeError"
    assert bench.delivered == 0
    bench.run()
    assert bench.delivered == 2


def test_retry_after_is_kept(store: Store, make_entry: MakeEntry) -> None:
    """A sink that says when to come back is left alone until then."""
    bench = Bench(store, Scripted(DeliveryError("slow down", retry_after=90)))
    bench.add(*make(make_entry, "a")).run()

    assert bench.waits == [90]


def test_new_events_do_not_shorten_a_wait(store: Store, make_entry: MakeEntry) -> None:
    """During an outage new events wait behind the old ones."""
    bench = Bench(store, Scripted(DeliveryError("down"))).add(*make(make_entry, "a"))
    bench.relay.step()
    bench.add(*make(make_entry, "b"))

    assert (bench.relay.step() or 0) > 0
    assert len(bench.sink.batches) == 1
    bench.run()
    assert bench.sink.taken == ["a", "b"]


def test_poison_is_parked_alone(store: Store, make_entry: MakeEntry) -> None:
    """Where the other side refuses a batch for good, the one event at fault is found and parked."""

    def refuse(batch: Batch) -> None:
        if "x" in batch.ids:
            raise DeliveryError("HTTP 400", retryable=False)

    heard = []

    class Listener:
        @hookimpl
        def event_parked(self, event: Event, sink: str, reason: str) -> None:
            heard.append((event.id, sink, reason))

    bench = Bench(store, Scripted(*[refuse] * 99), Listener())
    bench.add(*make(make_entry, "abcdexfgh")).run()

    assert bench.sink.taken == list("abcdefgh")
    assert bench.parked == [("x", "HTTP 400")]
    assert heard == [("x", "crm", "HTTP 400")]
    assert bench.delivered == 9
    assert bench.waits == []


def test_outage_while_looking_for_poison(store: Store, make_entry: MakeEntry) -> None:
    """An outage in the middle of the search parks nothing that is not at fault."""

    def refuse(batch: Batch) -> None:
        if "x" in batch.ids:
            raise DeliveryError("HTTP 400", retryable=False)

    bench = Bench(store, Scripted(refuse, refuse, DeliveryError("down"), *[refuse] * 99))
    bench.add(*make(make_entry, "axbc")).run()

    assert bench.parked == [("x", "HTTP 400")]
    assert list(dict.fromkeys(bench.sink.taken)) == ["a", "b", "c"]


def test_rejected_events_are_parked(store: Store, make_entry: MakeEntry) -> None:
    """Events that a sink names as refused for good are parked with its words."""
    sink = Scripted([Rejection("b", "no such account"), Rejection("zz", "not of this batch")])
    bench = Bench(store, sink).add(*make(make_entry, "abc")).run()

    assert bench.sink.batches == [("a", "b", "c")]
    assert bench.parked == [("b", "no such account")]
    assert bench.delivered == 3


def test_retryable_rejections_are_tried_again(store: Store, make_entry: MakeEntry) -> None:
    """Events that may be taken later come again alone, and everything behind them waits."""
    sink = Scripted(
        [Rejection("b", "locked", retryable=True), Rejection("c", "bad")],
        [Rejection("b", "locked", retryable=True)],
    )
    bench = Bench(store, sink).add(*make(make_entry, "abc"))

    assert (bench.relay.step() or 0) > 0
    assert bench.sink.batches == [("a", "b", "c"), ("b",)]
    assert bench.relay.last_error == "locked"
    assert bench.delivered == 0
    sink.script = [[Rejection("c", "bad")]]
    bench.run()
    assert set(bench.sink.taken) == {"a", "b"}
    assert bench.parked == [("c", "bad")]


def test_retry_of_an_unknown_event_is_ignored(store: Store, make_entry: MakeEntry) -> None:
    """A sink that wants an event back which it was not given does not stop the others."""
    sink = Scripted(*[[Rejection("zz", "later", retryable=True)]] * 3)
    bench = Bench(store, sink).add(*make(make_entry, "ab")).run()

    assert bench.sink.batches == [("a", "b")]
    assert bench.delivered == 2


@pytest.mark.parametrize(
    ("flags", "goes_out"), [(0, True), (HISTORICAL, False), (HISTORICAL | DELIVER, True)]
)
def test_history_goes_out_on_request(
    store: Store, make_entry: MakeEntry, flags: int, goes_out: bool
) -> None:
    """Imported events reach a sink only if their import said so; the cursor passes them."""
    bench = Bench(store, Scripted()).add(make_entry(id="a", flags=flags)).run()

    assert bench.sink.taken == (["a"] if goes_out else [])
    assert bench.delivered == 1
    assert bench.sink.batches == ([("a",)] if goes_out else [])


def test_replay_delivers_what_was_parked(store: Store, make_entry: MakeEntry) -> None:
    """Replayed events are tried again; those that fail again stay parked with the new reason."""
    refused = [Rejection("a", "old"), Rejection("b", "old")]
    bench = Bench(store, Scripted(refused)).add(*make(make_entry, "abc")).run()
    assert bench.parked == [("a", "old"), ("b", "old")]

    bench.sink.script = [DeliveryError("down"), [Rejection("a", "new")]]
    assert store.replay("sink:crm") == 2
    bench.run()

    assert len(bench.waits) == 1
    assert bench.sink.taken == ["c", "b"]
    assert bench.parked == [("a", "new")]
    assert bench.relay.step() is None


def test_replay_leaves_other_owners_alone(store: Store, make_entry: MakeEntry) -> None:
    """A relay tries only its own parked events."""
    bench = Bench(store, Scripted([Rejection("a", "r")])).add(*make(make_entry, "a")).run()
    other = Scripted()
    other.name = "archive"
    store.replay()
    Bench(store, other).run()

    assert other.taken == ["a"]
    assert len(store.parked("sink:crm", replay=True)) == 1
    bench.run()
    assert store.parked() == []


def test_abandoned_relay_moves_no_cursor(store: Store, make_entry: MakeEntry) -> None:
    """Without the right to, the cursor does not move, and the events come again."""

    def no_right() -> Any:
        raise Superseded("abandoned")

    bench = Bench(store, Scripted(), right=no_right).add(*make(make_entry, "a"))
    with pytest.raises(Superseded):
        bench.relay.step()
    assert bench.delivered == 0


class Flaky:
    """A store that is busy now and then when a cursor is to move."""

    def __init__(self, store: Store, failures: list[bool]) -> None:
        self._store = store
        self._failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def advance(self, *arguments: Any) -> None:
        """Move the cursor, or be busy."""
        if self._failures and self._failures.pop():
            raise StoreBusy("busy")
        self._store.advance(*arguments)


def _steps(ids: list[str]) -> st.SearchStrategy[Any]:
    one = st.sampled_from(ids)
    return st.one_of(
        st.none(),
        st.just(DeliveryError("down")),
        st.just(DeliveryError("later", retry_after=30)),
        st.just(RuntimeError("x")),
        one.map(lambda event: [Rejection(event, "later", retryable=True)]),
    )


@given(
    data=st.data(),
    count=st.integers(1, 12),
    poison=st.sets(st.integers(0, 11), max_size=3),
    busy=st.lists(st.booleans(), max_size=4),
    size=st.integers(1, 5),
)
def test_nothing_is_lost_whatever_happens(
    make_entry: MakeEntry,
    data: st.DataObject,
    count: int,
    poison: set[int],
    busy: list[bool],
    size: int,
) -> None:
    """Each event is taken at least once or parked once, and first deliveries are in Log order."""
    entries = [make_entry() for _ in range(count)]
    ids = [entry.id for entry in entries]
    bad = {ids[index] for index in poison if index < count}

    class Sink(Scripted):
        def deliver(self, batch: Batch) -> Iterable[Rejection] | None:
            if bad.intersection(batch.ids):
                self.batches.append(batch.ids)
                raise DeliveryError("HTTP 422", retryable=False)
            return super().deliver(batch)

    sink = Sink(*data.draw(st.lists(_steps(ids), max_size=8)))
    bench = Bench(Flaky(MemoryStore(), busy), sink, backoff=Backoff(most=5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH_EVENTS", size)
        for entry in entries:
            bench.add(entry)
        while True:
            try:
                bench.run()
                break
            except StoreBusy:
                continue

    assert bench.delivered == count
    assert set(sink.taken) == set(ids) - bad
    assert sorted(event for event, _ in bench.parked) == sorted(bad)
