"""Trials from events, in whatever order they come."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit import Consent, Core, Customer, JourneyKit, Settings
from journeykit.insight.anomaly import Trial
from journeykit.insight.population import DAY, MOST_VALUES, OTHER, Population, Trials
from journeykit.insight.steps import Failing, Step, Steps
from journeykit.journeys import declare, folds, plans
from journeykit.model import Entry, Goal, Journey, Rule, Stage
from journeykit.plugins import Plugins
from journeykit.store.memory import MemoryStore
from journeykit.store.projector import Projector
from journeykit.store.protocol import Commit, Store

WAY = Journey(
    key="way",
    version=1,
    stages=[Stage("one", enter=["a", "b"]), Stage("two", enter=["c"]), Stage("after", enter=["d"])],
    goal=Goal("c"),
)
MakeEntry = Callable[..., Entry]

#: Customer, time, name, platform.
Row = tuple[str, int, str, str | None]


def steps(*journeys: Journey, failures: Sequence[str] | None = None) -> Steps:
    """Return the steps of journeys."""
    declared, problems = declare(journeys or (WAY,), (), {})
    assert not problems
    return Steps(plans(declared), declared.vocabulary, failures)


def taken(rows: Sequence[Row], of: Steps | None = None) -> Trials:
    """Return the trials of rows; the marks are their places in *rows* sorted."""
    population = Population(of or steps(), ["platform"])
    places = {row: number for number, row in enumerate(sorted(set(rows), key=repr))}
    for row in rows:
        customer, at, name, platform = row
        properties = {} if platform is None else {"platform": platform}
        body = json.dumps({"properties": properties}).encode()
        population.take(customer, at, name, body, f"{places[row]:04d}")
    return population.trials()


def outcomes(trials: Trials) -> dict[str, list[tuple[int, bool, str | None]]]:
    """Return for each step the day, the failure and the platform of its trials, in order."""
    return {
        step.event: sorted((each.day, each.failed, each.segments[0]) for each in found)
        for step, found in trials.steps.items()
    }


#: Long after all else, so that every day is over.
END: Row = ("end", 90 * DAY, "x", "p")


def test_who_gets_on_the_same_day_or_within_24_hours_has_not_failed() -> None:
    """A later step counts on the day, in any order, and until the same time of the next day."""
    found = taken(
        [
            ("on", 5 * DAY + 100, "a", "p"),
            ("on", 5 * DAY + 50, "b", "p"),  # earlier by its clock, on the same day
            ("tomorrow", 6 * DAY + 100, "b", "p"),
            ("tomorrow", 7 * DAY + 100, "c", "p"),
            ("late", 8 * DAY + 100, "b", "p"),
            ("late", 9 * DAY + 101, "c", "p"),
            END,
        ]
    )

    assert outcomes(found) == {
        "a": [(5, False, "p")],
        "b": [(5, True, "p"), (6, False, "p"), (8, True, "p")],
    }


def test_nobody_fails_behind_the_goal() -> None:
    """The goal and what comes after it are no steps to get on from, and lead nowhere."""
    found = taken([("u", DAY, "b", "p"), ("u", DAY + 1, "d", "p"), END])

    assert [step.event for step in found.steps] == ["a", "b"]
    assert outcomes(found)["b"] == [(1, True, "p")]


def test_a_day_that_is_not_over_is_no_trial() -> None:
    """Who came less than 24 hours before the newest event may still get on."""
    found = taken([("u", 10 * DAY, "a", "p"), ("v", 11 * DAY - 1, "x", "p")])

    assert outcomes(found)["a"] == []


def test_a_day_is_one_trial() -> None:
    """However often somebody tries on a day, it is one trial; they reached the goal if they did."""
    rows = [("u", 3 * DAY + each, "b", "p") for each in range(9)]

    (trial,) = taken([*rows, ("u", 3 * DAY + 50, "c", "p"), END]).steps[_step("b")]

    assert (trial.at, trial.failed, trial.converted) == (3 * DAY, False, True)


def _step(event: str) -> Step:
    return next(step for step in steps().evaluated if step.event == event)


def test_values_carry_on() -> None:
    """An event without the property has the value shown last, or the first one shown later."""
    found = taken(
        [
            ("u", 1 * DAY, "a", None),
            ("u", 2 * DAY, "x", "mobile"),
            ("u", 3 * DAY, "a", None),
            ("u", 4 * DAY, "a", "desktop"),
            ("u", 5 * DAY, "a", None),
            END,
        ]
    )

    assert [platform for _, _, platform in outcomes(found)["a"]] == [
        "mobile",
        "mobile",
        "desktop",
        "desktop",
    ]


def test_a_property_with_many_values_is_capped() -> None:
    """The most common values stay; the rest are one segment, and it says how many there were."""
    rows: list[Row] = [(f"u{each}", DAY, "a", f"v{each}") for each in range(1000)]
    rows += [(f"w{each}", DAY, "a", "common") for each in range(3)]

    found = taken([*rows, END])

    values = {platform for _, _, platform in outcomes(found)["a"]}
    assert found.capped == {"platform": 1001}
    assert len(values) == MOST_VALUES + 1
    assert {OTHER, "common"} < values


def test_a_property_that_no_event_has_is_named() -> None:
    """It is a mistake in the declaration that only the events can show."""
    assert taken([("u", DAY, "a", None), ("u", 90 * DAY, "a", None)]).unseen == ("platform",)
    assert taken([("u", DAY, "a", "p"), END]).unseen == ()


def test_an_event_that_says_so_is_a_failure() -> None:
    """What belongs to no stage and is called an error is one, with the furthest step of the day."""
    found = taken(
        [
            ("u", DAY, "a", "p"),
            ("u", DAY + 1, "payment_error", "p"),
            ("u", DAY + 2, "b", "p"),
            ("v", DAY, "a", "p"),
            END,
        ]
    )

    first, second = found.steps[Failing("payment_error")]
    assert (first.failed, first.mark.step.event) == (True, "b")
    assert (second.failed, second.mark.step.event) == (False, "a")


def test_failures_may_be_declared() -> None:
    """Then these are, whatever they are called, and nothing else is."""
    rows: list[Row] = [("u", DAY, "maple", "p"), ("u", DAY, "payment_error", "p"), END]

    found = taken(rows, steps(failures=["maple"]))

    assert [step.event for step in found.steps if isinstance(step, Failing)] == ["maple"]


def test_conditions_of_stages_hold() -> None:
    """A rule with `after` or `where` is a step only for events that fulfil it."""
    journey = Journey(
        key="guarded",
        version=1,
        stages=[
            Stage("one", enter=[Rule("see"), Rule("see", where={"vip": True})]),
            Stage("two", enter=[Rule("see", after="buy")]),
            Stage("end", enter=["done"]),
        ],
    )
    population = Population(steps(journey), ["platform"])
    for number, (at, name, properties) in enumerate(
        [
            (1 * DAY, "see", {}),
            (3 * DAY, "see", {"vip": True}),
            (5 * DAY, "buy", {}),
            (7 * DAY, "see", {}),
            (90 * DAY, "x", {}),
        ]
    ):
        body = json.dumps({"properties": {**properties, "platform": "p"}}).encode()
        population.take("u", at, name, body, str(number))

    found = {
        (step.stage, step.place): [trial.day for trial in trials]
        for step, trials in population.trials().steps.items()
    }

    assert found == {("one", 0): [1], ("one", 1): [3], ("two", 2): [7]}


def brute_force(rows: Sequence[Row]) -> dict[str, set[tuple[str, int, bool]]]:
    """Read the definition event by event."""
    order = {"a": 0, "b": 1, "c": 2}
    newest = max(at for _, at, _, _ in rows)
    found: dict[str, set[tuple[str, int, bool]]] = {"a": set(), "b": set()}
    for customer, _, name, _ in rows:
        if name not in found:
            continue
        days = {at // DAY for who, at, what, _ in rows if (who, what) == (customer, name)}
        for day in days:
            first = min(
                at for who, at, what, _ in rows if (who, what, at // DAY) == (customer, name, day)
            )
            if first + DAY > newest:
                continue
            got_on = any(
                who == customer
                and order.get(what, -1) > order[name]
                and day * DAY <= at <= first + DAY
                for who, at, what, _ in rows
            )
            found[name].add((customer, day, not got_on))
    return found


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["u", "v"]),
        st.integers(0, 5 * 4).map(lambda quarter: quarter * DAY // 4),
        st.sampled_from(["a", "b", "c", "d", "x"]),
        st.just("p"),
    ),
    min_size=1,
    max_size=25,
    unique=True,
)


@given(rows=ROWS, seed=st.integers(0, 99))
def test_trials_are_what_the_definition_says(rows: list[Row], seed: int) -> None:
    """Whatever the events and their order, the trials are those that a plain reading finds."""
    shuffled = rows.copy()
    random.Random(seed).shuffle(shuffled)
    population = Population(steps(), ["platform"])
    for customer, at, name, _ in shuffled:
        population.take(customer, at, name, b'{"properties":{"platform":"p"}}', "0")
    customers = {index: name for name, index in population._customers.items()}

    found = {
        step.event: {(customers[each.customer], each.day, each.failed) for each in trials}
        for step, trials in population.trials().steps.items()
    }

    assert found == brute_force(rows)


@given(rows=ROWS, seed=st.integers(0, 99))
def test_the_order_of_arrival_does_not_matter(rows: list[Row], seed: int) -> None:
    """The same events in any order, and twice, make the same trials."""
    other = rows * 2
    random.Random(seed).shuffle(other)

    def told(trials: Trials) -> dict[Any, list[Trial]]:
        return {
            step: sorted((each._replace(customer=0) for each in found), key=repr)
            for step, found in trials.steps.items()
        }

    assert told(taken(other)) == told(taken(rows))


NOW = 4_000_000_000_000_000


def stored(store: Store, *entries: Entry) -> None:
    """Commit and fold entries."""
    store.open()
    store.commit(Commit(entries), NOW)
    compiled = plans(declare((WAY,), (), {})[0])
    folding = folds(compiled, Plugins(installed=False))
    projector = Projector(store, folding, declaration="way", now=lambda: NOW)
    while projector.step() is not None:
        pass


def test_the_log_is_read_by_person(make_entry: MakeEntry) -> None:
    """Who was anonymous when the step began, and known when it went on, is one customer."""
    store = MemoryStore()
    stored(
        store,
        make_entry("b", user_id=None, anonymous_id="c1"),
        make_entry("d", anonymous_id="c1", user_id="u1", at=1),
        make_entry("c", user_id="u1", at=2),
        make_entry("x", user_id="u2", at=90 * 86_400),
    )

    found = Population(steps(), ["platform"]).read(store).trials()

    (trial,) = found.steps[_step("b")]
    assert not trial.failed


@pytest.mark.parametrize("value", [None, ["a"], {"a": 1}, "", "x" * 500, "a\nb"])
def test_values_that_name_no_segment_are_left_out(value: Any) -> None:
    """Lists, tables, nothing and whole essays are no segments."""
    population = Population(steps(), ["platform"])
    body = json.dumps({"properties": {"platform": value}}).encode()
    population.take("u", DAY, "a", body, "0")
    population.take("u", 90 * DAY, "a", b"{}", "1")

    assert population.trials().unseen == ("platform",)


def test_context_and_channel_are_segments_too() -> None:
    """A segment is a property, or what the capture knew around the event."""
    population = Population(steps(), ["device", "channel"])
    body = b'{"channel":"web","context":{"device":"phone"},"properties":{}}'
    population.take("u", DAY, "a", body, "0")
    population.take("u", 90 * DAY, "x", b"{}", "1")

    (trial,) = population.trials().steps[_step("a")]

    assert trial.segments == ("phone", "web")


def test_who_is_erased_or_parted_counts_no_more(make_kit_of: Callable[..., JourneyKit]) -> None:
    """Trials fall with an erasure, and follow a merge that is taken back."""
    with make_kit_of(WAY) as kit:
        for number in range(3):
            kit.track_history("b", {}, customer=f"u{number}", at=EARLY, id=f"b{number}")
        device = Customer("u0", "device")
        kit.track_history("c", {}, customer=Customer(None, "device"), at=EARLY, id="c")
        kit.track_history("d", {}, customer=device, at=EARLY, id="d")
        kit.track("x", customer="end")
        assert kit.flush()

        def failures() -> list[bool]:
            population = Population(steps(), ["platform"]).read(kit.store)
            return sorted(each.failed for each in population.trials().steps[_step("b")])

        merged = failures()
        kit.unmerge("device", reason="a shared tablet")
        assert kit.flush()
        parted = failures()
        assert kit.erase("u1", reason="asked", actor="customer").done

        assert (merged, parted) == ([False, True, True], [True, True, True])
        assert failures() == [True, True]


EARLY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def make_kit_of() -> Callable[..., JourneyKit]:
    """Return a factory of kits of journeys, in memory."""

    def make(*journeys: Journey) -> JourneyKit:
        core = Core(store="memory://", strict=True)
        return JourneyKit(Settings(consent=Consent("opt_out"), core=core, journeys=journeys))

    return make
