from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeykit import hookimpl
from journeykit.journeys import checkpoint
from journeykit.journeys.figures import Figures
from journeykit.model import Entry, Event, Exit, Goal, Instance, Journey, Kind, Rule, Stage

NewWorld = Callable[..., Any]
MakeWorld = Callable[..., Any]
MakeEntry = Callable[..., Entry]

SHOP = Journey(key="shop", version=1, extends="ecommerce")

CHECKOUT = Journey(
    key="checkout",
    version=1,
    instance_by="cart_id",
    stages=[
        Stage("cart", enter=["Product Added"]),
        Stage("gift", enter=[Rule("Coupon Entered", where={"kind": ["gift", "card"]})]),
        Stage("pay", enter=["Payment Info Entered", "Order Completed"]),
        Stage("again", enter=[Rule("Product Added", after="Order Completed")]),
    ],
    goal=Goal("Order Completed", value="revenue", within=timedelta(seconds=20)),
)


def names(entries: Sequence[Entry]) -> list[str]:
    """Return the names of entries."""
    return [entry.name for entry in entries]


def wire(entry: Entry) -> Event:
    """Return an entry as plugins and sinks see it."""
    return entry.event()


# One customer after the other


def test_stage_follows_the_events(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """The current stage is that of the last event, the furthest the highest, visits are counted."""
    world = make_world(SHOP).add(
        make_entry("Page Viewed", at=0),
        make_entry("Product Viewed", at=1),
        make_entry("Checkout Started", at=2),
        make_entry("Page Viewed", at=3),
        make_entry("Page Viewed", at=4),
        make_entry("Email Opened", at=5),
    )
    run = world.run()

    assert world.stage() == "awareness"
    assert run.furthest == 2
    assert run.visits == [2, 1, 1, 0, 0]
    assert [at is not None for at in run.entered_at] == [True, True, True, False, False]
    assert (run.entered_at[1] or 0) - (run.started_at or 0) == 1_000_000
    assert run.completed_at is None


def test_derived_events_tell_what_changed(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """A change of stage and a completion each become one event, which says what caused it."""
    order = make_entry("Order Completed", {"revenue": 12.5}, at=1, session_id="s")
    view = make_entry("Product Viewed")
    world = make_world(SHOP).add(view, make_entry("Product Added", at=0.5), order)

    first, entered, completed = map(wire, world.derived)
    assert (first.name, first.stage, first.caused_by) == ("stage.entered", "consideration", view.id)
    assert first.properties == {"stage": "consideration", "from": None, "visit": 1}
    assert entered.properties == {"stage": "purchase", "from": "consideration", "visit": 1}
    assert (completed.name, completed.properties) == ("journey.completed", {"value": 12.5})
    for event in (entered, completed):
        assert event.kind is Kind.DERIVED
        assert (event.journey, event.version, event.instance) == ("shop", 1, "")
        assert event.caused_by == order.id
        assert event.occurred_at == wire(order).occurred_at
        assert event.customer == wire(order).customer


def test_journeys_do_not_disturb_each_other(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """Each journey keeps its own runs of the same events."""
    world = make_world(SHOP, CHECKOUT).add(make_entry("Product Added", {"cart_id": "c1"}))

    shop, checkout = world.plans
    assert world.runs(shop).keys() == {("u:u1", "")}
    assert world.runs(checkout).keys() == {("u:u1", "c1")}
    assert len(world.derived) == 2


def test_carts_are_kept_apart(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """With `instance_by` each value is a run of its own; events without a value count nowhere."""
    world = make_world(CHECKOUT).add(
        make_entry("Product Added", {"cart_id": "c1"}),
        make_entry("Product Added", {"cart_id": 2}, at=1),
        make_entry("Order Completed", {"cart_id": "c1", "revenue": 3}, at=2),
        make_entry("Product Added", {}, at=3),
        make_entry("Product Added", {"cart_id": ""}, at=4),
        make_entry("Product Added", {"cart_id": None}, at=5),
        make_entry("Product Added", {"cart_id": ["c1"]}, at=6),
        make_entry("Product Added", {"cart_id": "c1"}, user_id="u2", at=7),
        make_entry("Product Added", {"cart_id": "a\x1fb"}, at=8),
        make_entry("Product Added", {"cart_id": "c" * 999}, at=9),
    )

    stages = {place: run.current for place, run in world.runs().items()}
    assert stages == {
        ("u:u1", "c1"): 2,
        ("u:u1", "2"): 0,
        ("u:u2", "c1"): 0,
    }
    assert (world.figures.instances, world.figures.completed, world.figures.value) == (3, 1, 3.0)


def test_where_and_after_are_conditions(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """A rule counts only where its properties hold, and only behind the event it names."""
    cart = {"cart_id": "c"}
    world = make_world(CHECKOUT)

    def stage_after(name: str, at: float, **more: Any) -> str | None:
        stage: str | None = world.add(make_entry(name, {**cart, **more}, at=at)).stage(value="c")
        return stage

    assert stage_after("Coupon Entered", 0, kind="spring") is None
    assert stage_after("Product Added", 1) == "cart"
    assert stage_after("Coupon Entered", 2) == "cart"
    assert stage_after("Coupon Entered", 3, kind="card") == "gift"
    assert stage_after("Order Completed", 4) == "pay"
    assert stage_after("Product Added", 5) == "again"


@pytest.mark.parametrize(
    ("start", "order", "completed"),
    [(0, 20, 1), (0, 20.000001, 0), (None, 20, 1)],
)
def test_goal_has_to_come_in_time(
    make_world: MakeWorld,
    make_entry: MakeEntry,
    start: float | None,
    order: float,
    completed: int,
) -> None:
    """A goal counts up to `within` after the instance began; an order alone begins and ends it."""
    world = make_world(CHECKOUT)
    if start is not None:
        world.add(make_entry("Product Added", {"cart_id": "c"}, at=start))
    world.add(make_entry("Order Completed", {"cart_id": "c"}, at=order))

    assert world.figures.completed == completed
    assert ("journey.completed" in names(world.derived)) == bool(completed)


def test_goal_without_a_stage_completes_nothing(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """The goal's event completes only what a stage has begun."""
    journey = Journey(
        key="j", version=1, stages=[Stage("a", enter=["Product Added"])], goal=Goal("Signed Up")
    )
    world = make_world(journey).add(make_entry("Signed Up"))
    assert (world.figures.instances, world.figures.completed) == (0, 0)

    world.add(make_entry("Product Added", at=1), make_entry("Signed Up", at=2))
    assert (world.figures.instances, world.figures.completed) == (1, 1)


@pytest.mark.parametrize(
    ("revenue", "worth"),
    [
        (5, 5.0),
        ("49.90", 49.9),
        (None, 0.0),
        ("free", 0.0),
        (True, 0.0),
        ([3], 0.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("1e999", 0.0),
        (1e300, 0.0),
        (10**400, 0.0),
        (-3, -3.0),
    ],
)
def test_odd_values_stop_nothing(
    make_world: MakeWorld, make_entry: MakeEntry, revenue: object, worth: float
) -> None:
    """A value that is no sensible number is worth nothing, and what follows folds on."""
    world = make_world(SHOP).add(
        make_entry("Order Completed", {"revenue": revenue}),
        make_entry("Order Completed", {"revenue": 10}, user_id="u2"),
    )

    assert (world.figures.completed, world.figures.value) == (2, worth + 10)


# What arrives late


def test_late_event_corrects(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """An event that occurred before one that was folded changes what follows from it, once."""
    world = make_world(SHOP).add(make_entry("Page Viewed", at=10))
    late = make_entry("Checkout Started", at=5)
    world.add(late)

    assert world.stage() == "awareness"
    assert world.run().furthest == 2
    (correction,) = (item for item in map(wire, world.derived) if item.name == "stage.corrected")
    assert correction.caused_by == late.id
    assert correction.stage == "awareness"
    assert correction.properties == {
        "stage": "awareness",
        "from": "awareness",
        "furthest": "purchase",
        "entered": ["awareness", "purchase"],
    }
    assert world.kept() == world.recount()


def test_late_event_that_changes_nothing_is_silent(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """A late event that leaves every figure as it was is no correction."""
    world = make_world(SHOP).add(make_entry("Page Viewed", at=1), make_entry("Page Viewed", at=10))
    before = len(world.derived)
    world.add(make_entry("Page Viewed", at=5), make_entry("Email Opened", at=4))

    assert len(world.derived) == before


def test_late_goal_completes(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """A goal that arrives late completes the journey at the time when it occurred."""
    world = make_world(SHOP).add(make_entry("Product Reviewed", at=10))
    world.add(make_entry("Order Completed", {"revenue": 7}, at=5))

    assert world.figures.value == 7.0
    assert names(world.derived)[-2:] == ["stage.corrected", "journey.completed"]


def test_earlier_order_of_the_same_moment_counts(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """Of two orders of one moment that with the lower id is the first, whichever arrives first."""
    low = make_entry("Order Completed", {"revenue": 1}, id="a")
    high = make_entry("Order Completed", {"revenue": 2}, id="b")

    for order in ([low, high], [high, low]):
        world = make_world(SHOP)
        for entry in order:
            world.add(entry)
        assert world.figures.value == 1.0
        assert world.kept() == world.recount()


# Any order of arrival

_EVENTS = [
    "Page Viewed",
    "promo_view",
    "Product Viewed",
    "Product Added",
    "Coupon Entered",
    "Checkout Started",
    "Payment Info Entered",
    "Order Completed",
    "purchase",
    "Signed In",
    "Product Reviewed",
    "Email Opened",
    "Order Refunded",
]


def test_a_very_long_history_is_not_folded_again(
    make_world: MakeWorld, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late event among more than may be folded again changes nothing, and is counted."""
    monkeypatch.setattr(checkpoint, "MOST_MOMENTS", 3)
    world = make_world(SHOP).add(*(make_entry("Page Viewed", at=at) for at in (4, 5, 6)))
    world.add(make_entry("Product Viewed", at=1))

    assert world.stage() == "awareness"
    assert world.run().visits == [1, 0, 0, 0, 0]
    assert world.store.counters()["late_overflow"] == 1
    world.add(make_entry("Checkout Started", at=7))
    assert world.stage() == "purchase"
    assert world.run().observed == (True, False, True, False, False)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return events of a few known customers, many of them at the same moment."""
    event = st.fixed_dictionaries(
        {
            "name": st.sampled_from(_EVENTS),
            "user_id": st.sampled_from(["u1", "u2"]),
            "at": st.integers(0, 30),
            "properties": st.fixed_dictionaries(
                {"cart_id": st.sampled_from(["c1", "c2", None])},
                optional={
                    "revenue": st.integers(0, 99_999).map(lambda cents: cents / 100),
                    "kind": st.sampled_from(["gift", "spring"]),
                },
            ),
        }
    )
    return draw(st.lists(event, max_size=25))


def outcome(world: Any) -> list[object]:
    """Return everything that the folds have found out; where checkpoints are is no part of it."""
    return [
        *(
            {place: attrs.evolve(run, count=0, look=0) for place, run in world.runs(plan).items()}
            for plan in world.plans
        ),
        *(world.kept(plan) for plan in world.plans),
        world.report,
    ]


def check_any_order(
    new_world: NewWorld,
    kind: str,
    make: Callable[[], list[Entry]],
    shuffle: random.Random,
    **declared: Any,
) -> None:
    """
    Check that events, shuffled, repeated and split into batches, give what they give sorted.

    With *window*, each comes so many seconds late at most.
    """
    entries, window = make(), declared.pop("window", None)
    journeys = declared.pop("journeys", (SHOP, CHECKOUT))
    with new_world(*journeys, **declared) as sorted_world:
        sorted_world.add(*sorted(entries, key=lambda entry: (entry.occurred_at, entry.id)))
        expected = outcome(sorted_world)
        recounted = [sorted_world.recount(plan) for plan in sorted_world.plans]
        assert [sorted_world.kept(plan) for plan in sorted_world.plans] == recounted

    arriving = entries + shuffle.sample(entries, len(entries) // 3)
    shuffle.shuffle(arriving)
    if window is not None:
        arriving.sort(key=lambda entry: entry.occurred_at + shuffle.random() * window * 1e6)
    with new_world(*journeys, kind=kind, **declared) as world:
        while arriving:
            size = shuffle.randint(1, len(arriving))
            batch, arriving = arriving[:size], arriving[size:]
            world.add(*batch)
            for plan in world.plans:
                assert world.kept(plan) == world.recount(plan)
        assert outcome(world) == expected


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=40)
@given(history=histories(), shuffle=st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(
    new_world: NewWorld,
    make_entry: MakeEntry,
    kind: str,
    history: list[dict[str, Any]],
    shuffle: random.Random,
) -> None:
    """The same events in any order, repeated, in any batches give the same runs and figures."""
    check_any_order(
        new_world,
        kind,
        lambda: [make_entry(id=f"e{i:03}", **event) for i, event in enumerate(history)],
        shuffle,
    )


class Detector:
    """Names a stage by what the instance has come to: a third event in a stage is advocacy."""

    @hookimpl
    def detect_stage(self, event: Event, instance: Instance) -> str | None:
        """Lead loyal customers on, and leave the rest to the rules."""
        if event.name == "Email Opened" and instance.stage == "purchase":
            return "retention"
        if event.name == "Order Refunded" and instance.furthest == "retention":
            return "awareness"
        return None


@settings(max_examples=60)
@given(history=histories(), shuffle=st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter_to_plugins(
    new_world: NewWorld,
    make_entry: MakeEntry,
    history: list[dict[str, Any]],
    shuffle: random.Random,
) -> None:
    """A pure plugin that looks at the instance sees it as it was then, however late the event."""
    check_any_order(
        new_world,
        "memory",
        lambda: [make_entry(id=f"e{i:03}", **event) for i, event in enumerate(history)],
        shuffle,
        plugins=[Detector()],
        journeys=(SHOP,),
    )


# Plugins


def test_plugin_names_the_stage(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """A plugin's stage goes before the rules; without an opinion, or with a wrong one, they hold."""
    seen: list[Instance] = []

    class Plugin:
        @hookimpl
        def detect_stage(self, event: Event, journey: Journey, instance: Instance) -> str | None:
            seen.append(instance)
            return event.properties.get("stage")

    world = make_world(SHOP, plugins=[Plugin()])
    world.add(make_entry("Whatever", {"stage": "retention"}))
    assert world.stage() == "retention"
    world.add(make_entry("Page Viewed", {"stage": "no such stage"}, at=1))
    assert world.stage() == "awareness"
    world.add(make_entry("Product Viewed", at=2), make_entry("Whatever", at=3))
    assert world.stage() == "consideration"

    assert [(item.stage, item.furthest) for item in seen] == [
        (None, None),
        ("retention", "retention"),
        ("awareness", "retention"),
        ("consideration", "retention"),
    ]
    assert seen[0].started_at is None
    assert seen[1].started_at == wire(make_entry()).occurred_at
    assert (seen[0].journey, seen[0].version, seen[0].value) == ("shop", 1, "")


# Figures against a count that knows nothing of the folds

_TREND = {
    "awareness": ["home", "promo_page", "catalog", "search"],
    "consideration": ["product_view", "compare", "add_to_cart", "cart"],
    "purchase": ["shipping_details", "payment_details", "purchase"],
    "retention": ["account_page", "support_chat"],
    "advocacy": ["review_page"],
}


def imported_rows(seed: int, customers: int) -> list[dict[str, str]]:
    """Return rows as another shop's export has them, in no particular order of customers."""
    draw = random.Random(seed)
    pages = [page for stage in _TREND.values() for page in stage] + ["error_page"]
    weights = range(len(pages), 0, -1)
    rows = []
    for number in range(customers):
        moment = draw.randrange(10**6)
        user = {
            "user_id": f"user_{number:04}",
            "acquisition_channel": draw.choice(["email", "seo", "ads"]),
            "user_cohort": "2024-01",
            "user_lifecycle": draw.choice(["new", "returning"]),
        }
        for session in range(draw.randint(1, 3)):
            for page in draw.choices(pages, weights, k=draw.randint(1, 12)):
                moment += draw.randrange(90)
                rows.append(
                    {
                        **user,
                        "session_id": f"sess_{number:04}_{session}",
                        "event": page,
                        "timestamp": str(moment),
                        "platform": draw.choice(["desktop", "mobile"]),
                    }
                )
    draw.shuffle(rows)
    return rows


def brute_force(rows: Sequence[dict[str, str]]) -> dict[str, list[int]]:
    """Count entered, current and furthest in plain Python."""
    keys = list(_TREND)
    stage_of = {page: index for index, key in enumerate(keys) for page in _TREND[key]}
    visits: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        if row["event"] in stage_of:
            visit = int(row["timestamp"]), stage_of[row["event"]]
            visits.setdefault(row["user_id"], []).append(visit)
    entered, current, furthest = [0] * 5, [0] * 5, [0] * 5
    for seen in visits.values():
        for stage in {stage for _, stage in seen}:
            entered[stage] += 1
        current[max(seen)[1]] += 1
        furthest[max(stage for _, stage in seen)] += 1
    return {"entered": entered, "current": current, "furthest": furthest}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_figures_equal_a_plain_count(
    make_world: MakeWorld, make_entry: MakeEntry, kind: str
) -> None:
    """Entered, current and furthest of an imported shop are what ten lines of Python count."""
    rows = imported_rows(7, customers=150)
    journey = Journey(
        key="shop", version=1, stages=[Stage(key, enter=pages) for key, pages in _TREND.items()]
    )
    entries = [
        make_entry(
            row["event"],
            {key: row[key] for key in ("platform", "acquisition_channel", "user_cohort")},
            user_id=row["user_id"],
            session_id=row["session_id"],
            at=int(row["timestamp"]),
        )
        for row in rows
    ]
    world = make_world(journey, kind=kind)
    for start in range(0, len(entries), 100):
        world.add(*entries[start : start + 100])

    stages = world.figures.stages
    counted = {
        what: [getattr(stage, what) for stage in stages]
        for what in ("entered", "current", "furthest")
    }
    assert counted == brute_force(rows)
    assert sum(counted["current"]) == world.figures.instances > 100
    assert world.report.events == len(rows)
    assert world.report.customers == len({row["user_id"] for row in rows})
    assert [stage.title for stage in stages][:2] == ["Awareness", "Consideration"]


def test_empty_figures_have_every_stage(make_world: MakeWorld) -> None:
    """A journey that nobody has begun is reported with zeros."""
    world = make_world(SHOP)

    assert world.kept() == Figures(0, 0, 0.0, (0,) * 5, (0,) * 5, (0,) * 5)
    assert [stage.entered for stage in world.figures.stages] == [0] * 5


# Work


def count_reads(world: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have the number of events counted that folding reads again."""
    read, history = [0], world.store.history

    def counting(customers: Sequence[str], since: Any = None) -> Any:
        for stored in history(customers, since):
            read[0] += 1
            yield stored

    monkeypatch.setattr(world.store, "history", counting)
    return read


def test_carts_side_by_side_share_what_is_read_again(
    make_world: MakeWorld, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many carts a customer fills at once, an event is read again a few times only."""
    monkeypatch.setattr(checkpoint, "EVERY_MOMENTS", 10)
    cart = attrs.evolve(CHECKOUT, late=timedelta(seconds=5))
    world = make_world(cart)
    read = count_reads(world, monkeypatch)
    for start in range(0, 2000, 100):
        world.add(
            *(
                make_entry("Product Added", {"cart_id": f"c{number % 40}"}, at=number)
                for number in range(start, start + 100)
            )
        )
    assert {run.visits[0] for run in world.runs().values()} == {1}
    assert 0 < read[0] < 4 * 2000
    assert len(list(world.store.scan(checkpoint.CHECKPOINTS))) == 40


def test_late_event_reads_from_where_its_cart_begins(
    make_world: MakeWorld, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a customer did before a cart is not read again when something comes late to it."""
    world = make_world(CHECKOUT)
    for number in range(300):
        world.add(make_entry("Product Added", {"cart_id": f"c{number}"}, at=number))
    world.add(make_entry("Payment Info Entered", {"cart_id": "new"}, at=400))
    read = count_reads(world, monkeypatch)
    world.add(make_entry("Product Added", {"cart_id": "new"}, at=399))
    assert world.run(value="new").observed == (True, False, True, False)
    assert read[0] <= 2


def test_what_ends_every_cart_reaches_one_that_is_heard_of_later(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """A cart whose first event comes late is folded with what was said before of all carts."""
    left = Exit("Account Closed", outcome="left", match_instance=False)
    world = make_world(attrs.evolve(CHECKOUT, exits=(left,)))
    world.add(make_entry("Account Closed", at=9))
    world.add(make_entry("Product Added", {"cart_id": "c1"}, at=5))
    world.add(make_entry("Payment Info Entered", {"cart_id": "c1"}, at=4))
    assert world.run(value="c1").outcome == "left"
