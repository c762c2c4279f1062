from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit import Goal, Journey, PainPoint, Rule, Stage, hookimpl
from journeykit.erasing import fact
from journeykit.journeys.stages import Place
from journeykit.model import Entry, Kind
from journeykit.store import projector as module
from journeykit.store.eraser import Eraser
from journeykit.store.protocol import Commit, Store

MakeEntry = Callable[..., Entry]

NOON = 1_772_452_800_000_000

SHOP = Journey(
    key="shop",
    version=1,
    stages=[
        Stage(key="look", enter=[Rule("Product Viewed")], stall=timedelta(seconds=40)),
        Stage(key="buy", enter=[Rule("Order Completed")]),
    ],
    goal=Goal("Order Completed", value="revenue"),
    timeout=timedelta(minutes=2),
)
ORDERS = Journey(
    key="orders",
    version=1,
    instance_by="order_id",
    stages=[Stage(key="made", enter=[Rule("Order Completed")])],
)

#: Everything that State has by customers, and what adds them up.
SPACES = (
    "instance",
    "checkpoint",
    "timer",
    "link",
    "members",
    "customer",
    "pains",
    "apart",
    "refused",
    "opted_out",
    "figures",
    "total",
)


class Plugin:
    """Finds that a refusal hurts."""

    @staticmethod
    @hookimpl
    def detect_pain_points(event: Any) -> Iterable[PainPoint]:
        """Find that a refusal hurts."""
        if event.name == "Payment Refused":
            yield PainPoint("payment.refused")


def state(store: Store) -> dict[str, dict[str, bytes]]:
    """Return State."""
    return {space: dict(store.scan(space)) for space in SPACES}


def begin(store: Store, *ids: tuple[str, str], at: float) -> str:
    """Begin to erase somebody so many seconds after noon; returns the id of the fact."""
    stated = fact("customer", "asked", {}, NOON + int(at * 1e6))
    store.erasing.begin(stated, ids, (), stated.occurred_at)
    return stated.id


def work_off(store: Store) -> None:
    """Do all that is left to do."""
    eraser = Eraser(store, projected=True)
    while any(not each.finished for each in store.erasing.pending()):
        eraser.step()


def commit(store: Store, *entries: Entry) -> None:
    """Commit *entries*, each when it occurred, or with what came before."""
    for entry in entries:
        store.commit(Commit([entry]), entry.occurred_at)


def check(world: Any) -> dict[str, dict[str, bytes]]:
    """See that a rebuild makes the same State; returns it."""
    kept = state(world.store)
    world.again(f"again {id(kept)}").fold()
    assert state(world.store) == kept
    return kept


KINDS = pytest.mark.parametrize("kind", ["memory", "sqlite"])


@KINDS
def test_nothing_waits_for_who_was_erased(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str
) -> None:
    """Deadlines of the person are removed, those of others stay."""
    world = make_world(SHOP, kind=kind, now=lambda: NOON)
    world.add(make_entry(user_id="a"), make_entry(user_id="b"))
    begin(world.store, ("user", "a"), at=1)
    world.fold()
    assert {Place.of(key.split("\x1e")[1]).customer for key in world.store.find("timer", "")} == {
        "u:b"
    }
    work_off(world.store)
    check(world)


@KINDS
def test_late_event_under_a_joined_id_is_not_folded(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str
) -> None:
    """What came in behind the fact, but is older, counts neither now nor in a rebuild."""
    world = make_world(SHOP, kind=kind, now=lambda: NOON)
    world.add(make_entry(user_id="a", anonymous_id="v"))
    begin(world.store, ("user", "a"), at=100)
    commit(
        world.store,
        make_entry(user_id=None, anonymous_id="v", at=50),
        make_entry(user_id="other", anonymous_id="v", at=60),
        make_entry(user_id=None, anonymous_id="v", at=110),
    )
    world.fold()
    assert set(world.runs()) == {("a:v", ""), ("u:other", "")}
    assert world.run("a:v").started_at == NOON + 110_000_000
    work_off(world.store)
    check(world)


@KINDS
def test_late_event_is_not_folded_by_the_next_leader_either(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str, monkeypatch: Any
) -> None:
    """A projector that begins between the fact and a late event knows what was erased."""
    monkeypatch.setattr(module, "BATCH_EVENTS", 2)
    world = make_world(SHOP, kind=kind, now=lambda: NOON)
    world.add(make_entry(user_id="a", anonymous_id="v"), make_entry(user_id="b"))
    begin(world.store, ("user", "a"), at=100)
    commit(
        world.store,
        make_entry(user_id="b", at=40),
        make_entry(user_id=None, anonymous_id="v", at=50),
    )
    world.projector.step()
    assert world.store.erasing.pending()[0].until is not None
    world = world.again("first").fold()
    assert set(world.runs()) == {("u:b", "")}
    work_off(world.store)
    check(world)


@KINDS
def test_folding_again_reads_nothing_from_before(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str
) -> None:
    """A late event of the new customer folds what is new again, and nothing that was erased."""
    world = make_world(SHOP, kind=kind, now=lambda: NOON)
    world.add(make_entry("Order Completed", user_id="a", at=1))
    begin(world.store, ("user", "a"), at=100)
    commit(world.store, make_entry(user_id="a", at=130), make_entry(user_id="a", at=110))
    world.fold()
    assert world.run("u:a").started_at == NOON + 110_000_000
    assert world.run("u:a").completed_at is None
    work_off(world.store)
    check(world)


@KINDS
def test_rebuild_in_the_middle_comes_to_the_same(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str
) -> None:
    """Made again between fact, sweep and end, State is the same, and still knows who it is about."""
    world = make_world(SHOP, ORDERS, kind=kind, now=lambda: NOON)
    world.add(
        make_entry(user_id=None, anonymous_id="v"),
        make_entry("Order Completed", {"order_id": "1"}, user_id="a", anonymous_id="v", at=1),
        make_entry(user_id="b", at=2),
    )
    begin(world.store, ("anonymous", "v"), at=100)
    check(world.fold())
    world.store.erasing.sweep(world.store.erasing.pending()[0])
    assert set(check(world)["customer"]) == {"u:b"}
    work_off(world.store)
    assert len(world.log) == len([stored for stored in world.log if stored.entry.user_id != "a"])
    check(world)


@KINDS
def test_identity_keeps_nothing_of_who_was_erased(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str
) -> None:
    """Refused merges, what was taken apart and opting out go too, in State and in bodies."""
    world = make_world(SHOP, kind=kind, now=lambda: NOON)
    world.add(
        make_entry(user_id="a", anonymous_id="browser-v"),
        make_entry(user_id="other", anonymous_id="browser-v", at=1),
        make_entry(user_id="a", anonymous_id="w", at=2),
        make_entry(
            "customer.unmerged", user_id="a", anonymous_id="w", at=3, kind=Kind.FACT, actor="x"
        ),
        make_entry(
            "customer.opted_out", {"journey": "shop"}, user_id="a", at=4, kind=Kind.FACT, actor="x"
        ),
    )
    assert {entry.name for entry in world.derived} >= {"customer.merged", "customer.merge_refused"}
    begin(world.store, ("user", "a"), at=100)
    world.fold()
    work_off(world.store)

    kept = check(world)
    assert not any("u:a" in key or "browser-v" in key for keys in kept.values() for key in keys)
    told = b"".join(
        stored.entry.body for stored in world.log if stored.entry.name != "customer.erased"
    )
    assert b"browser-v" not in told
    assert b'"a"' not in told


@KINDS
def test_what_comes_behind_an_erased_end_is_news(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str
) -> None:
    """Where the last event of a rebuild was erased meanwhile, time and events are still news."""
    clock = [NOON]
    world = make_world(SHOP, kind=kind, now=lambda: clock[0])
    world.add(make_entry(user_id="b"), make_entry(user_id="a", anonymous_id="v", at=1))
    begin(world.store, ("user", "a"), at=10)
    commit(world.store, make_entry(user_id=None, anonymous_id="v", at=5))
    world.fold()
    work_off(world.store)
    world = world.again().fold()
    before = len(world.derived)

    clock[0] = NOON + 50_000_000
    world.fold()
    assert [entry.name for entry in world.derived[before:]] == ["journey.stalled"]
    world.add(make_entry(user_id="new", at=200))
    assert [entry.name for entry in world.derived if entry.user_id == "new"] == ["stage.entered"]


STEPS = ("event", "event", "event", "late", "late", "fold", "erase", "sweep")


@given(data=st.data())
def test_any_erasure_leaves_what_a_rebuild_makes(
    data: st.DataObject, new_world: Callable[..., Any], make_entry: MakeEntry
) -> None:
    """However events, links, erasures and sweeps follow each other, a rebuild agrees."""
    names = ["Product Viewed", "Order Completed", "Payment Refused"]
    clock = [NOON]
    with new_world(SHOP, ORDERS, plugins=[Plugin()], now=lambda: clock[0]) as world:
        eraser = Eraser(world.store, projected=True)
        for number in range(data.draw(st.integers(5, 40))):
            at = number * 10.0
            clock[0] = NOON + int(at * 1e6)
            step = data.draw(st.sampled_from(STEPS))
            if step in ("event", "late"):
                user = data.draw(st.sampled_from([None, "a", "b"]))
                visitor = data.draw(st.sampled_from([None, "v", "w"]))
                back = 0.0 if step == "event" else data.draw(st.sampled_from([5.0, 15.0, 45.0]))
                if user or visitor:
                    entry = make_entry(
                        data.draw(st.sampled_from(names)),
                        {"revenue": 2.5, "order_id": f"o{number % 3}"},
                        user_id=user,
                        anonymous_id=visitor,
                        at=max(0.0, at - back),
                    )
                    world.store.commit(Commit([entry]), clock[0])
            elif step == "fold":
                world.fold()
            elif step == "sweep":
                eraser.step()
            else:
                whom = data.draw(st.sampled_from([("user", "a"), ("anonymous", "v")]))
                begin(world.store, whom, at=at)
        world.fold()
        work_off(world.store)
        check(world)
