"""Rules about many customers: what they measure by the day, and what they judge."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit import JourneyKit, Settings, hookimpl
from journeykit.capture.ids import hashed_id
from journeykit.insight.report import report
from journeykit.insight.steps import Steps
from journeykit.insight.trials import DAY
from journeykit.insight.watch import Watch
from journeykit.insight.watcher import Watcher
from journeykit.journeys import Rulebook, declare
from journeykit.journeys.catalogue import PageSlowed
from journeykit.journeys.findings import findings
from journeykit.model import Entry, Journey, Kind, Stage, jsonbytes
from journeykit.model.event import HISTORICAL
from journeykit.model.population import Judged, PopulationRule, Spread, Top
from journeykit.model.times import to_rfc3339
from journeykit.store.memory import MemoryStore
from journeykit.store.projector import Projector
from journeykit.store.protocol import Commit

START = 20_000 * DAY
DECLARED = declare((Journey(key="j", version=1, stages=[Stage("s", enter=["x"])]),), (), {})[0]


def measured(day: int, number: int, took: float, path: str = "/pay", flags: int = 0) -> Entry:
    """Return a measurement of a page."""
    at = START + day * DAY + number * 1_000_000
    customer = f"u{number % 40}"
    event_id = hashed_id(at, customer, path)
    wire = {
        "id": event_id,
        "kind": "touchpoint",
        "name": "Page Performance Measured",
        "customer": {"user_id": customer, "anonymous_id": None, "session_id": None},
        "occurred_at": to_rfc3339(at),
        "channel": None,
        "properties": {"path": path, "duration_ms": took},
        "context": {},
    }
    body = json.dumps(wire, separators=(",", ":")).encode()
    name = "Page Performance Measured"
    return Entry(event_id, Kind.TOUCHPOINT, name, customer, None, None, at, flags, body)


def days(slow: Iterable[int], count: int = 40, took: float = 5000, **more: Any) -> list[Entry]:
    """Return forty views a day of a page that takes 100 to 900 ms, and *took* on some days."""
    chance = random.Random(3)
    return [
        measured(day, number, took + number if day in slow else chance.uniform(100, 900), **more)
        for day in range(count)
        for number in range(40)
    ]


class World:
    """A store and a watcher, by a clock that goes by the day."""

    def __init__(self, *rules: PopulationRule) -> None:
        book = Rulebook.of(rules or (PageSlowed(),), DECLARED.vocabulary)
        watch = Watch(steps=Steps((), DECLARED.vocabulary), book=book)
        self.now = START
        self.store = MemoryStore()
        self.store.open()
        self.watcher = Watcher(self.store, lambda: watch, now=lambda: self.now)
        self.watch = watch
        self.projector = Projector(self.store, now=lambda: self.now)

    def live(self, entries: Sequence[Entry], until: int = 44) -> World:
        """Let each day come to its end."""
        for day in range(until):
            self.now = START + (day + 1) * DAY
            due = [each for each in entries if each.occurred_at // DAY == 20_000 + day]
            self.store.commit(Commit(due), self.now)
            while self.projector.step() is not None:
                pass
            self.watcher.asked = True
            while self.watcher.asked:
                self.watcher.step()
        return self

    @property
    def told(self) -> list[tuple[str, dict[str, Any], int]]:
        """What was derived."""
        return [
            (each.entry.name, jsonbytes.loads(each.entry.body)["properties"], each.entry.flags)
            for each in self.store.read(None, 100_000)
            if each.entry.kind is Kind.DERIVED
        ]


def test_a_page_that_became_slow_is_told_once_and_when_it_is_over() -> None:
    """Five seconds where it took under one: with the page, how slow, and events that prove it."""
    world = World().live(days(range(32, 35)))

    (began, detected, flags), (ended, recovered, _) = world.told
    assert (began, ended) == ("pain_point.detected", "pain_point.recovered")
    assert (detected["code"], detected["target"], flags) == ("page.slowed", "/pay", 0)
    assert detected["p95_ms"] == pytest.approx(5037, rel=0.03)
    assert detected["usual_p95_ms"] == pytest.approx(860, rel=0.1)
    assert recovered["target"] == "/pay"
    events = {each.id: each for each in days(range(32, 35))}
    for one in detected["evidence"]:
        assert jsonbytes.loads(events[one].body)["properties"]["duration_ms"] > 5000
    (point,) = report(world.store, (), world.watch).pain_points
    assert (point.code, point.detail["target"], point.customers) == ("page.slowed", "/pay", 20)
    ((_, finding),) = findings(world.store)
    assert finding.days == (20_032, 20_033, 20_034)


@pytest.mark.parametrize(
    ("slow", "took"),
    [((), 0), (range(40), 5000), (range(32, 35), 2500)],
    ids=["never", "always", "not slow enough"],
)
def test_a_page_that_is_as_it_was_is_no_pain_point(slow: Iterable[int], took: float) -> None:
    """Neither what is always slow, nor what is twice as slow and still fast."""
    assert World().live(days(slow, took=took)).told == []


def test_too_few_views_say_nothing() -> None:
    """A page that nobody looked at before has no usual."""
    assert (
        World().live([each for each in days((30, 31)) if each.occurred_at > START + 29 * DAY]).told
        == []
    )


def test_imported_measurements_are_history() -> None:
    """What is found in them is marked so."""
    found = World().live(days(range(32, 35), flags=HISTORICAL), until=60).told

    assert {flags for _, _, flags in found} == {HISTORICAL}


def test_state_made_anew_tells_nothing() -> None:
    """The days are judged once more, and it is no news."""
    world = World().live(days(range(32, 35)))
    told = world.told

    world.store.forget_state({})
    world.projector.forget()
    world.live([], until=44)

    assert world.told == told
    assert [finding.code for _, finding in findings(world.store)] == ["page.slowed"]


@given(st.lists(st.floats(0.01, 1e6), min_size=1), st.floats(0.01, 1), st.randoms())
def test_a_quantile_is_right_to_a_step(values: list[float], share: float, chance: Any) -> None:
    """In any order, and in any parts, it is within five percent of the value at that place."""
    parts = [Spread(), Spread()]
    for number, value in enumerate(chance.sample(values, len(values))):
        chance.choice(parts).add(Top(value, str(number), "", 0))
    parts[0].join(parts[1])

    place = max(0, -(-int(share * len(values) * 1_000_000) // 1_000_000) - 1)
    near = sorted(values)[max(0, place - 1) : place + 2]
    assert parts[0].count == len(values)
    assert near[0] * 0.95 <= parts[0].quantile(share) <= near[-1] * 1.05


def test_values_that_are_none_are_left_out() -> None:
    """Nothing, less than nothing, and what is no number."""
    spread = Spread()
    for value in (0.0, -1.0, float("nan"), float("inf")):
        spread.add(Top(value, "", "", 0))

    assert (spread.count, spread.quantile(0.5)) == (0, 0.0)


class BasketsShrink(PopulationRule):
    """A plugin's rule: orders of a day that are worth less than half of those before."""

    code, on, days = "basket.shrunk", ("Order Completed",), 3

    def measure(self, event: Any) -> tuple[str, float] | None:
        """Return the worth of an order."""
        return "", event.properties["total"]

    def judge(self, days: Sequence[Mapping[str, Spread]]) -> list[Judged]:
        """Compare the median with that of the day before."""
        *_, before, last = (day.get("", Spread()) for day in days)
        shrunk = last.quantile(0.5) < before.quantile(0.5) / 2
        return [Judged("", last.top)] if shrunk else []


class Plugin:
    """Adds rules."""

    def __init__(self, *rules: PopulationRule) -> None:
        self.rules = list(rules)

    @hookimpl
    def register_rules(self) -> list[PopulationRule]:
        """Return them."""
        return self.rules


def orders(kit: JourneyKit, clock: Any, *totals: float) -> None:
    """Let a day go by for each of *totals*."""
    for total in totals:
        for number in range(5):
            kit.track("Order Completed", {"total": total}, customer=f"u{number}")
        assert kit.flush()
        clock.advance(86_400)
        assert kit.watch(10)


def test_a_plugin_adds_a_rule_of_its_own(
    make_settings: Callable[..., Settings], clock: Any
) -> None:
    """It needs no more than two functions, and runs without segments."""
    with JourneyKit(make_settings(), plugins=[Plugin(BasketsShrink())], now=clock) as kit:
        orders(kit, clock, 80, 80, 20, 20, 20)

        assert [point.code for point in kit.pain_points()] == ["basket.shrunk"]
        assert kit.mute("basket.shrunk", reason="sale", actor="ada")
        assert kit.flush()
        assert kit.pain_points() == []


def test_a_rule_that_raises_harms_nobody(
    make_settings: Callable[..., Settings], clock: Any
) -> None:
    """It means nothing by what it fails on; the others go on."""

    class Broken(BasketsShrink):
        code = "broken.rule"

        def judge(self, days: Sequence[Mapping[str, Spread]]) -> list[Judged]:
            raise RuntimeError

    class Rubbish(BasketsShrink):
        code = "rubbish.rule"

        def measure(self, event: Any) -> Any:
            return 5

    plugins = [Plugin(Broken(), Rubbish(), BasketsShrink())]
    settings = make_settings(core={"strict": False})
    with JourneyKit(settings, plugins=plugins, now=clock) as kit:
        orders(kit, clock, 80, 80, 20, 20, 20)

        assert [point.code for point in kit.pain_points()] == ["basket.shrunk"]


@pytest.mark.parametrize("hook", ["measure", "judge"])
def test_a_rule_that_hangs_is_tripped(
    make_settings: Callable[..., Settings], clock: Any, hook: str
) -> None:
    """Its plugin is named and left behind; the rules of others go on."""
    release = threading.Event()

    class Hangs(BasketsShrink):
        code = "hanging.rule"

    setattr(Hangs, hook, lambda *_: release.wait(30) and None)
    hanging: Any = type("Hanging", (Plugin,), {"name": "hanging"})(Hangs())
    settings = make_settings(
        core={"strict": False, "plugin_timeout": timedelta(seconds=0.3)},
    )
    plugins = [hanging, Plugin(BasketsShrink())]
    with JourneyKit(settings, plugins=plugins, now=clock) as kit:
        try:
            orders(kit, clock, 80, 80, 20, 20, 20)

            assert [point.code for point in kit.pain_points()] == ["basket.shrunk"]
            assert [trip["plugin"] for trip in kit.status()["tripped"]] == ["hanging"]
        finally:
            release.set()
