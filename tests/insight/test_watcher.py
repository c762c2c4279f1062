"""Steps watched by the day: kept, sealed, looked at, and told once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import attrs
import pytest

from journeykit import Consent, Core, Customer, JourneyKit, Settings
from journeykit.capture.ids import hashed_id
from journeykit.config import Insight
from journeykit.insight.alarms import ANOMALY
from journeykit.insight.population import Population
from journeykit.insight.report import report
from journeykit.insight.sealing import SUMS, TRIALS, Sealed
from journeykit.insight.steps import Steps
from journeykit.insight.trials import DAY, Trial
from journeykit.insight.visits import unpacked
from journeykit.insight.watch import Watch
from journeykit.insight.watcher import META, PARTS, Watcher
from journeykit.journeys import declare, folds, plans
from journeykit.model import Entry, Goal, Journey, Kind, Stage, jsonbytes
from journeykit.model.event import DELIVER, HISTORICAL
from journeykit.model.times import to_datetime, to_rfc3339
from journeykit.plugins import Plugins
from journeykit.store.memory import MemoryStore
from journeykit.store.projector import Projector
from journeykit.store.protocol import WATCHER, Commit, Store

START = 20_000 * DAY

SHOP = Journey(
    key="shop",
    version=1,
    stages=[Stage("cart", enter=["pick"]), Stage("pay", enter=["card", "paid"])],
    goal=Goal("paid", value="total"),
)
DECLARED = declare((SHOP,), (), {})[0]
PLANS = plans(DECLARED)
STEPS = Steps(PLANS, DECLARED.vocabulary)
WATCH = Watch(steps=STEPS, segments=("platform",))


def entry(customer: str, at: int, name: str, flags: int = 0, **properties: Any) -> Entry:
    """Return an event of the past."""
    event_id = hashed_id(at, customer, name)
    wire = {
        "id": event_id,
        "kind": "touchpoint",
        "name": name,
        "customer": {"user_id": customer, "anonymous_id": None, "session_id": None},
        "occurred_at": to_rfc3339(at),
        "channel": None,
        "properties": properties,
        "context": {},
    }
    body = json.dumps(wire, separators=(",", ":")).encode()
    return Entry(event_id, Kind.TOUCHPOINT, name, customer, None, None, at, flags, body)


def visits(days: int, wrong: range, flags: int = 0, customers: int = 600) -> Iterator[Entry]:
    """Yield visits by the day; on the days *wrong* nobody on mobile gets on from `card`."""
    found, chance = [], random.Random(11)
    for number in range(customers):
        platform = ("mobile", "desktop")[number % 2]
        for day in chance.sample(range(days), 4):
            at = START + day * DAY + number * 1_000_000
            customer = f"u{number}"
            fails = platform == "mobile" and day in wrong
            found.append(entry(customer, at, "pick", flags, platform=platform))
            found.append(entry(customer, at + 1, "card", flags, platform=platform))
            if fails:
                found.append(entry(customer, at + 2, "gateway_error", flags, platform=platform))
            elif chance.random() < 0.9:
                found.append(entry(customer, at + 3, "paid", flags, platform=platform, total=50))
    yield from sorted(found, key=lambda each: each.occurred_at)


class World:
    """A store with its projector and its watcher, by a clock that goes by the day."""

    def __init__(self, watch: Watch = WATCH) -> None:
        self.store: Store = MemoryStore()
        self.store.open()
        self.now = START
        self.watch = watch
        self.projector = self._projector()
        self.watcher = self.another()

    def _projector(self) -> Projector:
        folding = folds(PLANS, Plugins(installed=False), segments=("platform",))
        return Projector(self.store, folding, declaration="x", now=lambda: self.now)

    def another(self) -> Watcher:
        """Return a watcher as another process has it."""
        return Watcher(self.store, lambda: self.watch, now=lambda: self.now)

    def add(self, *entries: Entry) -> World:
        """Have the Log get *entries*, and fold them."""
        self.store.commit(Commit(entries), self.now)
        while self.projector.step() is not None:
            pass
        return self

    def look(self, watcher: Watcher | None = None) -> World:
        """Let a watcher do what there is to do by now, as the clock has it."""
        watcher = watcher or self.watcher
        for _ in range(10_000):
            delay = watcher.step()
            if delay is None or delay >= 0.5:
                return self
        raise AssertionError

    def live(self, entries: Sequence[Entry], until: int) -> World:
        """Let each event be recorded when it occurs, and each day come to its end."""
        waiting = list(entries)
        while self.now < START + until * DAY:
            self.now += DAY
            due = [each for each in waiting if each.occurred_at < self.now]
            waiting = waiting[len(due) :]
            self.add(*due)
            self.look()
        return self

    @property
    def told(self) -> list[tuple[str, dict[str, Any], int]]:
        """What was derived of alarms: name, properties, flags."""
        return [
            (each.entry.name, jsonbytes.loads(each.entry.body)["properties"], each.entry.flags)
            for each in self.store.read(None, 1_000_000)
            if each.entry.kind is Kind.DERIVED and ANOMALY.encode() in each.entry.body
        ]

    @property
    def names(self) -> list[str]:
        """The names of what was derived of alarms."""
        return [name for name, _, _ in self.told]

    def pieces(self) -> dict[str, Any]:
        """Return what is kept of sealed days, decoded, with customers by their order."""
        found = {}
        for space in (SUMS, TRIALS):
            for key, data in self.store.scan(space):
                value = unpacked(data)
                if space == TRIALS:
                    value = sorted(row[1:] for row in value)
                found[f"{space} {key}"] = value
        return found


# Told when a day is over


def test_an_alarm_is_told_while_it_goes_on_and_when_it_is_over() -> None:
    """Sinks hear of it once, some days after it began, and once more when it has ended."""
    world = World()

    world.live(list(visits(60, range(30, 44))), until=38)
    assert world.names == ["pain_point.detected"]
    world.live([each for each in visits(60, range(30, 44)) if each.occurred_at >= world.now], 60)

    (began, detected, flags), (ended, recovered, _) = world.told
    assert (began, ended) == ("pain_point.detected", "pain_point.recovered")
    assert (detected["code"], detected["segments"]) == (ANOMALY, {"platform": "mobile"})
    assert (detected["step"], detected["severity"], flags) == ("gateway_error", "high", 0)
    assert recovered["target"] == detected["target"]
    ids = {each.id for each in world.store.read(None, 100_000)}
    assert detected["evidence"]
    assert set(detected["evidence"]) <= ids
    assert detected["first_seen"][:10] == to_datetime(START + 30 * DAY).isoformat()[:10]
    assert recovered["last_seen"][:10] == to_datetime(START + 43 * DAY).isoformat()[:10]


def test_nothing_is_told_twice() -> None:
    """Neither another leader, nor State made anew, nor another declaration tells it again."""
    world = World().live(list(visits(60, range(30, 44))), until=60)
    told = world.told
    assert len(told) == 2

    world.look(world.another())
    world.store.forget_state({})
    world.projector = world._projector()
    world.add().look(world.another())
    assert world.told == told
    assert report(world.store, PLANS, WATCH).pain_points[0].code == ANOMALY

    world.watch = attrs.evolve(WATCH, segments=("platform", "channel"))
    world.look(world.another())
    world.now += DAY
    world.look(world.another())
    assert world.told == told


def test_state_made_anew_is_what_it_was() -> None:
    """What is kept of the days follows from the Log."""
    world = World().live(list(visits(60, range(30, 44))), until=60)
    before, found = world.pieces(), report(world.store, PLANS, WATCH)

    world.store.forget_state({})
    world.projector = world._projector()
    world.add().look(world.another())

    assert world.pieces() == before
    again = report(world.store, PLANS, WATCH)
    assert [(each.code, each.first_seen, each.last_seen) for each in again.pain_points] == [
        (each.code, each.first_seen, each.last_seen) for each in found.pain_points
    ]


def test_an_idle_shop_is_looked_at_by_the_clock() -> None:
    """Nobody comes any more, and the last day is sealed all the same."""
    world = World().live([entry("u", START + 1, "pick", platform="p")], until=1)
    assert world.pieces() == {}
    wait = world.watcher.step()
    assert wait is not None
    assert wait == pytest.approx(86_400, abs=1)

    world.now += DAY
    world.look()

    assert world.pieces()


def test_what_was_imported_is_history() -> None:
    """An alarm about imported events is marked so, and goes where its import goes."""
    for flags in (HISTORICAL, HISTORICAL | DELIVER):
        world = World()
        world.now = START + 400 * DAY
        world.add(*visits(60, range(30, 44), flags)).look()

        assert world.names == ["pain_point.detected", "pain_point.recovered"]
        assert {each for _, _, each in world.told} == {flags}


def test_what_late_events_disprove_is_withdrawn() -> None:
    """Orders that arrive late, and were made all the while, take the alarm back."""
    events = list(visits(60, range(30, 44)))
    without = [each for each in events if each.name != "gateway_error"]
    late = [
        entry(each.user_id or "", each.occurred_at + 1, "paid", platform="mobile")
        for each in events
        if each.name == "gateway_error"
    ]
    world = World().live(without, until=48)
    assert world.names[0] == "pain_point.detected"

    world.add(*late)
    world.now += DAY
    world.look()

    assert world.names[-1] == "pain_point.withdrawn"
    assert report(world.store, PLANS, WATCH).pain_points == ()


def test_switched_off_it_finds_nothing() -> None:
    """Days are kept, for segments of other pain points; no step is looked at."""
    world = World(attrs.evolve(WATCH, anomalies=False))

    world.live(list(visits(60, range(30, 44))), until=60)

    assert world.told == []
    assert report(world.store, PLANS, world.watch).pain_points == ()


# What is kept


def whole(entries: Sequence[Entry]) -> dict[Any, list[Trial]]:
    """Return the trials of all events at once."""
    population = Population(STEPS, ["platform"])
    for each in entries:
        key = each.customer_key
        population.take(key, each.occurred_at, each.name, each.body, each.id)
    return dict(population.trials().steps)


def comparable(trials: Sequence[Trial], newest: int) -> list[Any]:
    """Return trials up to a day without their customers, which are told apart by hashes."""
    return sorted(
        (each.day, each.failed, each.segments, each.at, each.mark.event, each.converted)
        for each in trials
        if each.day <= newest
    )


def test_days_add_up_to_the_whole() -> None:
    """Sealed by the day, from any parts and in any order, trials are those of all at once."""
    events = list(visits(30, range(10, 16), customers=60))
    events.append(entry("end", START + 33 * DAY, "home", platform="desktop"))
    mixed = events.copy()
    random.Random(5).shuffle(mixed)
    world = World()
    world.now = START + 40 * DAY
    for begin in range(0, len(mixed), 50):
        world.add(*mixed[begin : begin + 50])
        world.watcher.asked = True
        world.look()

    newest = 20_000 + 31
    meta = jsonbytes.loads(world.store.state(META) or b"")
    sealed = Sealed(world.store, STEPS, meta["values"], (20_000, newest))
    expected = whole(events)
    sources = {source.step: source for source in sealed.sources()}
    assert sources.keys() == expected.keys()
    for step, trials in expected.items():
        assert comparable(sources[step].load(), newest) == comparable(trials, newest)
        assert trials


def test_what_is_kept_adds_up() -> None:
    """The sums of a step are those of its trials, for each segment and day."""
    world = World().live(list(visits(30, range(10, 16), customers=60)), until=34)
    meta = jsonbytes.loads(world.store.state(META) or b"")
    sealed = Sealed(world.store, STEPS, meta["values"], (20_000, 20_040))

    for source in sealed.sources():
        counted: dict[Any, dict[int, list[int]]] = {}
        for trial in source.load():
            for group in (None, ("platform", trial.segments[0])):
                cell = counted.setdefault(group, {}).setdefault(trial.day, [0, 0])
                cell[0] += 1
                cell[1] += trial.failed
        assert source.daily == counted


def test_no_id_is_kept() -> None:
    """Neither customers nor what they are called are in what is kept by the day."""
    world = World().live([entry("ada@example", START + 1, "pick", platform="p")], until=4)

    for space in (PARTS, SUMS, TRIALS):
        for _, data in world.store.scan(space):
            assert b"ada@example" not in jsonbytes.dumps(unpacked(data))


def test_values_beyond_the_most_are_one() -> None:
    """A property with a value a customer takes no more room than one with two hundred."""
    entries = [entry(f"u{each}", START + each, "pick", platform=f"p{each}") for each in range(900)]

    world = World().live([*entries, entry("u", START + 9 * DAY, "home")], until=12)

    meta = jsonbytes.loads(world.store.state(META) or b"")
    assert len(meta["values"]["platform"]) == 200
    (_, data), *_ = world.store.scan(SUMS)
    assert len(unpacked(data)["*"]) <= 202
    notes = report(world.store, PLANS, WATCH).notes
    assert any("'platform' has 200 values" in note for note in notes)


def test_old_days_are_forgotten() -> None:
    """What nobody looks at any more takes no room."""
    world = World().live([entry("u", START + 1, "pick", platform="p")], until=4)
    assert world.pieces()

    world.now += 450 * DAY
    world.add(entry("v", world.now - 5 * DAY, "pick", platform="p")).look()

    days = {int(key) for key, _ in world.store.scan(SUMS)}
    parts = {int(key[:8]) for key, _ in world.store.scan(PARTS)}
    trials = {int(key.rpartition("\x1f")[2]) for key, _ in world.store.scan(TRIALS)}
    assert days == parts == trials
    assert min(days) > 20_400


def test_forgotten_state_is_seen_by_whoever_leads() -> None:
    """A rebuild in another process has the watcher begin anew, without a day to wait."""
    world = World().live([entry("u", START + 1, "pick", platform="p")], until=4)
    before = world.pieces()

    world.store.forget_state({})
    world.projector = world._projector()
    world.add().look()

    assert world.pieces() == before


def test_an_interrupted_look_goes_on_where_it_was() -> None:
    """Whatever is lost with a process, the days are the same."""
    events = list(visits(30, range(10, 16), customers=60))
    world, other = World(), World()
    for each in (world, other):
        each.now = START + 40 * DAY
        each.add(*events)
    other.look()

    for steps in range(1, 30):
        dying = world.another()
        for _ in range(steps):
            dying._work = dying._work or dying._run()
            if next(dying._work, None) is None and dying._meta is not None and dying._meta.looked:
                break
    world.look(world.another())

    assert world.pieces().keys() == other.pieces().keys()
    assert world.pieces() == other.pieces()
    assert world.store.cursor(WATCHER) == other.store.cursor(WATCHER)


# With a kit


@pytest.fixture
def make_kit(clock: Any) -> Callable[..., JourneyKit]:
    """Return a factory of kits that watch, in memory."""

    def make() -> JourneyKit:
        core = Core(store="memory://", strict=True)
        insight = Insight(segments=["platform"])
        settings = Settings(consent=Consent("opt_out"), core=core, journeys=[SHOP], insight=insight)
        return JourneyKit(settings, now=clock)

    return make


def failures(kit: JourneyKit) -> list[bool]:
    """Return the outcomes of the trials of `pick` that are kept."""
    assert kit.flush()
    assert kit.watch(20)
    meta = jsonbytes.loads(kit.store.state(META) or b"")
    sealed = Sealed(kit.store, STEPS, meta["values"], (0, 90_000))
    (source,) = (each for each in sealed.sources() if each.step.event == "pick")
    return sorted(trial.failed for trial in source.load())


def test_customers_are_who_they_are_known_to_be(
    make_kit: Callable[..., JourneyKit], clock: Any
) -> None:
    """Who was anonymous when a step began, and known when it went on, is one customer."""
    with make_kit() as kit:
        kit.track("pick", customer=Customer(None, "device"))
        kit.track("home", customer=Customer("ada", "device"))
        kit.track("paid", customer="ada")
        clock.advance(timedelta(days=3).total_seconds())
        kit.track("home", customer="end")

        assert failures(kit) == [False]


def test_who_is_erased_counts_no_more(make_kit: Callable[..., JourneyKit], clock: Any) -> None:
    """The next look removes what is kept of them, and their days are made anew."""
    with make_kit() as kit:
        for number in range(3):
            kit.track("pick", customer=f"u{number}")
        clock.advance(timedelta(days=3).total_seconds())
        kit.track("home", customer="end")
        assert failures(kit) == [True, True, True]

        assert kit.erase("u1", reason="asked", actor="customer").done

        assert failures(kit) == [True, True]
        rows = [row for _, data in kit.store.scan(PARTS) for row in unpacked(data)[1]]
        assert len(rows) == 3


def test_a_kit_that_watches_nothing_has_no_watcher(make_settings: Callable[..., Settings]) -> None:
    """What is not declared does not run."""
    with JourneyKit(make_settings(journeys=[SHOP])) as kit:
        assert kit.start().watcher is None
        assert kit.watch(1)
