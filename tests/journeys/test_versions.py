from __future__ import annotations

import contextlib
import functools
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeykit.exceptions import StoreError
from journeykit.insight import Report, report
from journeykit.journeys import Publisher, declare, folds
from journeykit.journeys.figures import FIGURES, Figures
from journeykit.journeys.run import Run
from journeykit.journeys.stages import INSTANCES, Place
from journeykit.model import Entry, Exit, Goal, Journey, Kind, ReEntry, Rule, Stage
from journeykit.model.event import PUBLISHED
from journeykit.model.times import to_micros
from journeykit.plugins import Plugins
from journeykit.store.memory import MemoryStore
from journeykit.store.projector import Projector
from journeykit.store.protocol import Commit
from journeykit.store.sqlite import SQLiteStore

MakeEntry = Callable[..., Entry]
#: The factory of entries counts its seconds from here.
NOON = to_micros(datetime(2026, 3, 2, 12, tzinfo=UTC))


def seconds(value: float) -> timedelta:
    """Return a duration."""
    return timedelta(seconds=value)


@attrs.define
class Shop:
    """A store whose clock is set by hand, and the projector of what is deployed."""

    store: Any
    clock: float = 0.0
    publisher: Any = None
    projector: Any = None

    def now(self) -> int:
        """Return the time."""
        return NOON + round(self.clock * 1_000_000)

    def deploy(self, *journeys: Journey, at: float | None = None, **more: Any) -> Shop:
        """Start with these declarations, and fold."""
        self.clock = self.clock if at is None else at
        names = more.pop("names", {})
        declared, problems = declare(journeys, more.pop("touchpoints", ()), names)
        assert problems == []
        plugins = Plugins(more.pop("plugins", ()), installed=False)
        fold = functools.partial(folds, plugins=plugins)
        self.publisher = Publisher(declared, plugins, fold=fold, **more)
        self.projector = Projector(self.store, prepare=self.publisher.prepare, now=self.now)
        return self.fold()

    def add(self, *entries: Entry, at: float | None = None) -> Shop:
        """Commit *entries* together at a time, and fold."""
        self.clock = max(self.clock, *(0.0 if at is None else at, self.clock))
        self.store.commit(Commit(entries), self.now())
        return self.fold()

    def fold(self) -> Shop:
        """Fold until nothing is left."""
        while self.projector.step() == 0:
            pass
        return self

    def rebuild(self) -> Shop:
        """Make State again."""
        self.projector.rebuild()
        return self.fold()

    @property
    def log(self) -> list[Entry]:
        """The Log."""
        return [stored.entry for stored in self.store.read(None, 100_000)]

    @property
    def derived(self) -> list[tuple[str, Any, Any]]:
        """Name, version and stage or outcome of the derived events."""
        events = [entry.event() for entry in self.log if entry.kind is Kind.DERIVED]
        return [
            (event.name, event.version, event.properties.get("outcome") or event.stage)
            for event in events
        ]

    @property
    def runs(self) -> dict[tuple[str, str, str], Run]:
        """The runs by label, customer and instance value, without what order of arrival leaves."""
        found = {}
        for key, data in self.store.scan(INSTANCES):
            run = Run.decode(data)
            if run.newest is not None:
                found[tuple(Place.of(key))] = attrs.evolve(run, count=0, look=0)
        return found  # type: ignore[return-value]

    def stages(self) -> dict[str, tuple[str | None, str | None]]:
        """Customer and version → the stage that the run is in, and its outcome."""
        plans = {plan.label: plan for plan in self.publisher.plans(self.store.published())}
        return {
            f"{customer[2:]}{value and '/'}{value} {label}": (
                plans[label].keys[run.current] if run.current >= 0 else None,
                run.outcome,
            )
            for (label, customer, value), run in self.runs.items()
        }

    @property
    def report(self) -> Report:
        """The figures."""
        return report(self.store, self.publisher.plans(self.store.published()))

    @property
    def figures(self) -> dict[str, Figures]:
        """The figures by label, as far as there are any."""
        found = {key: Figures.decode(data) for key, data in self.store.scan(FIGURES)}
        return {
            key: figures._replace(value=round(figures.value, 6))
            for key, figures in found.items()
            if any(figures.entered)
        }

    def recount(self) -> dict[str, Figures]:
        """Return the figures, counted over the runs."""
        total: dict[str, list[float]] = {}
        for (label, _, _), run in self.runs.items():
            counts = run.standing().counts()
            known = total.setdefault(label, [0] * len(counts))
            total[label] = [old + new for old, new in zip(known, counts, strict=True)]
        found = {}
        for label, (instances, completed, value, *rest) in total.items():
            size = len(rest) // 3
            parts = [tuple(rest[index * size : (index + 1) * size]) for index in range(3)]
            figures = Figures(instances, completed, round(value, 6), *parts)
            if any(figures.entered):
                found[label] = figures
        return found


@contextlib.contextmanager
def open_shop(kind: str) -> Iterator[Shop]:
    """Return a shop with an empty store of a kind."""
    with tempfile.TemporaryDirectory(prefix="journeykit-test-") as directory:
        store: Any = MemoryStore()
        if kind == "sqlite":
            store = SQLiteStore(Path(directory) / "store.db")
        yield Shop(store)
        store.close()


@pytest.fixture(params=["memory", "sqlite"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    """Return a shop, with a store of each kind."""
    with open_shop(request.param) as shop:
        yield shop


ONE = Journey(
    key="shop",
    version=1,
    stages=[Stage("look", enter=["Look"]), Stage("buy", enter=["Buy"])],
    goal=Goal("Paid", value="revenue"),
    exits=[Exit("Leave")],
)
#: What leads where is the other way round, so that nobody can take one for the other.
TWO = attrs.evolve(
    ONE,
    version=2,
    stages=(
        Stage("browse", enter=["Look"]),
        Stage("order", enter=["Buy"]),
        Stage("end", enter=["Bye"]),
    ),
)


# Which version a run is on


def test_running_instances_finish_on_their_version(shop: Shop, make_entry: MakeEntry) -> None:
    """A run under way keeps its version; new ones and those who come again take the newest."""
    shop.deploy(ONE, at=0)
    shop.add(
        make_entry("Look", user_id="old", at=1), make_entry("Look", user_id="gone", at=1), at=2
    )
    shop.deploy(TWO, at=3)
    shop.add(
        make_entry("Buy", user_id="old", at=4),
        make_entry("Buy", user_id="new", at=4),
        make_entry("Leave", user_id="gone", at=4),
        make_entry("Look", user_id="gone", at=5),
        make_entry("Bye", user_id="old", at=6),
        at=6,
    )

    assert shop.stages() == {
        "old shop@1": ("buy", None),
        "new shop@2": ("order", None),
        "gone shop@1": ("look", "abandoned"),
        "gone shop@2": ("browse", None),
    }
    assert shop.figures == shop.recount()


def test_report_has_each_version_that_somebody_is_on(shop: Shop, make_entry: MakeEntry) -> None:
    """The newest version is reported in any case, an older one only if it has instances."""
    shop.deploy(ONE, at=0).deploy(TWO, at=1)
    assert [each.version for each in shop.report.journeys] == [2]
    shop.deploy(attrs.evolve(TWO, version=3, late=seconds(5)), at=2)
    shop.add(make_entry("Look", at=3), at=3)
    shop.deploy(attrs.evolve(TWO, version=4, late=seconds(6)), at=4)

    assert [(each.version, each.instances) for each in shop.report.journeys] == [(3, 1), (4, 0)]


def test_plan_of_a_version_comes_from_the_log(shop: Shop, make_entry: MakeEntry) -> None:
    """A version that no file declares any more goes on by its rules, names included."""
    shop.deploy(ONE, at=0, names={"Gucken": "Look", "Kaufen": "Buy"})
    shop.add(make_entry("Gucken", at=1), at=1)
    shop.deploy(TWO, at=2)
    shop.add(make_entry("Kaufen", at=3), at=3)

    assert shop.stages() == {"u1 shop@1": ("buy", None)}


def test_first_version_counts_what_is_in_the_log(shop: Shop, make_entry: MakeEntry) -> None:
    """A journey that was never published is folded over the whole Log, and that is no news."""
    shop.deploy(ONE, at=0)
    shop.add(make_entry("Look", at=1), at=1)
    before = shop.derived
    shop.deploy(ONE, attrs.evolve(TWO, key="other", version=7), at=2)

    assert shop.stages() == {"u1 shop@1": ("look", None), "u1 other@7": ("browse", None)}
    assert shop.derived == before


def test_of_versions_that_are_new_together_the_newest_counts(
    shop: Shop, make_entry: MakeEntry
) -> None:
    """Where a store has none of them, older versions in a file are of no use to anybody."""
    shop.deploy(ONE, TWO, at=0).add(make_entry("Look", at=1), at=1)
    assert shop.stages() == {"u1 shop@2": ("browse", None)}
    shop.deploy(ONE, TWO, at=2).deploy(TWO, ONE, at=3)

    assert [entry.name for entry in shop.log].count(PUBLISHED) == 1


def test_older_file_goes_on_with_the_newest_version(shop: Shop, make_entry: MakeEntry) -> None:
    """A process that still has the file of before uses what was published since."""
    shop.deploy(ONE, at=0).deploy(TWO, at=1).deploy(ONE, at=2)
    shop.add(make_entry("Look", at=3), at=3)

    assert shop.stages() == {"u1 shop@2": ("browse", None)}


def test_journey_that_comes_back_counts_what_it_has_missed(
    shop: Shop, make_entry: MakeEntry
) -> None:
    """A journey that nobody declares is not folded; declared again, it is as if it always was."""
    other = attrs.evolve(ONE, key="other")
    shop.deploy(ONE, other, at=0).add(make_entry("Look", at=1), at=1)
    shop.deploy(other, at=2)
    assert set(shop.projector.made_by()["journeys"]) == {"other@1"}
    shop.add(make_entry("Buy", at=3), at=3)
    shop.deploy(ONE, other, at=4)

    assert shop.stages()["u1 shop@1"] == ("buy", None)
    assert shop.figures == shop.recount()


def test_later_version_folds_nothing_again(shop: Shop, make_entry: MakeEntry) -> None:
    """A new version, or another title, leaves State as it is."""
    shop.deploy(ONE, at=0).add(make_entry("Look", at=1), at=1)
    before = shop.store.state((INSTANCES, Place("shop@1", "u:u1", "").key))
    forgotten: list[Any] = []
    forget = shop.store.forget_state
    shop.store.forget_state = lambda keep: forgotten.append(keep) or forget(keep)
    shop.deploy(attrs.evolve(ONE, title="A shop", owner="Ada", personas=("all",)), at=2)
    shop.deploy(TWO, at=3)

    assert forgotten == []
    assert shop.store.state((INSTANCES, Place("shop@1", "u:u1", "").key)) == before
    assert [entry.name for entry in shop.log].count(PUBLISHED) == 2


def test_other_instances_than_before(shop: Shop, make_entry: MakeEntry) -> None:
    """A version with another instance_by begins its own runs; those under way go on beside them."""
    carts = attrs.evolve(TWO, instance_by="cart")
    shop.deploy(ONE, at=0).add(make_entry("Look", {"cart": "a"}, at=1), at=1)
    shop.deploy(carts, at=2)
    shop.add(make_entry("Buy", {"cart": "a"}, at=3), at=3)
    shop.add(make_entry("Look", {"cart": "b"}, user_id="new", at=3), at=3)

    assert shop.stages() == {
        "u1 shop@1": ("buy", None),
        "u1/a shop@2": ("order", None),
        "new/b shop@2": ("browse", None),
    }


def test_re_entry_follows_the_newest_version(shop: Shop, make_entry: MakeEntry) -> None:
    """Whether somebody begins again, and how often, is said by the version that they would be on."""
    strict = attrs.evolve(TWO, reentry=ReEntry(wait=seconds(10), max=2))
    shop.deploy(ONE, at=0)
    shop.add(make_entry("Look", at=1), make_entry("Leave", at=2), at=2)
    shop.deploy(strict, at=3)
    shop.add(make_entry("Look", at=5), at=5)
    assert shop.stages() == {"u1 shop@1": ("look", "abandoned")}
    shop.add(make_entry("Look", at=15), at=15)
    assert shop.stages()["u1 shop@2"] == ("browse", None)
    shop.add(make_entry("Leave", at=16), make_entry("Look", at=30), at=30)

    assert shop.stages()["u1 shop@2"] == ("browse", "abandoned")


# What a publication does to runs under way


def test_close_ends_what_is_under_way(shop: Shop, make_entry: MakeEntry) -> None:
    """With close, runs end as superseded at the moment of publication; who comes again is new."""
    shop.deploy(ONE, at=0)
    shop.add(make_entry("Look", user_id="a", at=1), make_entry("Look", user_id="b", at=1), at=1)
    shop.add(make_entry("Leave", user_id="b", at=2), at=2)
    shop.deploy(attrs.evolve(TWO, publish="close"), at=10)
    assert shop.stages() == {
        "a shop@1": ("look", "superseded"),
        "b shop@1": ("look", "abandoned"),
    }
    assert shop.derived[-1] == ("journey.exited", 1, "superseded")
    (exit_,) = [each for each in shop.log if b'"superseded"' in each.body]
    assert exit_.occurred_at == NOON + 10_000_000
    shop.add(make_entry("Buy", user_id="a", at=11), at=11)

    assert shop.stages()["a shop@2"] == ("order", None)
    assert shop.figures == shop.recount()
    assert shop.figures["shop@1"].current == (0, 0)


def test_closed_run_stays_closed(shop: Shop, make_entry: MakeEntry) -> None:
    """What occurred before the publication and comes late is in the run, which has ended as it had."""
    shop.deploy(ONE, at=0).add(make_entry("Look", at=1), at=2)
    shop.deploy(attrs.evolve(TWO, publish="close"), at=10)
    shop.add(make_entry("Buy", at=3), at=11)

    assert shop.stages() == {"u1 shop@1": ("buy", "superseded")}
    assert shop.figures == shop.recount()


def test_who_was_closed_out_may_begin_again(shop: Shop, make_entry: MakeEntry) -> None:
    """An end by publication is none of the customer's: rules for re-entry do not count it."""
    once = attrs.evolve(TWO, publish="close", reentry=ReEntry(allow=False))
    shop.deploy(ONE, at=0).add(make_entry("Look", at=1), at=2)
    shop.deploy(once, at=10).add(make_entry("Look", at=11), at=11)

    assert shop.stages()["u1 shop@2"] == ("browse", None)


def test_rebuild_tells_nothing_a_second_time(shop: Shop, make_entry: MakeEntry) -> None:
    """What a publication has done is done again in a rebuild before the next event, and is no news."""
    shop.deploy(attrs.evolve(ONE, entry=(Rule("Come"),)), at=0)
    shop.add(make_entry("Come", at=1), at=2)
    shop.deploy(attrs.evolve(TWO, publish={"migrate": {"buy": "end"}}), at=10)
    shop.deploy(attrs.evolve(ONE, version=3, publish={"migrate": {"look": "buy"}}), at=20)
    shop.add(make_entry("Look", at=5), at=21)
    runs, log = shop.runs, shop.log
    shop.rebuild()

    assert shop.stages()["u1 shop@3"] == ("buy", None)
    assert (shop.runs, shop.log) == (runs, log)


def test_migrate_lets_runs_go_on(shop: Shop, make_entry: MakeEntry) -> None:
    """With migrate, runs in a mapped stage go on in the new one; the others stay on their version."""
    shop.deploy(ONE, at=0)
    shop.add(make_entry("Look", user_id="a", at=1), make_entry("Look", user_id="b", at=1), at=1)
    shop.add(make_entry("Buy", user_id="b", at=2), at=2)
    shop.deploy(attrs.evolve(TWO, publish={"migrate": {"look": "order"}}), at=10)
    shop.add(make_entry("Bye", user_id="a", at=11), make_entry("Look", user_id="b", at=11), at=11)

    assert shop.stages() == {
        "a shop@1": ("look", "migrated"),
        "a shop@2": ("end", None),
        "b shop@1": ("look", None),
    }
    assert ("stage.entered", 2, "order") in shop.derived
    assert shop.runs["shop@2", "u:a", ""].started_at == NOON + 1_000_000
    assert shop.figures == shop.recount()


def test_migrated_run_does_not_meet_its_goal_twice(shop: Shop, make_entry: MakeEntry) -> None:
    """What a run was worth stays with the version on which it met its goal."""
    shop.deploy(ONE, at=0)
    shop.add(make_entry("Look", at=1), make_entry("Paid", {"revenue": 5}, at=2), at=2)
    shop.deploy(attrs.evolve(TWO, publish={"migrate": {"look": "browse"}}), at=10)
    shop.add(make_entry("Paid", {"revenue": 7}, at=11), at=11)

    assert [(each.completed, each.value) for each in shop.report.journeys] == [(1, 5.0), (1, 0.0)]
    assert [name for name, _, _ in shop.derived].count("journey.completed") == 1


def test_publication_reaches_runs_in_slices(
    shop: Shop, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few runs at a time end, and what folds meanwhile sees them as ended."""
    monkeypatch.setattr("journeykit.journeys.versions._SLICE", 2)
    shop.deploy(ONE, at=0)
    shop.add(*(make_entry("Look", user_id=f"u{n}", at=1) for n in range(9)), at=1)
    shop.clock = 10
    journey = attrs.evolve(TWO, publish="close")
    declared, _ = declare([journey], (), {})
    plugins = Plugins(installed=False)
    publisher = Publisher(declared, plugins, fold=functools.partial(folds, plugins=plugins))
    shop.publisher, shop.projector = (
        publisher,
        Projector(shop.store, prepare=publisher.prepare, now=shop.now),
    )
    shop.projector.step()
    shop.projector.step()
    ended = [run for run in shop.runs.values() if run.ended_at is not None]
    assert 0 < len(ended) < 9
    shop.add(make_entry("Buy", user_id="u8", at=11), at=11)

    assert all(
        run.outcome == "superseded" for (label, *_), run in shop.runs.items() if label == "shop@1"
    )
    assert shop.stages()["u8 shop@2"] == ("order", None)
    assert [name for name, _, _ in shop.derived].count("journey.exited") == 9
    assert not list(shop.store.scan("sweep"))


def test_late_event_does_not_move_a_run_to_another_version(
    shop: Shop, make_entry: MakeEntry
) -> None:
    """An event that occurred before a publication and comes after it changes no run's version."""
    shop.deploy(ONE, at=0).add(make_entry("Buy", user_id="old", at=5), at=6)
    shop.deploy(TWO, at=10)
    shop.add(
        make_entry("Look", user_id="old", at=1), make_entry("Look", user_id="new", at=2), at=11
    )
    shop.add(make_entry("Look", user_id="new", at=1), at=12)

    assert shop.stages() == {"old shop@1": ("buy", None), "new shop@2": ("browse", None)}


# A change in place


def test_changed_version_is_not_folded(shop: Shop, make_entry: MakeEntry) -> None:
    """A projector that finds a published version changed folds nothing, and says what to do."""
    shop.deploy(ONE, at=0).add(make_entry("Look", at=1), at=1)
    changed = attrs.evolve(ONE, timeout=seconds(60))

    with pytest.raises(StoreError) as caught:
        shop.deploy(changed, at=2)

    assert str(caught.value).startswith(
        f"store {shop.store.name}: nothing is folded; journeys.shop: "
    )
    assert "(timeout)" in str(caught.value)
    assert "write version = 2" in str(caught.value)
    assert shop.stages() == {"u1 shop@1": ("look", None)}
    assert len(shop.store.published()) == 1


def test_draft_may_change(shop: Shop, make_entry: MakeEntry) -> None:
    """With drafts, a changed version is published anew, and the whole Log is folded by it."""
    shop.deploy(ONE, at=0).add(make_entry("Look", at=1), at=1)
    before = shop.derived
    changed = attrs.evolve(ONE, stages=(Stage("see", enter=["Look"]), *ONE.stages[1:]))
    shop.deploy(changed, at=2, drafts=True)

    assert shop.stages() == {"u1 shop@1": ("see", None)}
    assert shop.derived == before
    shop.deploy(changed, at=3).deploy(ONE, at=4, drafts=True).deploy(ONE, at=5)
    assert shop.stages() == {"u1 shop@1": ("look", None)}


@pytest.mark.parametrize(
    "same",
    [
        {"title": "Other"},
        {"owner": "Ada"},
        {"personas": ("all",)},
        {"publish": "close"},
        {"late": timedelta(days=7)},
        {
            "stages": (
                Stage("look", enter=["Look"], title="See", owner="Bob", expected=seconds(5)),
                *ONE.stages[1:],
            )
        },
    ],
)
def test_texts_may_change(shop: Shop, same: dict[str, Any]) -> None:
    """Titles, owners, personas and expected times are no rules: they may change at any time."""
    shop.deploy(ONE, at=0).deploy(attrs.evolve(ONE, **same), at=1)

    assert len(shop.store.published()) == 1


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"stages": ONE.stages[::-1]}, "stages"),
        ({"stages": ONE.stages[:1]}, "stages.buy.enter"),
        ({"stages": (Stage("look", enter=["Look", "See"]), ONE.stages[1])}, "stages.look.enter"),
        (
            {"stages": (Stage("look", enter=["Look"], stall=seconds(1)), ONE.stages[1])},
            "stages.look.stall",
        ),
        ({"instance_by": "cart"}, "instance_by"),
        ({"entry": (Rule("Come"),)}, "entry"),
        ({"goal": None}, "goal"),
        ({"goal": Goal("Paid", value="revenue", within=seconds(5))}, "goal"),
        ({"exits": ()}, "exits"),
        ({"timeout": seconds(5)}, "timeout"),
        ({"reentry": ReEntry(allow=False)}, "reentry"),
        ({"skip": "forbid"}, "skip"),
        ({"loop": "forbid"}, "loop"),
        ({"regress": "flag"}, "regress"),
        ({"late": seconds(5)}, "late"),
    ],
)
def test_rules_may_not_change(shop: Shop, change: dict[str, Any], path: str) -> None:
    """Whatever decides how events fold is part of the content, and named where it differs."""
    shop.deploy(ONE, at=0)

    with pytest.raises(StoreError) as caught:
        shop.deploy(attrs.evolve(ONE, **change), at=1)

    named = str(caught.value).partition("(")[2].partition(")")[0].split(", ")
    assert path in named


def test_names_of_the_shop_are_part_of_the_content(shop: Shop) -> None:
    """Another name for an event of the journey is a change; for any other event it is none."""
    shop.deploy(ONE, at=0).deploy(ONE, at=1, names={"foo": "Bar"})
    with pytest.raises(StoreError, match="names"):
        shop.deploy(ONE, at=2, names={"gucken": "Look"})


def test_gap_in_the_versions_is_a_mistake(shop: Shop) -> None:
    """A number below what was published, never published itself, can mean nothing."""
    shop.deploy(attrs.evolve(ONE, version=3), at=0)

    with pytest.raises(StoreError, match=r"version 2 was never published, .* write version = 4"):
        shop.deploy(TWO, at=1)


@pytest.mark.parametrize(
    ("publish", "more", "problem"),
    [
        (
            {"migrate": {"nowhere": "end"}},
            {},
            "no earlier version has this stage; they have 'look'",
        ),
        ({"migrate": {"look": "end"}}, {"instance_by": "cart"}, "instance_by has changed"),
    ],
)
def test_migration_that_cannot_be_is_a_mistake(
    shop: Shop, publish: Any, more: dict[str, Any], problem: str
) -> None:
    """A migration from a stage that never was, or between other instances, is named."""
    shop.deploy(ONE, at=0)
    with pytest.raises(StoreError, match=problem):
        shop.deploy(attrs.evolve(TWO, publish=publish, **more), at=1)


# Any history

POLICIES: list[Any] = [
    "drain",
    "close",
    {"migrate": {"look": "order", "buy": "browse"}},
    {"migrate": {"buy": "end"}},
]
EVENTS = ("Look", "Buy", "Paid", "Leave", "Bye", "Come")
VARIANTS: list[dict[str, Any]] = [
    {},
    {"reentry": ReEntry(allow=False)},
    {"reentry": ReEntry(wait=seconds(20), max=2)},
    {"timeout": seconds(60)},
    {"entry": (Rule("Come"), Rule("Look", where={"big": True}))},
    {"instance_by": "cart"},
    {"skip": "forbid", "regress": "ignore"},
]


@st.composite
def histories(draw: st.DrawFn, *, latest: int) -> list[dict[str, Any]]:
    """Return events, no two of one customer at the same time."""
    times = draw(st.lists(st.integers(0, latest), unique=True, max_size=12))
    return [
        {
            "name": draw(st.sampled_from(EVENTS)),
            "at": float(at),
            "user_id": draw(st.sampled_from(["u1", "u2"])),
            "properties": {"cart": draw(st.sampled_from(["a", "b"])), "big": draw(st.booleans())},
        }
        for at in times
    ]


def entries(make_entry: MakeEntry, prefix: str, history: Sequence[dict[str, Any]]) -> list[Entry]:
    """Return the entries of a history, with ids of their own."""
    return [make_entry(id=f"{prefix}{i:03}", **event) for i, event in enumerate(history)]


def arrive(shop: Shop, found: Sequence[Entry], *, at: float, chance: random.Random) -> None:
    """Commit entries in this order, in batches."""
    left = list(found)
    while left:
        size = chance.randint(1, 4)
        shop.add(*left[:size], at=at)
        left = left[size:]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=60, deadline=None)
@given(
    before=histories(latest=100),
    after=histories(latest=300),
    publish=st.sampled_from(POLICIES),
    old=st.sampled_from(VARIANTS),
    new=st.sampled_from(VARIANTS),
    third=st.sampled_from([None, "drain", "close", {"migrate": {"browse": "look", "look": "buy"}}]),
    chance=st.randoms(use_true_random=False),
)
def test_any_history_with_a_publication(  # noqa: PLR0917 - what Hypothesis draws
    make_entry: MakeEntry,
    kind: str,
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    publish: Any,
    old: dict[str, Any],
    new: dict[str, Any],
    third: Any,
    chance: random.Random,
) -> None:
    """In any order of arrival, and after a rebuild, State is that of the sorted history."""
    same_by = old.get("instance_by") == new.get("instance_by")
    if isinstance(publish, dict) and not same_by:
        publish = "drain"
    one, two = attrs.evolve(ONE, **old), attrs.evolve(TWO, publish=publish, **new)
    three = attrs.evolve(one, version=3, publish=third) if third is not None else None

    def told(*, shuffled: bool) -> tuple[Any, Any]:
        with open_shop(kind) as shop:
            shop.deploy(one, at=0)
            for prefix, history, at in (("b", before, 100), ("a", after, 300)):
                found = sorted(entries(make_entry, prefix, history), key=lambda e: e.occurred_at)
                if shuffled:
                    chance.shuffle(found)
                arrive(shop, found, at=at, chance=chance)
                if prefix == "b":
                    shop.deploy(two, at=200)
                    if three is not None:
                        shop.deploy(three, at=250)
            shop.clock = 1000
            shop.fold()
            runs, figures, log = shop.runs, shop.figures, shop.log
            assert figures == shop.recount()
            shop.rebuild()
            assert (shop.runs, shop.figures, shop.log) == (runs, figures, log)
            return runs, figures

    assert told(shuffled=True) == told(shuffled=False)


@settings(max_examples=60, deadline=None)
@given(
    before=histories(latest=100),
    after=histories(latest=300),
    old=st.sampled_from([{}, VARIANTS[3], VARIANTS[4], VARIANTS[6]]),
    chance=st.randoms(use_true_random=False),
)
def test_pinned_runs_never_see_other_rules(
    make_entry: MakeEntry,
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    old: dict[str, Any],
    chance: random.Random,
) -> None:
    """A run that began before a publication goes as if there had been none."""
    one = attrs.evolve(ONE, reentry=ReEntry(allow=False), **old)

    def runs(*, publish: bool) -> dict[Any, Run]:
        with open_shop("memory") as shop:
            shop.deploy(one, at=0)
            arrive(shop, entries(make_entry, "b", before), at=100, chance=chance)
            pinned = {place for place, run in shop.runs.items() if run.started_at is not None}
            if publish:
                shop.deploy(TWO, at=200)
            arrive(shop, entries(make_entry, "a", after), at=300, chance=chance)
            shop.clock = 1000
            shop.fold()
            return {place: run for place, run in shop.runs.items() if place in pinned}

    def what(found: dict[Any, Run]) -> dict[Any, Any]:
        return {place: run.standing() for place, run in found.items()}

    assert what(runs(publish=True)) == what(runs(publish=False))
