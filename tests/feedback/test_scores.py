from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from journeykit.capture.context import bind_customer
from journeykit.config.settings import FeedbackSettings
from journeykit.erasing import fact
from journeykit.feedback.scores import SCORED, SCORES
from journeykit.model import (
    Ask,
    Customer,
    Goal,
    Journey,
    Kind,
    Option,
    Prompt,
    Rule,
    Stage,
    When,
)
from journeykit.model.score import Score
from journeykit.store.eraser import Eraser
from journeykit.store.protocol import Commit, Store
from journeykit.store.sqlite import SQLiteStore

MakeShop = Callable[..., Any]
MakeEntry = Callable[..., Any]

ADA, BOB = Customer("ada", "d1", "s1"), Customer("bob", "d2", "s2")
DEVICE = Customer(None, "d1", "s1")
FREE = FeedbackSettings(caps=(), per_session=0, quiet=timedelta(0), min_answers=5, never_stages=())
DAY = 86_400
SHOP = Journey(key="shop", version=1, extends="ecommerce")
CHECKOUT = Journey(
    key="checkout",
    version=1,
    instance_by="cart_id",
    stages=[
        Stage("cart", enter=["Product Added"]),
        Stage("payment", enter=["Payment Info Entered"]),
    ],
    goal=Goal("Order Completed"),
)


def asking(key: str = "q", kind: str = "csat", **more: Any) -> Prompt:
    """Return a prompt that is asked as often as something arms it."""
    more.setdefault("when", When(page="/*"))
    return Prompt(key=key, kind=kind, text="How was it?", ask=Ask(always=True), **more)


def answer(shop: Any, customer: Customer, score: int | None, *, step: str = "completed") -> str:
    """Show a prompt, and answer it unless there is no score; return its impression."""
    impression: str = shop.show(customer).impression
    if score is not None:
        told = {"seq": 1, "answers": {"score": score}}
        assert shop.feedback.report(impression, step, customer=customer, **told)
    return impression


def answers(shop: Any, *scores: int | None) -> None:
    """Let somebody else give each of *scores*; None for no answer."""
    for score in scores:
        number = len(list(shop.store.scan(SCORES)))
        answer(shop, Customer(f"u{number}", None, f"s{number}"), score)


def only(shop: Any) -> Score:
    """Return the score of the one prompt."""
    (found,) = shop.feedback.scores()
    return found


# What counts


def test_figures_of_answers(make_shop: MakeShop) -> None:
    """Of seven shows five were answered: the share of 4 and 5, the mean, each with its interval."""
    shop = make_shop(asking(), feedback=FREE)
    answers(shop, 5, 4, None, 4, 2, 1, None)
    found = only(shop)
    assert (found.prompt, found.kind, found.scale, found.text) == (
        "q",
        "csat",
        (1, 5),
        "How was it?",
    )
    figures = found.figures
    assert (figures.shown, figures.answers, figures.response_rate) == (7, 5, 5 / 7)
    assert dict(figures.counts) == {1: 1, 2: 1, 4: 2, 5: 1}
    share, mean = figures.measures
    assert (share.metric, share.value, mean.metric, mean.value) == ("share", 0.6, "mean", 3.2)
    assert share.low < 0.6 < share.high
    assert mean.low < 3.2 < mean.high


@pytest.mark.parametrize(
    ("kind", "scores", "metrics"),
    [
        ("nps", [9, 10, 8, 6, 0], {"nps": 0.0}),
        ("nps_plus", [9, 10, 9, 7, 0], {"nps": 40.0}),
        ("ces", [7, 6, 5, 4, 1], {"mean": 4.6, "share": 0.6}),
    ],
)
def test_kinds(
    make_shop: MakeShop, kind: str, scores: list[int], metrics: dict[str, float]
) -> None:
    """Each kind is told in its own figure, its usual one first; NPS+ is an NPS."""
    shop = make_shop(asking(kind=kind), feedback=FREE)
    answers(shop, *scores)
    found = only(shop)
    assert found.kind == kind.removesuffix("_plus")
    told = {each.metric.value: each.value for each in found.figures.measures}
    assert list(told.items()) == list(metrics.items())


def test_too_few_answers_are_held_back(make_shop: MakeShop) -> None:
    """Below the least number of answers no figure is told, and no count of single scores either."""
    shop = make_shop(asking(), feedback=FREE)
    answers(shop, 5, 4, 4, 2)
    figures = only(shop).figures
    assert (figures.answers, figures.needed, figures.is_held_back) == (4, 5, True)
    assert (figures.measures, dict(figures.counts)) == ((), {})
    told = only(shop).to_dict()
    assert (told["answers"], told["held_back"], told["measures"], told["counts"]) == (
        4,
        True,
        [],
        {},
    )
    shop.feedback.set("feedback.min_answers", 6, actor="a", reason="b")
    answers(shop, 5)
    assert only(shop).figures.needed == 6
    assert only(shop).figures.is_held_back


def test_only_the_last_answer_counts_and_once(make_shop: MakeShop) -> None:
    """An answer that is changed counts as it was left, and one that is repeated counts once."""
    shop = make_shop(asking(), feedback=FREE)
    answers(shop, 4, 4, 4, 4)
    impression = answer(shop, ADA, 1, step="answer")
    for seq, score in ((3, 5), (2, 2)):
        told = {"seq": seq, "answers": {"score": score}}
        shop.feedback.report(impression, "answer", customer=ADA, **told)
    told = {"seq": 3, "answers": {"score": 5}}
    shop.feedback.report(impression, "completed", customer=ADA, **told)
    assert dict(only(shop).figures.counts) == {4: 4, 5: 1}


def test_what_asks_for_no_score_has_none(make_shop: MakeShop) -> None:
    """A choice and a text are no scores; without prompts there is nothing to read."""
    options = (Option("a", "A"), Option("b", "B"))
    shop = make_shop(asking(kind="choice", options=options), feedback=FREE)
    shop.show(ADA)
    assert shop.feedback.scores() == ()
    assert make_shop().feedback.scores() == ()


def test_a_prompt_that_is_declared_no_more(make_shop: MakeShop, make_entry: MakeEntry) -> None:
    """What was answered stays, behind the declared ones, without a text."""
    shop = make_shop(asking("z"), feedback=FREE)
    told = {"impression": "i1", "prompt": "old", "kind": "nps", "seq": 1}
    told |= {"score": 3, "scale": [0, 10], "answers": {"score": 3}}
    shop.track("prompt.answered", ADA, told, kind=Kind.FACT)
    answers(shop, 4)
    assert [(each.prompt, each.text) for each in shop.feedback.scores()] == [
        ("z", "How was it?"),
        ("old", None),
    ]
    # It was answered, so it was shown.
    assert shop.feedback.scores()[1].figures.shown == 1


@pytest.mark.parametrize(
    "told",
    [
        {"score": "5"},
        {"score": 6},
        {"score": True},
        {"scale": None},
        {"scale": [5, 1]},
        {"scale": [1, 5, 9]},
    ],
)
def test_what_is_no_score_does_not_count(make_shop: MakeShop, told: dict[str, Any]) -> None:
    """An imported answer whose score is none was shown, and not answered."""
    shop = make_shop(asking(), feedback=FREE)
    whole = {"impression": "i1", "prompt": "q", "kind": "csat", "seq": 1, "score": 5}
    shop.track("prompt.answered", ADA, {**whole, "scale": [1, 5], **told}, kind=Kind.FACT)
    assert (only(shop).figures.shown, only(shop).figures.answers) == (1, 0)


def test_scales_are_not_mixed(make_shop: MakeShop) -> None:
    """The same question on another scale is another figure."""
    shop = make_shop(asking(), feedback=FREE)
    answers(shop, 5)
    told = {"impression": "i1", "prompt": "q", "kind": "csat", "seq": 1, "score": 9}
    shop.track("prompt.answered", ADA, {**told, "scale": [1, 10]}, kind=Kind.FACT)
    assert [each.scale for each in shop.feedback.scores()] == [(1, 5), (1, 10)]


# Periods


def test_periods_and_changes(make_shop: MakeShop) -> None:
    """Weeks and months have no gaps, and a change is told between two that have enough answers."""
    shop = make_shop(asking(), feedback=FREE)  # Monday 2026-03-02
    answers(shop, *[2] * 9, 5, None)
    shop.clock.advance(14 * DAY)
    answers(shop, *[5] * 9, 2)
    shop.clock.advance(17 * DAY)  # Thursday 2026-04-02
    answers(shop, *[5] * 6)
    found = only(shop)
    assert [each.start for each in found.weeks] == [
        date(2026, 3, 2) + timedelta(days=7 * number) for number in range(5)
    ]
    assert [each.figures.answers for each in found.weeks] == [10, 0, 10, 0, 6]
    assert all(each.changes == () for each in found.weeks)
    assert [each.is_over for each in found.weeks] == [True, True, True, True, False]
    march, april = found.months
    assert (march.start, march.end, march.is_over) == (date(2026, 3, 1), date(2026, 4, 1), True)
    assert (march.figures.answers, april.figures.answers, april.is_over) == (20, 6, False)
    share, mean = april.changes
    assert (share.metric, share.value, share.is_clear) == ("share", 0.5, True)
    assert (mean.metric, mean.value) == ("mean", 1.5)
    assert share.low < 0.5 < share.high


def test_an_answer_belongs_to_when_it_was_shown(make_shop: MakeShop) -> None:
    """Shown before midnight of the month's end, answered behind it: it counts where it was shown."""
    shop = make_shop(asking(), feedback=FREE)
    shop.clock.advance(30 * DAY - 12.5 * 3600)
    impression = answer(shop, ADA, None)
    shop.clock.advance(3600)
    told = {"seq": 1, "answers": {"score": 3}}
    assert shop.feedback.report(impression, "completed", customer=ADA, **told)
    assert [each.figures.answers for each in only(shop).months] == [1, 0]


def test_a_change_needs_enough_answers_before_it(make_shop: MakeShop) -> None:
    """A month with too few answers is compared with neither the one before nor the next."""
    shop = make_shop(asking(), feedback=FREE)
    for scores in ([5] * 6, [2] * 4, [5] * 6):
        answers(shop, *scores)
        shop.clock.advance(31 * DAY)
    assert [each.changes for each in only(shop).months] == [(), (), (), ()]


def test_a_date_in_the_future_is_of_now(make_shop: MakeShop) -> None:
    """An import whose clock is ahead makes no months that have not come yet."""
    shop = make_shop(asking(), feedback=FREE)
    about = {"impression": "i1", "prompt": "q", "kind": "csat"}
    shop.track("prompt.shown", ADA, about, at=90 * DAY, kind=Kind.FACT)
    assert [each.start for each in only(shop).months] == [date(2026, 3, 1)]


def test_no_change_is_told_of_another_question(make_shop: MakeShop) -> None:
    """Where the words have changed there is no comparison, and a figure of both says so."""
    shop = make_shop(asking(), feedback=FREE)
    answers(shop, *[2] * 9)
    shop.clock.advance(31 * DAY)
    shop.feedback.set("prompts.q.priority", 60, actor="a", reason="b")
    answers(shop, *[5] * 9)
    assert only(shop).months[-1].changes
    shop.clock.advance(30 * DAY)
    shop.feedback.set("prompts.q.text.*", "Was it fine?", actor="a", reason="b")
    answers(shop, *[2] * 9)
    found = only(shop)
    assert [bool(each.changes) for each in found.months] == [False, True, False]
    assert [each.figures.reworded for each in found.months] == [False, False, False]
    assert found.figures.reworded


def test_another_language_is_the_same_question(make_shop: MakeShop) -> None:
    """Answers in two languages are one figure, which nobody has worded anew."""
    shop = make_shop(asking(low={"en": "bad", "de": "schlecht"}), feedback=FREE)
    for number, language in enumerate(["en", "de"] * 3):
        who = Customer(f"u{number}", None, f"s{number}")
        offer = shop.ask(who, languages=(language,))
        shop.feedback.report(offer.impression, "shown", customer=who)
        shop.feedback.report(
            offer.impression, "completed", customer=who, seq=1, answers={"score": 4}
        )
    assert only(shop).figures.answers == 6
    assert not only(shop).figures.reworded


# Who is told apart


def groups(shop: Any) -> dict[tuple[str, str | None, str], tuple[int, int]]:
    """Return the groups with how often the prompt was shown and answered."""
    return {
        (each.by, each.name, each.value): (each.figures.shown, each.figures.answers)
        for each in only(shop).groups
    }


def test_the_stage_and_the_touchpoint_of_the_trigger(make_shop: MakeShop) -> None:
    """An order leads to a stage, and is a declared touchpoint; the customer went on since."""
    shop = make_shop(
        asking(when=When(event="Order Completed")),
        feedback=FREE,
        journeys=[SHOP],
        touchpoints=["Order Completed"],
    )
    shop.track("Order Completed", ADA)
    shop.track("Product Viewed", ADA)
    answer(shop, ADA, 4)
    assert groups(shop) == {
        ("journey", None, "shop"): (1, 1),
        ("stage", None, "shop.purchase"): (1, 1),
        ("touchpoint", None, "Order Completed"): (1, 1),
    }


def test_the_stage_that_the_customer_is_in(make_shop: MakeShop) -> None:
    """Of a prompt that any page arms it is the stage of the customer, of each journey one."""
    shop = make_shop(asking(), feedback=FREE, journeys=[SHOP, CHECKOUT])
    shop.track("Product Added", ADA, {"cart_id": "c1"})
    shop.clock.advance(1)
    shop.track("Payment Info Entered", ADA, {"cart_id": "c1"})
    shop.clock.advance(1)
    shop.track("Product Added", ADA, {"cart_id": "c2"})
    answer(shop, ADA, 4)
    shop.track("Page Viewed", BOB)
    answer(shop, BOB, None)
    found = groups(shop)
    assert found["stage", None, "checkout.cart"] == (1, 1)
    assert found["stage", None, "shop.consideration"] == (1, 1)
    assert found["stage", None, "shop.awareness"] == (1, 0)
    assert found["journey", None, "shop"] == (2, 1)
    assert ("stage", None, "checkout.payment") not in found


def test_a_run_that_is_over_counts_for_what_ended_it(make_shop: MakeShop) -> None:
    """The goal of a checkout arms a question about it; a year later the checkout is no stage."""
    shop = make_shop(
        asking(when=When(event="Order Completed")),
        asking("later", when=When(event="Product Returned")),
        feedback=FREE,
        journeys=[CHECKOUT],
    )
    for name in ("Product Added", "Payment Info Entered", "Order Completed"):
        shop.track(name, ADA, {"cart_id": "c1"})
        shop.clock.advance(1)
    answer(shop, ADA, 4)
    shop.clock.advance(365 * DAY)
    shop.track("Product Returned", ADA)
    answer(shop, Customer("ada", "d1", "s9"), 4)
    first, later = shop.feedback.scores()
    assert [each.value for each in first.groups if each.by == "stage"] == ["checkout.payment"]
    assert later.groups == ()


def test_a_stage_that_arms(make_shop: MakeShop) -> None:
    """A prompt that a stage arms belongs to that stage, of the journey that is named."""
    prompt = asking(when=When(stage="purchase", journey="shop"))
    shop = make_shop(prompt, feedback=FREE, journeys=[SHOP])
    shop.track("Order Completed", ADA)
    answer(shop, ADA, 4)
    assert ("stage", None, "shop.purchase") in groups(shop)


def test_only_the_stage_of_the_journey_that_is_named(make_shop: MakeShop) -> None:
    """Where two journeys have a stage of that name, the other one is where the customer is."""
    other = Journey(
        key="other",
        version=1,
        stages=[
            Stage("purchase", enter=["Product Viewed"]),
            Stage("late", enter=["Order Completed"]),
        ],
    )
    prompt = asking(when=When(stage="purchase", journey="shop"))
    shop = make_shop(prompt, feedback=FREE, journeys=[SHOP, other])
    shop.track("Order Completed", ADA)
    answer(shop, ADA, 4)
    assert {each.value for each in only(shop).groups if each.by == "stage"} == {
        "shop.purchase",
        "other.late",
    }


def test_a_rule_with_a_condition_says_nothing_of_the_trigger(make_shop: MakeShop) -> None:
    """Whether a conditional rule led somewhere is told by where the customer is."""
    rule = Rule("Order Completed", where={"shipping": "express"})
    express = Journey(key="express", version=1, stages=[Stage("fast", enter=[rule])])
    shop = make_shop(asking(when=When(event="Order Completed")), feedback=FREE, journeys=[express])
    shop.track("Order Completed", ADA, {"shipping": "slow"})
    answer(shop, ADA, 4)
    assert only(shop).groups == ()
    shop.track("Order Completed", BOB, {"shipping": "express"})
    answer(shop, BOB, 4)
    assert groups(shop)["stage", None, "express.fast"] == (1, 1)


def test_the_version_that_the_customer_was_seen_in_last(make_shop: MakeShop) -> None:
    """Of a journey with two versions the run that went on last tells the stage."""
    old = Journey(
        key="way",
        version=1,
        stages=[Stage("look", enter=["Page Viewed"]), Stage("ask", enter=["Email Opened"])],
    )
    new = Journey(key="way", version=2, stages=[Stage("look", enter=["Page Viewed"])])
    shop = make_shop(asking(), feedback=FREE, journeys=[old, new])
    shop.track("Page Viewed", ADA)
    shop.clock.advance(1)
    shop.track("Email Opened", ADA)
    answer(shop, ADA, 4)
    assert ("stage", None, "way.ask") in groups(shop)


def test_segments(make_shop: MakeShop) -> None:
    """A segment is what the customer has shown last: in a request, an event, or its context."""
    shop = make_shop(
        asking(), feedback=FREE, segments=["device", "payment_method", "channel", "no"]
    )
    shop.track("Order Completed", ADA, {"payment_method": "paypal", "device": "desktop"})
    shop.track("Order Completed", ADA, {"payment_method": "card", "other": 1})
    shop.track("Order Completed", BOB, {"payment_method": True})
    with bind_customer(ADA, context={"device": "phone"}, channel="web"):
        answer(shop, ADA, 4)
    answer(shop, BOB, None)
    assert groups(shop) == {
        ("segment", "channel", "web"): (1, 1),
        ("segment", "device", "phone"): (1, 1),
        ("segment", "payment_method", "card"): (1, 1),
        ("segment", "payment_method", "true"): (1, 0),
    }


def test_a_segment_of_an_event_that_is_not_folded(make_shop: MakeShop) -> None:
    """What the customer did a second ago counts, whether the projector has come to it or not."""
    shop = make_shop(asking(), feedback=FREE, segments=["plan"])
    shop.prompt = False
    shop.track("Order Completed", ADA, {"plan": "gold"})
    shop.commit()
    answer(shop, ADA, 4)
    shop.fold()
    assert ("segment", "plan", "gold") in groups(shop)


def test_values_without_end_are_cut(make_shop: MakeShop) -> None:
    """Of a segment that has a value for everybody the 50 with the most answers are told."""
    shop = make_shop(asking(), feedback=FREE, segments=["order"])
    for number in range(60):
        who = Customer(f"u{number}", None, f"s{number}")
        shop.track("Order Completed", who, {"order": f"{number:02}"})
        answer(shop, who, 4 if number > 57 else None)
    found = [each.value for each in only(shop).groups]
    assert (len(found), found[:3]) == (50, ["58", "59", "00"])


def test_a_store_that_is_away_loses_no_show(
    make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What surrounds a prompt is left out where State cannot be read; the show is recorded."""
    from journeykit.exceptions import StoreError

    shop = make_shop(asking(), feedback=FREE, journeys=[SHOP], segments=["device"])
    shop.track("Page Viewed", ADA)
    offer = shop.ask(ADA)

    def away(*_: Any, **__: Any) -> None:
        raise StoreError("away")

    monkeypatch.setattr(type(shop.store), "trail", away)
    assert shop.feedback.report(offer.impression, "shown", customer=ADA)
    monkeypatch.undo()
    assert groups(shop) == {
        ("journey", None, "shop"): (1, 0),
        ("stage", None, "shop.awareness"): (1, 0),
    }


# What State keeps


def pieces(store: Store) -> list[tuple[str, bytes]]:
    """Return all that State has of scores."""
    return [item for space in (SCORES, SCORED) for item in store.scan(space)]


def told(make_entry: MakeEntry, number: int) -> list[Any]:
    """Return facts of some impressions, as several processes and a sign-in leave them."""
    found = []
    for index in range(4):
        impression = f"i{number}-{index}"
        about = {"impression": impression, "prompt": f"p{index % 2}", "kind": "csat"}
        around = {"wording": "w", "language": "en", "stages": {"b": "x", "a": "y"}}
        visitor = {"anonymous_id": f"d{index}"}
        known = {"user_id": f"u{index}", "anonymous_id": f"d{index}"}
        more: dict[str, Any] = {"kind": Kind.FACT}
        found.append(make_entry("prompt.shown", about | around, at=index, **visitor, **more))
        for seq in range(3):
            said = {"seq": seq // 2, "complete": seq == 2, "score": seq + 1, "scale": [1, 5]}
            who = known if seq else visitor
            found.append(make_entry("prompt.answered", about | said, at=index + seq, **who, **more))
    return found


@pytest.mark.parametrize("seed", range(10))
def test_any_order_of_arrival_gives_the_same_state(
    make_shop: MakeShop, make_entry: MakeEntry, seed: int
) -> None:
    """Shows and answers leave the same State in whatever order they arrive, byte for byte."""
    entries, states = told(make_entry, 1), []
    for order in (None, random.Random(seed)):
        shop = make_shop(asking(), feedback=FREE)
        shop.clock.advance(3600)
        arriving = list(entries)
        if order is not None:
            order.shuffle(arriving)
        for entry in arriving:
            shop.store.commit(Commit([entry]), shop.clock())
            shop.fold()
        states.append((pieces(shop.store), shop.feedback.scores()))
    assert states[0] == states[1]
    first, _ = states[0][1]
    # Each impression once, with its last answer, also where its visitor signed in before that.
    assert (first.figures.shown, first.figures.answers) == (2, 2)


def test_a_rebuild_gives_the_same(
    make_shop: MakeShop, make_entry: MakeEntry, tmp_path: Any
) -> None:
    """State made again from the Log is the same, byte for byte."""
    shop = make_shop(asking(), feedback=FREE, store=SQLiteStore(tmp_path / "a.db"))
    shop.clock.advance(3600)
    shop.store.commit(Commit(told(make_entry, 1)), shop.clock())
    shop.fold()
    answers(shop, 4, None, 5)
    before, figures = pieces(shop.store), shop.feedback.scores()
    shop.projector.rebuild()
    shop.fold()
    assert before
    assert (pieces(shop.store), shop.feedback.scores()) == (before, figures)
    shop.store.close()


def test_answers_of_who_was_erased_vanish(make_shop: MakeShop, tmp_path: Any) -> None:
    """An erasure takes every impression of the person, as a device and signed in, and no other."""
    shop = make_shop(asking(), feedback=FREE, store=SQLiteStore(tmp_path / "a.db"))
    answers(shop, 5, 5, 5, 5, 5)
    impression = answer(shop, DEVICE, None)
    shop.track("Signed In", ADA)
    said = {"seq": 1, "answers": {"score": 1}}
    assert shop.feedback.report(impression, "completed", customer=ADA, **said)
    kept = len(pieces(shop.store))
    assert dict(only(shop).figures.counts) == {1: 1, 5: 5}
    assert (only(shop).figures.shown, kept) == (6, 14)

    now = shop.clock.advance(5)
    shop.store.erasing.begin(
        fact("ada", "wants to be forgotten", {}, now), frozenset({("user", "ada")}), [], now
    )
    shop.fold()
    eraser = Eraser(shop.store, projected=True)
    while any(not each.finished for each in shop.store.erasing.pending()):
        eraser.step()
    assert dict(only(shop).figures.counts) == {5: 5}
    assert (only(shop).figures.shown, len(pieces(shop.store))) == (5, 10)
    before = pieces(shop.store)
    shop.projector.rebuild()
    shop.fold()
    assert pieces(shop.store) == before
    shop.store.close()


def test_who_is_taken_apart_keeps_the_answers(make_shop: MakeShop) -> None:
    """Merging and taking apart changes no figure: an answer is an answer, whoever it is of."""
    shop = make_shop(asking(), feedback=FREE)
    answers(shop, 5, 5, 5, 5)
    answer(shop, DEVICE, 1)
    before = only(shop).figures
    shop.track("Signed In", ADA)
    assert only(shop).figures == before
    shop.track("customer.unmerged", DEVICE, kind=Kind.FACT)
    assert only(shop).figures == before
