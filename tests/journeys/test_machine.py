"""Whatever happens to events on their way, State is that of the sorted history."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from journeykit.exceptions import StoreBusy
from journeykit.model import Entry, Exit, Goal, Journey, Kind, Stage

NewWorld = Callable[..., Any]
MakeEntry = Callable[..., Entry]

SHOP = Journey(key="shop", version=1, extends="ecommerce")
CHECKOUT = Journey(
    key="checkout",
    version=1,
    instance_by="cart_id",
    stages=[
        Stage("cart", enter=["Product Added"], stall=timedelta(seconds=20)),
        Stage("pay", enter=["Payment Info Entered"]),
    ],
    goal=Goal("Order Completed", value="revenue", within=timedelta(seconds=40)),
    exits=[Exit("Cart Cleared", outcome="cleared")],
    timeout=timedelta(seconds=50),
)

_EVENTS = (
    "Page Viewed",
    "Product Added",
    "Payment Info Entered",
    "Order Completed",
    "Cart Cleared",
)
_DEVICES = ("c1", "c2")
_PEOPLE = ("ada", "bob")
_CUSTOMERS = [{"user_id": None, "anonymous_id": name} for name in _DEVICES] + [
    {"user_id": name, "anonymous_id": None} for name in _PEOPLE
]


class Arrivals(RuleBasedStateMachine):
    """Events, repeated events, facts, crashes and rebuilds, in an order that nobody chose."""

    new_world: NewWorld
    make_entry: MakeEntry
    kind: str

    @initialize()
    def begin(self) -> None:
        """Begin with an empty store."""
        self.opened = contextlib.ExitStack()
        self.world = self.opened.enter_context(self.new_world(SHOP, CHECKOUT, kind=self.kind))
        self.touchpoints: list[Entry] = []
        self.facts: list[Entry] = []
        self.waiting: list[Entry] = []

    @rule(
        name=st.sampled_from(_EVENTS),
        whose=st.sampled_from(_CUSTOMERS),
        at=st.integers(0, 60),
        cart=st.sampled_from(["k1", "k2"]),
        revenue=st.integers(1, 9),
    )
    def happens(self, name: str, whose: dict[str, Any], at: int, cart: str, revenue: int) -> None:
        """Something happens to somebody, at any time within the late window."""
        properties = {"cart_id": cart, "revenue": revenue}
        number = f"e{len(self.touchpoints):03}"
        entry = self.make_entry(name, properties, id=number, at=at, **whose)
        self.touchpoints.append(entry)
        self.waiting.append(entry)

    @rule(which=st.integers(0, 99))
    def repeats(self, which: int) -> None:
        """An event arrives once more."""
        if self.touchpoints:
            self.waiting.append(self.touchpoints[which % len(self.touchpoints)])

    @rule(device=st.sampled_from(_DEVICES), person=st.sampled_from(_PEOPLE))
    def signs_in(self, device: str, person: str) -> None:
        """Somebody signs in on a device."""
        self._state("customer.identified", device, person)

    @rule(device=st.sampled_from(_DEVICES), person=st.sampled_from(_PEOPLE))
    def is_taken_apart(self, device: str, person: str) -> None:
        """An operator says that a device is not this person's."""
        self._state("customer.unmerged", device, person)

    def _state(self, name: str, device: str, person: str) -> None:
        number = f"f{len(self.facts):03}"
        names = {"user_id": person, "anonymous_id": device}
        more = {"kind": Kind.FACT, "actor": "operator", "reason": "a test"}
        entry = self.make_entry(name, id=number, at=61, **names, **more)
        self.facts.append(entry)
        self.waiting.append(entry)

    @rule()
    def is_folded(self) -> None:
        """What waits is committed together, and folded."""
        self.world.add(*self.waiting)
        self.waiting = []

    @rule()
    def crashes(self) -> None:
        """The projector's process dies when it is about to write; another one goes on."""
        store = self.world.store
        write = store.project

        def die(*_: Any) -> None:
            msg = "the process is gone"
            raise StoreBusy(msg)

        store.project = die
        try:
            self.is_folded()
        except StoreBusy:
            self.waiting = []
        finally:
            store.project = write
        self.world = self.world.again("first").fold()

    @rule()
    def is_rebuilt(self) -> None:
        """State is thrown away and made again, which derives nothing that was derived before."""
        self.world.fold()
        before = len(self.world.derived)
        self.world.projector.rebuild()
        self.world.fold()
        assert len(self.world.derived) == before

    def teardown(self) -> None:
        """In the end all is as if everything had come in order."""
        if hasattr(self, "world"):
            with self.opened:
                self._check()

    def _check(self) -> None:
        self.is_folded()
        ordered = sorted(self.touchpoints, key=lambda entry: (entry.occurred_at, entry.id))
        with self.new_world(SHOP, CHECKOUT) as expected:
            # Who is who follows from the order of the Log; what they did, from its time.
            expected.add(*self.facts)
            for entry in ordered:
                expected.add(entry)
            assert outcome(self.world) == outcome(expected)
            if not self.facts:
                check_told(self.world, expected)


def outcome(world: Any) -> list[object]:
    """Return what the folds have found out, without the places of checkpoints."""
    return [
        *(
            {place: attrs.evolve(run, count=0, look=0) for place, run in world.runs(plan).items()}
            for plan in world.plans
        ),
        *(world.kept(plan) for plan in world.plans),
        attrs.evolve(world.report, events=0),
    ]


def check_told(world: Any, expected: Any) -> None:
    """Check that what was derived differs from that of the sorted history by corrections only."""
    told, corrected = by_run(world)
    due, _ = by_run(expected)
    assert {key for key in {*told, *due} if told.get(key) != due.get(key)} <= corrected


def by_run(world: Any) -> tuple[dict[Any, set[Any]], set[Any]]:
    """Return what was derived about each run, and the runs that were corrected."""
    told: dict[Any, set[Any]] = {}
    corrected = set()
    for event in (entry.event() for entry in world.derived):
        run = (event.journey, event.customer.key, event.instance)
        if event.name == "stage.corrected":
            corrected.add(run)
        else:
            # A late event may move the time of a stage, which is nobody's news.
            told.setdefault(run, set()).add((event.name, event.stage))
    return told, corrected


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_any_arrival_gives_the_state_of_the_sorted_history(
    new_world: NewWorld, make_entry: MakeEntry, kind: str
) -> None:
    """Shuffles, repetitions, crashes, rebuilds, merges and unmerges change nothing but the way."""
    machine = type(
        "Machine",
        (Arrivals,),
        {
            "new_world": staticmethod(new_world),
            "make_entry": staticmethod(make_entry),
            "kind": kind,
        },
    )
    examples = 100 if kind == "memory" else 15
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None)
    )
