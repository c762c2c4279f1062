"""Versions and people: merging, taking apart, opting out, moving, erasing, and consent."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.journeys.test_erasing import begin
from tests.journeys.test_versions import NOON, ONE, TWO, MakeEntry, Shop, open_shop, seconds

from journeykit.journeys import checkpoint, line_history, line_instance, whole
from journeykit.journeys.checkpoint import CHECKPOINTS
from journeykit.journeys.figures import MOVED
from journeykit.journeys.stages import Place
from journeykit.model import Entry, Exit, Journey, Kind, ReEntry, Rule, Stage
from journeykit.model.event import ASKED, DENIED, HISTORICAL
from journeykit.store.eraser import Eraser
from journeykit.store.projector import Projector

#: All that folds keep.
SPACES = (
    "instance",
    "figures",
    "moved",
    "sweep",
    "link",
    "members",
    "customer",
    "total",
    "checkpoint",
    "apart",
    "refused",
    "timer",
    "opted_out",
)

_WHO: dict[str, dict[str, str | None]] = {
    "ada": {"user_id": "ada"},
    "bob": {"user_id": "bob"},
    "c1": {"user_id": None, "anonymous_id": "c1"},
    "c2": {"user_id": None, "anonymous_id": "c2"},
}


@pytest.fixture(params=["memory", "sqlite"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    """Return a shop, with a store of each kind."""
    with open_shop(request.param) as shop:
        yield shop


def device(name: str = "c1") -> dict[str, str | None]:
    """Return whom an anonymous event is about."""
    return {"user_id": None, "anonymous_id": name}


def state(shop: Shop) -> dict[str, dict[str, bytes]]:
    """Return all State that folds have made."""
    return {space: dict(shop.store.scan(space)) for space in SPACES}


def moved(shop: Shop) -> dict[str, list[int]]:
    """Return how many runs of each version went on in another one, and had met the goal before."""
    found: dict[str, list[int]] = {}
    for (label, _, _), run in shop.runs.items():
        if run.outcome == "migrated":
            counts = found.setdefault(label, [0, 0])
            counts[0] += 1
            counts[1] += run.completed_at is not None
    return found


def checked(shop: Shop) -> Shop:
    """See that figures and State are what the runs and the Log say."""
    assert shop.figures == shop.recount()
    assert {key: json.loads(data) for key, data in shop.store.scan(MOVED)} == moved(shop)
    known, log = state(shop), shop.log
    shop.rebuild()
    assert state(shop) == known
    assert shop.log == log
    return shop


@pytest.fixture(scope="session")
def fact(make_entry: MakeEntry) -> Callable[..., Entry]:
    """Return a factory of facts that people state."""

    def fact(name: str, properties: dict[str, Any] | None = None, **more: Any) -> Entry:
        stated = {"actor": "operator", "reason": "a test"}
        return make_entry(name, properties, kind=Kind.FACT, **stated, **more)

    return fact


# Merging and taking apart


def test_a_merged_person_is_on_the_version_that_came_first(
    shop: Shop, make_entry: MakeEntry
) -> None:
    """Of two who turn out to be one, the run that began first counts, with its version."""
    shop.deploy(ONE, at=0).add(make_entry("Look", at=1, **device()), at=2)
    shop.deploy(TWO, at=10).add(make_entry("Look", user_id="ada", at=11), at=11)
    assert shop.stages() == {"c1 shop@1": ("look", None), "ada shop@2": ("browse", None)}
    shop.add(make_entry("Buy", user_id="ada", anonymous_id="c1", at=12), at=12)

    assert shop.stages() == {"ada shop@1": ("buy", None)}
    checked(shop)


def test_taken_apart_each_is_on_their_own_version_again(
    shop: Shop, make_entry: MakeEntry, fact: Callable[..., Entry]
) -> None:
    """Who is taken apart has the run, the version and the figures that were their own."""
    shop.deploy(ONE, at=0).add(make_entry("Look", at=1, **device()), at=2)
    shop.deploy(TWO, at=10).add(make_entry("Look", user_id="ada", at=11), at=11)
    before = shop.stages()
    shop.add(fact("customer.identified", user_id="ada", anonymous_id="c1", at=12), at=12)
    assert shop.stages() == {"ada shop@1": ("look", None)}
    shop.add(fact("customer.unmerged", at=13, **device()), at=13)

    assert shop.stages() == before
    checked(shop)


def test_a_goal_is_told_once_whatever_is_merged(
    shop: Shop, make_entry: MakeEntry, fact: Callable[..., Entry]
) -> None:
    """Merging and taking apart tells no completion of either version a second time."""
    shop.deploy(ONE, at=0)
    shop.add(make_entry("Look", at=1, **device()), make_entry("Paid", at=2, **device()), at=2)
    shop.deploy(attrs.evolve(TWO, publish={"migrate": {"look": "browse"}}), at=10)
    for number in range(2):
        at = 20 + 10 * number
        shop.add(fact("customer.identified", user_id="ada", anonymous_id="c1", at=at), at=at)
        shop.add(fact("customer.unmerged", at=at + 5, **device()), at=at + 5)

    assert [name for name, *_ in shop.derived].count("journey.completed") == 1
    (total,) = shop.report.totals
    assert (total.instances, total.completed, total.moved) == (1, 1, 1)
    checked(shop)


def test_long_histories_are_folded_whole(
    shop: Shop, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More events than may be folded again behind a late one are all in a merged person's run."""
    for module in (whole, line_instance, line_history):
        monkeypatch.setattr(module, "MOST_MOMENTS", 20)
    monkeypatch.setattr(line_history, "MOST_KEPT", 5)
    monkeypatch.setattr(whole, "PAGE", 7)
    shop.deploy(ONE, at=0).add(make_entry("Look", at=1, **device()), at=2)
    shop.deploy(TWO, at=10)
    for number in range(40):
        name = "Buy" if number % 2 else "Look"
        shop.add(make_entry(name, user_id="ada", at=11.0 + number), at=11 + number)
    shop.add(make_entry("Look", user_id="ada", anonymous_id="c1", at=60), at=60)

    assert shop.runs["shop@1", "u:ada", ""].visits == [21, 20]
    assert shop.store.counters().get("late_overflow", 0) == 0
    assert len(list(shop.store.scan(CHECKPOINTS))) == 1
    shop.add(make_entry("Buy", user_id="ada", at=59.5), at=61)
    assert shop.runs["shop@1", "u:ada", ""].visits == [21, 20]
    checked(shop)


# Opting out, and being moved


def test_who_is_out_is_out_of_every_version(
    shop: Shop, make_entry: MakeEntry, fact: Callable[..., Entry]
) -> None:
    """An opt-out ends the pinned run, and no newer version takes the customer in."""
    shop.deploy(ONE, at=0)
    shop.add(make_entry("Look", at=1), make_entry("Look", user_id="gone", at=1), at=1)
    shop.add(make_entry("Leave", user_id="gone", at=2), at=2)
    shop.deploy(TWO, at=10)
    for user in ("u1", "gone", "new"):
        shop.add(fact("customer.opted_out", {"journey": "shop"}, user_id=user, at=11), at=11)
    for user in ("u1", "gone", "new"):
        shop.add(make_entry("Look", user_id=user, at=12), at=12)

    assert shop.stages() | {"new shop@2": None} == {
        "u1 shop@1": ("look", "opted_out"),
        "gone shop@1": ("look", "abandoned"),
        "new shop@2": None,
    }
    again = {"journey": "shop", "revoked": True}
    for user in ("u1", "gone", "new"):
        shop.add(fact("customer.opted_out", again, user_id=user, at=20), at=20)
        shop.add(make_entry("Look", user_id=user, at=21), at=21)
    assert [shop.stages()[f"{user} shop@2"] for user in ("u1", "gone", "new")] == [
        ("browse", None)
    ] * 3
    checked(shop)


def test_a_person_moves_customers_past_the_rules(
    shop: Shop, make_entry: MakeEntry, fact: Callable[..., Entry]
) -> None:
    """Who is moved to a stage of the newest version goes there; a stage of both keeps the run."""
    once = attrs.evolve(TWO, reentry=ReEntry(allow=False))
    both = attrs.evolve(once, stages=(*TWO.stages, Stage("buy", enter=["Never"])))
    shop.deploy(ONE, at=0)
    for user in ("pinned", "ended", "both"):
        shop.add(make_entry("Look", user_id=user, at=1), at=1)
    shop.add(make_entry("Leave", user_id="ended", at=2), at=2)
    shop.deploy(both, at=10)
    for user, stage in (("pinned", "end"), ("ended", "end"), ("both", "buy")):
        to = {"from": "other", "to": "shop", "stage": stage}
        shop.add(fact("journey.transferred", to, user_id=user, at=11), at=11)

    assert shop.stages() == {
        "pinned shop@1": ("look", "transferred"),
        "pinned shop@2": ("end", None),
        "ended shop@1": ("look", "abandoned"),
        "ended shop@2": ("end", None),
        "both shop@1": ("buy", None),
    }
    away = {"from": "shop", "to": "other", "stage": "x"}
    shop.add(fact("journey.transferred", away, user_id="both", at=12), at=12)
    assert shop.stages()["both shop@1"] == ("buy", "transferred")
    checked(shop)


def test_what_concerns_every_cart_concerns_those_of_each_version(
    shop: Shop, make_entry: MakeEntry
) -> None:
    """An exit of all instances ends pinned ones and new ones, heard of before it or behind it."""
    gone = Exit("Bounced", outcome="gone", match_instance=False)
    one = attrs.evolve(ONE, instance_by="cart", exits=(gone,))
    shop.deploy(one, at=0).add(make_entry("Look", {"cart": "a"}, at=1), at=1)
    shop.deploy(attrs.evolve(TWO, instance_by="cart", exits=(gone,)), at=10)
    shop.add(make_entry("Look", {"cart": "b"}, at=11), make_entry("Bounced", at=12), at=13)
    shop.add(make_entry("Look", {"cart": "c"}, at=11), at=14)

    assert shop.stages() == {
        "u1/a shop@1": ("look", "gone"),
        "u1/b shop@2": ("browse", "gone"),
        "u1/c shop@2": ("browse", "gone"),
    }
    checked(shop)


# History


def test_an_import_is_folded_before_the_checkpoint(
    shop: Shop, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is imported counts in a pinned run, however old it is, and in later foldings too."""
    monkeypatch.setattr(checkpoint, "EVERY_MOMENTS", 3)
    one = attrs.evolve(ONE, late=seconds(20))
    shop.deploy(one, at=0)
    shop.add(make_entry("Look", at=1), at=1).deploy(attrs.evolve(TWO, late=seconds(20)), at=10)
    for at in range(30, 60, 5):
        shop.add(make_entry("Look", at=at), at=at)
    assert len(list(shop.store.scan(CHECKPOINTS))) == 1
    shop.add(make_entry("Buy", at=2, flags=HISTORICAL), at=60)
    shop.add(make_entry("Look", at=52), at=61)

    assert shop.runs["shop@1", "u:u1", ""].visits == [2, 1]
    checked(shop)


def test_a_checkpoint_has_the_run_of_its_version_only(
    shop: Shop, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came to pass on an earlier version is no part of the run that is folded again."""
    for module in (checkpoint, line_instance):
        monkeypatch.setattr(module, "EVERY_MOMENTS", 3)
    late = {"late": seconds(20)}
    shop.deploy(attrs.evolve(ONE, **late), at=0)
    shop.add(make_entry("Look", at=1), at=1).add(make_entry("Buy", at=2), at=2)
    shop.add(make_entry("Leave", at=3), at=3).deploy(attrs.evolve(TWO, exits=(), **late), at=10)
    for at in range(11, 60, 5):
        shop.add(make_entry("Buy" if at % 2 else "Look", at=at), at=at)
    assert [Place.of(key).label for key, _ in shop.store.scan(CHECKPOINTS)] == ["shop@2"]
    shop.add(make_entry("Look", at=52), at=61)

    assert shop.runs["shop@2", "u:u1", ""].visits == [5, 5, 0]
    assert shop.runs["shop@2", "u:u1", ""].number == 2
    checked(shop)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("merged", [False, True])
def test_a_run_ends_at_its_deadline_also_behind_a_checkpoint(
    shop: Shop,
    make_entry: MakeEntry,
    fact: Callable[..., Entry],
    several: bool,
    merged: bool,
) -> None:
    """A run that time had ended before the checkpoint has the same end when it is folded again."""
    once = {"late": seconds(30), "timeout": seconds(60), "reentry": ReEntry(allow=False)}
    one, two = attrs.evolve(ONE, **once), attrs.evolve(TWO, late=seconds(30))
    with small_steps(0):
        shop.deploy(one, at=0)
        for at in (35, 55, 60):
            shop.add(make_entry("Look", user_id="bob", at=at), at=at)
        shop.deploy(attrs.evolve(two, reentry=one.reentry) if several else one, at=120)
        shop.add(make_entry("Look", user_id="bob", at=205), at=205)
        if merged:
            shop.add(make_entry("Look", at=190, **device()), at=205)
            shop.add(fact("customer.identified", user_id="bob", anonymous_id="c1", at=206), at=206)
        assert len(list(shop.store.scan(CHECKPOINTS))) == 1
        shop.add(make_entry("Look", user_id="bob", at=191), at=207)

        run = shop.runs["shop@1", "u:bob", ""]
        assert (run.outcome, run.ended_at) == ("timed_out", NOON + 95_000_000)
        checked(shop)


# Consent


@pytest.mark.parametrize("publish", ["close", {"migrate": {"look": "order"}}])
def test_what_a_publication_does_has_the_stamp_of_the_customer(
    shop: Shop, make_entry: MakeEntry, publish: Any
) -> None:
    """News that a publication makes carries what the customer had granted and denied at last."""
    shop.deploy(ONE, at=0)
    stamped = make_entry("Look", at=1)
    context = {"purposes": ["analytics"], "denied": ["export:crm"]}
    body = stamped.body.replace(
        b'"context":{', b'"context":' + json.dumps(context)[:-1].encode() + b","
    )
    shop.add(stamped._replace(flags=ASKED | DENIED, body=body), at=2)
    before = len(shop.log)
    shop.deploy(attrs.evolve(TWO, publish=publish), at=10)

    news = [entry for entry in shop.log[before:] if entry.kind is Kind.DERIVED]
    assert news
    for entry in news:
        assert entry.flags == ASKED | DENIED
        assert json.loads(entry.body)["context"] == context


# Erasing


def test_nothing_is_left_in_any_version(shop: Shop, make_entry: MakeEntry) -> None:
    """Runs, deadlines and checkpoints of all versions go with the customer."""
    stalls = tuple(attrs.evolve(each, stall=seconds(900)) for each in TWO.stages)
    shop.deploy(ONE, at=0)
    shop.add(make_entry("Look", user_id="ada", at=1), make_entry("Look", user_id="bob", at=1), at=1)
    shop.add(make_entry("Leave", user_id="ada", at=2), at=2)
    shop.deploy(attrs.evolve(TWO, stages=stalls), at=10)
    shop.add(make_entry("Look", user_id="ada", at=11), at=11)
    assert list(shop.store.scan("timer"))
    begin(shop.store, ("user", "ada"), at=12)
    shop.clock = 12
    shop.fold()

    assert shop.stages() == {"bob shop@1": ("look", None)}
    assert "ada" not in repr(state(shop))
    work_off(shop)
    checked(shop)


def test_a_journey_that_is_gone_keeps_nobody(shop: Shop, make_entry: MakeEntry) -> None:
    """What no declaration folds any more is forgotten: an erasure would not find it."""
    shop.deploy(ONE, attrs.evolve(ONE, key="other"), at=0)
    shop.add(make_entry("Look", user_id="ada", at=1), at=1)
    shop.deploy(ONE, at=2)

    assert {label for label, *_ in shop.runs} == {"shop@1"}


def work_off(shop: Shop) -> None:
    """Do all that is left to do for who was erased."""
    eraser = Eraser(shop.store, projected=True)
    while any(not each.finished for each in shop.store.erasing.pending()):
        eraser.step()


# Any history

_LATE = 30.0
_EVENTS = ("Look", "Buy", "Paid", "Leave", "Bye", "Come")
_VARIANTS: list[dict[str, Any]] = [
    {},
    {"reentry": ReEntry(allow=False)},
    {"reentry": ReEntry(wait=seconds(20), max=2)},
    {"timeout": seconds(60)},
    {"entry": (Rule("Come"), Rule("Look", where={"big": True}))},
    {"instance_by": "cart"},
    {"skip": "forbid", "regress": "ignore"},
]
_POLICIES: list[Any] = [
    "drain",
    "close",
    {"migrate": {"look": "order", "buy": "browse"}},
    {"migrate": {"buy": "end"}},
]
_PLACES = st.sampled_from([{"cart": "a", "big": True}, {"cart": "b", "big": False}, {}])
_HAPPENINGS = st.lists(
    st.fixed_dictionaries(
        {
            "what": st.sampled_from(["event"] * 8 + ["out", "in", "to", "from"]),
            "name": st.sampled_from(_EVENTS),
            "who": st.sampled_from(sorted(_WHO)),
            "at": st.integers(0, 240),
            "properties": _PLACES,
            "stage": st.sampled_from(["look", "buy", "order", "end"]),
        }
    ),
    max_size=18,
    unique_by=lambda each: each["at"],
)
_IDENTITY = st.lists(
    st.tuples(
        st.sampled_from(["identified", "identified", "unmerged"]),
        st.sampled_from(["c1", "c2"]),
        st.sampled_from(["ada", "bob"]),
        st.integers(0, 240),
    ),
    max_size=6,
)


def happening(make_entry: MakeEntry, number: int, each: dict[str, Any], **who: Any) -> Entry:
    """Return the event or the fact that was drawn."""
    name, properties, more = each["name"], each["properties"], {}
    if each["what"] != "event":
        more = {"kind": Kind.FACT, "actor": "operator", "reason": "a test"}
        name = "journey.transferred" if each["what"] in ("to", "from") else "customer.opted_out"
        properties = {
            "out": {"journey": "shop"},
            "in": {"journey": "shop", "revoked": True},
            "from": {"from": "shop", "from_instance": properties.get("cart"), "to": "other"},
            "to": {
                "from": "other",
                "to": "shop",
                "to_instance": properties.get("cart"),
                "stage": each["stage"],
            },
        }[each["what"]]
    return make_entry(name, properties, id=f"e{number:02}", at=float(each["at"]), **who, **more)


def links_after(stated: list[tuple[str, str, str, int]]) -> dict[str, str]:
    """Return who each device is in the end: first come, until taken apart."""
    found: dict[str, str] = {}
    for what, anonymous, user, _ in stated:
        if what == "unmerged":
            found.pop(anonymous, None)
        else:
            found.setdefault(anonymous, user)
    return found


@contextlib.contextmanager
def small_steps(kept: int) -> Iterator[None]:
    """Let checkpoints move often, and histories be read in small pages."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (checkpoint, line_history, line_instance, whole):
            patch.setattr(module, "EVERY_MOMENTS", 3)
        patch.setattr(whole, "PAGE", 2)
        patch.setattr(line_history, "MOST_KEPT", kept)
        patch.setattr(whole, "MOST_KEPT", kept)
        patch.setattr("journeykit.journeys.versions._SLICE", 2)
        yield


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("kept", [2000, 0])
@settings(max_examples=60, deadline=None)
@given(
    happenings=_HAPPENINGS,
    stated=_IDENTITY,
    publish=st.sampled_from(_POLICIES),
    old=st.sampled_from(_VARIANTS),
    new=st.sampled_from(_VARIANTS),
    chance=st.randoms(use_true_random=False),
)
def test_people_and_publications_in_any_order(  # noqa: PLR0917 - what Hypothesis and pytest give
    make_entry: MakeEntry,
    kind: str,
    kept: int,
    happenings: list[dict[str, Any]],
    stated: list[tuple[str, str, str, int]],
    publish: Any,
    old: dict[str, Any],
    new: dict[str, Any],
    chance: random.Random,
) -> None:
    """Shuffled, repeated, merged, taken apart and rebuilt: the State of the sorted history."""
    if isinstance(publish, dict) and old.get("instance_by") != new.get("instance_by"):
        publish = "drain"
    late = {"late": timedelta(seconds=_LATE)}
    one, two = attrs.evolve(ONE, **old, **late), attrs.evolve(TWO, publish=publish, **new, **late)
    stated = sorted(stated, key=lambda each: each[3])
    links = links_after(stated)

    shuffled = [(each["at"], entry) for each, entry in people(make_entry, happenings, {})]
    shuffled = [*within_the_window(shuffled, chance), *identity_facts(make_entry, stated)]
    in_order = [(each["at"], entry) for each, entry in people(make_entry, happenings, links)]
    with small_steps(kept):
        assert told(kind, one, two, shuffled, chance) == told(kind, one, two, in_order, None)


def people(
    make_entry: MakeEntry, happenings: list[dict[str, Any]], links: dict[str, str]
) -> list[tuple[dict[str, Any], Entry]]:
    """Return what happened, with devices under the person whose they are in the end."""
    found = []
    for number, each in enumerate(happenings):
        known = {"user_id": links[each["who"]]} if each["who"] in links else _WHO[each["who"]]
        found.append((each, happening(make_entry, number, each, **known)))
    return found


def within_the_window(
    happened: list[tuple[float, Entry]], chance: random.Random
) -> list[tuple[float, Entry]]:
    """Return events with the time at which they come, some twice, each on its side of 120."""
    found = []
    for at, entry in happened:
        for _ in range(chance.choice([1, 1, 2])):
            end = 120.0 if at < 120 else 280.0
            found.append((min(at + chance.random() * _LATE, end - 0.001), entry))
    return found


def identity_facts(
    make_entry: MakeEntry, stated: list[tuple[str, str, str, int]]
) -> list[tuple[float, Entry]]:
    """Return what was stated about who is who, with the time at which it comes."""
    found = []
    for number, (what, anonymous, user, at) in enumerate(stated):
        who = {"user_id": None if what == "unmerged" else user, "anonymous_id": anonymous}
        more = {"kind": Kind.FACT, "actor": "o", "reason": "r", "at": float(at)}
        found.append((float(at), make_entry(f"customer.{what}", id=f"f{number}", **who, **more)))
    return found


def told(
    kind: str,
    one: Journey,
    two: Journey,
    coming: list[tuple[float, Entry]],
    chance: random.Random | None,
) -> dict[Any, Any]:
    """Return what runs have come to; with *chance*, in batches of any size, and with crashes."""
    coming = sorted(coming, key=lambda pair: pair[0])
    early = sum(at < 120 for at, _ in coming)
    with open_shop(kind) as shop:
        for journey, at, found in ((one, 0, coming[:early]), (two, 120, coming[early:])):
            shop.deploy(journey, at=at)
            left = list(found)
            while left:
                size = chance.randint(1, 3) if chance is not None else 1
                part, left = left[:size], left[size:]
                shop.add(*(entry for _, entry in part), at=part[-1][0])
                if chance is not None and chance.random() < 0.2:
                    # A crash behind what was written: another process goes on from there.
                    prepare = shop.publisher.prepare
                    shop.projector = Projector(shop.store, prepare=prepare, now=shop.now)
        shop.clock = 1000
        shop.fold()
        checked(shop)
        runs = {place: run.standing() for place, run in shop.runs.items()}
        return {place: run for place, run in runs.items() if run.furthest >= 0 or run.outcome}
