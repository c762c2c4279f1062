"""Whatever happens in whatever order, cases keep what was promised of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from journeykit.feedback.case_state import (
    ACKNOWLEDGED,
    ASSIGNED,
    COMPLAINED,
    MOST_CHANGES,
    NOTED,
    REOPENED,
    RESOLVED,
    RESUMED,
    WAITING,
    Change,
    Opened,
    Record,
    Terms,
    stand,
)
from journeykit.feedback.case_view import case_of
from journeykit.feedback.hours import hours_of
from journeykit.model import CaseRule, Cases, CaseStatus, CaseWhen, Customer, Kind, Prompt, When
from journeykit.model.times import to_micros

MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
NOON = 1_772_452_800_000_000
WHATS = (ASSIGNED, ACKNOWLEDGED, WAITING, RESUMED, NOTED, RESOLVED, REOPENED, COMPLAINED)


def record(terms: Terms) -> Record:
    """Return a new case of noon."""
    opened = Opened(
        *(NOON, "r", "R", "", "ada", None, "u:ada", "desk", None),
        ('"journey":null,"version":null', None, None),
        *(None, 0, "{}", terms),
    )
    return Record("c", "u:ada", opened, 1)


TERMS = st.builds(
    Terms,
    st.integers(1, 100).map(lambda hours: hours * HOUR),
    st.integers(1, 100).map(lambda hours: hours * HOUR),
    st.integers(1, 40).map(lambda days: days * DAY // 2),
    st.sampled_from(((), ("mon-fri 09:00-17:00",), ("sat-sun 00:00-24:00", "wed 12:00-13:00"))),
    st.sampled_from(("UTC", "Europe/Vienna")),
    st.none(),
    st.none(),
)
CHANGES = st.lists(
    st.tuples(st.integers(0, 60 * DAY // MINUTE), st.sampled_from(WHATS)), max_size=30
)


def changes_of(found: list[tuple[int, str]]) -> list[Change]:
    """Return changes so many minutes after noon."""
    return [
        Change(NOON + minutes * MINUTE, f"{number:03}", what, "bob", "r", {"owner": str(number)})
        for number, (minutes, what) in enumerate(found)
    ]


@given(TERMS, CHANGES, st.randoms(use_true_random=False), st.integers(0, 90 * DAY))
def test_the_order_of_arrival_does_not_matter(
    terms: Terms, found: list[tuple[int, str]], shuffling: random.Random, until: int
) -> None:
    """What was done to a case adds up to the same, whichever of it was recorded first."""
    first, second = record(terms), record(terms)
    changes = changes_of(found)
    for change in changes:
        assert first.add(change)
        assert not first.add(change)
    shuffling.shuffle(changes)
    for change in changes:
        second.add(change)
    assert first.encode() == second.encode()
    assert Record.decode(first.encode()) == first
    assert case_of(first, NOON + until) == case_of(second, NOON + until)


@given(TERMS, CHANGES, st.integers(0, 90 * DAY))
def test_clocks_count_what_they_should(
    terms: Terms, found: list[tuple[int, str]], until: int
) -> None:
    """A clock runs out after so many business hours in which it was the shop's turn."""
    kept = record(terms)
    for change in changes_of(found):
        kept.add(change)
    standing, hours = stand(kept, NOON + until), hours_of(terms.hours, terms.zone)
    limits = {"first_response": terms.first_response, "resolution": terms.resolution}
    for clock in standing.clocks():
        if clock.due is None:
            assert standing.status is CaseStatus.WAITING
            continue
        run = hours.between(clock.started, clock.due)
        if clock.name == "resolution":
            pauses = [pause for pause in standing.pauses if clock.started <= pause[0] < clock.due]
            run -= sum(
                hours.between(begin, min(end or clock.due, clock.due)) for begin, end in pauses
            )
        assert run == limits[clock.name]
        assert clock.stopped is None or clock.stopped >= clock.started
    # Pauses do not overlap, and each round begins behind the one before.
    edges = [edge for pause in standing.pauses for edge in pause if edge is not None]
    assert edges == sorted(edges)
    rounds = [edge for each in standing.rounds for edge in each if edge is not None]
    assert rounds == sorted(rounds)


@given(TERMS, CHANGES)
def test_nothing_happens_behind_the_end(terms: Terms, found: list[tuple[int, str]]) -> None:
    """What is done to a case once it is closed changes neither its status nor its owner."""
    kept = record(terms)
    kept.add(Change(NOON, "begin", RESOLVED, "b", "r", {"cause": "c", "action": "a"}))
    closed = stand(kept, NOON + terms.reopen)
    assert closed.is_closed
    before = case_of(kept, NOON + 100 * DAY)
    for change in changes_of(found):
        if change.what != NOTED:
            kept.add(change._replace(at=change.at + terms.reopen))
    after = case_of(kept, NOON + 200 * DAY)
    assert (after.status, after.cause, after.clocks) == (before.status, before.cause, before.clocks)


def test_changes_are_bounded() -> None:
    """A case takes no more changes than State can hold."""
    kept = record(Terms(HOUR, HOUR, DAY))
    taken = [kept.add(Change(NOON, str(number), NOTED)) for number in range(MOST_CHANGES + 5)]
    assert taken.count(True) == MOST_CHANGES


# All of it, with a projector

RULES = Cases(
    rules=[
        CaseRule(key="low", when=CaseWhen(prompt="q"), recovery="well"),
        CaseRule(key="pay", when=CaseWhen(pain_point="payment.declined"), subject="target"),
    ],
    first_response=timedelta(hours=4),
    resolution=timedelta(hours=20),
    hours=["mon-fri 08:00-18:00"],
    zone="Europe/Vienna",
    reopen_within=timedelta(days=3),
)
PROMPTS = (
    Prompt(key="q", kind="csat", text="?", when=When(event="Order Completed")),
    Prompt(key="well", kind="csat", text="?", when=When(event="case.resolved")),
)
FACTS = ("assigned", "acknowledged", "waiting", "resumed", "noted", "resolved", "reopened")
OPERATIONS = st.one_of(
    st.tuples(
        st.just("answer"),
        st.integers(0, 2),
        st.integers(1, 5),
        st.integers(0, 3),
        st.integers(0, 2),
    ),
    st.tuples(st.just("recover"), st.integers(0, 2), st.integers(1, 5)),
    st.tuples(st.just("pay"), st.integers(0, 2), st.integers(0, 1)),
    st.tuples(st.just("work"), st.integers(0, 3), st.sampled_from(FACTS), st.integers(0, 40)),
    st.tuples(st.just("wait"), st.sampled_from((60.0, 4000.0, 40_000.0, 300_000.0))),
    st.tuples(st.just("part")),
    st.tuples(st.just("sign in")),
)
CUSTOMERS = (Customer(None, "d1"), Customer("ada"), Customer(None, "d2"))


def do(shop: Any, operation: Any) -> None:
    """Do one thing."""
    what, *rest = operation
    if what == "answer":
        who, score, number, seq = rest
        # An impression is one customer's.
        impression = f"{who}-{number}"
        shop.answer(CUSTOMERS[who], score, impression=impression, seq=seq)
    elif what == "recover":
        impression = f"well-{shop.clock()}-{rest[0]}"
        shop.answer(CUSTOMERS[rest[0]], rest[1], prompt="well", impression=impression)
    elif what == "pay":
        shop.track("Payment Declined", CUSTOMERS[rest[0]], {"cart": f"c{rest[1]}"})
    elif what == "work":
        cases = sorted(case.id for case in shop.cases.list(everything=True))
        if cases:
            fact = {
                "case": cases[rest[0] % len(cases)],
                "owner": "bob",
                "cause": "c",
                "action": "a",
            }
            at = (shop.clock() - NOON) / 1e6 - rest[2] * 1800
            name, who = f"case.{rest[1]}", {"actor": "bob", "reason": "r"}
            shop.track(name, Customer("ada"), fact, kind=Kind.FACT, at=at, **who)
    elif what == "part":
        fact = {"actor": "bob", "reason": "r"}
        shop.track("customer.unmerged", CUSTOMERS[0], kind=Kind.FACT, **fact)
    elif what == "sign in":
        shop.track("Signed In", Customer("ada", "d1"))
    else:
        shop.clock.advance(rest[0])


@given(operations=st.lists(OPERATIONS, min_size=3, max_size=40), folding=st.integers(1, 9))
@settings(max_examples=2 * settings().max_examples)
def test_cases_keep_their_promises(
    make_shop: Callable[..., Any], operations: list[Any], folding: int
) -> None:
    """One open case a person, rule and subject; a rebuild is the same; a breach is told once."""
    shop = make_shop(*PROMPTS, cases=RULES)
    shop.prompt = False
    merged = False
    for number, operation in enumerate(operations):
        merged = merged or operation[0] in ("sign in", "part")
        do(shop, operation)
        if number % folding == 0:
            shop.fold()
    shop.fold()
    cases = shop.cases.list(everything=True)
    if not merged:
        kept = [
            (case.customer.key, case.rule, case.subject)
            for case in cases
            if case.status is not CaseStatus.CLOSED
        ]
        assert len(kept) == len(set(kept))
    opened = {entry.id for entry in shop.log("case.opened")}
    assert opened == {case.id for case in cases}
    # What is told of a clock is told once, unless it was withdrawn.
    told = shop.log("case.breached")
    assert len({entry.id for entry in told}) == len(told)
    now = shop.clock()
    overdue = {case.id for case in cases if case.is_overdue}
    assert overdue <= {case.id for case in shop.cases.list(overdue=True)}
    for case in cases:
        for clock in case.clocks:
            if clock.breached and clock.stopped is None and case.is_open:
                assert clock.due is not None
                assert to_micros(clock.due) <= now
    before, rows = shop.state(), len(shop.store.read(None, 10_000))
    shop.rebuild()
    assert shop.state() == before
    assert len(shop.store.read(None, 10_000)) == rows
