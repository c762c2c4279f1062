from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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


@KINDS
def test_rebuild_under_way_keeps_nothing_of_who_was_erased_meanwhile(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str, monkeypatch: Any
) -> None:
    """What a rebuild has folded before the Log was swept does not stay in State behind that."""
    monkeypatch.setattr(module, "BATCH_EVENTS", 1)
    world = make_world(SHOP, kind=kind, now=lambda: NOON)
    world.add(make_entry(user_id="a", anonymous_id="v"), make_entry(user_id="b"))
    begin(world.store, ("user", "a"), at=100)
    world.fold()
    world = world.again()
    world.projector.step()

    work_off(world.store)
    world.fold()

    assert set(world.runs()) == {("u:b", "")}
    assert not any("a" in key.split(":")[-1] for key in state(world.store)["customer"])
    check(world)


@KINDS
def test_conclusions_about_who_is_new_stay(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str
) -> None:
    """What follows from events behind the fact is not deleted with what came before it."""
    world = make_world(SHOP, kind=kind, now=lambda: NOON)
    commit(world.store, make_entry(user_id="a"))
    begin(world.store, ("user", "a"), at=100)
    commit(world.store, make_entry(user_id="a", at=130), make_entry(user_id="b", at=900))
    world.fold()
    before = {entry.name for entry in world.derived if entry.user_id == "a"}
    work_off(world.store)
    told = {(entry.name, entry.occurred_at > NOON) for entry in world.derived}
    assert before == {"stage.entered", "journey.stalled", "journey.exited"}
    assert told == {(name, True) for name in before}
    check(world)


# What late events tell


@KINDS
@pytest.mark.parametrize("known", [True, False])
def test_late_link_takes_what_was_done_under_it(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str, known: bool
) -> None:
    """A late event that names one more id removes what State has under it, before and behind."""
    world = make_world(SHOP, kind=kind, now=lambda: NOON)
    world.add(make_entry(user_id="b"), make_entry(user_id=None, anonymous_id="v", at=1))
    if known:
        world.add(make_entry(user_id="a", at=2))
    begin(world.store, ("user", "a"), at=100)
    world.fold()
    work_off(world.store)
    assert ("a:v", "") in world.runs()

    world.add(
        make_entry(user_id=None, anonymous_id="v", at=50),
        make_entry(user_id="a", anonymous_id="v", at=60),
    )
    work_off(world.store)

    assert set(world.runs()) == {("u:b", "")}
    assert {stored.entry.user_id for stored in world.log} == {"b", None}
    assert not [stored for stored in world.log if stored.entry.anonymous_id]
    check(world)


@KINDS
def test_late_link_waits_for_nothing_else_of_the_request(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str
) -> None:
    """Told before anything of the request was folded or swept, it comes to the same end."""
    world = make_world(SHOP, kind=kind, now=lambda: NOON)
    commit(world.store, make_entry(user_id=None, anonymous_id="v", at=1), make_entry(user_id="a"))
    begin(world.store, ("user", "a"), at=100)
    commit(
        world.store,
        make_entry(user_id="a", anonymous_id="v", at=60),
        make_entry(user_id=None, anonymous_id="v", at=50),
        make_entry(user_id=None, anonymous_id="w", at=50),
        make_entry(user_id="a", anonymous_id="w", at=60),
    )
    world.fold()
    work_off(world.store)
    assert world.runs() == {}
    assert {stored.entry.name for stored in world.log} == {"customer.erased"}
    check(world)


@KINDS
def test_late_link_leaves_who_is_new(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str
) -> None:
    """Who came back with the same browser keeps what is new; State is made again without the rest."""
    world = make_world(SHOP, ORDERS, kind=kind, now=lambda: NOON + 500_000_000)
    world.add(make_entry(user_id=None, anonymous_id="v", at=1), make_entry(user_id="b", at=2))
    begin(world.store, ("user", "a"), at=100)
    world.fold()
    work_off(world.store)
    world.add(
        make_entry(user_id=None, anonymous_id="v", at=110),
        make_entry("Order Completed", {"order_id": "1"}, user_id="a", anonymous_id="v", at=120),
    )
    assert world.run("u:a").started_at == NOON + 1_000_000

    world.add(make_entry(user_id="a", anonymous_id="v", at=60))
    work_off(world.store)

    assert world.run("u:a").started_at == NOON + 110_000_000
    observed = [each.entry for each in world.log if each.entry.kind is not Kind.DERIVED]
    whose = [(entry.user_id, entry.anonymous_id) for entry in observed if not entry.flags]
    assert whose == [("b", None), (None, "v"), ("a", "v")]
    check(world)


@KINDS
def test_late_link_leaves_what_another_browser_did_before(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str
) -> None:
    """Where who is new has brought another browser along, its past stays, and folding ends."""
    world = make_world(SHOP, kind=kind, now=lambda: NOON + 500_000_000)
    world.add(
        make_entry(user_id=None, anonymous_id="v", at=1),
        make_entry(user_id=None, anonymous_id="w", at=2),
    )
    begin(world.store, ("user", "a"), at=100)
    world.fold()
    work_off(world.store)
    world.add(
        make_entry(user_id="a", anonymous_id="v", at=110),
        make_entry(user_id="a", anonymous_id="w", at=120),
    )

    commit(world.store, make_entry(user_id="a", anonymous_id="v", at=60))
    for _ in range(50):
        if world.projector.step() != 0:
            break
    else:
        pytest.fail("it makes State again and again")
    work_off(world.store)
    observed = [each.entry for each in world.log if each.entry.kind is not Kind.DERIVED]
    whose = [(entry.user_id, entry.anonymous_id) for entry in observed if not entry.flags]
    assert whose == [(None, "w"), ("a", "v"), ("a", "w")]
    check(world)


@KINDS
def test_erasure_waits_for_state_that_is_made_again(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str
) -> None:
    """While State has still what cannot be taken out of it, the erasure has not come to its end."""
    world = make_world(SHOP, kind=kind, now=lambda: NOON)
    world.add(make_entry(user_id=None, anonymous_id="v", at=1))
    begin(world.store, ("user", "a"), at=100)
    world.fold()
    work_off(world.store)
    commit(world.store, make_entry(user_id=None, anonymous_id="v", at=110))
    commit(world.store, make_entry(user_id="a", anonymous_id="v", at=60))
    while all(each.until is None for each in world.store.erasing.pending()):
        world.projector.step()
    eraser = Eraser(world.store, projected=True)
    for _ in range(10):
        eraser.step()
    (erasure,) = world.store.erasing.pending()
    assert (erasure.swept, erasure.purged) == (True, False)

    # By another one, for this one has died.
    world = world.again("first").fold()
    work_off(world.store)

    assert world.run("a:v").started_at == NOON + 110_000_000
    check(world)


@KINDS
def test_late_link_to_a_browser_of_somebody_else_takes_nothing(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str
) -> None:
    """Where the browser was another person's before, that person keeps it, and all they did."""
    world = make_world(SHOP, kind=kind, now=lambda: NOON)
    world.add(
        make_entry(user_id=None, anonymous_id="v", at=1),
        make_entry(user_id="b", anonymous_id="v", at=2),
    )
    begin(world.store, ("user", "a"), at=100)
    world.fold()
    work_off(world.store)
    kept = state(world.store)

    world.add(make_entry(user_id="a", anonymous_id="v", at=60))
    work_off(world.store)

    assert state(world.store) == kept
    check(world)


@KINDS
@pytest.mark.parametrize("since", [True, False])
def test_late_link_takes_who_else_was_seen_with_the_browser(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str, since: bool, monkeypatch: Any
) -> None:
    """Of others whom the browser was refused, State keeps only who was seen with it since."""
    monkeypatch.setattr(module, "BATCH_EVENTS", 1)
    world = make_world(SHOP, kind=kind, now=lambda: NOON)
    begin(world.store, ("user", "a"), at=100)
    world.add(make_entry(user_id="a", anonymous_id="w", at=110))
    world.add(make_entry(user_id="b", anonymous_id="w", at=50))
    if since:
        world.add(make_entry(user_id="b", anonymous_id="w", at=120))
    assert set(state(world.store)["refused"]) == {"a:w\x1fu:b"}

    commit(world.store, make_entry(user_id="a", anonymous_id="w", at=60))
    # State is made again once, and not until the Log is swept.
    for _ in range(30):
        world.projector.step()
    assert world.projector.step() != 0
    assert len(state(world.store)["refused"]) == since

    work_off(world.store)
    seen = [each.entry for each in world.log if each.entry.kind is Kind.TOUCHPOINT]
    seen = [entry for entry in seen if (entry.user_id, entry.anonymous_id) == ("b", "w")]
    assert [entry.occurred_at - NOON for entry in seen] == [120_000_000] * since
    check(world)


@KINDS
@pytest.mark.parametrize("since", [None, "a", "b"])
def test_late_link_takes_who_else_was_taken_apart_from_the_browser(
    make_world: Callable[..., Any], make_entry: MakeEntry, kind: str, since: str | None
) -> None:
    """That another was taken apart from the browser goes too, whoever was seen with it since."""
    world = make_world(SHOP, kind=kind, now=lambda: NOON + 500_000_000)
    world.add(
        make_entry(user_id="b", anonymous_id="w", at=1),
        make_entry(
            "customer.unmerged", user_id="b", anonymous_id="w", at=2, kind=Kind.FACT, actor="x"
        ),
    )
    begin(world.store, ("user", "a"), at=100)
    world.add(make_entry(user_id=since, anonymous_id="w", at=110))
    assert set(state(world.store)["apart"]) == {"a:w\x1fu:b"}

    world.add(make_entry(user_id="a", anonymous_id="w", at=60))
    assert state(world.store)["apart"] == {}
    work_off(world.store)
    seen = [each.entry for each in world.log if each.entry.kind is not Kind.DERIVED]
    assert [entry.occurred_at - NOON for entry in seen if entry.anonymous_id] == [110_000_000]
    check(world)


STEPS = ("event", "event", "late", "late", "late", "fold", "begin to fold", "erase", "sweep")
STEPS += ("rebuild", "next leader")


def left_of(entries: Sequence[Entry], requests: Sequence[tuple[str, str, int]]) -> set[str]:
    """
    Return the ids of events that nobody may find any more after *requests*, told plainly.

    Of a browser only where one person alone was ever seen with it, since the request before.
    """
    seen: dict[str, set[str]] = {}
    for entry in entries:
        if entry.anonymous_id and entry.user_id:
            seen.setdefault(entry.anonymous_id, set()).add(entry.user_id)
    gone: set[str] = set()
    before = 0
    for kind, value, at in requests:
        old = [entry for entry in entries if entry.occurred_at <= at]
        links = [each for each in old if kind == "user" and each.user_id == value]
        theirs = {each.anonymous_id for each in links if each.occurred_at > before}
        theirs = {each for each in theirs if seen.get(each or "") == {value}}
        before = at
        theirs |= {value} if kind == "anonymous" else set()
        for entry in old:
            whose = entry.user_id or entry.anonymous_id
            if whose == value or (entry.user_id is None and entry.anonymous_id in theirs):
                gone.add(entry.id)
    return gone


def draw_entry(data: st.DataObject, make_entry: MakeEntry, at: float, number: int) -> Entry | None:
    """Return an event of somebody; None for nobody's."""
    names = ["Product Viewed", "Order Completed", "Payment Refused"]
    user = data.draw(st.sampled_from([None, "a", "b"]))
    visitor = data.draw(st.sampled_from(["v", "w", None]))
    if not user and not visitor:
        return None
    return make_entry(
        data.draw(st.sampled_from(names)),
        {"revenue": 2.5, "order_id": f"o{number % 3}"},
        user_id=user,
        anonymous_id=visitor,
        at=max(0.0, at),
    )


@given(data=st.data(), kind=st.sampled_from(["memory", "memory", "sqlite"]))
def test_any_erasure_leaves_what_a_rebuild_makes(
    data: st.DataObject, kind: str, new_world: Callable[..., Any], make_entry: MakeEntry
) -> None:
    """However events, links, erasures, sweeps and rebuilds follow each other, a rebuild agrees."""
    clock = [NOON]
    entries, requests = [], []
    with (
        pytest.MonkeyPatch.context() as patch,
        new_world(SHOP, ORDERS, kind=kind, plugins=[Plugin()], now=lambda: clock[0]) as first,
    ):
        world = first
        patch.setattr(module, "BATCH_EVENTS", data.draw(st.sampled_from([1, 3, 2_000])))
        eraser = Eraser(world.store, projected=True)
        declaration = "first"
        for number in range(data.draw(st.integers(5, 40))):
            at = number * 10.0
            clock[0] = NOON + int(at * 1e6)
            step = data.draw(st.sampled_from(STEPS))
            if step in ("event", "late"):
                back = 0.0 if step == "event" else data.draw(st.sampled_from([45.0, 100.0, 15.0]))
                entry = draw_entry(data, make_entry, at - back, number)
                if entry is not None:
                    world.store.commit(Commit([entry]), clock[0])
                    entries.append(entry)
            elif step == "fold":
                world.fold()
            elif step == "begin to fold":
                world.projector.step()
            elif step == "sweep":
                eraser.step()
            elif step in ("rebuild", "next leader"):
                declaration = f"rebuild {number}" if step == "rebuild" else declaration
                world = world.again(declaration)
            else:
                whom = data.draw(st.sampled_from([("user", "a"), ("anonymous", "v")]))
                begin(world.store, whom, at=at)
                requests.append((*whom, clock[0]))
        world.fold()
        work_off(world.store)
        assert not {each.id for each in world.log} & left_of(entries, requests)
        check(world)
