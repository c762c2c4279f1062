from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from journeykit import Event, Journey, JourneyKit, Settings, hookimpl
from journeykit import pipeline as module
from journeykit.config.settings import DeclaredSink
from journeykit.delivery import Batch, Rejection
from journeykit.exceptions import DeliveryError, StoreBusy
from journeykit.model.extension import SinkOptions, SinkType
from journeykit.pipeline import Led
from journeykit.store.memory import MemoryStore
from journeykit.testing import RecordingSink

MakeSettings = Callable[..., Settings]
WaitUntil = Callable[..., None]

SHOP = Journey(key="shop", version=1, extends="ecommerce")


@attrs.frozen
class Nothing:
    """No settings."""


class Quiet:
    """A sink that takes everything, and may fail to close."""

    def __init__(self, name: str, *, closes: bool = True) -> None:
        self.name = name
        self.closes = closes
        self.taken: list[str] = []
        self.closed = False

    def deliver(self, batch: Batch) -> None:
        """Take *batch*."""
        self.taken += [event.name for event in batch]

    def close(self) -> None:
        """Close, or fail."""
        self.closed = True
        if not self.closes:
            raise OSError


class Flaky:
    """A store that is busy while it is told to be."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self.busy: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name in self.busy:
            raise StoreBusy("busy")
        return getattr(self._store, name)


@pytest.fixture
def make_kit(make_settings: MakeSettings) -> Iterator[Callable[..., JourneyKit]]:
    """Return a function that makes kits, closed at the end."""
    kits = []

    def make_kit(*plugins: object, sinks: Any = (), store: Any = None, **core: Any) -> JourneyKit:
        settings = make_settings(core={"strict": False, **core}, journeys=[SHOP])
        kits.append(JourneyKit(settings, plugins=plugins, sinks=sinks, store=store))
        return kits[-1]

    yield make_kit
    for kit in kits:
        kit.close(1)


MakeKit = Callable[..., JourneyKit]


def test_stage_runs_only_while_it_leads() -> None:
    """A stage that cannot lead does nothing; one that begins to lead is told before its step."""
    store = MemoryStore()
    done: list[str] = []

    def stage(name: str) -> Led:
        stage: Any = SimpleNamespace(step=lambda: done.append(name) or 0.0, filled=True)
        return Led(store, "role", stage, lambda: done.append(f"{name} began"))

    one, two = stage("one"), stage("two")
    assert one.step() == 0.0
    assert one.step() == 0.0
    assert two.step() is None
    assert (one.leads, two.leads) == (True, False)
    one.release()
    one.release()
    assert two.step() == 0.0

    assert done == ["one began", "one", "one", "two began", "two"]
    two.release()


def test_a_stage_that_has_done_what_there_was_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage rests after a short batch and after none, not after a full one or in a hurry."""
    now, hurry, answers = (
        100.0,
        False,
        iter([(0.0, True), (0.0, False), (None, False), (7.0, True)]),
    )
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    stage: Any = SimpleNamespace(filled=True)

    def step() -> float | None:
        delay, stage.filled = next(answers)
        return delay

    stage.step = step
    led = Led(MemoryStore(), "role", stage, lambda: None, lambda: hurry)
    assert led.step() == 0.0
    assert led.step() == pytest.approx(module._REST)
    now += module._REST / 2
    assert led.step() == pytest.approx(module._REST / 2)
    now += module._REST
    assert led.step() is None
    assert led.step() == pytest.approx(module._REST)
    hurry = True
    assert led.step() == 7.0
    led.release()


def test_a_sink_may_ask_for_a_longer_rest(make_kit: MakeKit, wait_until: WaitUntil) -> None:
    """What comes during a sink's rest is delivered together, and at once when somebody flushes."""
    sink: Any = RecordingSink()
    sink.rest = 60.0
    kit = make_kit(sinks=[sink])
    kit.track("Product Viewed", customer="ada")
    wait_until(lambda: sink.named("Product Viewed"))
    for _ in range(3):
        kit.track("Product Viewed", customer="ada")
        wait_until(lambda: kit.status()["waiting"] == 0)
    assert len(sink.batches) == 1

    assert kit.flush()
    assert len(sink.named("Product Viewed")) == 4


def test_busy_store_is_told_and_recovers(make_kit: MakeKit, wait_until: WaitUntil) -> None:
    """While the store is busy the status says so and events wait; then all of them arrive."""
    store, sink = Flaky(), Quiet("archive")
    kit = make_kit(store=store, sinks=[sink])
    kit.track("Page Viewed", customer="ada")
    assert kit.flush()

    store.busy = {"commit", "project", "advance"}
    for number in range(5):
        assert kit.track("Product Viewed", customer=f"u{number}")
    wait_until(lambda: kit.status()["store_error"] == "busy")
    assert kit.status()["waiting"] == 5
    assert not kit.flush(0.05)

    store.busy = set()
    assert kit.flush(10)
    assert kit.report().journeys[0].instances == 6
    assert sink.taken.count("Product Viewed") == 5
    wait_until(lambda: kit.status()["store_error"] is None)


def test_one_sink_that_cannot_close_keeps_nobody(make_kit: MakeKit) -> None:
    """Every sink is closed at the end, whatever another does."""
    sinks = [Quiet("one", closes=False), Quiet("two")]
    kit = make_kit(sinks=sinks)
    kit.track("Page Viewed", customer="ada")

    assert kit.close()
    assert [sink.closed for sink in sinks] == [True, True]


def test_hanging_sink_holds_up_nobody_but_itself(make_kit: MakeKit, wait_until: WaitUntil) -> None:
    """A sink that hangs delays neither the figures, nor another sink, nor the end for long."""
    release = threading.Event()

    class Hangs(Quiet):
        def deliver(self, batch: Batch) -> None:
            release.wait(30)

    store, hangs, other = MemoryStore(), Hangs("hangs"), Quiet("other")
    kit = make_kit(sinks=[hangs, other], store=store)
    try:
        kit.track("Page Viewed", customer="ada")
        wait_until(lambda: "stage.entered" in other.taken)
        assert kit.report().journeys[0].instances == 1
        wait_until(lambda: (kit.status()["sinks"][0]["calling_for"] or 0) > 0.01)
        assert kit.status()["sinks"][1]["calling_for"] is None
        started = time.monotonic()
        assert not kit.close(0.2)
        assert time.monotonic() - started < 5
        assert (hangs.closed, other.closed) == (False, True)
    finally:
        release.set()
    # It comes back when the kit is closed: it lets go of its connections, and changes nothing.
    wait_until(lambda: hangs.closed)
    assert store.cursor("sink:hangs") in (None, store.published()[0].position)


def test_sink_that_hangs_while_closing_holds_up_nobody(make_kit: MakeKit) -> None:
    """The end does not wait for a sink that cannot end."""
    release = threading.Event()

    class Hangs(Quiet):
        def close(self) -> None:
            release.wait(30)

    kit = make_kit(sinks=[Hangs("hangs")])
    kit.track("Page Viewed", customer="ada")
    assert kit.flush()
    started = time.monotonic()
    assert kit.close(0.2)
    assert time.monotonic() - started < 5
    release.set()


def test_a_sink_is_used_and_closed_in_one_thread(make_kit: MakeKit) -> None:
    """Whatever a sink keeps open it can keep in a thread's own variables."""
    threads = []

    class Sink(Quiet):
        def deliver(self, batch: Batch) -> None:
            threads.append(threading.get_ident())

        def close(self) -> None:
            threads.append(threading.get_ident())

    kit = make_kit(sinks=[Sink("one")])
    kit.track("Page Viewed", customer="ada")
    assert kit.close()
    assert len(threads) >= 2
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


def test_every_process_knows_how_a_sink_is_doing(make_kit: MakeKit, wait_until: WaitUntil) -> None:
    """Of two kits on one store the one that does not deliver, or is not started, knows as much."""

    class Down(Quiet):
        def deliver(self, batch: Batch) -> Any:
            raise DeliveryError("HTTP 503", retry_after=60)

    store = MemoryStore()
    sinks = [Down("crm"), Quiet("archive")]
    one, two, third = (make_kit(store=store, sinks=sinks) for _ in range(3))
    assert one.status()["sinks"][0]["breaker"] is None
    one.track("Page Viewed", customer="ada")
    assert not one.flush(0.5)
    two.track("Page Viewed", customer="ada")
    wait_until(lambda: two.status()["sinks"][1]["breaker"] is not None)

    for kit in (one, two, third):
        crm, archive = kit.status()["sinks"]
        assert (crm["breaker"], crm["failures"], crm["last_error"]) == ("open", 1, "HTTP 503")
        assert crm["as_of"] < crm["next_try"]
        assert crm["process"] == os.getpid()
        assert (archive["breaker"], archive["failures"], archive["next_try"]) == ("closed", 0, None)


def test_declared_ordering_reaches_the_relay(make_settings: MakeSettings) -> None:
    """`[sinks.NAME] ordering = "strict"` parks a customer's events behind one that was refused."""

    class Picky(Quiet):
        def deliver(self, batch: Batch) -> Any:
            return [Rejection(event.id, "bad") for event in batch if event.name == "Cart Viewed"]

    kind = SinkType("picky", Nothing, lambda name, _: Picky(name))
    sinks = {
        "strict": DeclaredSink(kind, Nothing(), SinkOptions(ordering="strict")),
        "gaps": DeclaredSink(kind, Nothing()),
    }
    with JourneyKit(make_settings(sinks=sinks)) as kit:
        kit.track("Cart Viewed", customer="ada")
        kit.track("Page Viewed", customer="ada")
        assert kit.flush()
        assert kit.status()["parked"] == {"sink:strict": 2, "sink:gaps": 1}


def test_trip_tells_from_where_on_a_plugin_is_not_asked(
    make_kit: MakeKit, wait_until: WaitUntil
) -> None:
    """A plugin that hangs in the projector is reported with its place in the Log, once."""
    release = threading.Event()
    asked: list[str] = []

    class Hangs:
        name = "hangs"

        @hookimpl
        def detect_pain_points(self, event: Event) -> None:
            asked.append(event.name)
            if event.name == "Product Viewed":
                release.wait(30)

    class Other:
        name = "other"
        seen: list[str] = []  # noqa: RUF012 - one object

        @hookimpl
        def detect_pain_points(self, event: Event) -> None:
            self.seen.append(event.name)

    kit = make_kit(Hangs(), Other(), plugin_timeout=timedelta(seconds=0.2))
    try:
        kit.track("Page Viewed", customer="ada")
        assert kit.flush()
        kit.track("Product Viewed", customer="ada")
        wait_until(lambda: kit.status()["tripped"])
        assert kit.flush(10)
        kit.track("Product Added", customer="ada")
        assert kit.flush(10)
    finally:
        release.set()

    viewed = next(item for item in kit.store.read(None, 10) if item.entry.name == "Product Viewed")
    assert kit.status()["tripped"] == [
        {
            "plugin": "hangs",
            "hook": "detect_pain_points",
            "stage": "projector",
            "position": viewed.position,
        }
    ]
    assert asked == ["Page Viewed", "Product Viewed"]
    assert Other.seen == ["Page Viewed", "Product Viewed", "Product Added"]


def test_other_writers_are_noticed(make_kit: MakeKit, wait_until: WaitUntil) -> None:
    """What another process has written is folded and delivered without a track of our own."""
    store, sink = MemoryStore(), Quiet("archive")
    kit = make_kit(store=store, sinks=[sink])
    kit.track("Page Viewed", customer="ada")
    assert kit.flush()

    other = make_kit(store=store)
    other.track("Product Viewed", customer="bob")
    wait_until(lambda: "Product Viewed" in sink.taken)
    wait_until(lambda: kit.report().journeys[0].instances == 2)
