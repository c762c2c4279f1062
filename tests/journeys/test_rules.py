from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit import EventView, Found, Journey, PainPointRule, Stepped, hookimpl
from journeykit.journeys import replay
from journeykit.journeys.catalogue import (
    CATALOGUE,
    CartAbandoned,
    CheckoutAbandoned,
    FormAbandoned,
    PaymentDeclined,
    ReplySlow,
    SearchLooped,
)
from journeykit.journeys.findings import FINDINGS
from journeykit.journeys.reckoning import MOST_KEYS, Reckoning
from journeykit.journeys.rules import CHECKPOINTS, MEMORIES
from journeykit.model import Entry, Kind
from journeykit.model.event import DELIVER, HISTORICAL
from journeykit.store.protocol import Commit
from journeykit.store.view import Alarm, Cache, View

MakeWorld = Callable[..., Any]
MakeEntry = Callable[..., Entry]

SECOND = 1_000_000
NOON = 1_772_452_800 * SECOND
HOUR = 3600.0
DAY = 24 * HOUR

SHOP = Journey(key="shop", version=1, extends="ecommerce")


class Clock:
    """A clock to be moved."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> int:
        """Return the time."""
        return self.at

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.at += round(seconds * SECOND)


class CouponRefused(PainPointRule):
    """A coupon that is refused twice."""

    code = "coupon.refused"
    on = ("Coupon Denied",)

    def key(self, event: EventView) -> str | None:
        """Return the coupon."""
        return event.properties.get("coupon_id")

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Count."""
        count = (memory or 0) + 1
        return Stepped(count, [Found()] if count == 2 else [])


class Registers:
    """Adds rules."""

    def __init__(self, *rules: PainPointRule, name: str = "registers") -> None:
        self.name = name
        self._rules = rules

    @hookimpl
    def register_rules(self) -> Iterable[PainPointRule]:
        """Return them."""
        return self._rules


def names(world: Any) -> list[str]:
    """Return what was told of pain points."""
    return [entry.name for entry in world.derived if entry.name.startswith("pain_point.")]


def abandon(make_entry: MakeEntry, **more: Any) -> Entry:
    """Put something into a cart."""
    given = {"cart_id": "c1", "price": 12.5, "quantity": 2}
    return make_entry("Product Added", given, **more)


def test_what_is_found_is_derived_and_kept(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """A finding is an event with code, severity, evidence and money, and a record in State."""
    clock = Clock()
    world = make_world(SHOP, rules=[CartAbandoned()], now=clock)
    added = abandon(make_entry, id="e1")
    world.add(added)
    clock.pass_by(HOUR)
    world.fold()

    [entry] = [entry for entry in world.derived if entry.name == "pain_point.detected"]
    event = entry.event()
    assert event.properties == {
        "code": "cart.abandoned",
        "severity": "medium",
        "evidence": ["e1"],
        "target": "c1",
        "value": 25.0,
        "segments": {},
    }
    assert entry.occurred_at == NOON + round(HOUR * SECOND)
    assert (event.journey, event.stage, event.caused_by) == ("shop", "consideration", "e1")
    [finding] = world.findings.values()
    assert (finding.code, finding.target, finding.count) == ("cart.abandoned", "c1", 1)
    assert (finding.journey, finding.stage, finding.value) == ("shop", "consideration", 25.0)


def test_an_order_recovers_a_cart(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """The order of an abandoned cart is told as its recovery, once; abandoned anew, it is not."""
    clock = Clock()
    world = make_world(rules=[CartAbandoned()], now=clock)
    world.add(abandon(make_entry))
    clock.pass_by(2 * HOUR)
    world.fold()
    world.add(make_entry("Order Completed", {"cart_id": "c1"}, at=2 * HOUR))
    world.add(make_entry("Order Completed", {"cart_id": "c1"}, at=2 * HOUR + 1))
    assert names(world) == ["pain_point.detected", "pain_point.recovered"]
    [finding] = world.findings.values()
    assert finding.recovered_at == NOON + round(2 * HOUR * SECOND)

    world.add(abandon(make_entry, at=2 * HOUR + 2))
    clock.pass_by(2 * HOUR)
    [finding] = world.fold().findings.values()
    assert (finding.count, finding.recovered_at) == (2, None)


def test_a_late_event_takes_a_finding_back(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """What a late event shows to be wrong is withdrawn, and the record goes."""
    clock = Clock()
    world = make_world(rules=[CartAbandoned()], now=clock)
    world.add(abandon(make_entry))
    clock.pass_by(HOUR)
    world.fold()
    late = make_entry("Order Completed", {"cart_id": "c1"}, at=HOUR / 2)
    world.add(late)

    assert names(world) == ["pain_point.detected", "pain_point.withdrawn"]
    assert world.derived[-1].event().caused_by == late.id
    assert world.findings == {}


def test_what_is_too_late_changes_nothing(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """An event that is older than the newest by more than seven days is counted, not folded."""
    clock = Clock()
    clock.pass_by(9 * DAY)
    world = make_world(rules=[PaymentDeclined()], now=clock)
    world.add(make_entry("Payment Declined", at=8 * DAY))
    world.add(make_entry("Payment Declined", at=0.5 * DAY))
    world.add(make_entry("Payment Declined", at=1 * DAY))

    [finding] = world.findings.values()
    assert finding.count == 2
    assert world.store.counters()["late_for_rules"] == 1


def test_an_event_that_no_rule_reads_leaves_nothing(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """What no rule reads, and what can only end what was never begun, is not written down."""
    world = make_world(rules=CATALOGUE)
    world.add(make_entry("Product Viewed"), make_entry("Signed In"), make_entry("Order Completed"))
    assert list(world.store.scan(MEMORIES)) == []
    world.add(abandon(make_entry))
    assert len(list(world.store.scan(MEMORIES))) == 1


def test_rules_read_the_shops_own_names(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """An alias, a name of the shop's and a name in `on` all reach the rule as it calls them."""
    declined = PaymentDeclined(on=["payment_failed"])
    world = make_world(
        rules=[declined, SearchLooped(searches=2)], names={"Suche": "Products Searched"}
    )
    world.add(
        make_entry("payment_failed"),
        make_entry("Payment Declined"),
        make_entry("Suche", at=1),
        make_entry("view_search_results", at=2),
        make_entry("purchase", at=3),
    )
    assert {key[0]: finding.count for key, finding in world.findings.items()} == {
        "payment.declined": 1,
        "search.looped": 1,
    }
    assert names(world)[-1] == "pain_point.recovered"


def test_history_finds_the_same_and_is_no_news(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """Imported events lead to the same findings, flagged as they are."""
    clock = Clock()
    clock.pass_by(100 * DAY)
    for flags in (HISTORICAL, HISTORICAL | DELIVER):
        world = make_world(rules=CATALOGUE, now=clock)
        world.add(
            abandon(make_entry, flags=flags),
            make_entry("Payment Declined", {"cart_id": "c1"}, at=60, flags=flags),
        )
        clock.pass_by(120)
        world.fold()
        codes = {key[0]: finding.historical for key, finding in world.findings.items()}
        assert codes == {"cart.abandoned": True, "payment.declined": True}
        assert [entry.flags for entry in world.derived] == [flags, flags]


def test_an_import_waits_for_the_customers_next_event(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """While an import goes on, nothing is found that its next rows take back."""
    clock = Clock()
    clock.pass_by(100 * DAY)
    world = make_world(rules=[CartAbandoned()], now=clock)
    world.add(abandon(make_entry, flags=HISTORICAL))
    for minute in range(5):
        clock.pass_by(50)
        world.add(
            make_entry("Page Viewed", flags=HISTORICAL, user_id=f"u{minute + 5}"),
            abandon(make_entry, flags=HISTORICAL, user_id=f"u{minute + 5}", at=minute),
        )
    world.add(make_entry("Order Completed", flags=HISTORICAL, at=HOUR / 2))
    assert [entry for entry in world.derived if entry.user_id == "u1"] == []
    clock.pass_by(100)
    world.fold()
    assert sorted(key[1] for key in world.findings) == [f"u:u{number + 5}" for number in range(5)]


def test_after_an_outage_deadlines_wait_for_what_came_next(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """Events that come hours late, one after the other, lead to nothing that the next takes back."""
    clock = Clock()
    clock.pass_by(5 * HOUR)
    world = make_world(rules=[CartAbandoned()], now=clock)
    world.add(abandon(make_entry), abandon(make_entry, user_id="u2"))
    clock.pass_by(30)
    world.add(make_entry("Order Completed", {"cart_id": "c1"}, at=HOUR / 2))
    assert world.derived == []
    clock.pass_by(31)
    world.fold()
    assert [(entry.user_id, entry.flags) for entry in world.derived] == [("u2", 0)]


def test_what_time_brings_about_after_an_import_is_news(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """A deadline that lies in the future when the event is imported leads to something new."""
    clock = Clock()
    world = make_world(rules=[CartAbandoned()], now=clock)
    world.add(abandon(make_entry, flags=HISTORICAL))
    clock.pass_by(HOUR + 120)
    world.fold()
    [entry] = world.derived
    assert entry.flags == 0
    assert not next(iter(world.findings.values())).historical


def test_the_number_of_targets_is_bounded(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """Of a customer with very many carts the latest are remembered, in a bounded piece of State."""
    world = make_world(rules=[CartAbandoned(window=timedelta(days=2))], now=Clock())
    world.add(
        *(
            make_entry("Product Added", {"cart_id": f"c{number:03}"}, at=number / 100)
            for number in range(3 * MOST_KEYS)
        )
    )
    [(_, data)] = world.store.scan(MEMORIES)
    carts = [slot[1] for slot in Reckoning.decode(data).slots]
    assert carts == [f"c{number:03}" for number in range(2 * MOST_KEYS, 3 * MOST_KEYS)]


def test_the_number_of_findings_is_bounded(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """What is found about ever more targets of one customer is added up under one."""
    most = replay.MOST_FINDINGS
    world = make_world(rules=[PaymentDeclined()])
    world.add(
        *(
            make_entry("Payment Declined", {"cart_id": f"c{number:03}"}, at=number / 100)
            for number in range(most + 7)
        )
    )
    found = world.findings
    assert len(found) == most + 1
    assert found["payment.declined", "u:u1", replay.OTHER].count == 7


def test_late_events_of_a_long_history_fold_from_a_checkpoint(
    make_world: MakeWorld, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind many events a late one still counts, with what was found before it."""
    monkeypatch.setattr(replay, "EVERY_EVENTS", 10)
    monkeypatch.setattr(replay, "MOST_EVENTS", 40)
    clock = Clock()
    clock.pass_by(100 * DAY)
    world = make_world(rules=[PaymentDeclined()], now=clock)
    days = list(range(90))
    late = make_entry("Payment Declined", at=86.5 * DAY)
    world.add(*(make_entry("Payment Declined", at=day * DAY, id=f"e{day:03}") for day in days))
    assert len(list(world.store.scan(CHECKPOINTS))) == 1
    world.add(late)

    [finding] = world.findings.values()
    assert (finding.count, finding.first_at) == (91, NOON)
    assert finding.severity == "high"
    assert world.store.counters().get("late_overflow", 0) == 0
    assert world.again().fold().findings == world.findings


def test_merged_customers_are_folded_as_one(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """What two did in turn is found once they are one person, and what it disproves is withdrawn."""
    clock = Clock()
    clock.pass_by(DAY)
    world = make_world(rules=[CartAbandoned(), SearchLooped(searches=2)], now=clock)
    cookie = {"user_id": None, "anonymous_id": "k"}
    world.add(
        abandon(make_entry, **cookie),
        make_entry("Products Searched", at=10, **cookie),
        make_entry("Products Searched", at=20),
    )
    clock.pass_by(61)
    assert [key[1] for key in world.fold().findings] == ["a:k"]
    both = {"user_id": "u1", "anonymous_id": "k", "kind": Kind.FACT}
    world.add(
        make_entry("Order Completed", {"cart_id": "c1"}, at=HOUR / 2),
        make_entry("customer.identified", at=HOUR, **both),
    )

    assert [key[:2] for key in world.findings] == [("search.looped", "u:u1")]
    assert names(world) == ["pain_point.detected", "pain_point.detected", "pain_point.withdrawn"]
    world.add(
        make_entry("customer.unmerged", at=DAY, user_id=None, anonymous_id="k", kind=Kind.FACT)
    )
    assert [key[:2] for key in world.findings] == [("cart.abandoned", "a:k")]
    assert world.again().fold().findings == world.findings


def test_forgetting_a_customer_leaves_nothing(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """Memories, findings and timers of who is erased are removed, and those of others stay."""
    clock = Clock()
    world = make_world(SHOP, rules=CATALOGUE, now=clock)
    for who in ("u1", "u2"):
        world.add(
            abandon(make_entry, user_id=who), make_entry("Payment Declined", at=1, user_id=who)
        )
    view = View(world.store, Cache(), Alarm())
    [fold] = [fold for fold in world.projector._folds if type(fold).__name__ == "RuleFold"]
    pieces = fold.forget(view, ["u:u1"])
    changed = view.changes()
    assert pieces == len(changed) == 3
    assert all("u:u1" in key and data is None for (_, key), data in changed.items())
    assert {space for space, _ in changed} == {MEMORIES, FINDINGS, "timer"}


def test_forgetting_a_person_leaves_no_timer_of_their_devices(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """What a device waited for before it was known whose it is names the device no longer."""
    clock = Clock()
    world = make_world(SHOP, rules=CATALOGUE, now=clock)
    device = {"user_id": None, "anonymous_id": "k"}
    world.add(abandon(make_entry, **device))
    assert any("a:k" in key for key in world.store.find("timer", ""))
    world.add(make_entry("customer.identified", kind=Kind.FACT, at=1, anonymous_id="k"))
    view = View(world.store, Cache(), Alarm())
    [fold] = [fold for fold in world.projector._folds if type(fold).__name__ == "RuleFold"]
    fold.forget(view, ["u:u1", "a:k"])
    assert not any("a:k" in key or "u:u1" in key for key in view.find("timer", ""))


# Rules of plugins


def test_a_plugin_adds_a_rule(make_world: MakeWorld, make_entry: MakeEntry) -> None:
    """Ten lines in a plugin find what they are meant to, live and behind late events."""
    world = make_world(plugins=[Registers(CouponRefused())])
    first = make_entry("Coupon Denied", {"coupon_id": "SPRING"}, at=1)
    world.add(make_entry("Coupon Denied", {"coupon_id": "SPRING"}, at=2), first)
    assert [key[0] for key in world.findings] == ["coupon.refused"]
    assert world.plugins.named("registers").calls > 0


@pytest.mark.parametrize(
    "answer",
    [
        None,
        7,
        Stepped([], [7]),
        Stepped("x" * 3000),
        Stepped(object()),
        Stepped(None, wake_at="soon"),
        Stepped(None, [Found(severity="awful")]),
        Stepped(None, [Found(properties={"a": object()})]),
        Stepped(None, [Found()] * 101),
        RuntimeError("no"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_rule_that_fails_harms_nobody(
    make_world: MakeWorld, make_entry: MakeEntry, answer: Any
) -> None:
    """What a plugin's rule raises or returns amiss is counted under its name; others go on."""

    class Broken(CouponRefused):
        code = "coupon.broken"

        def step(self, memory: Any, event: EventView) -> Stepped:
            """Fail."""
            if isinstance(answer, Exception):
                raise answer
            return answer

    world = make_world(
        plugins=[Registers(Broken(), name="bad"), Registers(CouponRefused(), name="good")]
    )
    given = {"coupon_id": "SPRING"}
    world.add(make_entry("Coupon Denied", given), make_entry("Coupon Denied", given, at=1))
    assert [key[0] for key in world.findings] == ["coupon.refused"]
    assert world.plugins.named("bad").errors == 2
    assert world.plugins.named("good").errors == 0


def test_a_tripped_plugins_rules_are_not_asked(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """Once a plugin has hung, its rules find nothing more."""
    world = make_world(plugins=[Registers(CouponRefused())])
    world.plugins.named("registers").tripped = "rule coupon.refused"
    given = {"coupon_id": "SPRING"}
    world.add(make_entry("Coupon Denied", given), make_entry("Coupon Denied", given, at=1))
    assert world.findings == {}


# Whatever happens

ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)
KEYS = sorted(
    {
        *("cart_id", "order_id", "price", "quantity", "path", "form", "field", "status", "route"),
        *("results", "products", "x", "y", "element", "lcp_ms", "kind", "score", "channel"),
        *("promised_at", "delivered_at", "reason", "value", "conversation_id", "method", "topic"),
    }
)


@given(data=st.data())
def test_no_property_stops_the_rules(
    new_world: Callable[..., Any], make_entry: MakeEntry, data: st.DataObject
) -> None:
    """Whatever an event holds, every rule of the catalogue takes it without failing."""
    every = sorted({name for rule in CATALOGUE for name in (*rule.on, *rule.also)})
    given_ = st.dictionaries(st.sampled_from(KEYS), ODD, max_size=4)
    drawn = data.draw(st.lists(st.tuples(st.sampled_from(every), given_), max_size=8))
    with new_world(rules=CATALOGUE, kind="sqlite") as world, pytest.MonkeyPatch.context() as patch:
        failed: list[Any] = []
        patch.setattr("journeykit.journeys.reckoning._report", lambda *error: failed.append(error))
        world.add(*(make_entry(name, given, at=at) for at, (name, given) in enumerate(drawn)))
        assert failed == []


EVENTS = [
    ("Product Added", {"cart_id": "a", "price": 5}),
    ("Product Added", {"cart_id": "b"}),
    ("Checkout Started", {"cart_id": "a", "value": 9}),
    ("Order Completed", {"cart_id": "a"}),
    ("Order Completed", {}),
    ("Payment Declined", {"cart_id": "a"}),
    ("Products Searched", {"results": 0}),
    ("Product Viewed", {}),
    ("Page Viewed", {"path": "/a"}),
    ("Page Viewed", {"path": "/b"}),
    ("Support Requested", {"channel": "chat"}),
    ("Support Replied", {}),
    ("Signed In", {}),
]
WHO = [
    {"user_id": "u1"},
    {"user_id": "u2"},
    {"user_id": None, "anonymous_id": "k"},
    {"user_id": None, "anonymous_id": "l"},
]


@given(
    drawn=st.lists(
        st.tuples(st.sampled_from(EVENTS), st.sampled_from(WHO), st.integers(0, 40)), max_size=25
    ),
    merges=st.lists(
        st.tuples(st.sampled_from("kl"), st.integers(0, 24), st.booleans()), max_size=3
    ),
    shuffle=st.randoms(use_true_random=False),
)
def test_any_order_with_merges_gives_the_same_findings(
    new_world: Callable[..., Any],
    make_entry: MakeEntry,
    drawn: list[Any],
    merges: list[Any],
    shuffle: random.Random,
) -> None:
    """Events and identity facts shuffled against each other, repeated and rebuilt, find the same."""
    shown: list[dict[str, Any]] = [{"platform": "p"}, {"platform": "q"}, {}]
    events = [
        make_entry(
            name, given | shown[number % 3], at=300 * at + number / 1000, id=f"e{number}", **who
        )
        for number, ((name, given), who, at) in enumerate(drawn)
    ]
    facts = []
    for number, (cookie, _, joins) in enumerate(merges):
        name, user = ("customer.identified", "u1") if joins else ("customer.unmerged", None)
        who = {"user_id": user, "anonymous_id": cookie, "kind": Kind.FACT}
        facts.append(make_entry(name, at=20_000 + number, id=f"f{number}", **who))

    def findings(arriving: list[Entry], *, again: bool = False) -> Any:
        clock = Clock()
        clock.pass_by(6 * HOUR)
        with new_world(SHOP, rules=CATALOGUE, now=clock, segments=["platform"]) as world:
            rest = list(arriving)
            while rest:
                size = shuffle.randint(1, len(rest))
                batch, rest = rest[:size], rest[size:]
                world.store.commit(Commit(batch), clock())
                world.fold()
            clock.pass_by(40 * DAY)
            world.fold()
            if again:
                before = len(world.log)
                again = world.again().fold()
                assert len(again.log) == before
                assert again.findings == world.findings
            told = world.told()
            assert sum(found.count for found in world.findings.values()) == sum(
                each[0] == "detected" for each in told
            )
            return world.findings

    straight = findings(sorted(events, key=lambda entry: entry.occurred_at) + facts)
    mixed = [*events, *shuffle.sample(events, len(events) // 3)]
    shuffle.shuffle(mixed)
    for fact in facts:
        # Identity facts keep their order among each other, and so does the Log.
        place = shuffle.randint(0, len(mixed))
        later = [index for index, each in enumerate(mixed) if each in facts]
        mixed.insert(max([place, *(index + 1 for index in later)]), fact)
    assert findings(mixed, again=True) == straight


def test_what_left_no_memory_counts_after_a_merge(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """An order of somebody who had nothing open ends the cart of the person that they are."""
    clock = Clock()
    clock.pass_by(DAY)
    world = make_world(rules=[CartAbandoned()], now=clock)
    cookie = {"user_id": None, "anonymous_id": "k"}
    world.add(
        abandon(make_entry), make_entry("Order Completed", {"cart_id": "c1"}, at=60, **cookie)
    )
    clock.pass_by(61)
    assert len(world.fold().findings) == 1
    who = {"anonymous_id": "k", "kind": Kind.FACT}
    world.add(make_entry("customer.identified", at=HOUR, **who))
    assert world.findings == {}
    assert names(world) == ["pain_point.detected", "pain_point.withdrawn"]


def test_who_leaves_takes_their_findings_along(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """A person who did nothing themselves gives everything back to whom they were taken for."""
    clock = Clock()
    clock.pass_by(DAY)
    world = make_world(rules=[CartAbandoned()], now=clock)
    who = {"anonymous_id": "k", "kind": Kind.FACT}
    world.add(abandon(make_entry, user_id=None, anonymous_id="k"))
    clock.pass_by(61)
    world.fold().add(make_entry("customer.identified", at=HOUR, **who))
    assert [key[1] for key in world.findings] == ["u:u1"]
    world.add(make_entry("customer.unmerged", at=HOUR, user_id=None, **who))
    assert [key[1] for key in world.findings] == ["a:k"]
    assert names(world) == ["pain_point.detected"]


def test_an_order_before_its_checkout_was_heard_of_still_counts(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """What ends something counts though it was left out: nothing is told that it prevents."""
    for restarts in (False, True):
        clock = Clock()
        clock.pass_by(60)
        world = make_world(rules=[CheckoutAbandoned()], now=clock)
        world.add(make_entry("Checkout Started", at=0, user_id="u2"))
        world.add(make_entry("Order Completed", at=60, id="e2"))
        assert [key for key, _ in world.store.scan(MEMORIES)] == ["u:u2"]
        if restarts:
            world.projector.forget()
        world.add(make_entry("Checkout Started", at=30, id="e1"))
        clock.pass_by(2 * HOUR)
        world.fold()
        assert [key[1] for key in world.findings] == ["u:u2"]
        assert names(world) == ["pain_point.detected"]


def test_an_earlier_deadline_is_not_slept_through(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """What is due first is found when it is due, though something else waited before."""
    clock = Clock()
    world = make_world(rules=[ReplySlow()], now=clock)
    world.add(
        make_entry("Support Requested", {"channel": "email", "ticket_id": "a"}),
        make_entry("Support Requested", {"channel": "chat", "ticket_id": "b"}),
    )
    clock.pass_by(121)
    assert [key[2] for key in world.fold().findings] == ["b"]
    clock.pass_by(4 * HOUR)
    assert [key[2] for key in world.fold().findings] == ["a", "b"]


def test_a_late_event_tells_where_the_customer_was(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """A stage event that no rule reads, and that comes late, corrects the stage of a finding."""
    clock = Clock()
    world = make_world(SHOP, rules=[CartAbandoned()], now=clock)
    world.add(abandon(make_entry))
    clock.pass_by(HOUR)
    [finding] = world.fold().findings.values()
    assert finding.stage == "consideration"
    world.add(make_entry("Page Viewed", at=HOUR / 2))
    [finding] = world.findings.values()
    assert finding.stage == "awareness"
    world.add(make_entry("Products Searched", at=HOUR / 4))
    [finding] = world.findings.values()
    assert finding.stage == "awareness"


def test_what_ends_everything_counts_before_it_begins(
    make_world: MakeWorld, make_entry: MakeEntry
) -> None:
    """An event about every target, that came before those were heard of, still ends them."""
    world = make_world(rules=[FormAbandoned()], now=Clock())
    world.add(make_entry("Form Submitted", at=0, id="e2"))
    world.add(make_entry("Form Field Filled", {"form": "a", "field": "zip"}, at=0, id="e1"))
    world.add(make_entry("Form Left", {"form": "a"}, at=1))
    assert world.findings == {}


class Live:
    """A shop whose events are recorded as time goes by, and whose histories are counted."""

    def __init__(self, make_world: MakeWorld, make_entry: MakeEntry, monkeypatch: Any) -> None:
        self.clock = Clock()
        self.world = make_world(rules=[CheckoutAbandoned()], now=self.clock)
        self._make_entry = make_entry
        self.read = 0
        history = self.world.store.history

        def counted(*given: Any) -> Any:
            self.read += 1
            return history(*given)

        monkeypatch.setattr(self.world.store, "history", counted)

    def track(self, name: str, at: int, *, after: int = 0, **more: Any) -> Live:
        """Record an event when it happens, or some seconds *after*."""
        self.clock.at = NOON + (at + after) * SECOND
        self.world.add(self._make_entry(name, at=at, **more))
        return self

    def found(self) -> set[str]:
        """Return of whom anything was found in the end."""
        self.clock.pass_by(5 * HOUR)
        return {key[1] for key in self.world.fold().findings}


def test_what_comes_in_order_reads_no_history(
    make_world: MakeWorld, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is read again for what was left out, as long as nothing comes behind it."""
    live = Live(make_world, make_entry, monkeypatch)
    for at in range(0, 600, 20):
        live.track("Order Completed", at, user_id=f"u{at % 7}")
        live.track("Checkout Started", at + 10, user_id=f"u{at % 5}")
    assert live.found()
    # At the very beginning nothing is known of what came before.
    assert live.read <= 1


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("between", [0, 100])
def test_what_was_left_out_counts_for_what_comes_behind_it(
    make_world: MakeWorld,
    make_entry: MakeEntry,
    monkeypatch: pytest.MonkeyPatch,
    restarts: bool,
    between: int,
) -> None:
    """An order ends the checkout before it that arrives behind it, and no later one."""
    live = Live(make_world, make_entry, monkeypatch)
    live.track("Page Viewed", 0).track("Order Completed", 100, user_id="late")
    for at in range(between):
        live.track("Page Viewed", 110 + at, user_id="other")
    if restarts:
        live.world.projector.forget()
    live.track("Checkout Started", 90, after=200, user_id="late")
    live.track("Checkout Started", 95, after=200, user_id="other")
    live.track("Checkout Started", 320, user_id="later")
    assert live.found() == {"u:other", "u:later"}
    assert live.world.again().fold().findings == live.world.findings
