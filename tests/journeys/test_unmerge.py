from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeykit.journeys import identity, whole
from journeykit.journeys.checkpoint import CHECKPOINTS, MOST_MOMENTS
from journeykit.journeys.identity import CUSTOMERS, LINKS, MEMBERS
from journeykit.model import Entry, Exit, Goal, Journey, Kind, Rule, Stage, jsonbytes
from journeykit.model.event import HISTORICAL
from journeykit.store.view import View

NewWorld = Callable[..., Any]
MakeWorld = Callable[..., Any]
MakeEntry = Callable[..., Entry]

SHOP = Journey(key="shop", version=1, extends="ecommerce")
CHECKOUT = Journey(
    key="checkout",
    version=1,
    instance_by="cart_id",
    extends="ecommerce",
    title="Checkout",
    exits=[Exit("Email Bounced", outcome="gone", match_instance=False)],
)

#: The spaces of State that folds write.
SPACES = (
    "instance",
    "figures",
    "link",
    "members",
    "customer",
    "total",
    "checkpoint",
    "apart",
    "refused",
    "timer",
)


def device(name: str = "c1") -> dict[str, str | None]:
    """Return whom an anonymous event is about."""
    return {"user_id": None, "anonymous_id": name}


def both(user_id: str = "ada", anonymous_id: str = "c1") -> dict[str, str | None]:
    """Return whom an event is about that names a person and a device."""
    return {"user_id": user_id, "anonymous_id": anonymous_id}


@pytest.fixture(scope="session")
def facts(make_entry: MakeEntry) -> Callable[..., Entry]:
    """Return a factory of identity facts: `facts("identified", "c1", "ada")`."""

    def facts(what: str, anonymous_id: str, user_id: str | None = None, **more: Any) -> Entry:
        return make_entry(
            f"customer.{what}",
            user_id=user_id,
            anonymous_id=anonymous_id,
            kind=Kind.FACT,
            actor="operator",
            reason="a test",
            **more,
        )

    return facts


def state(world: Any) -> dict[str, list[tuple[str, bytes]]]:
    """Return all State that folds have made."""
    return {space: list(world.store.scan(space)) for space in SPACES}


def derived(world: Any, name: str) -> list[dict[str, Any]]:
    """Return the derived events of a name, as sinks get them."""
    return [jsonbytes.loads(entry.body) for entry in world.derived if entry.name == name]


def told(world: Any, name: str) -> list[tuple[Any, ...]]:
    """Return whom derived events of a name made one, or did not, and why."""
    found = [event["properties"] for event in derived(world, name)]
    return [(each["anonymous_id"], each["user_id"], each.get("reason")) for each in found]


def seen(world: Any) -> set[str]:
    """Return who was seen."""
    return {key for key, _ in world.store.scan(CUSTOMERS)}


# Merging


def test_a_merge_is_told_once(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """The event that joins the two causes a derived event with both ids; later ones do not."""
    world = make_world(SHOP).add(make_entry("Page Viewed", **device()))
    joining = make_entry("Signed In", **both(), at=1)
    world.add(joining, make_entry("Page Viewed", **both(), at=2))

    (event,) = derived(world, "customer.merged")
    assert event["properties"] == {"anonymous_id": "c1", "user_id": "ada"}
    assert (event["caused_by"], event["journey"]) == (joining.id, None)
    assert event["customer"] == {"user_id": "ada", "anonymous_id": "c1", "session_id": None}


def test_an_imported_merge_is_no_news(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """What an imported event joins is told as history, which goes to no sink."""
    world = make_world(SHOP).add(make_entry("Signed In", **both(), flags=HISTORICAL))

    (entry,) = [entry for entry in world.derived if entry.name == "customer.merged"]
    assert entry.flags & HISTORICAL


def test_a_refusal_is_told_once_for_each_pair(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """Two known people on one device are not made one, which is told once and not with each event."""
    world = make_world(SHOP).add(make_entry("Page Viewed", **both("ada", "till")))
    for at in range(3):
        for name in ("bob", "eve"):
            world.add(make_entry("Page Viewed", **both(name, "till"), at=at))

    assert told(world, "customer.merge_refused") == [
        ("till", "bob", "known_people"),
        ("till", "eve", "known_people"),
    ]
    assert seen(world) == {"u:ada", "u:bob", "u:eve"}


def test_a_person_has_so_many_devices_at_most(
    make_world: MakeWorld, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the cap a device is not joined, with the reason; State does not grow with it."""
    monkeypatch.setattr(identity, "MOST_DEVICES", 3)
    world = make_world(SHOP)
    for number in range(5):
        world.add(make_entry("Page Viewed", **device(f"d{number}")))
        world.add(make_entry("Signed In", **both("bot", f"d{number}"), at=1))

    data = dict(world.store.scan(MEMBERS))["u:bot"]
    assert jsonbytes.loads(data) == ["a:d0", "a:d1", "a:d2"]
    assert [pair[0] for pair in told(world, "customer.merged")] == ["d0", "d1", "d2"]
    assert told(world, "customer.merge_refused") == [
        ("d3", "bot", "too_many_devices"),
        ("d4", "bot", "too_many_devices"),
    ]
    assert world.report.customers == 3


def test_a_rebuild_tells_no_merge_again(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """What was merged and refused is in the Log once, however often State is made again."""
    world = make_world(SHOP).add(
        make_entry("Page Viewed", **both()),
        make_entry("Page Viewed", **both("bob")),
    )
    before = world.derived

    again = world.again().fold()

    assert again.derived == before
    assert len(told(again, "customer.merged")) == len(told(again, "customer.merge_refused")) == 1


def test_a_merge_completes_no_order_twice(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """What the anonymous customer has completed is not completed once more by the merge."""
    world = make_world(SHOP).add(
        make_entry("Order Completed", {"revenue": 5}, **device()),
        make_entry("Page Viewed", user_id="ada", at=1),
        make_entry("Signed In", **both(), at=2),
    )

    assert len(derived(world, "journey.completed")) == 1
    assert (world.figures.completed, world.figures.value) == (1, 5)


PAIRED = Journey(
    key="paired",
    version=1,
    entry=[Rule("Product Viewed")],
    stages=[Stage("looked", enter=["Product Viewed"])],
    goal=Goal("Order Completed"),
)


def test_what_only_both_together_complete_is_told_once(
    make_world: MakeWorld, make_entry: MakeEntry, facts: Callable[..., Entry]
) -> None:
    """A goal that a merge meets is news, and none again after taking it back and merging again."""
    world = make_world(PAIRED).add(
        make_entry("Product Viewed", **device(), at=1),
        make_entry("Order Completed", user_id="ada", at=2),
    )
    assert derived(world, "journey.completed") == []
    world.add(facts("identified", "c1", "ada", at=3))
    assert len(derived(world, "journey.completed")) == 1

    world.add(facts("unmerged", "c1", at=4))
    assert world.figures.completed == 0
    world.add(facts("identified", "c1", "ada", at=5))

    assert world.figures.completed == 1
    assert len(derived(world, "journey.completed")) == 1


# Taking it back


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_both_histories_come_apart(
    make_world: MakeWorld, make_entry: MakeEntry, facts: Callable[..., Entry], kind: str
) -> None:
    """Each has its own events again, figures and customers agree, and corrections are derived."""
    world = make_world(SHOP, kind=kind).add(
        make_entry("Page Viewed", user_id="ada", at=1),
        make_entry("Order Completed", {"revenue": 7}, **device(), at=2),
        make_entry("Signed In", **both(), at=3),
        make_entry("Product Reviewed", **device(), at=4),
    )
    assert world.stage("u:ada") == "advocacy"
    before = len(world.log)

    fact = facts("unmerged", "c1", at=5)
    world.add(fact)

    assert world.run("u:ada").visits == [1, 0, 0, 0, 0]
    assert world.run("a:c1").visits == [0, 0, 1, 0, 1]
    assert world.figures.instances == world.report.customers == 2
    assert world.kept() == world.recount()
    assert (world.figures.completed, world.figures.value) == (1, 7)
    new = [stored.entry for stored in world.log[before + 1 :]]
    assert [entry.name for entry in new] == ["stage.corrected"] * 2
    assert {(entry.user_id, entry.anonymous_id) for entry in new} == {(None, "c1"), ("ada", None)}
    assert {jsonbytes.loads(entry.body)["caused_by"] for entry in new} == {fact.id}


def test_who_has_nothing_left_is_told_to_be_nowhere(
    make_world: MakeWorld, make_entry: MakeEntry, facts: Callable[..., Entry]
) -> None:
    """A person whose every stage was another's is corrected to none, and has no instance."""
    world = make_world(SHOP).add(
        make_entry("Order Completed", **device()),
        facts("identified", "c1", "ada", at=1),
        facts("unmerged", "c1", at=2),
    )

    assert world.runs().keys() == {("a:c1", "")}
    *_, hers = [each for each in world.derived if (each.name, each.user_id) == _HERS]
    properties = jsonbytes.loads(hers.body)["properties"]
    assert (properties["stage"], properties["from"], properties["entered"]) == (
        None,
        "purchase",
        [],
    )
    assert world.kept() == world.recount()


_HERS = ("stage.corrected", "ada")


def test_later_events_are_whose_the_device_is(
    make_world: MakeWorld, make_entry: MakeEntry, facts: Callable[..., Entry]
) -> None:
    """Behind it the device is nobody's, then whoever's signs in there next."""
    world = make_world(SHOP).add(
        make_entry("Signed In", **both()),
        facts("unmerged", "c1", at=1),
        make_entry("Product Viewed", **device(), at=2),
    )
    assert world.stage("a:c1") == "consideration"
    assert world.run("u:ada").visits[1] == 0

    world.add(make_entry("Signed In", **both("bob"), at=3))

    assert world.runs().keys() == {("u:ada", ""), ("u:bob", "")}
    assert world.run("u:bob").visits[1] == 1
    assert world.report.customers == 2


def test_an_event_with_both_does_not_join_them_again(
    make_world: MakeWorld, make_entry: MakeEntry, facts: Callable[..., Entry]
) -> None:
    """Whoever is still signed in stays apart from the device, which is told; signing in joins."""
    world = make_world(SHOP).add(
        make_entry("Page Viewed", **device()),
        make_entry("Signed In", **both(), at=1),
        facts("unmerged", "c1", at=2),
        make_entry("Page Viewed", **both(), at=3),
        make_entry("Page Viewed", **both(), at=4),
    )
    assert told(world, "customer.merge_refused") == [("c1", "ada", "unmerged")]
    assert world.report.customers == 2

    world.add(facts("identified", "c1", "ada", at=5))
    assert world.report.customers == 1
    world.add(facts("unmerged", "c1", at=6))
    assert world.report.customers == 2
    assert world.kept() == world.recount()


@pytest.mark.parametrize(
    "before", [[], [("identified", "c2", "ada")], [("identified", "c1", "ada"), ("unmerged", "c1")]]
)
def test_what_is_not_one_cannot_be_taken_apart(
    make_world: MakeWorld,
    make_entry: MakeEntry,
    facts: Callable[..., Entry],
    before: list[tuple[str, ...]],
) -> None:
    """The fact about a device that is nobody's changes nothing, and makes nobody up."""
    world = make_world(SHOP).add(make_entry("Page Viewed", user_id="ada"))
    for number, each in enumerate(before):
        world.add(facts(*each, at=number))
    known, runs = state(world), world.runs()

    world.add(facts("unmerged", "c1", at=9))

    assert world.runs() == runs
    assert {**state(world), "projector": None} == {**known, "projector": None}
    assert seen(world) == {"u:ada"}


def test_who_was_never_seen_alone_is_no_customer(
    make_world: MakeWorld, make_entry: MakeEntry, facts: Callable[..., Entry]
) -> None:
    """A device of which there is no event but those of its person is not counted afterwards."""
    world = make_world(SHOP).add(make_entry("Signed In", **both()), facts("unmerged", "c1", at=1))

    assert seen(world) == {"u:ada"}
    assert world.report.customers == 1
    assert list(world.store.scan(LINKS)) == list(world.store.scan(MEMBERS)) == []


def test_opting_out_stays_with_whom_it_came_from(
    make_world: MakeWorld, make_entry: MakeEntry, facts: Callable[..., Entry]
) -> None:
    """What a device opted out of while it was a person's counts for its own new instances."""
    carts = Journey(key="carts", version=1, instance_by="cart_id", extends="ecommerce", exits=[])
    world = make_world(carts).add(
        facts("identified", "c1", "ada"),
        make_entry("customer.opted_out", {"journey": "carts"}, **device(), kind=Kind.FACT, at=1),
        facts("unmerged", "c1", at=2),
        make_entry("Product Added", {"cart_id": "x"}, **device(), at=3),
        make_entry("Product Added", {"cart_id": "y"}, user_id="ada", at=3),
    )

    assert world.stage("a:c1", "x") is None
    assert world.stage("u:ada", "y") == "consideration"


def test_a_completion_that_came_late_is_not_told_again(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """What a late event had completed has another cause than its goal, and is told once as well."""
    world = make_world(PAIRED).add(make_entry("Order Completed", **device(), at=2))
    world.add(make_entry("Product Viewed", **device(), at=1))
    assert len(derived(world, "journey.completed")) == 1

    world.add(make_entry("Signed In", **both(), at=3))

    assert world.figures.completed == 1
    assert len(derived(world, "journey.completed")) == 1


# However long


def long_history(make_entry: MakeEntry, who: dict[str, Any], count: int) -> list[Entry]:
    """Return a history of pages and products, of several days, some instants shared."""
    day = 86_400
    names = ["Page Viewed", "Product Viewed", "Order Completed"]
    return [
        make_entry(names[number % 3], {"revenue": 1}, at=number // 3 * 90 * day / count, **who)
        for number in range(count)
    ]


def _by_fold(entry: Entry) -> tuple[int, int, str]:
    order = ["Page Viewed", "Product Viewed", "Order Completed"].index(entry.name)
    return entry.occurred_at, order, entry.id


class Sparing(View):
    """A view that keeps count of the events that are held at a time."""

    most = 0

    def fetch(self, positions: Any) -> Any:
        """Note how many events are read at a time."""
        type(self).most = max(type(self).most, len(positions))
        return super().fetch(positions)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_long_histories_are_joined_and_come_apart_whole(
    make_world: MakeWorld,
    make_entry: MakeEntry,
    facts: Callable[..., Entry],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """Nothing is lost of more moments than may be folded again at once, which are read in pages."""
    monkeypatch.setattr("journeykit.store.projector.View", Sparing)
    Sparing.most = 0
    last = 30 * 86_400
    mine = long_history(make_entry, device(), 3000)
    hers = long_history(make_entry, {"user_id": "ada"}, 2400)
    world = make_world(SHOP, kind=kind).add(*mine, *hers)
    apart = {who: world.run(who) for who in ("a:c1", "u:ada")}
    assert sum(apart["a:c1"].visits) > MOST_MOMENTS

    world.add(facts("identified", "c1", "ada", at=last + 1))
    together = world.run("u:ada")
    with_one = make_world(SHOP)
    renamed = [each._replace(user_id="ada", anonymous_id=None) for each in mine]
    with_one.add(*sorted([*renamed, *hers], key=_by_fold))
    assert result(together) == result(with_one.run("u:ada"))
    assert world.store.counters().get("late_overflow", 0) == 0
    assert 0 < Sparing.most < 2 * whole.PAGE

    # From the new checkpoint, with what lies on both sides of it.
    late = make_entry("Product Reviewed", user_id="ada", at=last - 86_400)
    world.add(late)
    with_one.add(late)
    assert result(world.run("u:ada")) == result(with_one.run("u:ada"))
    assert len(list(world.store.scan(CHECKPOINTS))) == 1

    world.add(facts("unmerged", "c1", at=last + 2))
    assert result(world.run("a:c1")) == result(apart["a:c1"])
    assert world.run("u:ada").visits[4] == 1
    assert sum(world.run("u:ada").visits) == sum(apart["u:ada"].visits) + 1
    assert world.kept() == world.recount()


def result(run: Any) -> tuple[Any, ...]:
    """Return what a run has come to, whatever way it was folded."""
    return (
        run.newest[0],
        run.started_at,
        run.current,
        run.furthest,
        run.visits,
        run.entered_at,
        run.completed_at,
        run.value,
    )


def test_a_checkpoint_from_before_a_merge_is_not_used(
    make_world: MakeWorld, make_entry: MakeEntry, facts: Callable[..., Entry]
) -> None:
    """A late event behind a merge folds with all that was joined, older than the checkpoint or not."""
    day = 86_400
    hers = [make_entry("Page Viewed", user_id="ada", at=i * day / 20) for i in range(600)]
    world = make_world(SHOP).add(*hers)
    assert len(list(world.store.scan(CHECKPOINTS))) == 1
    world.add(
        make_entry("Order Completed", **device(), at=day),
        facts("identified", "c1", "ada", at=30 * day),
        make_entry("Product Viewed", user_id="ada", at=29 * day),
    )

    assert world.run("u:ada").visits[2] == 1
    assert world.run("u:ada").completed_at is not None


def test_a_checkpoint_knows_of_imports_before_it(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """An imported event older than the checkpoint still counts when a late one folds again."""
    day = 86_400
    world = make_world(SHOP).add(
        *(make_entry("Page Viewed", at=number * day / 20) for number in range(600))
    )
    world.add(make_entry("Order Completed", at=day, flags=HISTORICAL))
    assert world.run().visits[2] == 1

    world.add(make_entry("Product Viewed", at=29 * day))

    assert world.run().visits[2] == 1


# In any order

_NAMES = ["Page Viewed", "Product Viewed", "Order Completed", "Product Shared", "Email Bounced"]
_WHO = [
    device("c1"),
    device("c2"),
    {"user_id": "ada", "anonymous_id": None},
    {"user_id": "bob", "anonymous_id": None},
]
_EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(_NAMES),
            "at": st.integers(0, 20),
            "who": st.sampled_from(range(len(_WHO))),
            "properties": st.sampled_from([{"cart_id": "k1"}, {"cart_id": "k2"}, {}]),
        }
    ),
    max_size=16,
)
_FACTS = st.lists(
    st.tuples(
        st.sampled_from(["identified", "identified", "unmerged"]),
        st.sampled_from(["c1", "c2"]),
        st.sampled_from(["ada", "bob"]),
    ),
    max_size=6,
)


def links_after(stated: list[tuple[str, str, str]]) -> dict[str, str]:
    """Return who each device is in the end, by the rules in words: first come, until taken apart."""
    found: dict[str, str] = {}
    for what, anonymous, user in stated:
        if what == "unmerged":
            found.pop(anonymous, None)
        else:
            found.setdefault(anonymous, user)
    return found


def arrival(events: list[Entry], stated: list[Entry], shuffle: random.Random) -> list[Entry]:
    """Return events in any order, some twice, with the facts among them in theirs."""
    arriving = events + shuffle.sample(events, len(events) // 3)
    shuffle.shuffle(arriving)
    places = sorted(shuffle.choices(range(len(arriving) + 1), k=len(stated)))
    for number, (place, fact) in enumerate(zip(places, stated, strict=True)):
        arriving.insert(place + number, fact)
    return arriving


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("kept", [MOST_MOMENTS, 0])
@settings(max_examples=60)
@given(events=_EVENTS, stated=_FACTS, shuffle=st.randoms(use_true_random=False))
def test_merging_and_taking_apart_in_any_order(  # noqa: PLR0917 - what Hypothesis and pytest give
    new_world: NewWorld,
    make_entry: MakeEntry,
    facts: Callable[..., Entry],
    kind: str,
    kept: int,
    events: list[dict[str, Any]],
    stated: list[tuple[str, str, str]],
    shuffle: random.Random,
) -> None:
    """Shuffled, repeated, merged, taken apart and rebuilt: the State of the sorted history."""
    links = links_after(stated)
    entries, renamed = [], []
    for number, event in enumerate(events):
        cut = {key: event[key] for key in ("name", "at", "properties")}
        who = _WHO[event["who"]]
        entries.append(make_entry(id=f"e{number:02}", **who, **cut))
        user = who["user_id"] or links.get(who["anonymous_id"] or "")
        owner = {"user_id": user, "anonymous_id": None} if user else who
        renamed.append(make_entry(id=f"e{number:02}", **owner, **cut))
    fact_entries = [
        facts(what, anonymous, None if what == "unmerged" else user, at=30)
        for what, anonymous, user in stated
    ]
    named = {user for what, _, user in stated if what == "identified"}
    with (
        pytest.MonkeyPatch.context() as patch,
        new_world(SHOP, CHECKOUT) as expected,
        new_world(SHOP, CHECKOUT, kind=kind) as first,
    ):
        world = first
        patch.setattr(whole, "PAGE", 2)
        for entry in sorted(renamed, key=lambda entry: (entry.occurred_at, entry.id)):
            expected.add(entry)
        # With none kept, every history is read a second time, a page at a time.
        patch.setattr(whole, "MOST_KEPT", kept)
        arriving = arrival(entries, fact_entries, shuffle)
        while arriving:
            size = shuffle.randint(1, len(arriving))
            world.add(*arriving[:size])
            del arriving[:size]
            if shuffle.random() < 0.2:
                # A crash behind what was written: another process goes on from there.
                world = world.again("first")
            for plan in world.plans:
                assert world.kept(plan) == world.recount(plan)
        for plan in world.plans:
            assert results(world, plan) == results(expected, plan)
            assert world.kept(plan) == expected.kept(plan)
        assert seen(world) == seen(expected) | {f"u:{user}" for user in named}
        assert world.report.customers == len(seen(world))
        assert {
            key[2:]: jsonbytes.loads(data)[2:] for key, data in world.store.scan(LINKS)
        } == links
        known, log = state(world), world.log
        again = world.again().fold()
        assert state(again) == known
        assert again.log == log


def results(world: Any, plan: Any) -> dict[tuple[str, str], Any]:
    """Return what the runs of a journey have come to that have come anywhere."""
    return {key: run for key, run in world.runs(plan).items() if run.has_stage or run.outcome}
