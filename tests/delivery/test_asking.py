from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import pytest

from journeykit import Customer
from journeykit.delivery import Backoff, Batch, Rejection, Relay
from journeykit.delivery.sink import ErasureResult
from journeykit.erasing import fact
from journeykit.exceptions import DeliveryError
from journeykit.model import Entry, Event
from journeykit.plugins import Plugins
from journeykit.store.erasure import Resolved
from journeykit.store.memory import MemoryStore
from journeykit.store.protocol import Commit

NOON = 1_772_452_800_000_000
MakeEntry = Callable[..., Entry]


class Forgetful:
    """A sink that notes in which order it is called, and fails as it is told to."""

    name = "crm"

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.failures: list[BaseException] = []
        self.answers: list[Any] = []
        self.held: set[str] = set()
        self.seen: list[Event] = []

    def deliver(self, batch: Batch) -> list[Rejection]:
        """Take all but what is held back."""
        self.calls.append([event.name for event in batch])
        self.seen += batch
        return [
            Rejection(event.id, "later", retryable=True)
            for event in batch
            if event.name in self.held
        ]

    def erase(self, customer: Customer) -> Any:
        """Answer."""
        self.calls.append(customer)
        if self.failures:
            raise self.failures.pop(0)
        return self.answers.pop(0) if self.answers else ErasureResult("erased", "2 rows")

    def close(self) -> None:
        """Do nothing."""


class Bench:
    """A store, a sink and its relay."""

    def __init__(self, sink: Any) -> None:
        self.store = MemoryStore()
        self.sink = sink
        self.seconds = 0.0
        self.relay = self.new_relay()

    def new_relay(self) -> Relay:
        """Return a relay that begins where the last one was."""
        return Relay(
            self.store,
            self.sink,
            Plugins(installed=False),
            now=lambda: NOON,
            backoff=Backoff(),
            randomness=random.Random(1),
            monotonic=lambda: self.seconds,
        )

    def commit(self, *entries: Entry) -> None:
        """Commit *entries*."""
        self.store.commit(Commit(entries), NOON)

    def erase(self, *ids: tuple[str, str]) -> int:
        """Begin to erase somebody, and return the number of it."""
        stated = fact("customer", "asked", {}, NOON + 10)
        self.store.erasing.begin(stated, ids, [self.sink.name], NOON + 10)
        return self.store.erasing.pending()[-1].number

    def sweep(self, *ids: tuple[str, str]) -> None:
        """Delete what the Log has."""
        erasure = self.store.erasing.pending()[-1]
        self.store.erasing.resolve(Resolved(erasure.event, ids or erasure.ids))
        self.store.erasing.sweep(self.store.erasing.pending()[-1])

    def run(self, steps: int = 20) -> None:
        """Let the relay work until it waits."""
        for _ in range(steps):
            if self.relay.step() != 0:
                return

    @property
    def answer(self) -> tuple[str, str]:
        """What the sink has answered."""
        return self.store.erasing.recent(1)[0].sinks[self.sink.name]


@pytest.fixture
def bench() -> Bench:
    """Return a bench with a sink that can erase."""
    return Bench(Forgetful())


ADA, COOKIE = ("user", "ada"), ("anonymous", "cookie")


def test_sink_is_asked_when_the_log_has_nothing_more(bench: Bench, make_entry: MakeEntry) -> None:
    """All that came before goes out; then the sink waits to be asked, with nothing behind it."""
    bench.commit(make_entry("Before", user_id="bob"))
    bench.erase(ADA)
    bench.commit(make_entry("Behind", user_id="ada", at=100))
    bench.run()
    assert bench.sink.calls == [["Before"]]

    bench.sweep(ADA, COOKIE)
    bench.run()

    assert bench.sink.calls == [["Before"], Customer("ada", "cookie"), ["Behind"]]
    assert bench.answer == ("erased", "2 rows")


def test_each_id_is_asked_for(bench: Bench) -> None:
    """A person with several browsers is asked for with each of them."""
    bench.erase(ADA)
    bench.sweep(ADA, ("anonymous", "one"), ("anonymous", "two"))
    bench.run()
    assert bench.sink.calls == [Customer("ada", "one"), Customer("ada", "two")]


@pytest.mark.parametrize("failure", [DeliveryError("down"), OSError("secret"), SystemExit(1)])
def test_failing_sink_is_asked_again(
    bench: Bench, make_entry: MakeEntry, failure: BaseException
) -> None:
    """A sink that fails is waited out like in a delivery, and nothing overtakes it."""
    bench.sink.failures = [failure]
    bench.erase(ADA)
    bench.sweep()
    bench.commit(make_entry("Behind", at=100))
    bench.run()
    assert bench.relay.failures == 1
    assert bench.answer == ("queued", "")
    assert "secret" not in str(bench.relay.last_error)

    bench.seconds += 1000
    bench.run()

    assert bench.sink.calls == [Customer("ada"), Customer("ada"), ["Behind"]]
    assert bench.answer[0] == "erased"


def test_a_crash_between_asking_and_noting_asks_again(bench: Bench, make_entry: MakeEntry) -> None:
    """Another relay that finds no answer asks, and one that finds it does not."""
    bench.erase(ADA)
    bench.sweep()
    bench.relay.right = lambda: (_ for _ in ()).throw(MemoryError)  # type: ignore[assignment]
    with pytest.raises(MemoryError):
        bench.run()
    bench.relay = bench.new_relay()
    bench.run()
    assert bench.sink.calls == [Customer("ada")] * 2
    bench.relay = bench.new_relay()
    bench.commit(make_entry("Behind", at=100))
    bench.run()
    assert bench.sink.calls[2:] == [["Behind"]]


def test_refusal_for_good_is_an_answer(bench: Bench) -> None:
    """A sink that will never erase is asked once, and what it says is shown, without addresses."""
    bench.sink.failures = [DeliveryError("no: ask ada@example.org", retryable=False)]
    bench.erase(ADA)
    bench.sweep()
    bench.run()
    assert bench.answer == ("failed", "no: ask …")


def test_worst_of_several_answers_counts(bench: Bench) -> None:
    """Of the answers for several browsers the one that leaves most to do is kept."""
    bench.sink.answers = [ErasureResult("erased"), ErasureResult("queued", "a day")]
    bench.erase(ADA)
    bench.sweep(ADA, ("anonymous", "one"), ("anonymous", "two"))
    bench.run()
    assert bench.answer == ("queued there", "a day")


def test_wrong_answer_is_a_failure(bench: Bench) -> None:
    """A sink that answers with something else is asked again, and its mistake is named."""
    bench.sink.answers = [True]
    bench.erase(ADA)
    bench.sweep()
    bench.run()
    assert (bench.relay.last_error or "").startswith("erase returned ")


def test_unable_sink_waits_for_nothing(make_entry: MakeEntry) -> None:
    """A sink without `erase` answers at once, whatever the projector does."""

    class Plain:
        name = "plain"

        def __init__(self) -> None:
            self.calls: list[str] = []

        def deliver(self, batch: Batch) -> None:
            self.calls += [event.name for event in batch]

        def close(self) -> None:
            """Do nothing."""

    bench = Bench(Plain())
    bench.erase(ADA)
    bench.commit(make_entry("Behind", at=100))
    bench.run()
    assert bench.sink.calls == ["Behind"]
    assert bench.answer[0] == "unsupported"


def test_what_is_held_back_of_the_person_is_dropped(bench: Bench, make_entry: MakeEntry) -> None:
    """An event that the sink wanted later is not sent any more; that of another customer is."""
    bench.sink.held = {"Held"}
    bench.commit(
        make_entry("Held", user_id="ada"), make_entry("Held", user_id="bob"), make_entry("Taken")
    )
    bench.run()
    bench.erase(ADA)
    bench.sweep()
    bench.run()
    assert Customer("ada") in bench.sink.calls
    bench.sink.held = set()
    before = len(bench.sink.calls)
    bench.seconds += 1000
    bench.run()
    assert bench.sink.calls[before:] == [["Held"]]
    assert bench.relay.step() is None
    assert bench.store.cursor("sink:crm") == bench.store.read(None, 10)[-1].position


def test_what_is_held_back_of_others_goes_without_the_browser(
    bench: Bench, make_entry: MakeEntry
) -> None:
    """An event of somebody else from the same browser goes out later without the browser's id."""
    bench.sink.held = {"Held"}
    bench.commit(make_entry("Held", user_id="bob", anonymous_id="cookie"), make_entry("Taken"))
    bench.run()
    bench.erase(ADA)
    bench.sweep(ADA, COOKIE)
    bench.run()
    bench.sink.held, bench.sink.seen = set(), []
    bench.seconds += 1000
    bench.run()
    (event,) = bench.sink.seen
    assert event.customer == Customer("bob")


def test_what_is_held_back_of_who_is_new_goes_out(bench: Bench, make_entry: MakeEntry) -> None:
    """Where a late event has told one more id, what came under it since the request is delivered."""
    bench.erase(ADA)
    bench.sweep()
    bench.run()
    bench.sink.held = {"Held"}
    visitor = functools.partial(make_entry, "Held", user_id=None, anonymous_id="cookie")
    bench.commit(visitor(), visitor(at=100), make_entry("Taken", at=100))
    bench.run()
    bench.commit(make_entry("Late", user_id="ada", anonymous_id="cookie"))
    bench.sweep()
    bench.run()
    assert bench.sink.calls[-1] == Customer(anonymous_id="cookie")
    bench.sink.held, bench.sink.seen = set(), []
    bench.seconds += 1000
    bench.run()
    assert [event.occurred_at.minute for event in bench.sink.seen] == [1]
    assert bench.relay.step() is None


def test_nobody_is_asked_about_what_is_anothers(bench: Bench, make_entry: MakeEntry) -> None:
    """Where the id that a late event told is another person's, the sink is not asked."""
    bench.erase(ADA)
    bench.sweep()
    bench.run()
    bench.commit(make_entry("Bob's", user_id="bob", anonymous_id="cookie", at=100))
    bench.commit(make_entry("Late", user_id="ada", anonymous_id="cookie"))
    bench.sweep(ADA)
    bench.run()
    assert bench.sink.calls == [Customer("ada"), ["Bob's"]]
    (erasure,) = [each for each in bench.store.erasing.pending() if each.follows]
    assert erasure.sinks == {"crm": ("erased", "")}


def test_new_sink_is_not_asked_about_the_past(bench: Bench, make_entry: MakeEntry) -> None:
    """A sink that comes after an erasure was finished passes the fact by."""
    number = bench.erase(ADA)
    bench.sweep()
    bench.store.erasing.clear(number)
    bench.commit(make_entry("Behind", at=100))
    bench.run()
    assert bench.sink.calls == [["Behind"]]
