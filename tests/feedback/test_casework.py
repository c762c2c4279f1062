from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from journeykit.capture.context import current
from journeykit.model import CaseRule, Cases, CaseWhen, Customer, Prompt, When

MakeShop = Callable[..., Any]

PROMPT = Prompt(key="q", kind="csat", text="How?", when=When(event="Order Completed"))
RULE = CaseRule(key="low", when=CaseWhen(prompt="q"), owner="desk")
BOB = {"actor": "bob", "reason": "so it is"}
HOUR, DAY = 3600, 86_400


@pytest.fixture
def shop(make_shop: MakeShop) -> Any:
    """Return a shop with one rule."""
    return make_shop(PROMPT, cases=Cases(rules=[RULE]))


def opened(shop: Any, *customers: str) -> list[str]:
    """Open a case for each of *customers*, a second apart; returns their ids."""
    for customer in customers:
        shop.clock.advance(1)
        shop.answer(Customer(customer), 1)
    by_customer = {case.customer.user_id: case.id for case in shop.cases.list()}
    return [by_customer[customer] for customer in customers]


def test_what_is_urgent_comes_first(shop: Any) -> None:
    """Overdue cases come before those that are due, and these by when; what is done comes last."""
    ada, bob, eve, ivy = opened(shop, "ada", "bob", "eve", "ivy")
    for case in (ada, eve, ivy):
        shop.cases.acknowledge(case, **BOB)
    shop.cases.resolve(ivy, cause="c", action="a", **BOB)
    shop.clock.advance(DAY)
    shop.fold()
    assert [case.id for case in shop.cases.list()] == [bob, ada, eve]
    assert [case.id for case in shop.cases.list(overdue=True)] == [bob]
    assert [case.id for case in shop.cases.list(everything=True)][-1] == ivy


def test_lists_are_of_somebody_and_of_a_rule(shop: Any) -> None:
    """A list may be of an owner, of nobody, of a rule, of a customer."""
    ada, bob = opened(shop, "ada", "bob")
    shop.cases.assign(ada, "carla", **BOB)
    assert [case.id for case in shop.cases.list(owner="carla")] == [ada]
    assert [case.id for case in shop.cases.list(owner="desk")] == [bob]
    assert not shop.cases.list(owner="")
    assert len(shop.cases.list(rule="low")) == 2
    assert not shop.cases.list(rule="other")
    assert [case.id for case in shop.cases.list(customer="bob")] == [bob]
    assert not shop.cases.list(customer="nobody")


def test_what_is_resolved_and_what_is_closed(shop: Any) -> None:
    """What is resolved is listed by owner and rule; what is closed, a page at a time, newest first."""
    cases = opened(shop, "ada", "bob", "eve", "ivy")
    for case in cases[:3]:
        shop.cases.resolve(case, cause="c", action="a", **BOB)
    assert [case.id for case in shop.cases.resolved()] == cases[2::-1]
    assert not shop.cases.resolved(owner="nobody")
    assert len(shop.cases.resolved(owner="desk", rule="low")) == 3
    assert not shop.cases.closed()
    shop.clock.advance(15 * DAY)
    shop.track("Product Viewed", Customer("zoe"))
    assert not shop.cases.resolved()
    first = shop.cases.closed(limit=2)
    assert [case.id for case in first] == cases[2:0:-1]
    assert [case.id for case in shop.cases.closed(before=first[-1].id)] == cases[:1]
    assert [case.id for case in shop.cases.list()] == [cases[3]]


def test_a_case_is_found_by_the_end_of_its_id(shop: Any) -> None:
    """People call a case by the end of its id; what is no case, or is short, is told."""
    ada, _ = opened(shop, "ada", "bob")
    assert shop.cases.get(ada[-8:]).id == ada
    assert shop.cases.get(ada[-8:].upper()).id == ada
    assert shop.cases.get(ada).reference == ada[-8:]
    for wrong in ("x", "", "zzzzzzzz", ada[-3:]):
        with pytest.raises(LookupError, match=r"there is no case .* last 8 letters"):
            shop.cases.get(wrong)


def test_what_cannot_be_done_is_told(shop: Any) -> None:
    """What does not go with the status, or lacks something, is an error that says why."""
    (case,) = opened(shop, "ada")
    work = shop.cases
    attempts: list[tuple[Callable[[], object], str]] = [
        (lambda: work.resume(case, **BOB), "does not wait for the customer; it is new"),
        (lambda: work.reopen(case, **BOB), "is not resolved; it is new"),
        (lambda: work.resolve(case, cause="", action="a", **BOB), "cause: is missing"),
        (lambda: work.resolve(case, cause="c", action=" ", **BOB), "action: is missing"),
        (lambda: work.assign(case, "", **BOB), "owner: is missing"),
        (lambda: work.assign(case, "a@b.example", **BOB), "looks like an e-mail address"),
        (lambda: work.acknowledge(case, actor="", reason="x"), "actor: is missing"),
        (lambda: work.wait(case, actor="b", reason=""), "reason: is missing"),
        (lambda: work.note(case, "x" * 2001, actor="b"), "note: has 2,001 characters"),
    ]
    for attempt, told in attempts:
        with pytest.raises(ValueError, match=told):
            attempt()
    assert [change.what for change in work.get(case).history] == ["opened"]
    work.acknowledge(case, **BOB)
    with pytest.raises(ValueError, match="is acknowledged already"):
        work.acknowledge(case, **BOB)
    shop.clock.advance(1)
    work.wait(case, **BOB)
    with pytest.raises(ValueError, match="waits already"):
        work.wait(case, **BOB)
    shop.clock.advance(1)
    work.resolve(case, cause="c", action="a", **BOB)
    for attempt in (lambda: work.acknowledge(case, **BOB), lambda: work.wait(case, **BOB)):
        with pytest.raises(ValueError, match="is resolved; reopen it first"):
            attempt()
    shop.clock.advance(20 * DAY)
    shop.fold()
    for attempt in (lambda: work.reopen(case, **BOB), lambda: work.assign(case, "x", **BOB)):
        with pytest.raises(ValueError, match="is closed; the next complaint opens another one"):
            attempt()
    assert work.note(case, "thanked", actor="b")


def test_causes_and_actions_are_chosen_from(make_shop: MakeShop) -> None:
    """Where causes and actions are declared, a case is resolved by one of them; a rule's come first."""
    rule = CaseRule(key="low", when=CaseWhen(prompt="q"), causes=["carrier", "packing"])
    shop = make_shop(PROMPT, cases=Cases(rules=[rule], causes=["late"], actions=["refund"]))
    (case,) = opened(shop, "ada")
    assert shop.cases.causes_of(case) == ("carrier", "packing")
    assert shop.cases.actions_of(case) == ("refund",)
    with pytest.raises(ValueError, match="cause: 'late' is none of those to choose from: 'carrier"):
        shop.cases.resolve(case, cause="late", action="refund", **BOB)
    with pytest.raises(ValueError, match="action: 'voucher' is none"):
        shop.cases.resolve(case, cause="packing", action="voucher", **BOB)
    assert shop.cases.resolve(case, cause="packing", action="refund", **BOB)


def test_whoever_works_a_case_is_not_whom_it_is_about(shop: Any) -> None:
    """What people do is recorded of the customer, with their consent, whoever is signed in here."""
    from journeykit.capture.context import bind_customer

    (case,) = opened(shop, "ada")
    with bind_customer(Customer("bob"), purposes={"analytics"}):
        shop.cases.acknowledge(case, **BOB)
        bound = current()
        assert bound is not None
        assert bound.customer.user_id == "bob"
    assert shop.log("case.acknowledged")[0].user_id == "ada"


def test_figures(shop: Any) -> None:
    """Figures count what is open, overdue and done, why, and how long it took."""
    ada, bob, eve = opened(shop, "ada", "bob", "eve")
    empty = shop.cases.figures().to_dict()
    assert (empty["open"], empty["overdue"], empty["median_first_response"]) == (3, 0, None)
    for hours, case in ((1, ada), (2, bob)):
        shop.clock.advance(hours * HOUR)
        shop.cases.acknowledge(case, **BOB)
    shop.clock.advance(1)
    shop.cases.wait(ada, **BOB)
    shop.clock.advance(DAY)
    shop.cases.resolve(ada, cause="late", action="a", **BOB)
    shop.cases.resolve(bob, cause="late", action="a", **BOB)
    shop.clock.advance(DAY)
    shop.cases.reopen(bob, **BOB)
    shop.clock.advance(1)
    shop.cases.assign(bob, "carla", **BOB)
    shop.clock.advance(1)
    shop.cases.wait(bob, **BOB)
    figures = shop.cases.figures()
    assert figures.to_dict() == {
        "open": 2,
        "overdue": 1,
        "unassigned": 0,
        "waiting": 1,
        "resolved": 1,
        "closed": 0,
        "reopened": 1,
        "breached": {"first_response": 1, "resolution": 0},
        "median_first_response": pytest.approx(2 * HOUR + 1.5, abs=1),
        "median_resolution": pytest.approx(15 * HOUR, abs=5),
        "causes": {"late": 1},
        "rules": {"low": 3},
    }
    assert eve in {case.id for case in shop.cases.list(overdue=True)}


def test_a_case_as_json(shop: Any) -> None:
    """A case has a JSON form with all that those who work it see."""
    import json

    (case,) = opened(shop, "ada")
    shop.cases.assign(case, "carla", **BOB)
    told = json.loads(json.dumps(shop.cases.get(case).to_dict()))
    assert (told["id"], told["owner"], told["status"]) == (case, "carla", "assigned")
    assert told["customer"] == {"user_id": "ada", "anonymous_id": None, "session_id": None}
    assert told["evidence"][0]["answers"] == {"score": 1}
    assert told["history"][1]["details"] == {"owner": "carla", "from": "desk"}
    assert told["due"] == told["clocks"][0]["due"] == "2026-03-03T12:00:01+00:00"


def test_owners_that_cannot_be_set(shop: Any) -> None:
    """Only the owner of cases can be changed without a deployment, to the name of somebody."""
    for path, value, error in (
        ("cases.other.owner", "x", LookupError),
        ("cases.low.severity", "high", LookupError),
        ("cases.low.owner", 7, TypeError),
        ("cases.low.owner", "", TypeError),
        ("cases.owner", "a@b.example", ValueError),
    ):
        with pytest.raises(error):
            shop.feedback.set(path, value, **BOB)
    assert shop.feedback.changes() == []
