from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from journeykit.insight import Browsing, CustomerPage, browse
from journeykit.journeys import declare, folds, plans
from journeykit.model import Customer, Entry, Event, Goal, Journey, Stage
from journeykit.plugins import Plugins
from journeykit.store.projector import Projector
from journeykit.store.protocol import Commit, Store

NOW = 4_000_000_000_000_000

MakeEntry = Callable[..., Entry]

SHOP = Journey(
    key="shop",
    version=1,
    stages=[Stage("look", enter=["Viewed"]), Stage("buy", enter=["Bought"])],
)
CARTS = Journey(key="carts", version=1, instance_by="cart", stages=[Stage("full", enter=["Added"])])


@pytest.fixture
def look(store: Store) -> Callable[..., Browsing]:
    """Return a function that folds events, and returns what there is to look at."""

    def look(*entries: Entry, journeys: Sequence[Journey] = (SHOP, CARTS)) -> Browsing:
        compiled = plans(declare(journeys, [], {})[0])
        store.commit(Commit(entries), NOW)
        folding = folds(compiled, Plugins(installed=False))
        projector = Projector(store, folding, declaration=repr(journeys), now=lambda: NOW)
        while projector.step() is not None:
            pass
        return Browsing(store, lambda: compiled)

    return look


def names(page: CustomerPage) -> list[str | None]:
    """Return the ids of the customers of a page."""
    return [each.customer.user_id or each.customer.anonymous_id for each in page.customers]


def all_pages(look: Browsing, **given: Any) -> list[str | None]:
    """Return the ids of the customers of all pages, one behind the other."""
    found, after, begun = [], None, False
    while after is not None or not begun:
        page = look.customers(after=after, **given)
        assert len(page.customers) <= given.get("limit", 50)
        found += names(page)
        after, begun = page.after, True
    return found


def test_nobody(look: Callable[..., Browsing]) -> None:
    """Before the first event there is nobody, and no journey has begun."""
    found = look()
    assert found.customers() == CustomerPage(customers=(), after=None)
    assert found.customers(journey="shop") == CustomerPage(customers=(), after=None)
    assert found.customer(Customer("a")) is None
    assert found.events(Customer("a")) == []
    assert found.times("shop").looked_at == 0
    assert [each.instances for each in found.journeys().journeys] == [0, 0]


def test_people_and_visitors(look: Callable[..., Browsing], make_entry: MakeEntry) -> None:
    """People are listed apart from visitors, each with where they are, the latest first."""
    found = look(
        make_entry("Viewed", user_id="bob", anonymous_id="d1", at=1),
        make_entry("Bought", user_id="bob", at=2),
        make_entry("Added", {"cart": "c1"}, user_id="bob", at=3),
        make_entry("Viewed", user_id=None, anonymous_id="d2", at=4),
        make_entry("Else", user_id="eve", at=5),
    )
    page = found.customers()
    assert names(page) == ["bob", "eve"]
    bob, eve = page.customers
    assert [(run.journey, run.instance, run.stage) for run in bob.runs] == [
        ("carts", "c1", "full"),
        ("shop", "", "buy"),
    ]
    assert bob.last_seen == bob.runs[0].last_seen
    assert (eve.runs, eve.last_seen) == ((), None)
    assert names(found.customers(known=False)) == ["d2"]
    assert found.customer(Customer(None, "d1")) == bob
    assert found.customer(Customer("bob")) == bob


def test_pages_follow_each_other(
    look: Callable[..., Browsing], make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pages together have everybody once, in order, however much is looked at for one."""
    people = [f"p{number:02}" for number in range(20)]
    entries = [make_entry("Viewed", user_id=name, at=1) for name in people]
    entries += [make_entry("Bought", user_id=name, at=2) for name in people[::3]]
    entries += [make_entry("Added", {"cart": str(n)}, user_id="p05", at=n) for n in range(30)]
    entries += [
        make_entry("Viewed", user_id=None, anonymous_id=name, at=1) for name in ("a", "v", "zz")
    ]
    found = look(*entries)
    monkeypatch.setattr(browse, "_SLICE", 4)
    for most in (20_000, 3, 1):
        monkeypatch.setattr(browse, "_MOST_LOOKED_AT", most)
        for limit in (1, 3, 50):
            assert all_pages(found, limit=limit) == people
            assert all_pages(found, limit=limit, journey="shop") == people
            bought = all_pages(found, limit=limit, journey="shop", stage="buy")
            assert bought == people[::3]
            assert all_pages(found, limit=limit, journey="carts") == ["p05"]
            visitors = all_pages(found, limit=limit, journey="shop", known=False)
            assert visitors == ["a", "v", "zz"]


def test_who_is_looked_for_in_vain(
    look: Callable[..., Browsing], make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page ends where many were looked at, and says where to go on, though it has nobody."""
    found = look(*(make_entry("Viewed", user_id=f"p{n:02}", at=1) for n in range(20)))
    monkeypatch.setattr(browse, "_MOST_LOOKED_AT", 5)
    page = found.customers(journey="shop", stage="buy")
    assert page.customers == ()
    assert page.after is not None
    assert "p04" in page.after


@pytest.mark.parametrize("journey", [None, "carts"])
def test_a_till_is_one_customer_too(
    look: Callable[..., Browsing],
    make_entry: MakeEntry,
    monkeypatch: pytest.MonkeyPatch,
    journey: str | None,
) -> None:
    """Of a customer with many runs some are told, and the next customer follows."""
    entries = [make_entry("Added", {"cart": f"c{n:03}"}, user_id="till", at=n) for n in range(90)]
    found = look(*entries, make_entry("Added", {"cart": "c"}, user_id="zoe", at=1))
    (till, _) = found.customers(journey=journey).customers
    assert [run.instance for run in till.runs] == [f"c{n:03}" for n in range(89, 69, -1)]
    monkeypatch.setattr(browse, "_MOST_OF_ONE", 10)
    (till, zoe) = found.customers(journey=journey).customers
    assert len(till.runs) == 10
    assert len(zoe.runs) == 1


def test_the_rest_of_a_till_is_not_read(
    store: Store,
    look: Callable[..., Browsing],
    make_entry: MakeEntry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A list goes on behind a customer with many runs, without a look at all of them."""
    entries = [make_entry("Added", {"cart": f"c{n:03}"}, user_id="till", at=n) for n in range(90)]
    found = look(*entries, make_entry("Added", {"cart": "c"}, user_id="zoe", at=1))
    monkeypatch.setattr(browse, "_MOST_OF_ONE", 10)
    monkeypatch.setattr(browse, "_SLICE", 10)
    places: list[str] = []
    page = type(store).page

    def counted(self: Store, space: str, after: str, limit: int) -> Any:
        places.append(after)
        return page(self, space, after, limit)

    monkeypatch.setattr(type(store), "page", counted)
    assert names(found.customers(journey="carts")) == ["till", "zoe"]
    # The till's first runs, zoe's, and that there are no more.
    assert len(places) == 3


def test_a_stage_is_the_present_one(look: Callable[..., Browsing], make_entry: MakeEntry) -> None:
    """Who has gone on is in the stage that they are in, and only that journey is told."""
    found = look(
        make_entry("Viewed", user_id="a", at=1),
        make_entry("Bought", user_id="a", at=2),
        make_entry("Added", {"cart": "c"}, user_id="a", at=3),
        make_entry("Viewed", user_id="b", at=4),
    )
    assert names(found.customers(journey="shop", stage="look")) == ["b"]
    (buyer,) = found.customers(journey="shop", stage="buy").customers
    assert [run.journey for run in buyer.runs] == ["shop"]


def test_the_last_events_of_a_person(look: Callable[..., Browsing], make_entry: MakeEntry) -> None:
    """They are those under all ids of the person, the newest first, as many as are asked for."""
    found = look(
        make_entry("Viewed", {"n": 1}, user_id=None, anonymous_id="d", at=1),
        make_entry("Viewed", {"n": 2}, user_id="a", anonymous_id="d", at=2),
        make_entry("Viewed", {"n": 3}, user_id="other", at=3),
        make_entry("Viewed", {"n": 4}, user_id="a", at=4),
    )

    def numbers(events: list[Event]) -> list[int]:
        return [event.properties["n"] for event in events]

    for who in (Customer("a"), Customer(None, "d")):
        assert numbers(found.events(who)) == [4, 2, 1]
        assert numbers(found.events(who, 2)) == [4, 2]


def test_events_that_prove_something(look: Callable[..., Browsing], make_entry: MakeEntry) -> None:
    """Events are found by their ids, as far as there are any."""
    entries = [make_entry("Viewed", user_id="a", at=number) for number in range(3)]
    found = look(*entries)
    events = found.evidence([entries[1].id, "none"])
    assert [event.id for event in events] == [entries[1].id]


def test_how_long_it_takes(look: Callable[..., Browsing], make_entry: MakeEntry) -> None:
    """Times are medians over the runs, from their beginning on."""
    goal = Journey(
        key="shop",
        version=1,
        stages=[Stage("look", enter=["Viewed"]), Stage("buy", enter=["Bought"])],
        goal=Goal("Paid"),
    )
    entries = []
    for name, length in (("a", 10), ("b", 20), ("c", 90)):
        entries += [
            make_entry("Viewed", user_id=name, at=1),
            make_entry("Bought", user_id=name, at=1 + length),
        ]
    entries.append(make_entry("Paid", user_id="a", at=101))
    times = look(*entries, journeys=[goal]).times("shop")
    assert (times.looked_at, times.stages, times.goal) == (3, {"look": 0.0, "buy": 20.0}, 100.0)


def test_a_customer_of_several_versions_is_told_by_the_newest(
    look: Callable[..., Browsing], make_entry: MakeEntry, store: Store
) -> None:
    """A run that went on in another version is told once."""
    from attrs import evolve

    from journeykit.journeys.stages import INSTANCES, Place
    from journeykit.store.protocol import Projection

    both = [SHOP, evolve(SHOP, version=2)]
    found = look(make_entry("Viewed", user_id="a", at=1), journeys=both)
    (run,) = found.customers().customers[0].runs
    data = store.state((INSTANCES, Place(f"shop@{run.version}", "u:a", "").key))
    other = 3 - run.version
    state = {(INSTANCES, Place(f"shop@{other}", "u:a", "").key): data}
    store.project(Projection("x", None, None, state), NOW)
    assert [each.version for each in found.customers().customers[0].runs] == [2]
    assert [each.version for each in found.customers(journey="shop").customers[0].runs] == [2]
