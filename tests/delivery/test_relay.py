from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit import hookimpl
from journeykit.delivery import Backoff, Batch, Rejection, Relay, health, replay
from journeykit.delivery import relay as module
from journeykit.delivery.gate import Gate
from journeykit.delivery.replay import BEHIND
from journeykit.exceptions import DeliveryError, StoreBusy, Superseded
from journeykit.model import Entry, Event, jsonbytes
from journeykit.model.consent import Stamp
from journeykit.model.event import DELIVER, HISTORICAL
from journeykit.model.extension import Ordering
from journeykit.model.times import to_rfc3339
from journeykit.plugins import Plugins
from journeykit.store.kept import Kept
from journeykit.store.memory import MemoryStore
from journeykit.store.protocol import Commit, Parking, Store
from journeykit.testing import Delivering, RecordingSink

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
        told = answer if isinstance(answer, list | tuple) else ()
        refused = {item.id for item in told if isinstance(item, Rejection)}
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
        assert bench.relay.failures == number
        assert (bench.relay.last_error or "").partition(" (")[0] == said
        assert "ada" not in (bench.relay.last_error or "")
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
    assert bench.relay.last_error is not None
    assert bench.relay.last_error.startswith("deliver returned ")
    assert "Rejection" in bench.relay.last_error
    assert bench.delivered == 0
    bench.run()
    assert bench.delivered == 2


def test_retry_after_is_kept(store: Store, make_entry: MakeEntry) -> None:
    """A sink that says when to come back is left alone until then."""
    bench = Bench(store, Scripted(DeliveryError("slow down", retry_after=90)))
    bench.add(*make(make_entry, "a")).run()

    assert bench.waits == [90]


def test_the_first_try_after_a_failure_is_small(store: Store, make_entry: MakeEntry) -> None:
    """An outage is probed with a few events, so that few come twice where only answers got lost."""

    def lost(batch: Batch) -> None:
        raise DeliveryError("ReadTimeout")

    bench = Bench(store, Scripted(None, *[lost] * 5))
    bench.add(make_entry()).run()
    bench.add(*(make_entry() for _ in range(1200))).run()

    sizes = [len(batch) for batch in bench.sink.batches]
    assert sizes == [1, 500, 10, 10, 10, 10, 10, 20, 40, 80, 160, 320, 500, 70]
    assert len(bench.sink.taken) == 1201
    assert bench.sink.batches[2] == bench.sink.batches[6] == bench.sink.batches[1][:10]


def test_the_breaker_opens_and_closes(store: Store, make_entry: MakeEntry) -> None:
    """A sink that fails is left alone, then probed, and said to work when it has worked."""
    seen: list[Any] = []

    def look(batch: Batch) -> None:
        seen.append(bench.relay.breaker)

    bench = Bench(store, Scripted(DeliveryError("down"), look)).add(*make(make_entry, "a"))
    assert bench.relay.status() == {
        "breaker": "closed",
        "failures": 0,
        "last_error": None,
        "next_try": None,
        "calling_for": None,
        "held_back": 0,
        "process": os.getpid(),
        "as_of": to_rfc3339(7),
    }
    wait = bench.relay.step()
    assert wait is not None
    status = bench.relay.status()
    assert (status["breaker"], status["failures"], status["last_error"]) == ("open", 1, "down")
    assert status["next_try"] == to_rfc3339(7 + int(wait * 1e6))
    bench.time += wait
    bench.run()

    assert seen == ["half_open"]
    assert bench.relay.status()["breaker"] == "closed"


class Telling(MemoryStore):
    """A store that counts what readers tell it of themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.tellings: list[dict[str, Any]] = []

    def tell_status(self, name: str, status: bytes) -> None:
        """Note that it was told."""
        super().tell_status(name, status)
        self.tellings.append(jsonbytes.loads(status))


def test_what_changes_is_told_to_other_processes(make_entry: MakeEntry) -> None:
    """The store hears when a sink fails and when it works again, and nothing while it works."""
    store = Telling()
    bench = Bench(store, Scripted(None, None, *[DeliveryError("down")] * 2))
    assert bench.relay.step() is None
    assert store.tellings == []
    for _ in range(2):
        bench.add(make_entry()).run()
    assert [told["breaker"] for told in store.tellings] == ["closed"]

    bench.time += 5
    bench.add(make_entry()).run()
    told = [(told["breaker"], told["failures"], told["last_error"]) for told in store.tellings[1:]]
    assert told == [("open", 1, "down"), ("open", 2, "down"), ("closed", 0, None)]
    assert health.told(store, "crm") == store.tellings[-1]
    assert health.told(store, "other") == health.NO_STATUS


def test_a_sink_that_wavers_is_not_told_of_each_time(make_entry: MakeEntry) -> None:
    """However often a sink changes, the store is told twice a second at most, and of the end."""
    store = Telling()
    times: list[float] = []
    script = [later("a"), None] * 40
    bench = Bench(store, Scripted(*script), backoff=Backoff(first=0.02, most=0.02))
    store.tell_status = lambda name, status: (  # type: ignore[method-assign]
        times.append(bench.time),
        store.tellings.append(jsonbytes.loads(status)),
    )
    for number in range(20):
        bench.add(make_entry(id="a" if not number else f"a{number}"), make_entry()).run()
        bench.sink.script = [lambda batch: later(batch.ids[0])]

    assert len(times) > 1
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert min(gaps) >= 0.499
    assert store.tellings[-1]["held_back"] == 0


def test_a_call_that_lasts_is_shown(store: Store, make_entry: MakeEntry) -> None:
    """While the sink has a batch the status says for how long, and afterwards not."""
    seen: list[Any] = []

    def slow(batch: Batch) -> None:
        bench.time += 42
        seen.append(bench.relay.status()["calling_for"])

    bench = Bench(store, Scripted(slow)).add(*make(make_entry, "a"))
    bench.run()

    assert seen == [42]
    assert bench.relay.status()["calling_for"] is None


def test_outages_are_logged_ever_more_rarely(
    store: Store, make_entry: MakeEntry, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has a constant message, and a line for the first, second, fourth, … failure."""
    bench = Bench(store, Scripted(*[DeliveryError("ada@example.com is down")] * 20))
    bench.add(*make(make_entry, "a")).run()

    assert {record.message for record in caplog.records} == {"journeykit.delivery_failed"}
    assert [record.failures for record in caplog.records] == [1, 2, 4, 8, 16]
    assert {record.error for record in caplog.records} == {"… is down"}


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


def later(*ids: str) -> list[Rejection]:
    """Return an answer that takes all but *ids* now."""
    return [Rejection(event, "locked", retryable=True) for event in ids]


def test_retryable_rejections_come_again_alone(store: Store, make_entry: MakeEntry) -> None:
    """What may be taken later comes again alone, after a while; nothing else comes twice."""
    sink = Scripted([*later("b"), Rejection("c", "bad")], later("b"))
    bench = Bench(store, sink).add(*make(make_entry, "abc")).run()

    assert sink.batches == [("a", "b", "c"), ("b",), ("b",)]
    assert len(bench.waits) == 2
    assert bench.parked == [("c", "bad")]
    assert bench.delivered == 3
    assert (bench.relay.failures, bench.relay.breaker) == (0, "closed")


def test_other_customers_do_not_wait_for_one(store: Store, make_entry: MakeEntry) -> None:
    """While an event is held back, only later events of its customer wait, however they are named."""
    sink = Scripted(later("a"))
    bench = Bench(store, sink).add(make_entry(id="a", user_id=None, anonymous_id="anon"))
    assert bench.relay.step() == 0.0
    bench.add(
        make_entry(id="b", user_id="ada", anonymous_id="anon"),
        make_entry(id="c", user_id="ada"),
        make_entry(id="d", user_id="bob"),
    )
    assert bench.relay.step() == 0.0
    assert sink.taken == ["d"]
    assert bench.relay.status()["held_back"] == 1
    assert bench.delivered == 0

    bench.run()
    assert sink.batches == [("a",), ("d",), ("a", "b", "c")]
    assert bench.delivered == 4


def test_an_event_that_is_never_taken_is_parked(
    monkeypatch: pytest.MonkeyPatch, store: Store, make_entry: MakeEntry
) -> None:
    """An event that the sink puts off while it takes others is parked after so many tries."""
    monkeypatch.setattr(module, "MOST_TRIES", 3)

    def put_off(batch: Batch) -> list[Rejection]:
        return later(*{"x"}.intersection(batch.ids))

    sink = Scripted(*[put_off] * 99)
    bench = Bench(store, sink).add(*make(make_entry, "x"))
    for number in range(30):
        bench.relay.step()
        bench.time += 1000
        if number >= 20:
            bench.add(make_entry(user_id=f"other{number}"))
    bench.run()

    assert bench.parked == [("x", "after 3 tries: locked")]
    assert sink.batches.count(("x",)) >= 10
    assert len(sink.taken) == len(set(sink.taken)) == 10


def test_where_nothing_is_taken_nothing_is_parked(
    monkeypatch: pytest.MonkeyPatch, store: Store, make_entry: MakeEntry
) -> None:
    """A sink that puts off everything it is handed has an outage, however long."""
    monkeypatch.setattr(module, "MOST_TRIES", 3)
    sink = Scripted(*[lambda batch: later(*batch.ids)] * 40)
    bench = Bench(store, sink).add(*make(make_entry, "abcdefghijklmno"))
    while sink.script:
        bench.time += bench.relay.step() or 0

    assert bench.relay.failures == 40
    assert bench.relay.last_error == "locked"
    bench.run()
    assert sink.taken == list("abcdefghijklmno")
    assert bench.parked == []


def test_reading_on_has_an_end(
    monkeypatch: pytest.MonkeyPatch, store: Store, make_entry: MakeEntry
) -> None:
    """Behind an event that is held back, no more than so many others are kept in memory."""
    monkeypatch.setattr(module, "AHEAD_EVENTS", 5)
    bench = Bench(store, Scripted(later("a"))).add(*make(make_entry, "a"))
    bench.relay.step()
    bench.add(*(make_entry(id=event, user_id=event) for event in "bcdefgh"))
    while bench.relay.step() == 0.0:
        pass

    assert bench.sink.taken == list("bcde")
    bench.run()
    assert bench.sink.taken == list("bcdeafgh")


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

    assert len(bench.sink.batches) == 3
    assert sum(bench.waits) <= 1
    assert bench.sink.taken == ["c", "b"]
    assert bench.parked == [("a", "new")]
    assert bench.relay.step() is None


def test_replay_sends_the_same_wire_form(store: Store, make_entry: MakeEntry) -> None:
    """An event that is tried once more goes out as it did before, with the Log's time."""
    lines: list[bytes] = []

    def refuse(batch: Batch) -> list[Rejection]:
        lines.extend(batch.lines)
        return [Rejection("a", "bad")]

    bench = Bench(store, Scripted(refuse, refuse)).add(make_entry(id="a")).run()
    (parked,) = store.parked()
    assert (parked.parked_at, parked.recorded_at) == (7, 1)
    store.replay()
    bench.run()

    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert b'"recorded_at":"1970-01-01T00:00:00.000001Z"' in lines[1]


def test_replay_finds_what_is_refused(store: Store, make_entry: MakeEntry) -> None:
    """Among replayed events, too, the one at fault is found by halving."""
    ids = "abcdefgh"
    bench = Bench(store, Scripted([Rejection(event, "old") for event in ids]))
    bench.add(*make(make_entry, ids)).run()

    def refuse(batch: Batch) -> None:
        if "d" in batch.ids:
            raise DeliveryError("HTTP 400", retryable=False)

    bench.sink.script = [refuse] * 50
    store.replay("sink:crm")
    bench.run()
    assert bench.parked == [("d", "HTTP 400")]
    assert bench.sink.taken == list("abcefgh")


# Strict ordering.


def strict(store: Any, sink: Any) -> Bench:
    """Return a bench whose sink wants a customer's events without gaps."""
    return Bench(store, sink, ordering=Ordering.STRICT)


def test_strict_parks_the_customer(store: Store, make_entry: MakeEntry) -> None:
    """Behind a parked event later ones of its customer are parked; others go on."""
    entries = [
        make_entry(id=event, user_id=who) for event, who in zip("abcde", "xxyxx", strict=True)
    ]
    sink = Scripted(lambda batch: [Rejection("a", "bad")])
    bench = strict(store, sink).add(*entries).run()

    assert sink.taken == ["c"]
    assert bench.parked == [("a", "bad"), *((event, BEHIND) for event in "bde")]
    bench.add(make_entry(id="f", user_id="x"), make_entry(id="g", user_id="y")).run()
    assert sink.taken == ["c", "g"]
    assert bench.parked[-1] == ("f", BEHIND)


def test_strict_replay_goes_on_in_order(store: Store, make_entry: MakeEntry) -> None:
    """Once the first of a customer's parked events is taken the others follow, in their order."""
    bench = strict(store, Scripted([Rejection("a", "bad")])).add(*make(make_entry, "abc")).run()
    bench.sink.script = [[Rejection("a", "still bad")]]
    store.replay()
    bench.run()
    assert bench.parked == [("a", "still bad"), ("b", BEHIND), ("c", BEHIND)]
    assert store.parked(replay=True) == []
    assert bench.sink.taken == []

    store.replay()
    bench.run()
    assert bench.sink.taken == ["a", "b", "c"]
    assert bench.parked == []


def test_strict_goes_on_behind_a_dropped_event(store: Store, make_entry: MakeEntry) -> None:
    """Where somebody drops the event at fault, what waited behind it is delivered by itself."""
    bench = strict(store, Scripted([Rejection("a", "bad")])).add(*make(make_entry, "abc")).run()
    store.drop([store.parked("sink:crm")[0].number])
    bench.run()

    assert bench.sink.taken == ["b", "c"]
    assert bench.parked == []


def test_strict_reads_parked_events_only_after_a_change(
    store: Store, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many events are parked, a strict sink's step does not look through them again."""
    bench = strict(store, Scripted([Rejection("a", "bad")])).add(*make(make_entry, "abc")).run()
    looked: list[Any] = []
    parked = store.parked
    monkeypatch.setattr(
        store, "parked", lambda *owner, **more: looked.append(more) or parked(*owner, **more)
    )
    bench.add(make_entry(id="d"), make_entry(id="z", user_id="zoe")).run()
    assert looked == []
    assert bench.sink.taken == ["z"]
    assert [event for event, _ in bench.parked] == ["a", "b", "c", "d"]

    store.replay()
    looked.clear()
    bench.run()
    assert looked
    assert all(more["limit"] == replay.PAGE for more in looked)
    assert bench.sink.taken == ["z", "a", "b", "c", "d"]


@given(
    customers=st.lists(st.sampled_from("xyz"), min_size=4, max_size=14),
    poison=st.sets(st.integers(0, 13), max_size=4),
    page=st.integers(1, 5),
)
def test_strict_replays_page_by_page(
    make_entry: MakeEntry, customers: list[str], poison: set[int], page: int
) -> None:
    """However long the pages are, each customer's replayed events go out in order up to a bad one."""
    bench = strict(MemoryStore(), Scripted())
    entries = [make_entry(id=str(n), user_id=user) for n, user in enumerate(customers)]
    bench.store.commit(Commit(parked=[Parking("sink:crm", entry, "bad") for entry in entries]), 1)
    bench.sink.script = [
        lambda batch: [Rejection(event, "bad") for event in batch.ids if int(event) in poison]
    ] * 99
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "PAGE", page)
        bench.store.replay()
        bench.run()

    for user in set(customers):
        mine = [n for n, its_user in enumerate(customers) if its_user == user]
        bad = min([n for n in mine if n in poison], default=99)
        assert [n for n in map(int, bench.sink.taken) if n in mine] == [n for n in mine if n < bad]
        left = [int(event) for event, _ in bench.parked if int(event) in mine]
        assert left == [n for n in mine if n >= bad]
    assert bench.store.parked(replay=True) == []


@given(
    customers=st.lists(st.sampled_from("xyz"), min_size=1, max_size=14),
    poison=st.sets(st.integers(0, 13), max_size=3),
    by_answer=st.booleans(),
)
def test_strict_leaves_no_gap(
    make_entry: MakeEntry, customers: list[str], poison: set[int], by_answer: bool
) -> None:
    """Whatever is refused and how, of each customer exactly what came before it was delivered."""
    entries = [make_entry(id=str(n), user_id=who) for n, who in enumerate(customers)]
    bad = {str(n) for n in poison}

    def refuse(batch: Batch) -> list[Rejection]:
        refused = bad.intersection(batch.ids)
        if refused and not by_answer:
            raise DeliveryError("HTTP 400", retryable=False)
        return [Rejection(event, "bad") for event in refused]

    bench = strict(MemoryStore(), Scripted(*[refuse] * 200)).add(*entries).run()
    for who in set(customers):
        ids = [str(n) for n, owner in enumerate(customers) if owner == who]
        ends = next((index for index, event in enumerate(ids) if event in bad), len(ids))
        assert [event for event in bench.sink.taken if event in ids] == ids[:ends]
        assert [event for event, _ in bench.parked if event in ids] == ids[ends:]
    bad.clear()
    bench.store.replay()
    bench.run()
    for who in set(customers):
        ids = [str(n) for n, owner in enumerate(customers) if owner == who]
        assert [event for event in bench.sink.taken if event in ids] == ids


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH_EVENTS", size)
        patch.setattr(module, "PROBE_EVENTS", 2)
        bench = Bench(Flaky(MemoryStore(), busy), sink, backoff=Backoff(most=5))
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


# Consent


def _consenting(make_entry: MakeEntry, ids: str, agreed: str) -> list[Entry]:
    """Return entries with these one-letter ids, of which those in *agreed* allow marketing."""
    found = []
    for event in ids:
        stamp = Stamp(frozenset(["analytics", "marketing"] if event in agreed else ["analytics"]))
        context = {"library": "journeykit", **stamp.to_context()}
        found.append(make_entry(id=event, flags=stamp.flags, context=context))
    return found


def _marketing() -> Gate:
    return Gate("crm", "marketing", third_party=True, opt_in=False)


@pytest.mark.parametrize("size", [2, 500])
@pytest.mark.parametrize("ordering", list(Ordering))
def test_events_without_the_purpose_are_skipped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
    store: Store,
    make_entry: MakeEntry,
    ordering: Ordering,
    size: int,
) -> None:
    """A sink gets the events whose customers have agreed; the others are counted once."""
    monkeypatch.setattr(module, "BATCH_EVENTS", size)
    bench = Bench(store, Scripted(), gate=_marketing(), ordering=ordering)
    bench.add(*_consenting(make_entry, "abcdef", "bce")).run()
    bench.run()

    assert bench.sink.taken == ["b", "c", "e"]
    assert bench.delivered == 6
    assert store.counters()["unconsented:crm"] == 3


def test_skipped_events_are_counted_once_however_often_a_batch_is_tried(
    monkeypatch: pytest.MonkeyPatch, store: Store, make_entry: MakeEntry
) -> None:
    """Outages, refusals and events that are held back change nothing in what is counted."""
    monkeypatch.setattr(module, "BATCH_EVENTS", 4)
    later = lambda batch: [Rejection(batch.ids[0], "later", retryable=True)]  # noqa: E731
    never = lambda batch: [Rejection(batch.ids[-1], "never")]  # noqa: E731
    script = [DeliveryError("down"), RuntimeError("x"), later, DeliveryError("down"), never]
    bench = Bench(store, Scripted(*script), gate=_marketing())
    bench.add(*_consenting(make_entry, "abcdefghij", "bcefij")).run()

    assert sorted([*bench.sink.taken, *(event for event, _ in bench.parked)]) == list("bcefij")
    assert bench.delivered == 10
    assert store.counters()["unconsented:crm"] == 4


def test_a_log_of_others_is_skipped_without_a_call(store: Store, make_entry: MakeEntry) -> None:
    """Where nobody has agreed, the sink is not called, and its cursor moves."""
    bench = (
        Bench(store, Scripted(), gate=_marketing()).add(*_consenting(make_entry, "abc", "")).run()
    )

    assert (bench.sink.batches, bench.delivered) == ([], 3)
    assert store.counters()["unconsented:crm"] == 3


def test_history_that_goes_nowhere_is_not_counted(store: Store, make_entry: MakeEntry) -> None:
    """What the sink would not have got anyway is no matter of consent."""
    bench = Bench(store, Scripted(), gate=Gate("crm", "marketing", third_party=True, opt_in=True))
    bench.add(make_entry(flags=HISTORICAL), make_entry(flags=HISTORICAL | DELIVER)).run()

    assert store.counters()["unconsented:crm"] == 1


def test_a_parked_event_is_asked_again(store: Store, make_entry: MakeEntry) -> None:
    """What was parked before the sink had a purpose does not go out with a replay."""
    refuses = Scripted(lambda batch: [Rejection(event, "no") for event in batch.ids])
    Bench(store, refuses).add(*_consenting(make_entry, "ab", "b")).run()
    assert store.replay("sink:crm") == 2
    bench = Bench(store, Scripted(), gate=_marketing()).run()

    assert bench.sink.taken == ["b"]
    assert store.parked() == []
    assert store.counters()["unconsented:crm"] == 1


# What was taken before a failure.


def stops_before(bad: str, **more: Any) -> Callable[[Batch], None]:
    """Return a step that takes a batch up to the event *bad*, and fails there."""

    def step(batch: Batch) -> None:
        if bad in batch.ids:
            taken = batch.ids[: batch.ids.index(bad)]
            raise DeliveryError("not now", taken=taken, **more)

    return step


def test_what_was_taken_before_an_outage_does_not_come_again(
    store: Store, make_entry: MakeEntry
) -> None:
    """A sink that says what it had taken when it failed is not handed that again, ever."""
    sink = Scripted(stops_before("d"), stops_before("e"))
    bench = Bench(store, sink).add(*make(make_entry, "abcdef"))
    bench.relay.step()
    assert bench.delivered == 3
    bench.run()

    assert sink.batches == [tuple("abcdef"), tuple("def"), tuple("ef")]
    assert bench.parked == []


def test_progress_ends_a_row_of_failures(store: Store, make_entry: MakeEntry) -> None:
    """A sink that takes a little each time is waited for as after a first failure."""
    sink = Scripted(*(stops_before(event) for event in "bcdefgh"))
    bench = Bench(store, sink).add(*make(make_entry, "abcdefghi")).run()

    assert len(bench.waits) == 7
    assert max(bench.waits) <= 1.0


def test_a_batch_after_an_outage_is_as_long_as_what_was_taken(
    store: Store, make_entry: MakeEntry
) -> None:
    """Where a sink took many before it failed, it is not probed with few."""
    entries = [make_entry(id=f"e{number:03}") for number in range(200)]
    sink = Scripted(stops_before("e100"))
    Bench(store, sink).add(*entries).run()

    assert [len(batch) for batch in sink.batches] == [200, 100]


def test_what_was_taken_before_a_refusal_is_not_searched(
    store: Store, make_entry: MakeEntry
) -> None:
    """Where the rest of a batch is refused for good, only the rest is halved."""
    sink = Scripted(*[stops_before("c", retryable=False)] * 9)
    bench = Bench(store, sink).add(*make(make_entry, "abcd")).run()

    assert sink.batches == [tuple("abcd"), ("c",), ("d",)]
    assert bench.parked == [("c", "not now")]


def test_ids_that_were_not_offered_are_ignored(store: Store, make_entry: MakeEntry) -> None:
    """A sink that says that it took something else has taken nothing of this batch."""
    sink = Scripted(DeliveryError("down", taken=["x"]))
    bench = Bench(store, sink).add(*make(make_entry, "ab")).run()

    assert sink.batches == [("a", "b"), ("a", "b")]
    assert bench.delivered == 2


def test_replay_keeps_what_was_taken(store: Store, make_entry: MakeEntry) -> None:
    """Of parked events that are tried once more, those that were taken are parked no longer."""
    refuse = Scripted(lambda batch: [Rejection(event, "no") for event in batch.ids])
    bench = Bench(store, refuse).add(*make(make_entry, "abc")).run()
    assert [event for event, _ in bench.parked] == list("abc")
    store.replay("sink:crm")
    refuse.script = [stops_before("c")]
    bench.relay.step()

    assert [event for event, _ in bench.parked] == ["c"]
    bench.run()
    assert bench.parked == []


def test_events_held_back_behind_each_other_cost_no_wakes(
    store: Store, make_entry: MakeEntry
) -> None:
    """Of a customer's events that are all held back, only the first is waited for."""

    def later(batch: Batch) -> list[Rejection]:
        return [Rejection(event, "later", retryable=True) for event in batch.ids]

    def first(batch: Batch) -> list[Rejection]:
        return later(batch)[1:]

    others = [make_entry(id="x", user_id="u2")]
    bench = Bench(store, Scripted(first, *[later] * 6)).add(*others, *make(make_entry, "abc")).run()

    assert bench.delivered == 4
    assert min(bench.waits) > 0.1
    assert bench.sink.taken == list("xabc")


def test_a_sink_is_given_what_it_keeps() -> None:
    """A sink with `keep_in` gets its place in the store before its first batch."""

    class Remembers(RecordingSink):
        """A sink that keeps something."""

        def keep_in(self, kept: Kept) -> None:
            """Note the place."""
            self.kept = kept

    sink = Remembers("crm")
    bench = Delivering(sink)
    sink.kept.put("a", b"1")

    assert Kept(bench.store, "sink:crm").all() == {"a": b"1"}
