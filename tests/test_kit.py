from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from journeykit import (
    Bound,
    Customer,
    Event,
    Exit,
    Goal,
    Instance,
    Journey,
    JourneyKit,
    PainPoint,
    Rule,
    Settings,
    Stage,
    hookimpl,
)
from journeykit.capture import context
from journeykit.delivery import Batch
from journeykit.exceptions import ConfigError, DeliveryError, EventRejected, PluginError
from journeykit.model import Kind
from journeykit.model.event import PUBLISHED
from journeykit.store.memory import MemoryStore

MakeSettings = Callable[..., Settings]
WaitUntil = Callable[..., None]

SHOP = Journey(key="shop", version=1, extends="ecommerce")

TOML = """
[journeykit]
store = "{store}"
app = "shop"

[consent]
mode = "opt_out"

[[journeys]]
key = "shop"
version = 1
extends = "ecommerce"

[[journeys]]
key = "checkout"
version = 1
instance_by = "cart_id"
stages = [
  {{ key = "cart",    enter = ["Product Added"] }},
  {{ key = "payment", enter = ["Payment Info Entered"], expected = "5m" }},
]
goal = {{ event = "Order Completed", value = "revenue", within = "24h" }}

[[touchpoints]]
name = "Payment Declined"
channel = "web"
stage = "purchase"

[names]
"kasse" = "Checkout Started"

[sinks.archive]
type = "file"
path = "var/events.jsonl"
"""


class Recorder:
    """A sink that remembers what it took."""

    def __init__(self, name: str = "recorder") -> None:
        self.name = name
        self.events: list[Event] = []
        self.fail = False
        self.closed = 0

    def deliver(self, batch: Batch) -> None:
        """Take *batch*."""
        if self.fail:
            raise DeliveryError("down")
        self.events += batch

    def close(self) -> None:
        """Remember that."""
        self.closed += 1

    @property
    def names(self) -> list[str]:
        """The names of what was taken."""
        return [event.name for event in self.events]


@pytest.fixture
def make_kit(make_settings: MakeSettings) -> Iterator[Callable[..., JourneyKit]]:
    """Return a function that makes kits with the default journey, closed at the end."""
    kits = []

    def make_kit(
        *plugins: object, sinks: tuple[Any, ...] = (), store: Any = None, **more: Any
    ) -> JourneyKit:
        core = {"strict": False, **more.pop("core", {})}
        settings = make_settings(core=core, **{"journeys": [SHOP], **more})
        kits.append(JourneyKit(settings, plugins=plugins, sinks=sinks, store=store))
        return kits[-1]

    yield make_kit
    for kit in kits:
        kit.close(1)


MakeKit = Callable[..., JourneyKit]


#: Threads that were there before the test: another one may have left a hanging plugin's.
_before: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def threads_before() -> None:
    """Take note of the threads that are there already."""
    _before.clear()
    _before.update(threading.enumerate())


def threads() -> set[str]:
    """Return the names of our threads that this test has started."""
    started = set(threading.enumerate()) - _before
    return {thread.name for thread in started if "journeykit" in thread.name}


def visit(kit: JourneyKit, customer: str = "ada") -> None:
    """Let a customer look, put something into the cart, and order."""
    with kit.bind_customer(customer):
        assert kit.track("Product Viewed", {"product_id": 1})
        assert kit.track("Product Added", {"product_id": 1, "cart_id": f"cart-{customer}"})
        assert kit.track("kasse")
        assert kit.track("Payment Info Entered", {"cart_id": f"cart-{customer}"})
        assert kit.track("Order Completed", {"cart_id": f"cart-{customer}", "revenue": 12.5})


# From the file to the figures


@pytest.mark.parametrize("store", ["memory://", "sqlite:///var/journeykit.db"])
def test_from_toml_to_figures(tmp_path: Path, store: str) -> None:
    """A file declares everything: events become figures, stages of customers, and a file."""
    path = tmp_path / "journeykit.toml"
    path.write_text(TOML.format(store=store))

    with JourneyKit.from_toml(path, strict=True) as kit:
        visit(kit)
        kit.track("Payment Declined", customer="bob")
        assert kit.flush()
        report = kit.report()
        customers = kit.customers("shop")
        status = kit.status()
        log = [
            item for item in kit.store.read(None, 1000) if item.entry.name != "journey.published"
        ]

    shop, checkout = report.journeys
    assert (report.events, report.customers) == (6, 2)
    assert [stage.entered for stage in shop.stages] == [0, 1, 2, 0, 0]
    assert (shop.instances, shop.completed, shop.value) == (2, 1, 12.5)
    assert [stage.current for stage in checkout.stages] == [0, 1]
    assert checkout.completed == 1
    assert {item.customer: item.stage for item in customers} == {
        "ada": "purchase",
        "bob": "purchase",
    }
    archive = (tmp_path / "var/events.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in archive.splitlines()]
    assert [line["id"] for line in lines] == [item.entry.id for item in log]
    assert {line["source"]["app"] for line in lines} == {"shop", "journeykit"}
    assert lines[-1]["v"] == 1
    declined = next(line for line in lines if line["name"] == "Payment Declined")
    assert declined["channel"] == "web"
    assert (status["waiting"], status["behind"], status["store_error"]) == (0, False, None)
    assert status["sinks"][0] == {
        "name": "archive",
        "breaker": "closed",
        "failures": 0,
        "last_error": None,
        "next_try": None,
        "calling_for": None,
        "held_back": 0,
        "process": os.getpid(),
        "as_of": status["sinks"][0]["as_of"],
        "behind": False,
    }
    assert (tmp_path / "var/journeykit.db").exists() == store.startswith("sqlite")


def test_all_mistakes_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    """Mistakes in form, in declarations, in sinks and in the store are told together."""
    path = tmp_path / "journeykit.toml"
    path.write_text(
        """
        [journeykit]
        store = "mysql://x"
        strikt = true
        [[journeys]]
        key = "shop"
        version = 1
        extends = "travel"
        [[journeys]]
        key = "own"
        version = "1"
        [sinks.crm]
        type = "salesfarce"
        [sinks.archive]
        type = "file"
        path = "x"
        rotate_bytes = 1
        """
    )
    before = sorted(tmp_path.iterdir())

    with pytest.raises(ConfigError) as caught:
        JourneyKit.from_toml(path)

    text = "\n".join(caught.value.problems)
    for part in (
        "consent.mode: is missing",
        "journeykit.strikt: is not known",
        "journeys[1].version: expected a whole number",
        "journeys.shop.extends: is 'travel'",
        "sinks.crm.type: is 'salesfarce'",
        "sinks.archive: 'rotate_bytes' must be >= 4096",
    ):
        assert part in text
    assert caught.value.source == str(path)
    assert sorted(tmp_path.iterdir()) == before


def test_a_changed_version_is_named_with_the_other_mistakes(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    """That a version was changed in place is told together with what else is wrong."""
    core = {"store": f"sqlite:///{tmp_path / 'x.db'}"}
    shop = Journey(key="shop", version=1, stages=[Stage("a", enter=["A"])])
    with JourneyKit(make_settings(core=core, journeys=[shop])) as kit:
        assert kit.track("A", customer="u1")
        assert kit.flush()
    changed = attrs.evolve(shop, stages=(Stage("a", enter=["B"]),))
    both = {"entry": [Rule("A")], "exits": [Exit("A")], "stages": shop.stages}
    other = Journey(key="other", version=1, **both)

    with pytest.raises(ConfigError) as caught:
        JourneyKit(make_settings(core=core, journeys=[changed, other]))

    text = "\n".join(caught.value.problems)
    assert "journeys.other.entry[0]: 'A' is an exit too" in text
    assert "journeys.shop: version 1 was published with another content (stages.a.enter)" in text
    assert "write version = 2" in text


def test_mistakes_of_declarations_in_python_are_named(make_settings: MakeSettings) -> None:
    """Journeys, the store and sinks that were declared in Python are checked in the same way."""
    settings = make_settings(
        journeys=[Journey(key="a", version=1), Journey(key="a", version=1)],
        core={"store": "mysql://x"},
        names={"x": "y", "y": "z"},
    )
    with pytest.raises(ConfigError) as caught:
        JourneyKit(settings, sinks=[Recorder("crm"), Recorder("crm")])

    starts = {problem.split(":")[0] for problem in caught.value.problems}
    assert starts == {
        "journeys",
        "journeys.a.stages",
        "names.x",
        "journeykit.store",
        "sinks",
    }


def test_sink_that_cannot_be_built_is_a_mistake(tmp_path: Path) -> None:
    """What a sink's own code refuses is told with the sink's key path."""
    from attrs import frozen

    from journeykit import SinkType

    @frozen
    class Nothing:
        pass

    class Plugin:
        @hookimpl
        def register_sinks(self) -> list[SinkType]:
            def build(name: str, settings: Nothing) -> None:
                raise LookupError("no account")

            return [SinkType("broken", Nothing, build)]

    path = tmp_path / "journeykit.toml"
    path.write_text('[consent]\nmode = "opt_in"\n[sinks.x]\ntype = "broken"\n')
    with pytest.raises(ConfigError) as caught:
        JourneyKit.from_toml(path, plugins=[Plugin()])

    assert caught.value.problems == ("sinks.x: LookupError: no account",)


@pytest.mark.parametrize(
    "hook", ["register_sinks", "register_sources", "register_journeys", "register_endpoints"]
)
def test_plugin_that_fails_at_start_stops_it(tmp_path: Path, hook: str) -> None:
    """A plugin that fails while it is asked what it adds stops the start and is named."""

    def fail(self: object) -> None:
        raise RuntimeError("no")

    plugin = type("Unlucky", (), {hook: hookimpl(fail)})()
    path = tmp_path / "journeykit.toml"
    path.write_text('[consent]\nmode = "opt_in"\n')

    with pytest.raises(PluginError, match=f"plugin 'Unlucky' failed in {hook}: RuntimeError: no"):
        JourneyKit.from_toml(path, plugins=[plugin])


def test_plugin_adds_a_journey(make_kit: MakeKit) -> None:
    """A journey of a plugin counts beside those of the configuration."""

    class Plugin:
        @hookimpl
        def register_journeys(self) -> list[Journey]:
            return [Journey(key="chat", version=1, stages=[Stage("asked", enter=["Asked"])])]

    kit = make_kit(Plugin())
    kit.track("Asked", customer="ada")
    assert kit.flush()

    assert [journey.key for journey in kit.journeys] == ["shop", "chat"]
    assert kit.report().journeys[1].instances == 1


# Starting and ending


def test_construction_starts_and_creates_nothing(tmp_path: Path) -> None:
    """A kit that was only built has no thread, no file and no open store."""
    path = tmp_path / "journeykit.toml"
    path.write_text(TOML.format(store="sqlite:///var/journeykit.db"))
    kit = JourneyKit.from_toml(path)

    assert threads() == set()
    assert list(tmp_path.iterdir()) == [path]
    assert kit.close()
    assert list(tmp_path.iterdir()) == [path]


def test_first_track_starts_what_was_declared(make_kit: MakeKit) -> None:
    """The first event starts the threads; what is not declared has none."""
    kit = make_kit(sinks=(Recorder(),))
    assert not kit.track("X")
    assert threads() == set()
    kit.track("X", customer="ada")
    assert threads() == {
        "journeykit-committer",
        "journeykit-projector",
        "journeykit-sink-recorder",
        "journeykit-ticker",
    }
    kit.close()
    assert threads() == set()

    plain = make_kit(journeys=[])
    plain.track("X", customer="ada")
    assert threads() == {"journeykit-committer", "journeykit-ticker"}


def test_closing_flushes_and_refuses_what_comes_later(make_kit: MakeKit) -> None:
    """Closing brings everything home and closes the sinks; later events are refused as closed."""
    sink = Recorder()
    kit = make_kit(sinks=(sink,))
    for number in range(700):
        assert kit.track("Product Viewed", customer=f"u{number}")

    assert kit.close()
    assert kit.close()

    assert sink.names.count("Product Viewed") == 700
    assert sink.closed == 1
    assert kit.report().journeys[0].instances == 700
    receipt = kit.track("Product Viewed", customer="ada")
    assert (bool(receipt), receipt.reason) == (False, "closed")
    assert kit.flush()
    assert threads() == set()


def test_strict_kit_raises(make_kit: MakeKit) -> None:
    """A strict kit raises where another returns a falsy receipt, also when it was closed."""
    kit = make_kit(core={"strict": True})
    with pytest.raises(EventRejected, match="no_customer"):
        kit.track("X")
    with pytest.raises(EventRejected, match="bad_name"):
        kit.track("", customer="ada")
    kit.close()
    with pytest.raises(EventRejected, match="closed"):
        kit.track("X", customer="ada")


def test_strictness_can_be_overridden(tmp_path: Path) -> None:
    """`from_toml(strict=…)` goes before the file."""
    path = tmp_path / "journeykit.toml"
    path.write_text('[journeykit]\nstrict = true\n[consent]\nmode = "opt_out"\n')
    with JourneyKit.from_toml(path, strict=False) as kit:
        assert kit.track("X").reason == "no_customer"
    with JourneyKit.from_toml(path) as kit, pytest.raises(EventRejected):
        kit.track("X")


def test_flush_lets_deadlines_pass(make_settings: MakeSettings, clock: Any) -> None:
    """What time alone brings about by now is found and delivered when a flush is done."""
    sink = Recorder()
    with JourneyKit(make_settings(journeys=[SHOP]), sinks=[sink], now=clock) as kit:
        kit.track("Product Added", {"cart_id": "c1", "price": 5}, customer="ada")
        assert kit.flush()
        assert kit.pain_points() == []

        clock.advance(2 * 3600)
        assert kit.flush()

        assert [point.code for point in kit.pain_points()] == ["cart.abandoned"]
        assert sink.names[-1] == "pain_point.detected"


def test_flush_tells_when_it_did_not_finish(make_kit: MakeKit, wait_until: WaitUntil) -> None:
    """A flush that is too short says so, and loses nothing."""
    sink = Recorder()
    sink.fail = True
    kit = make_kit(sinks=(sink,))
    kit.track("Product Viewed", customer="ada")

    assert not kit.flush(0.2)
    (told,) = kit.status()["sinks"]
    assert (told["breaker"], told["last_error"], told["behind"]) == ("open", "down", True)
    sink.fail = False
    wait_until(lambda: "stage.entered" in sink.names)
    assert kit.flush()


# Capture


def test_identify_joins_and_goes_on_as_the_person(make_kit: MakeKit) -> None:
    """Signing in makes a fact, rebinds the request, and joins what came before."""
    sink = Recorder()
    kit = make_kit(sinks=(sink,))
    with kit.bind_customer(Customer(anonymous_id="cookie", session_id="s")) as bound:
        kit.track("Product Viewed")
        assert kit.identify("ada", reason="signed up")
        assert bound.customer == Customer("ada", "cookie", "s")
        kit.track("Order Completed")
    assert kit.flush()

    fact = next(event for event in sink.events if event.name == "customer.identified")
    assert (fact.kind, fact.actor, fact.reason) == ("fact", "customer", "signed up")
    assert fact.customer == Customer("ada", "cookie", "s")
    assert (kit.report().customers, kit.report().journeys[0].instances) == (1, 1)
    (ada,) = kit.customers("shop")
    assert (ada.customer, ada.known, ada.stage) == ("ada", True, "purchase")


def test_identify_without_a_request(make_kit: MakeKit) -> None:
    """Outside a request the fact concerns the person alone."""
    kit = make_kit()
    assert kit.identify("ada")
    assert kit.flush()
    assert kit.report().customers == 1


def test_opt_in_records_only_who_agreed(make_kit: MakeKit) -> None:
    """With opt-in consent nothing is recorded before the customer has agreed."""
    kit = make_kit(consent="opt_in")
    assert kit.track("X", customer="ada").reason == "no_consent"
    with kit.bind_customer("ada", purposes=["analytics"]):
        assert kit.track("X")
    assert kit.flush()
    assert kit.report().events == 1


def test_history_counts_and_is_no_news(make_kit: MakeKit) -> None:
    """Imported events count in the figures; they reach a sink only if the import asked for it."""
    sink = Recorder()
    kit = make_kit(sinks=(sink,))
    then = datetime(2020, 1, 1, tzinfo=UTC)
    assert kit.track_history("Order Completed", customer="ada", at=then, id="1")
    assert kit.track_history("Product Viewed", customer="bob", at=then, id="2", deliver=True)
    assert kit.track_history("Product Viewed", customer="bob", at=then, id="2", deliver=True)
    assert kit.flush()

    assert [(event.name, event.historical) for event in sink.events] == [
        ("Product Viewed", True),
        ("stage.entered", True),
    ]
    assert kit.report().journeys[0].instances == 2
    assert (kit.committed["added"], kit.committed["already_there"]) == (2, 1)
    assert kit.customers("shop")[0].last_seen == then


def test_surroundings_are_found_once(make_kit: MakeKit) -> None:
    """A request's customer is asked for once, however many events it has."""
    asked = []

    def find() -> Customer:
        asked.append(1)
        return Customer("ada")

    kit = make_kit()
    token = context.bind(Bound(find, channel="web", context={"page": "/"}))
    kit.track("A")
    kit.track("B")
    context.unbind(token)
    assert kit.flush()

    events = [item.event() for item in kit.store.read(None, 5) if item.entry.name in ("A", "B")]
    assert [(event.channel, event.context["page"]) for event in events] == [("web", "/")] * 2
    assert asked == [1]


def test_customers_are_listed_by_when_they_were_seen(make_kit: MakeKit) -> None:
    """The latest seen come first, up to a limit; an unknown journey is told with those there are."""
    kit = make_kit()
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for number, who in enumerate(["ada", "bob", "cy"]):
        kit.track("Page Viewed", customer=who, at=start + timedelta(hours=number))
    kit.track("Product Viewed", customer="bob", at=start + timedelta(hours=9))
    assert kit.flush()

    assert [item.customer for item in kit.customers("shop")] == ["bob", "cy", "ada"]
    assert [item.customer for item in kit.customers("shop", limit=1)] == ["bob"]
    with pytest.raises(LookupError, match="there is no journey 'trip'; there are: shop"):
        kit.customers("trip")


def test_template_change_waits_for_a_new_version(
    monkeypatch: pytest.MonkeyPatch, make_kit: MakeKit
) -> None:
    """Where an upgrade has changed a template, what was published stays as it is."""
    store = MemoryStore()
    kit = make_kit(store=store)
    kit.track("Gift Wrapped", customer="ada")
    kit.track("Page Viewed", customer="bob")
    kit.close()

    template = Journey(
        key="ecommerce",
        version=1,
        stages=[Stage("awareness", enter=["Gift Wrapped"])],
        goal=Goal("Order Completed"),
    )
    monkeypatch.setattr("journeykit.journeys.templates.TEMPLATES", {"ecommerce": template})
    same = make_kit(store=store)
    assert same.flush()
    assert [item.customer for item in same.customers("shop")] == ["bob"]
    same.close()

    second = make_kit(store=store, journeys=[Journey(key="shop", version=2, extends="ecommerce")])
    second.track("Gift Wrapped", customer="cy")
    assert second.flush()

    found = [(item.customer, item.version) for item in second.customers("shop")]
    assert sorted(found) == [("bob", 1), ("cy", 2)]


def test_changed_version_stops_the_start(make_kit: MakeKit) -> None:
    """A published version with another content is one of the mistakes that the start names."""
    store = MemoryStore()
    first = make_kit(store=store)
    first.track("Product Viewed", customer="ada")
    assert first.flush()
    changed = Journey(key="shop", version=1, extends="ecommerce", timeout=timedelta(days=1))

    with pytest.raises(ConfigError) as caught:
        make_kit(store=store, journeys=[changed], sinks=["no sink"])
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].startswith("journeys.shop: version 1 was published with")
    assert "(timeout)" in caught.value.problems[0]


def test_version_that_changes_while_another_leads_is_not_folded(
    make_kit: MakeKit, wait_until: WaitUntil
) -> None:
    """Who was started before the publication folds nothing, says so, and the host goes on."""
    store = MemoryStore()
    changed = Journey(key="shop", version=1, extends="ecommerce", timeout=timedelta(days=1))
    first, second = make_kit(store=store), make_kit(store=store, journeys=[changed])
    first.track("Product Viewed", customer="ada")
    assert first.flush()
    first.close()

    receipt = second.track("Product Viewed", customer="bob")
    wait_until(lambda: second.store_error is not None)

    assert receipt
    wait_until(lambda: second.status()["counters"]["events"] == 2)
    error = second.status()["store_error"]
    assert error is not None
    assert "nothing is folded; journeys.shop: version 1 was published with" in error
    assert second.report().journeys[0].instances == 1


# Plugins that misbehave


def everything(kit: JourneyKit) -> tuple[Any, ...]:
    """Return what the kit's figures are."""
    with kit.bind_customer("ada"):
        for name in ("Page Viewed", "Product Added", "Order Completed", "Order Completed"):
            assert kit.track(name, {"revenue": 3})
    with kit.bind_customer(Customer(anonymous_id="cookie")):
        kit.track("Product Viewed")
        kit.identify("bob")
        kit.track("Product Shared")
    assert kit.flush()
    stages = sorted((item.customer, item.stage, item.furthest) for item in kit.customers("shop"))
    return kit.report(), stages


class Raises:
    """Fails in every hook that is asked at run time, but for `accept_event`."""

    name = "raises"

    @hookimpl
    def enrich_event(self) -> None:
        """Fail."""
        raise RuntimeError

    @hookimpl
    def detect_stage(self, event: Event, instance: Instance) -> None:
        """Fail."""
        raise ValueError(instance)

    @hookimpl
    def detect_pain_points(self) -> Iterator[PainPoint]:
        """Find something and fail."""
        yield PainPoint("a")
        raise SystemExit(3)

    @hookimpl
    def event_parked(self) -> None:
        """Fail."""
        raise KeyError


class Refuses(Recorder):
    """A sink that refuses one event for good."""

    def deliver(self, batch: Batch) -> list[Any]:
        """Take all but shares."""
        from journeykit import Rejection

        super().deliver(batch)
        return [Rejection(event.id, "no") for event in batch if event.name == "Product Shared"]


def test_raising_plugin_changes_no_figure(make_kit: MakeKit) -> None:
    """A plugin that fails in every hook is counted, and changes nothing else."""
    expected = everything(make_kit(sinks=(Refuses(),)))
    kit = make_kit(Raises(), sinks=(Refuses(),))

    assert everything(kit) == expected
    plugin = kit.plugins.named("raises")
    assert plugin is not None
    assert plugin.errors == plugin.calls >= 4 * 7 - 7
    assert kit.status()["tripped"] == []
    assert [item.entry.name for item in kit.parked("sink:recorder")] == ["Product Shared"]


def test_raising_accept_event_parks_and_replays(make_kit: MakeKit) -> None:
    """A plugin that cannot tell has every event parked; replayed, they give the same figures."""
    expected = everything(make_kit())
    broken = True

    class Guard:
        name = "guard"

        @hookimpl
        def accept_event(self) -> None:
            if broken:
                raise RuntimeError("lookup failed")

    kit = make_kit(Guard())
    with kit.bind_customer("ada"):
        for name in ("Page Viewed", "Product Added", "Order Completed", "Order Completed"):
            kit.track(name, {"revenue": 3})
    with kit.bind_customer(Customer(anonymous_id="cookie")):
        kit.track("Product Viewed")
        kit.identify("bob")
        kit.track("Product Shared")
    assert kit.flush()
    assert kit.status()["parked"] == {"plugin:guard": 7}
    assert kit.report().events == 0

    broken = False
    assert kit.replay_parked("plugin:guard") == 7
    deadline = threading.Event()
    while kit.parked() and not deadline.wait(0.005):
        pass
    assert kit.flush()
    stages = sorted((item.customer, item.stage, item.furthest) for item in kit.customers("shop"))
    assert (kit.report(), stages) == expected


@pytest.mark.parametrize(
    "hook",
    ["enrich_event", "accept_event", "detect_stage", "detect_pain_points", "event_parked"],
)
def test_hanging_plugin_is_tripped(make_kit: MakeKit, wait_until: WaitUntil, hook: str) -> None:
    """A plugin that hangs is left behind and named; the events reach the Log and the figures."""
    release = threading.Event()

    def hang(self: object) -> None:
        release.wait(30)

    plugin: Any = type("Hanging", (), {"name": "hanging", hook: hookimpl(hang)})()
    sink = Refuses()
    kit = make_kit(plugin, sinks=(sink,), core={"plugin_timeout": timedelta(seconds=0.3)})
    try:
        with kit.bind_customer("ada"):
            kit.track("Product Viewed")
            kit.track("Product Shared")
        wait_until(lambda: kit.status()["tripped"])
        assert kit.flush(10)

        (trip,) = kit.status()["tripped"]
        assert (trip["plugin"], trip["hook"]) == ("hanging", hook)
        loaded = kit.plugins.named("hanging")
        assert loaded is not None
        assert loaded.tripped == hook
        # It is counted behind that, for other processes.
        wait_until(lambda: kit.status()["counters"].get(f"tripped:hanging:{hook}") == 1)
        if hook == "accept_event":
            parked = kit.parked("plugin:hanging")
            assert [item.reason for item in parked] == ["tripped in accept_event"] * 2
            assert kit.report().events == 0
        else:
            wait_until(lambda: "stage.entered" in sink.names)
            assert kit.report().events == 2
            assert [stage.entered for stage in kit.report().journeys[0].stages] == [0, 1, 0, 0, 1]
            assert sink.names.count("Product Viewed") == 1
            assert len(kit.store.read(None, 100)) == 4 + len(kit.store.published())
        kit.track("Page Viewed", customer="bob")
        assert kit.flush(10)
        assert kit.report().events == (0 if hook == "accept_event" else 3)
    finally:
        release.set()
    assert kit.close(5)


# Processes

_PRELUDE = """
import os, sys, threading, time
from pathlib import Path
from journeykit import JourneyKit, Settings, Consent, Core, Journey
base = Path(sys.argv[1])
kit = JourneyKit(Settings(
    consent=Consent("opt_out"), base=base, core=Core(store="sqlite:///store.db"),
    journeys=[Journey(key="shop", version=1, extends="ecommerce")],
))
"""


def run(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run *script* behind the prelude in a process of its own."""
    command = [sys.executable, "-c", _PRELUDE + script, str(tmp_path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def log_of(tmp_path: Path, make_settings: MakeSettings) -> tuple[list[str], int]:
    """Return the ids and the number of instances that a store in *tmp_path* holds."""
    core = {"store": "sqlite:///store.db"}
    with JourneyKit(make_settings(core=core, journeys=[SHOP])) as kit:
        assert kit.flush()
        events = [item.entry for item in kit.store.read(None, 10_000)]
        events = [entry for entry in events if entry.name != "journey.published"]
        instances = kit.report().journeys[0].instances
    return [entry.id for entry in events if entry.kind != "derived"], instances


def test_forked_child_tracks_its_own_events(tmp_path: Path, make_settings: MakeSettings) -> None:
    """Parent and child each commit what they accepted, and nothing of the other's, once."""
    done = run(
        tmp_path,
        """
assert kit.track("Product Viewed", customer="early", id="early")
assert kit.flush()
pending = [kit.track("Product Viewed", customer=f"p{n}", id=f"parent-{n}") for n in range(50)]
child = os.fork()
if not child:
    assert kit.status()["waiting"] == 0
    made = {kit.track("Product Viewed", customer=f"c{n}").id for n in range(20)}
    assert kit.track("Product Viewed", customer="c", id="child")
    assert kit.close(20)
    assert len(made) == 20
    os._exit(0)
random_ids = [kit.track("Product Viewed", customer=f"q{n}").id for n in range(20)]
assert kit.track("Product Viewed", customer="late", id="late")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert kit.close(20)
assert kit.status()["receipts"] == {"accepted": 72}
""",
    )
    assert done.returncode == 0, done.stderr

    ids, instances = log_of(tmp_path, make_settings)
    assert len(ids) == len(set(ids)) == 1 + 50 + 20 + 1 + 20 + 1
    assert {"early", "late", "child", *(f"parent-{n}" for n in range(50))} < set(ids)
    assert instances == 93


def test_fork_of_a_kit_that_was_only_read(tmp_path: Path, make_settings: MakeSettings) -> None:
    """A kit that a master process has read from, but not started, works in its workers."""
    done = run(
        tmp_path,
        """
assert kit.report().events == 0
connection = kit.store._local.connection
for number in range(3):
    child = os.fork()
    if not child:
        assert getattr(kit.store._local, "connection", None) is None
        assert kit.track("Product Viewed", customer=f"w{number}", id=f"w{number}")
        assert kit.close(20)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert kit.store._local.connection is connection
assert kit.report().events == 3
""",
    )
    assert done.returncode == 0, done.stderr
    assert log_of(tmp_path, make_settings) == (["w0", "w1", "w2"], 3)


def test_fork_that_python_does_not_hear_of(tmp_path: Path, make_settings: MakeSettings) -> None:
    """A process forked by C code, whose hooks for forks never run, leaves its parent's spool alone."""
    done = run(
        tmp_path,
        """
import ctypes
for number in range(5):
    assert kit.track("Product Viewed", customer="p", id=f"before{number}")
assert kit.flush()
# Where another thread waits for the interpreter at that moment, such a fork breaks it.
time.sleep(0.2)
child = ctypes.PyDLL(None).fork()
if not child:
    for number in range(5):
        assert kit.track("Product Viewed", customer="c", id=f"child{number}")
    assert kit.close(20)
    os._exit(0)
for number in range(5):
    assert kit.track("Product Viewed", customer="p", id=f"parent{number}")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert kit.close(20)
""",
    )
    assert done.returncode == 0, done.stderr
    ids, instances = log_of(tmp_path, make_settings)
    assert sorted(ids) == sorted(
        f"{when}{number}" for when in ("before", "child", "parent") for number in range(5)
    )
    assert instances == 2


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "raise SystemExit", "del kit"])
def test_exit_without_close_keeps_events(
    tmp_path: Path, make_settings: MakeSettings, ending: str
) -> None:
    """A process that ends without closing the kit has its accepted events in the Log."""
    done = run(
        tmp_path,
        f"""
for number in range(300):
    assert kit.track("Product Viewed", customer=f"u{{number}}", id=str(number))
{ending}
""",
    )
    assert (done.returncode, done.stderr) == (0, "")

    ids, instances = log_of(tmp_path, make_settings)
    assert ids == [str(number) for number in range(300)]
    assert instances == 300


def test_killed_process_keeps_what_was_flushed(tmp_path: Path, make_settings: MakeSettings) -> None:
    """What was flushed survives kill -9, and the next process leads and goes on at once."""
    done = run(
        tmp_path,
        f"""
for number in range(100):
    kit.track("Product Viewed", customer=f"u{{number}}", id=str(number))
assert kit.flush()
assert kit.status()["leads"]
os.kill(os.getpid(), {int(signal.SIGKILL)})
""",
    )
    assert done.returncode == -signal.SIGKILL

    ids, instances = log_of(tmp_path, make_settings)
    assert (len(ids), instances) == (100, 100)


def test_two_kits_share_a_store(
    tmp_path: Path, make_settings: MakeSettings, wait_until: WaitUntil
) -> None:
    """Of two kits on one store one leads; when it ends, the other takes over by itself."""
    settings = make_settings(core={"store": "sqlite:///store.db"}, journeys=[SHOP])
    one, two = JourneyKit(settings), JourneyKit(settings)
    one.track("Product Viewed", customer="a")
    assert one.flush()
    two.track("Product Viewed", customer="b")
    assert two.flush()
    assert (one.status()["leads"], two.status()["leads"]) == (True, False)
    assert two.report().journeys[0].instances == 2

    assert one.close()
    two.track("Product Viewed", customer="c")
    assert two.flush()
    assert two.status()["leads"]
    assert two.report().journeys[0].instances == 3
    assert two.close()
    assert os.getpid() == two.status()["process"]
    two.store.close()


def test_catch_up_folds_without_delivering(make_kit: MakeKit) -> None:
    """Catching up folds what is in the Log and delivers nothing."""
    store, sink = MemoryStore(), Recorder()
    plain = make_kit(journeys=[], store=store)
    plain.track("Product Viewed", customer="ada")
    plain.close()
    kit = make_kit(store=store, sinks=(sink,))
    assert kit.status()["behind"]

    assert kit.catch_up()
    assert kit.report().journeys[0].instances == 1
    assert sink.events == []

    other = make_kit(store=store, journeys=[Journey(key="x", version=1, extends="ecommerce")])
    assert other.catch_up()
    assert other.report().journeys[0].instances == 1
    assert plain.catch_up()


def test_catch_up_leaves_alone_what_other_plugins_made(make_kit: MakeKit) -> None:
    """A process that lacks the app's plugins does not fold again without them."""

    class Detector:
        @hookimpl
        def detect_stage(self, event: Event) -> str:
            return "advocacy"

    store = MemoryStore()
    app = make_kit(Detector(), store=store)
    app.track("Product Viewed", customer="ada")
    assert app.flush()
    app.close()

    command_line = make_kit(store=store)
    assert not command_line.catch_up(1)
    assert command_line.customers("shop")[0].stage == "advocacy"


def test_identify_survives_a_customer_that_cannot_be_found(make_kit: MakeKit) -> None:
    """A function of the app that fails keeps nobody from being identified, and raises nothing."""
    kit = make_kit()

    def find() -> Customer:
        raise RuntimeError

    token = context.bind(context.Bound(find))
    try:
        assert kit.identify("ada")
        assert kit.track("Product Viewed")
    finally:
        context.unbind(token)
    assert kit.flush()
    assert [stage.customer for stage in kit.customers("shop")] == ["ada"]


def test_nobody_is_not_identified(make_kit: MakeKit) -> None:
    """A missing user id is refused with its reason, and is not a person called None."""
    assert make_kit().identify("").reason == "bad_customer"


def test_people_decide_about_journeys(make_kit: MakeKit) -> None:
    """Opting out and transfers are facts with who and why; what is not there is told at once."""
    service = Journey(key="service", version=1, stages=[Stage("visit", enter=["Visit Made"])])
    shop = Journey(key="shop", version=1, extends="ecommerce")
    kit = make_kit(journeys=[shop, service], store=MemoryStore())
    assert kit.track("Product Viewed", customer="ada")
    why = {"reason": "asked", "actor": "eva"}
    assert kit.transfer("shop", "service", "visit", customer="ada", **why)
    assert kit.opt_out("service", customer="ada", **why)
    assert kit.flush()

    found = [item.event() for item in kit.store.read(None, 100)]
    told = [(event.name, event.journey) for event in found if event.kind is Kind.DERIVED]
    assert told == [
        ("stage.entered", "shop"),
        ("journey.exited", "shop"),
        ("stage.entered", "service"),
        ("journey.exited", "service"),
    ]
    facts = [event for event in found if event.kind is Kind.FACT and event.name != PUBLISHED]
    assert [(fact.name, fact.actor, fact.reason) for fact in facts] == [
        ("journey.transferred", "eva", "asked"),
        ("customer.opted_out", "eva", "asked"),
    ]
    explained = kit.explain("ada")
    assert explained is not None
    assert [path.outcome for path in explained.paths] == ["transferred", "opted_out"]

    with pytest.raises(LookupError, match="there is no journey 'trip'"):
        kit.opt_out("trip", customer="ada", **why)
    with pytest.raises(LookupError, match="journey 'service' has no stage 'cart'; it has visit"):
        kit.transfer("shop", "service", "cart", customer="ada", **why)
    with pytest.raises(LookupError, match="both journeys are 'shop'"):
        kit.transfer("shop", "shop", "purchase", customer="ada", **why)


@pytest.mark.parametrize("junk", ["null", "Undefined", "0", "[object Object]", " "])
def test_junk_is_not_identified(make_kit: MakeKit, junk: str) -> None:
    """An id that names nobody is refused with a sentence, and the request goes on as it was."""
    kit = make_kit(core={"strict": False})
    with kit.bind_customer(Customer(anonymous_id="cookie")) as bound:
        receipt = kit.identify(junk)
        assert receipt.reason == "bad_customer"
        assert "pass None" in (receipt.detail or "") or not junk.strip()
        assert bound.customer == Customer(anonymous_id="cookie")
        assert kit.track("Product Viewed")


@pytest.mark.parametrize("consent", ["opt_out", "opt_in"])
def test_a_merge_is_taken_back(make_kit: MakeKit, consent: str) -> None:
    """The fact names the device, the actor and the reason, and both are customers again."""
    sink = Recorder()
    kit = make_kit(consent=consent, sinks=(sink,))
    with kit.bind_customer(Customer(anonymous_id="cookie"), purposes={"analytics"}):
        kit.track("Product Viewed")
        kit.identify("ada")
    assert kit.flush()
    assert (kit.report().customers, kit.merged_with("cookie")) == (1, "ada")

    with kit.bind_customer("boss", purposes=(), channel="desk"):
        assert kit.unmerge("cookie", reason="a till", actor="boss")
    assert kit.flush()

    assert (kit.report().customers, kit.merged_with("cookie")) == (2, None)
    assert {stage.customer for stage in kit.customers("shop")} == {"cookie"}
    stored = [item.event() for item in kit.store.read(None, 100)]
    (fact,) = [event for event in stored if event.name == "customer.unmerged"]
    assert (fact.kind, fact.actor, fact.reason, fact.channel) == ("fact", "boss", "a till", None)
    assert fact.customer == Customer(anonymous_id="cookie")
    names = [event.name for event in stored]
    assert names.count("stage.entered") == 1
    assert names.count("customer.merged") == 1


def test_a_merge_of_nobody_is_not_taken_back(make_kit: MakeKit) -> None:
    """Junk is refused, and a device that is nobody's is asked for in vain."""
    kit = make_kit(core={"strict": False})
    assert kit.unmerge("undefined", reason="x").reason == "bad_customer"
    assert kit.merged_with("cookie") is None
