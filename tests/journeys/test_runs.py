"""How runs begin, end, stall and begin again."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import NOON
from tests.journeys.test_stages import check_any_order, outcome

from journeykit import Exit, Goal, Journey, ReEntry, Rule, Stage
from journeykit.journeys import checkpoint
from journeykit.model import Entry, Kind
from journeykit.model.event import HISTORICAL

NewWorld = Callable[..., Any]
MakeWorld = Callable[..., Any]
MakeEntry = Callable[..., Entry]


def seconds(count: float) -> timedelta:
    """Return a duration."""
    return timedelta(seconds=count)


def cart(**more: Any) -> Journey:
    """Return a journey of three stages, one run a cart."""
    return Journey(
        **{
            "key": "cart",
            "version": 1,
            "instance_by": "cart_id",
            "stages": [
                Stage("cart", enter=["Product Added"]),
                Stage("pay", enter=["Payment Info Entered"]),
                Stage("done", enter=["Order Completed"]),
            ],
            "goal": Goal("Order Completed", value="revenue"),
            **more,
        }
    )


def told(world: Any) -> list[tuple[str, str | None, float]]:
    """Return the derived events: name, stage, and seconds after noon."""
    found = [entry.event() for entry in world.derived]
    return [
        (event.name, event.stage, event.occurred_at.timestamp() - NOON / 1e6) for event in found
    ]


class Clock:
    """A clock in seconds after noon."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> int:
        """Return the time in microseconds."""
        return NOON + round(self.at * 1_000_000)


def added(make_entry: MakeEntry, at: float, name: str = "Product Added", **more: Any) -> Entry:
    """Return an event of the cart c1."""
    return make_entry(name, {"cart_id": "c1", **more}, at=at)


# The end


def test_a_cart_abandoned_and_one_bought(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """Two carts of one customer at the same time are two runs with two ends."""
    clock = Clock()
    world = make_world(cart(timeout=seconds(60)), now=clock)
    for at, name, which in [
        (0, "Product Added", "left"),
        (1, "Product Added", "bought"),
        (2, "Payment Info Entered", "bought"),
        (3, "Order Completed", "bought"),
    ]:
        clock.at = at
        world.add(make_entry(name, {"cart_id": which, "revenue": 5}, at=at))
    clock.at = 100
    world.fold()

    left, bought = world.run(value="left"), world.run(value="bought")
    assert (left.outcome, left.completed_at) == ("timed_out", None)
    assert (bought.outcome, bought.completed_at) == (None, NOON + 3_000_000)
    assert told(world)[-1] == ("journey.exited", "cart", 60.0)
    exited = world.derived[-1].event()
    assert (exited.instance, exited.properties["outcome"]) == ("left", "timed_out")
    assert (world.figures.instances, world.figures.completed, world.figures.value) == (2, 1, 5.0)
    assert [stage.current for stage in world.figures.stages] == [0, 0, 1]


def test_an_exit_ends_its_own_run_at_once(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """An exit ends the run that it names, and no other of the customer's."""
    world = make_world(cart(exits=[Exit("Cart Emptied", outcome="emptied")]))
    for which in ("c1", "c2"):
        world.add(make_entry("Product Added", {"cart_id": which}))
    world.add(make_entry("Cart Emptied", {"cart_id": "c1"}, at=1))
    world.add(make_entry("Cart Emptied", at=2))

    assert {value: run.outcome for (_, value), run in world.runs().items()} == {
        "c1": "emptied",
        "c2": None,
    }
    assert told(world)[-1] == ("journey.exited", "cart", 1.0)
    assert [stage.current for stage in world.figures.stages] == [1, 0, 0]


def test_an_exit_may_end_all_runs(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """An exit that need not name a run, and names none, ends all that the customer has."""
    world = make_world(cart(exits=[Exit("Account Closed", match_instance=False)]))
    for which in ("c1", "c2"):
        world.add(make_entry("Product Added", {"cart_id": which}))
        world.add(make_entry("Product Added", {"cart_id": which}, user_id="u2"))
    world.add(make_entry("Account Closed", at=1))

    outcomes = {place: run.outcome for place, run in world.runs().items()}
    assert outcomes == {
        ("u:u1", "c1"): "abandoned",
        ("u:u1", "c2"): "abandoned",
        ("u:u2", "c1"): None,
        ("u:u2", "c2"): None,
    }


def test_where_tells_exits_apart(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """The first exit whose conditions hold names the outcome."""
    exits = [
        Exit("Order Cancelled", where={"by": ["shop"]}, outcome="refused"),
        Exit("Order Cancelled", where={"by": "customer"}, outcome="regretted"),
    ]
    world = make_world(cart(exits=exits))
    for which, by in [("c1", "customer"), ("c2", "shop"), ("c3", "weather")]:
        world.add(make_entry("Product Added", {"cart_id": which}))
        world.add(make_entry("Order Cancelled", {"cart_id": which, "by": by}, at=1))

    outcomes = {value: run.outcome for (_, value), run in world.runs().items()}
    assert outcomes == {"c1": "regretted", "c2": "refused", "c3": None}


# The beginning


def test_entry_begins_a_run(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """With entry rules nothing counts before one of them is met."""
    journey = cart(instance_by=None, entry=[Rule("Signed In", where={"plan": "gold"})])
    world = make_world(journey).add(
        make_entry("Product Added", at=0),
        make_entry("Signed In", {"plan": "free"}, at=1),
        make_entry("Payment Info Entered", at=2),
        make_entry("Signed In", {"plan": "gold"}, at=3),
        make_entry("Product Added", at=4),
    )

    run = world.run()
    assert (run.started_at, run.visits) == (NOON + 3_000_000, [1, 0, 0])
    assert told(world) == [("stage.entered", "cart", 4.0)]


@pytest.mark.parametrize(
    ("rule", "at", "number"),
    [
        (ReEntry(), 6, 2),
        (ReEntry(allow=False), 600, 1),
        (ReEntry(wait=seconds(10)), 14, 1),
        (ReEntry(wait=seconds(10)), 15, 2),
        (ReEntry(max=1), 600, 1),
    ],
)
def test_beginning_again(
    make_world: MakeWorld, make_entry: MakeEntry, rule: ReEntry, at: float, number: int
) -> None:
    """After its end a run begins again if that is allowed, after the wait, and not too often."""
    world = make_world(cart(exits=[Exit("Cart Emptied")], reentry=rule)).add(
        added(make_entry, 0),
        added(make_entry, 1, "Payment Info Entered"),
        added(make_entry, 5, "Cart Emptied"),
        added(make_entry, at),
    )

    run = world.run(value="c1")
    assert run.number == world.figures.instances == number
    assert (run.ended_at is None) == (number == 2)
    assert [stage.entered for stage in world.figures.stages] == [number, 1, 0]
    entered = [stage for name, stage, _ in told(world) if name == "stage.entered"]
    assert entered == ["cart", "pay", "cart"][: 1 + number]


# Time


def test_a_stall_is_told_when_it_is_due(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """Who stays too long in a stage has stalled, once a stay, at the deadline."""
    clock = Clock()
    journey = cart(
        stages=[
            Stage("cart", enter=["Product Added"], stall=seconds(10)),
            Stage("pay", enter=["Payment Info Entered"]),
        ],
    )
    world = make_world(journey, now=clock).add(added(make_entry, 0))
    clock.at = 9
    assert world.projector.step() == pytest.approx(1.0)
    assert told(world)[1:] == []
    clock.at = 11
    world.fold()
    world.fold()
    assert told(world)[1:] == [("journey.stalled", "cart", 10.0)]

    clock.at = 20
    world.add(added(make_entry, 20, "Payment Info Entered"))
    clock.at = 30
    world.add(added(make_entry, 30))
    clock.at = 100
    world.fold()
    stalled = [found for found in told(world) if found[0] == "journey.stalled"]
    assert stalled == [("journey.stalled", "cart", 10.0), ("journey.stalled", "cart", 40.0)]


def test_a_deadline_passes_before_what_comes_behind_it(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """What the Log has from a deadline on finds it passed, though nobody has looked meanwhile."""
    clock = Clock()
    world = make_world(cart(timeout=seconds(10)), now=clock).add(added(make_entry, 0))
    clock.at = 50
    world.add(added(make_entry, 50))

    assert told(world) == [
        ("stage.entered", "cart", 0.0),
        ("journey.exited", "cart", 10.0),
        ("stage.entered", "cart", 50.0),
    ]
    assert world.run(value="c1").number == 2


def test_a_late_event_undoes_what_time_had_brought(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """An event from before a deadline that comes behind it takes the stall back, and says so."""
    clock = Clock()
    journey = cart(timeout=seconds(10))
    world = make_world(journey, now=clock).add(added(make_entry, 0))
    clock.at = 50
    world.fold()
    assert world.run(value="c1").outcome == "timed_out"
    world.add(added(make_entry, 5, "Order Completed"))

    run = world.run(value="c1")
    assert (run.outcome, run.completed_at) == (None, NOON + 5_000_000)
    assert [name for name, _, _ in told(world)] == [
        "stage.entered",
        "journey.exited",
        "stage.corrected",
        "journey.completed",
    ]


def test_a_deadline_before_a_checkpoint_stays_where_it_was(
    make_world: MakeWorld, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late event moves no end that came before the checkpoint, and so keeps nobody out."""
    monkeypatch.setattr(checkpoint, "EVERY_MOMENTS", 3)
    again = ReEntry(wait=seconds(30))
    world = make_world(cart(timeout=seconds(60), reentry=again, late=seconds(30)))
    world.add(added(make_entry, 0), added(make_entry, 1), added(make_entry, 2))
    world.add(added(make_entry, 99), added(make_entry, 100, "Payment Info Entered"))
    before = world.run(value="c1")
    assert (before.number, before.started_at) == (2, NOON + 99_000_000)
    world.add(added(make_entry, 98))

    assert len(list(world.store.scan(checkpoint.CHECKPOINTS))) == 1
    run = world.run(value="c1")
    assert (run.number, run.started_at) == (2, NOON + 98_000_000)


def test_history_lets_no_deadline_pass_between_its_rows(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """An import's deadlines lie in the past, and pass only when its next row had time to come."""
    clock = Clock()
    clock.at = 10_000
    world = make_world(cart(timeout=seconds(10)), now=clock)

    def past(at: float, name: str) -> Entry:
        return added(make_entry, at, name)._replace(flags=HISTORICAL)

    world.add(past(0, "Product Added"))
    world.add(past(5, "Order Completed"))
    clock.at += 1_000
    world.fold()
    assert [name for name, _, _ in told(world)] == [
        "stage.entered",
        "stage.entered",
        "journey.completed",
    ]
    world.add(past(20, "Product Added")._replace(id="other"))
    assert {entry.flags for entry in world.derived} == {HISTORICAL}


def test_time_that_passes_for_an_imported_run_is_news(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """What becomes of an imported run after the import is no history."""
    clock = Clock()
    clock.at = 5
    world = make_world(cart(timeout=seconds(10)), now=clock)
    world.add(added(make_entry, 0)._replace(flags=HISTORICAL))
    clock.at = 11
    world.fold()

    assert [(entry.name, entry.flags) for entry in world.derived] == [
        ("stage.entered", HISTORICAL),
        ("journey.exited", 0),
    ]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_deadlines_survive_a_new_leader(
    make_world: MakeWorld, make_entry: MakeEntry, kind: str
) -> None:
    """Whoever leads next knows what is due; many deadlines pass in their order."""
    clock = Clock()
    world = make_world(cart(timeout=seconds(1000)), kind=kind, now=clock)
    for number in range(350):
        clock.at = number
        world.add(make_entry("Product Added", {"cart_id": f"c{number}"}, at=number))
    world.projector.forget()
    clock.at = 1_249.5
    world.fold()
    passed = [at for name, _, at in told(world) if name == "journey.exited"]
    assert passed == [1000.0 + number for number in range(250)]
    clock.at = 10**6
    world.fold()
    assert len(told(world)) == 700


# Moves out of the order


@pytest.mark.parametrize(
    ("more", "names", "visits", "current"),
    [
        ({"skip": "allow"}, ["Product Added", "Order Completed"], [1, 0, 1], 2),
        ({"skip": "forbid"}, ["Product Added", "Order Completed"], [1, 0, 0], 0),
        (
            {"loop": "allow"},
            ["Product Added", "Payment Info Entered", "Product Added"],
            [1, 1, 0],
            0,
        ),
        (
            {"loop": "count"},
            ["Product Added", "Payment Info Entered", "Product Added"],
            [2, 1, 0],
            0,
        ),
        (
            {"loop": "forbid"},
            ["Product Added", "Payment Info Entered", "Product Added"],
            [1, 1, 0],
            1,
        ),
        (
            {"regress": "ignore"},
            ["Product Added", "Payment Info Entered", "Product Added"],
            [1, 1, 0],
            1,
        ),
    ],
)
def test_policies(
    make_world: MakeWorld,
    make_entry: MakeEntry,
    more: dict[str, str],
    names: list[str],
    visits: list[int],
    current: int,
) -> None:
    """Skips, loops and steps back count as the journey says."""
    world = make_world(cart(**more))
    world.add(*(added(make_entry, at, name) for at, name in enumerate(names)))

    run = world.run(value="c1")
    assert (run.visits, run.current) == (visits, current)


def test_flagged_moves_hurt(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """A flagged skip or step back counts, and is a pain point with its evidence."""
    back = added(make_entry, 2)
    paid = added(make_entry, 1, "Order Completed")
    world = make_world(cart(skip="flag", regress="flag")).add(added(make_entry, 0), paid, back)

    found = [entry.event() for entry in world.derived if entry.name == "pain_point.detected"]
    assert [(event.properties["code"], event.properties["evidence"]) for event in found] == [
        ("journey.skipped", [paid.id]),
        ("journey.regressed", [back.id]),
    ]


def test_flagged_loops_hurt(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """The third return to a stage is a pain point, and the sixth; each counts as a visit."""
    world = make_world(cart(loop="flag"))
    for at in range(14):
        world.add(added(make_entry, at, ("Product Added", "Order Completed")[at % 2]))

    found = [entry.event() for entry in world.derived if entry.name == "pain_point.detected"]
    assert [(each.properties["code"], each.properties["stage"]) for each in found] == [
        ("journey.looped", "cart"),
        ("journey.looped", "done"),
        ("journey.looped", "cart"),
        ("journey.looped", "done"),
    ]
    assert world.run(value="c1").visits == [7, 0, 7]


# Dates that cannot be


def test_a_date_in_the_future_folds_at_log_time(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """An event dated next year is kept, and what comes after it is behind it."""
    clock = Clock()
    clock.at = 10
    world = make_world(cart(instance_by=None), now=clock)
    world.add(make_entry("Order Completed", at=365 * 86_400))
    clock.at = 20
    world.add(make_entry("Product Added", at=20))

    assert world.stage() == "cart"
    assert world.run().highest == NOON + 20_000_000


def test_an_event_from_1970_changes_nothing(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """An event that is older than the late window is kept, counted, and folds nobody back."""
    world = make_world(cart(instance_by=None)).add(
        make_entry("Product Added", at=0), make_entry("Payment Info Entered", at=1)
    )
    before = world.run()
    world.add(make_entry("Order Completed")._replace(occurred_at=0))

    assert world.run() == before
    assert world.store.counters()["late"] == 1
    assert len(world.log) == 5
    world.again().fold()
    assert world.run() == before


# Any order

_NAMES = ["Product Added", "Payment Info Entered", "Order Completed", "Cart Emptied", "Signed Out"]

_HISTORIES = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(_NAMES),
            "user_id": st.sampled_from(["u1", "u2"]),
            "at": st.integers(0, 60),
            "properties": st.fixed_dictionaries({"cart_id": st.sampled_from(["c1", "c2", None])}),
        }
    ),
    max_size=25,
)

_EVERYTHING = cart(
    entry=["Product Added", "Payment Info Entered"],
    stages=[
        Stage("cart", enter=["Product Added"], stall=seconds(4)),
        Stage("pay", enter=["Payment Info Entered"], stall=seconds(9)),
        Stage("done", enter=["Order Completed"]),
    ],
    exits=[Exit("Cart Emptied"), Exit("Signed Out", match_instance=False, outcome="left")],
    timeout=seconds(12),
    reentry=ReEntry(wait=seconds(3), max=4),
)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("every", [2, 500])
@settings(max_examples=60, deadline=None)
@given(history=_HISTORIES, shuffle=st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(
    new_world: NewWorld,
    make_entry: MakeEntry,
    kind: str,
    every: int,
    history: list[dict[str, Any]],
    shuffle: random.Random,
) -> None:
    """Ends, stalls and new beginnings are the same whatever order events arrive in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "EVERY_MOMENTS", every)
        check_any_order(
            new_world,
            kind,
            lambda: [make_entry(id=f"e{i:03}", **event) for i, event in enumerate(history)],
            shuffle,
            journeys=(_EVERYTHING,),
        )


#: Whose runs are mostly over before the late window, and mostly may not begin again within it.
_SOON_OVER = attrs.evolve(
    _EVERYTHING, timeout=seconds(10), reentry=ReEntry(wait=seconds(15)), late=seconds(5)
)


@settings(max_examples=120, deadline=None)
@given(
    history=st.lists(
        st.tuples(st.sampled_from(_NAMES[:3]), st.integers(0, 60)), min_size=3, max_size=8
    ),
    shuffle=st.randoms(use_true_random=False),
)
def test_order_of_arrival_does_not_matter_to_checkpoints(
    new_world: NewWorld,
    make_entry: MakeEntry,
    history: list[tuple[str, int]],
    shuffle: random.Random,
) -> None:
    """A checkpoint that moves whenever it can changes nothing about what comes late."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "EVERY_MOMENTS", 1)
        check_any_order(
            new_world,
            "memory",
            lambda: [
                make_entry(name, {"cart_id": "c1"}, id=f"e{i:03}", at=at)
                for i, (name, at) in enumerate(history)
            ],
            shuffle,
            journeys=(_SOON_OVER,),
            window=5,
        )


# What people decide


def fact(make_entry: MakeEntry, at: float, name: str, **properties: Any) -> Entry:
    """Return a fact about the customer u1."""
    return make_entry(name, properties, at=at, kind=Kind.FACT, actor="ada", reason="asked")


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_opting_out(make_world: MakeWorld, make_entry: MakeEntry, kind: str) -> None:
    """Who opts out of a journey has no part in it, in no cart, until that is revoked."""
    other = Journey(key="other", version=1, stages=[Stage("here", enter=["Product Added"])])
    world = make_world(cart(), other, kind=kind)
    world.add(added(make_entry, 0), fact(make_entry, 1, "customer.opted_out", journey="cart"))
    assert world.run(value="c1").outcome == "opted_out"
    assert told(world)[-1] == ("journey.exited", "cart", 1.0)

    world.add(added(make_entry, 2), make_entry("Product Added", {"cart_id": "c2"}, at=3))
    assert [stage.entered for stage in world.figures.stages] == [1, 0, 0]
    assert world.runs(world.plans[1])["u:u1", ""].outcome is None

    revoked = fact(make_entry, 4, "customer.opted_out", journey="cart", revoked=True)
    world.add(revoked, added(make_entry, 5), make_entry("Product Added", {"cart_id": "c2"}, at=6))
    assert [stage.entered for stage in world.figures.stages] == [3, 0, 0]
    assert world.kept() == world.recount()
    before = outcome(world)
    assert outcome(world.again().fold()) == before


def test_a_transfer_links_both_journeys(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """A transfer ends one run and moves the other, past all rules, and both say why."""
    service = Journey(
        key="service",
        version=1,
        entry=["Ticket Opened"],
        skip="forbid",
        stages=[
            Stage("asked", enter=["Ticket Opened"]),
            Stage("answered", enter=["Ticket Answered"]),
            Stage("visit", enter=["Visit Made"]),
        ],
    )
    world = make_world(cart(), service).add(added(make_entry, 0))
    moved = fact(
        make_entry,
        1,
        "journey.transferred",
        **{"from": "cart", "from_instance": "c1", "to": "service", "stage": "visit"},
    )
    world.add(moved)

    assert world.run(value="c1").outcome == "transferred"
    assert world.runs(world.plans[1])["u:u1", ""].current == 2
    exited, entered = (entry.event() for entry in world.derived[1:])
    assert (exited.name, exited.journey, exited.caused_by) == ("journey.exited", "cart", moved.id)
    assert (entered.name, entered.journey, entered.caused_by) == (
        "stage.entered",
        "service",
        moved.id,
    )


_DECIDED = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["customer.opted_out", "journey.transferred"]),
            "at": st.integers(0, 60),
            "user_id": st.sampled_from(["u1", "u2"]),
            "properties": st.fixed_dictionaries(
                {
                    "journey": st.just("cart"),
                    "revoked": st.booleans(),
                    "from": st.sampled_from(["cart", "other"]),
                    "to": st.just("cart"),
                    "stage": st.sampled_from(["pay", "done"]),
                    "from_instance": st.just("c1"),
                    "to_instance": st.just("c1"),
                }
            ),
        }
    ),
    max_size=6,
)


@pytest.mark.parametrize("every", [2, 500])
@settings(max_examples=60, deadline=None)
@given(history=_HISTORIES, decided=_DECIDED, shuffle=st.randoms(use_true_random=False))
def test_decisions_in_any_order(
    new_world: NewWorld,
    make_entry: MakeEntry,
    every: int,
    history: list[dict[str, Any]],
    decided: list[dict[str, Any]],
    shuffle: random.Random,
) -> None:
    """Opting out, and being moved, count from when they were decided, whenever that is heard."""

    def make() -> list[Entry]:
        events = [make_entry(id=f"e{i:03}", **event) for i, event in enumerate(history)]
        facts = [
            make_entry(id=f"f{i:03}", kind=Kind.FACT, **event) for i, event in enumerate(decided)
        ]
        return events + facts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "EVERY_MOMENTS", every)
        check_any_order(new_world, "memory", make, shuffle, journeys=(_EVERYTHING,))
