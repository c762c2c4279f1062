from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from journeykit import hookimpl
from journeykit.feedback.case_state import CASES, CLOSED, FILES, MOST_EVIDENCE
from journeykit.journeys.catalogue import CATALOGUE
from journeykit.model import (
    Answer,
    Case,
    CaseRule,
    Cases,
    CaseStatus,
    CaseWhen,
    Customer,
    Journey,
    Kind,
    Prompt,
    Stage,
    Touchpoint,
    When,
    jsonbytes,
)
from journeykit.model.event import HISTORICAL
from journeykit.store.protocol import Commit

MakeShop = Callable[..., Any]

ADA, DEVICE = Customer("ada"), Customer(None, "d1")
BOTH = Customer("ada", "d1")
BOB = {"actor": "bob", "reason": "so it is"}
HOUR, DAY = 3600, 86_400


def prompt(key: str = "q", **more: Any) -> Prompt:
    """Return a prompt that an order arms."""
    more.setdefault("when", When(event="Order Completed"))
    return Prompt(key=key, kind=more.pop("kind", "csat"), text="How was it?", **more)


RECOVERY = prompt("well", when=When(event="case.resolved", within=timedelta(days=7)))


def unhappy(**more: Any) -> CaseRule:
    """Return a rule for low answers to that prompt."""
    return CaseRule(key=more.pop("key", "unhappy"), when=CaseWhen(prompt="q"), **more)


DECLINED = CaseRule(
    key="declined",
    when=CaseWhen(pain_point="payment.*", severity="high"),
    severity="low",
    subject="target",
)


@pytest.fixture
def shop(make_shop: MakeShop) -> Any:
    """Return a shop with two rules."""
    return make_shop(prompt(), RECOVERY, cases=Cases(rules=[unhappy(recovery="well"), DECLINED]))


def only(shop: Any) -> Case:
    """Return the one case that there is."""
    (case,) = shop.cases.list(everything=True)
    assert isinstance(case, Case)
    return case


def names(shop: Any) -> list[str]:
    """Return what was derived about cases, in the order of the Log."""
    entries = [each.entry for each in shop.store.read(None, 10_000)]
    return [
        entry.name
        for entry in entries
        if entry.kind is Kind.DERIVED and entry.name.startswith("case.")
    ]


# Opening


def test_a_low_answer_opens_a_case(shop: Any) -> None:
    """A low score becomes a case with what it rests on and clocks; a good one does not."""
    shop.answer(Customer("eve"), 3)
    shop.answer(ADA, 2)
    case = only(shop)
    assert case.status is CaseStatus.NEW
    assert (case.rule, case.title, case.customer) == ("unhappy", "Unhappy", ADA)
    assert case.summary == "q: 2"
    assert [clock.name for clock in case.clocks] == ["first_response", "resolution"]
    (opened,) = shop.log("case.opened")
    wire = jsonbytes.loads(opened.body)
    assert opened.id == case.id == wire["properties"]["case"]
    assert wire["caused_by"] == case.evidence[0].event
    assert wire["properties"]["first_response_due"] == "2026-03-03T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("kind", "score", "opens"),
    [
        *(("nps", 6, True), ("nps", 7, False), ("nps_plus", 0, True), ("csat", 2, True)),
        *(("csat", 3, False), ("ces", 3, True), ("ces", 4, False), ("ces", 7, False)),
    ],
)
def test_what_is_low(make_shop: MakeShop, kind: str, score: int, opens: bool) -> None:
    """Low is NPS 0 to 6, CSAT 1 and 2, CES 1 to 3: a CES asks how easy it was."""
    wanted = "nps" if kind == "nps_plus" else kind
    rule = CaseRule(key="low", when=CaseWhen(kind=wanted))
    shop = make_shop(prompt(kind="csat"), cases=Cases(rules=[rule]))
    shop.answer(ADA, score, kind=kind)
    assert bool(shop.cases.list()) is opens


def test_the_score_and_the_words_of_an_answer(make_shop: MakeShop) -> None:
    """A rule may say which scores, and which of the answers; all of it must fit."""
    when = CaseWhen(prompt="q", at_least=2, at_most=3, where={"why": ["late", "broken"]})
    shop = make_shop(prompt(), cases=Cases(rules=[CaseRule(key="late", when=when)]))
    shop.answer(ADA, 1, answers={"why": ["late"]})
    shop.answer(ADA, 3, answers={"why": ["price"]})
    shop.answer(ADA, 3)
    assert not shop.cases.list()
    shop.answer(ADA, 3, answers={"why": ["price", "late"]})
    assert only(shop).rule == "late"


def test_a_pain_point_opens_a_case_and_raises_its_severity(shop: Any) -> None:
    """A pain point from the severity on that is asked opens a case, as severe as it is."""
    shop.track("Payment Declined", ADA, {"severity": "medium"})
    assert not shop.cases.list()
    shop.track("Payment Declined", ADA, {"severity": "high", "cart": "c1"})
    case = only(shop)
    assert (case.rule, case.subject, case.severity.value) == ("declined", "c1", "high")
    assert case.touchpoint == "Payment Declined"
    shop.track("Payment Declined", ADA, {"severity": "critical", "cart": "c1"})
    assert only(shop).severity.value == "critical"
    assert [each.code for each in only(shop).evidence] == ["payment.declined"] * 2


def test_what_time_alone_finds_opens_a_case(make_shop: MakeShop) -> None:
    """A cart that was left opens a case by the clock, and the same when the Log is folded again."""
    rule = CaseRule(key="left", when=CaseWhen(pain_point="cart.abandoned"))
    rules = [each for each in CATALOGUE if each.code == "cart.abandoned"]
    shop = make_shop(rules=rules, cases=Cases(rules=[rule]))
    shop.track("Product Added", ADA, {"cart_id": "c1", "value": 10})
    shop.clock.advance(7 * DAY)
    shop.fold()
    (opened,) = shop.log("case.opened")
    assert opened.occurred_at == shop.log("pain_point.detected")[0].occurred_at
    before = shop.state()
    shop.rebuild()
    assert shop.state() == before
    shop.track("Order Completed", ADA, {"cart_id": "c1"})
    assert only(shop).evidence[0].status == "recovered"
    assert names(shop).count("case.evidence_added") == 1


def test_the_first_rule_that_fits_counts(make_shop: MakeShop) -> None:
    """Of several rules the first one opens the case, and the others none."""
    rules = [unhappy(key="worst", title="The worst"), unhappy(key="second")]
    shop = make_shop(prompt(), cases=Cases(rules=rules))
    shop.answer(ADA, 1)
    assert only(shop).title == "The worst"


def test_history_opens_nothing(shop: Any) -> None:
    """Imported answers, and what is derived from imported events, open no case."""
    shop.answer(ADA, 1, flags=HISTORICAL)
    shop.track("Payment Declined", ADA, {"severity": "high"}, flags=HISTORICAL)
    assert not shop.cases.list(everything=True)


def test_a_muted_pain_point_opens_nothing(make_shop: MakeShop) -> None:
    """As long as a pain point is muted it opens no case."""
    rules = [each for each in CATALOGUE if each.code == "cart.abandoned"]
    shop = make_shop(rules=rules, cases=Cases(rules=[DECLINED]))
    fact = {"code": "payment.declined"}
    shop.track("pain_point.muted", Customer(), fact, kind=Kind.FACT, actor="a", reason="r")
    shop.track("Payment Declined", ADA, {"severity": "high"})
    assert not shop.cases.list()
    shop.clock.advance(1)
    undo = {**fact, "revoked": True}
    shop.track("pain_point.muted", Customer(), undo, kind=Kind.FACT, actor="a", reason="r")
    shop.track("Payment Declined", ADA, {"severity": "high"})
    assert only(shop).rule == "declined"


# One case for one complaint


def test_another_complaint_is_added(shop: Any) -> None:
    """A customer has one open case of a rule and a subject; another subject is another case."""
    shop.answer(ADA, 2)
    shop.clock.advance(1)
    shop.answer(ADA, 1)
    assert [each.score for each in only(shop).evidence] == [2, 1]
    assert names(shop) == ["case.opened", "case.evidence_added"]
    shop.answer(Customer("eve"), 1)
    for cart in ("c1", "c2", "c1"):
        shop.track("Payment Declined", ADA, {"severity": "high", "cart": cart})
    found = shop.cases.list()
    assert sorted((case.rule, case.subject, len(case.evidence)) for case in found) == [
        ("declined", "c1", 2),
        ("declined", "c2", 1),
        ("unhappy", "", 1),
        ("unhappy", "", 2),
    ]


def test_the_comment_comes_later(shop: Any) -> None:
    """The first answer opens the case, the rest of it is added, an older report changes nothing."""
    shop.answer(ADA, 2, impression="i")
    shop.clock.advance(1)
    shop.answer(ADA, 2, impression="i", seq=2, answers={"more": "It was cold"})
    shop.answer(ADA, 1, impression="i", seq=1, answers={"more": "It"})
    (evidence,) = only(shop).evidence
    assert (evidence.score, evidence.answers["more"]) == (2, "It was cold")
    assert names(shop) == ["case.opened", "case.evidence_added"]


def test_what_was_taken_back_before_it_was_known_opens_nothing(shop: Any) -> None:
    """Where the last answer comes first and is good, an earlier low one opens no case."""
    shop.answer(ADA, 5, impression="i", seq=1)
    shop.answer(ADA, 1, impression="i", seq=0)
    assert not shop.cases.list(everything=True)


def test_evidence_is_bounded(shop: Any) -> None:
    """Of many complaints the first and the newest are kept."""
    for _ in range(MOST_EVIDENCE + 5):
        shop.clock.advance(1)
        shop.answer(ADA, 1)
    evidence = only(shop).evidence
    assert len(evidence) == MOST_EVIDENCE
    answered = [entry.id for entry in shop.log("prompt.answered")]
    assert [each.event for each in evidence] == [answered[0], *answered[-MOST_EVIDENCE + 1 :]]


# What people do


def test_from_new_to_closed(shop: Any) -> None:
    """A case is assigned, acknowledged, waits, goes on, is resolved, and is closed by time."""
    shop.answer(ADA, 2)
    case, work = only(shop).id, shop.cases
    seen = [only(shop).status]
    shop.clock.advance(60)
    assert work.assign(case, "carla", **BOB)
    seen.append(only(shop).status)
    for step in (
        lambda: work.acknowledge(case, **BOB),
        lambda: work.wait(case, **BOB),
        lambda: work.resume(case, **BOB),
        lambda: work.note(case, "is asleep", actor="bob"),
        lambda: work.resolve(case, cause="late", action="voucher", **BOB),
    ):
        shop.clock.advance(60)
        assert step()
        seen.append(only(shop).status)
    assert [status.value for status in seen] == [
        *("new", "assigned", "acknowledged", "waiting", "acknowledged", "acknowledged"),
        "resolved",
    ]
    found = only(shop)
    assert (found.owner, found.cause, found.action) == ("carla", "late", "voucher")
    assert [change.what for change in found.history] == [
        *("opened", "assigned", "acknowledged", "waiting", "resumed", "noted", "resolved"),
    ]
    shop.clock.advance(14 * DAY)
    shop.fold()
    assert only(shop).status is CaseStatus.CLOSED
    assert names(shop) == ["case.opened", "case.closed"]
    assert not list(shop.store.scan(CASES))
    assert [key for key, _ in shop.store.scan(CLOSED)] == [case]


def test_facts_carry_who_why_and_what(shop: Any) -> None:
    """What people do is a fact about the customer, with actor and reason, for sinks to take."""
    shop.answer(ADA, 2)
    shop.cases.assign(only(shop).id, "carla", **BOB)
    wire = jsonbytes.loads(shop.log("case.assigned")[0].body)
    assert (wire["actor"], wire["reason"]) == ("bob", "so it is")
    assert wire["customer"]["user_id"] == "ada"
    assert wire["properties"] == {
        "case": only(shop).id,
        "rule": "unhappy",
        "severity": "medium",
        "owner": "carla",
    }


def test_a_complaint_within_the_window_reopens(shop: Any) -> None:
    """Who complains again soon has the case reopened; later, it is another case."""
    shop.answer(ADA, 2)
    case = only(shop).id
    shop.clock.advance(60)
    shop.cases.resolve(case, cause="late", action="voucher", **BOB)
    shop.clock.advance(13 * DAY)
    shop.answer(ADA, 1)
    assert only(shop).status is CaseStatus.REOPENED
    (reopened,) = shop.log("case.reopened")
    assert jsonbytes.loads(reopened.body)["properties"]["because"] == "complaint"
    shop.clock.advance(60)
    shop.cases.resolve(case, cause="late", action="voucher", **BOB)
    shop.clock.advance(15 * DAY)
    shop.answer(ADA, 1)
    assert len(shop.cases.list(everything=True)) == 2
    assert len(shop.log("case.opened")) == 2


def test_a_complaint_ends_the_waiting(shop: Any) -> None:
    """Whoever complains once more has spoken, so clocks run again."""
    shop.answer(ADA, 2)
    shop.clock.advance(60)
    shop.cases.wait(only(shop).id, **BOB)
    shop.clock.advance(60)
    shop.answer(ADA, 2)
    assert only(shop).status is CaseStatus.ACKNOWLEDGED


# Clocks


def test_a_breach_is_told_once(shop: Any) -> None:
    """A clock that runs out is told at its instant, once, and shows as overdue."""
    shop.answer(ADA, 2)
    shop.clock.advance(2 * DAY)
    shop.fold()
    shop.fold()
    (breached,) = shop.log("case.breached")
    assert jsonbytes.loads(breached.body)["properties"]["clock"] == "first_response"
    assert jsonbytes.loads(breached.body)["occurred_at"] == "2026-03-03T12:00:00.000000Z"
    assert only(shop).is_overdue
    assert [case.id for case in shop.cases.list(overdue=True)] == [only(shop).id]
    shop.cases.acknowledge(only(shop).id, **BOB)
    assert not only(shop).is_overdue
    assert only(shop).clocks[0].breached
    shop.clock.advance(8 * DAY)
    shop.fold()
    clocks = [
        jsonbytes.loads(entry.body)["properties"]["clock"] for entry in shop.log("case.breached")
    ]
    assert clocks == ["first_response", "resolution"]


def test_waiting_does_not_count(shop: Any) -> None:
    """The time in which it is the customer's turn moves when the case is due."""
    shop.answer(ADA, 2)
    shop.clock.advance(HOUR)
    shop.cases.wait(only(shop).id, **BOB)
    assert only(shop).clocks[1].due is None
    shop.clock.advance(30 * DAY)
    shop.fold()
    assert not shop.log("case.breached")
    shop.cases.resume(only(shop).id, **BOB)
    shop.clock.advance(6 * DAY)
    shop.fold()
    assert not shop.log("case.breached")
    shop.clock.advance(DAY)
    shop.fold()
    assert len(shop.log("case.breached")) == 1


def test_a_reopened_case_has_a_new_clock(shop: Any) -> None:
    """Once reopened, a case is due as long after that as a new one."""
    shop.answer(ADA, 2)
    shop.clock.advance(6 * DAY)
    shop.cases.acknowledge(only(shop).id, **BOB)
    shop.clock.advance(1)
    shop.cases.resolve(only(shop).id, cause="late", action="voucher", **BOB)
    shop.clock.advance(6 * DAY)
    shop.cases.reopen(only(shop).id, **BOB)
    case = only(shop)
    assert [clock.name for clock in case.clocks] == ["first_response", "resolution", "resolution"]
    assert case.due == case.history[-1].at + timedelta(days=7)
    shop.clock.advance(8 * DAY)
    shop.fold()
    assert [clock.breached for clock in only(shop).clocks] == [True, False, True]


def test_what_comes_late_withdraws_a_breach(shop: Any) -> None:
    """An answer that was given in time and is recorded late takes the breach back, and says so."""
    shop.answer(ADA, 2)
    shop.clock.advance(30 * HOUR)
    shop.fold()
    assert len(shop.log("case.breached")) == 1
    fact = {"case": only(shop).id}
    shop.track("case.acknowledged", ADA, fact, kind=Kind.FACT, at=20 * HOUR, actor="b", reason="r")
    assert names(shop)[-1] == "case.breach_withdrawn"
    assert not only(shop).clocks[0].breached
    before = shop.state()
    shop.rebuild()
    assert shop.state() == before


def test_business_hours(make_shop: MakeShop) -> None:
    """A case of a Monday noon that is due in eight working hours is due on Tuesday."""
    cases = Cases(
        rules=[unhappy(first_response=timedelta(hours=8))],
        hours=["mon-fri 09:00-17:00"],
        zone="Europe/Vienna",
    )
    shop = make_shop(prompt(), cases=cases)
    shop.answer(ADA, 2)
    assert f"{only(shop).clocks[0].due:%a %H:%M}" == "Tue 12:00"
    shop.clock.advance(23 * HOUR)
    shop.fold()
    assert not shop.log("case.breached")
    shop.clock.advance(HOUR)
    shop.fold()
    assert len(shop.log("case.breached")) == 1


# Owners


JOURNEY = Journey(
    key="checkout",
    version=1,
    owner="journey-team",
    stages=[
        Stage("cart", enter=["Product Added"]),
        Stage("payment", enter=["Payment Info Entered"], owner="payments"),
    ],
)


def owner_of(make_shop: MakeShop, events: list[str], **more: Any) -> str | None:
    """Return whose a case is that is opened behind *events*."""
    rule = unhappy(owner=more.pop("rule", None))
    shop = make_shop(
        prompt(),
        cases=Cases(rules=[rule], owner=more.pop("default", None)),
        touchpoints=more.pop("touchpoints", ()),
        journeys=[JOURNEY],
        **more,
    )
    for event in events:
        shop.clock.advance(1)
        shop.track(event, ADA)
    shop.answer(ADA, 1)
    return only(shop).owner


def test_whose_a_case_is(make_shop: MakeShop) -> None:
    """The rule's owner counts before the touchpoint's, the stage's, the journey's and the default."""
    pays = ["Product Added", "Payment Info Entered"]
    point = [Touchpoint("Order Completed", owner="tills")]
    assert owner_of(make_shop, pays, rule="me", touchpoints=point, default="all") == "me"
    assert owner_of(make_shop, pays, touchpoints=point, default="all") == "tills"
    assert owner_of(make_shop, pays, default="all") == "payments"
    assert owner_of(make_shop, pays[:1], default="all") == "journey-team"
    assert owner_of(make_shop, [], default="all") == "all"
    assert owner_of(make_shop, []) is None


def test_owners_change_without_a_deployment(shop: Any) -> None:
    """A changed owner holds for the cases that are opened from then on."""
    shop.feedback.set("cases.owner", "desk", **BOB)
    shop.answer(ADA, 1)
    shop.clock.advance(1)
    shop.feedback.set("cases.unhappy.owner", "carla", **BOB)
    shop.answer(Customer("eve"), 1)
    owners = {case.customer.user_id: case.owner for case in shop.cases.list()}
    assert owners == {"ada": "desk", "eve": "carla"}
    shop.clock.advance(1)
    shop.feedback.set("cases.unhappy.owner", None, **BOB)
    shop.answer(Customer("ivy"), 1)
    assert shop.cases.list(customer="ivy")[0].owner == "desk"
    assert next(change.path for change in shop.feedback.changes()) == "cases.unhappy.owner"


def test_a_shop_without_prompts_keeps_what_was_changed(make_shop: MakeShop) -> None:
    """Where no prompt is declared, owners can be changed all the same."""
    shop = make_shop(cases=Cases(rules=[DECLINED]))
    shop.feedback.set("cases.declined.owner", "carla", **BOB)
    shop.track("Payment Declined", ADA, {"severity": "high"})
    assert only(shop).owner == "carla"
    assert len(shop.feedback.changes()) == 1


class Router:
    """A plugin that gives critical cases to somebody, and reads answers."""

    @hookimpl
    def route_case(self, case: Case) -> str | None:
        """Give away what eve complains of."""
        if case.customer.user_id == "eve":
            return f"{case.owner} and eve's friend"
        return None

    @hookimpl
    def read_answer(self, answer: Answer) -> dict[str, Any] | None:
        """Read a cause out of a comment."""
        text = answer.answers.get("more", "")
        return {"themes": text.split(), "sentiment": answer.score, "root_cause": text[:4]}


def test_plugins_route_and_read(make_shop: MakeShop) -> None:
    """A plugin may say whose a case is, knowing who it would be; what it reads is in the case."""
    cases = Cases(rules=[unhappy(owner="desk")])
    shop = make_shop(prompt(), cases=cases, plugins=[Router()])
    shop.answer(ADA, 1, impression="i")
    assert only(shop).owner == "desk"
    shop.answer(ADA, 1, impression="i", seq=1, answers={"more": "cold soup"})
    case = only(shop)
    assert (case.sentiment, case.themes, case.root_cause) == (1, ("cold", "soup"), "cold")
    shop.answer(Customer("eve"), 1)
    assert shop.cases.list(customer="eve")[0].owner == "desk and eve's friend"


class Broken:
    """A plugin that cannot tell."""

    @hookimpl
    def route_case(self, case: Case) -> str | None:
        """Fail."""
        raise RuntimeError(case.id)

    @hookimpl
    def read_answer(self, answer: Answer) -> Any:
        """Return rubbish."""
        return {"sentiment": answer, "mood": 1}


def test_a_plugin_that_fails_harms_no_case(make_shop: MakeShop) -> None:
    """Where plugins fail, the case is opened with its declared owner."""
    cases = Cases(rules=[unhappy(owner="desk")])
    shop = make_shop(prompt(), cases=cases, plugins=[Broken()])
    shop.answer(ADA, 1)
    assert (only(shop).owner, only(shop).sentiment) == ("desk", None)


# Quiet, and the recovery question


def test_who_has_an_open_case_is_asked_for_no_score(make_shop: MakeShop) -> None:
    """An open case keeps scores away until it is closed and the quiet time is over; texts not."""
    shop = make_shop(
        prompt("other", when=When(page="/*")),
        Prompt(key="words", kind="text", text="?", when=When(page="/*")),
        prompt(),
        RECOVERY,
        cases=Cases(rules=[unhappy(recovery="well")], reopen_within=timedelta(days=2)),
    )
    assert shop.why(ADA, prompt="other") == []
    shop.answer(ADA, 1)
    assert shop.why(ADA, prompt="other") == ["open_case"]
    assert shop.why(ADA, prompt="words") == []
    shop.cases.resolve(only(shop).id, cause="late", action="voucher", **BOB)
    assert shop.why(ADA, prompt="other") == ["open_case"]
    shop.clock.advance(3 * DAY)
    shop.fold()
    assert only(shop).status is CaseStatus.CLOSED
    assert shop.why(ADA, prompt="other") == ["quiet"]
    shop.clock.advance(14 * DAY)
    assert shop.why(ADA, prompt="other") == []


def test_the_recovery_question(shop: Any) -> None:
    """Once resolved the customer is asked if all is well, whatever they were asked of late."""
    shop.track("Order Completed", ADA)
    offer = shop.show(ADA)
    shop.feedback.report(offer.impression, "answer", customer=ADA, seq=0, answers={"score": 1})
    assert {"not_armed", "capped", "open_case"} <= set(shop.why(ADA, prompt="well"))
    shop.clock.advance(60)
    shop.cases.resolve(only(shop).id, cause="late", action="voucher", **BOB)
    assert shop.why(Customer("ada", None, "s2"), prompt="well") == []
    shop.clock.advance(60)
    asked = shop.show(Customer("ada", None, "s2"))
    assert asked.prompt.key == "well"
    shop.clock.advance(1)
    shop.feedback.report(asked.impression, "answer", customer=ADA, seq=0, answers={"score": 4})
    case = only(shop)
    assert (case.recovery_score, case.status) == (4, CaseStatus.RESOLVED)
    assert [each.kind for each in case.evidence] == ["answer", "recovery"]
    assert shop.why(Customer("ada", None, "s3"), prompt="well") == ["not_armed"]


def test_a_bad_recovery_score_reopens(shop: Any) -> None:
    """Who is still unhappy has the case reopened, is no new case, and is asked again later."""
    shop.answer(ADA, 1)
    for _ in range(2):
        shop.clock.advance(60)
        shop.cases.resolve(only(shop).id, cause="late", action="voucher", **BOB)
        shop.clock.advance(60)
        asked = shop.show(Customer("ada", None, str(shop.clock())))
        shop.clock.advance(60)
        shop.feedback.report(asked.impression, "answer", customer=ADA, answers={"score": 2})
        assert only(shop).status is CaseStatus.REOPENED
    reasons = [
        jsonbytes.loads(entry.body)["properties"]["because"] for entry in shop.log("case.reopened")
    ]
    assert reasons == ["recovery_score"] * 2
    assert only(shop).history[-1].reason == "recovery_score"
    assert {"not_armed", "open_case"} <= set(shop.why(ADA, prompt="well"))


def test_only_its_own_cases_arm_a_recovery_question(make_shop: MakeShop) -> None:
    """A case of a rule that asks nothing, or something else, arms no recovery question."""
    rules = [unhappy(recovery="well"), DECLINED]
    shop = make_shop(prompt(), RECOVERY, cases=Cases(rules=rules))
    shop.track("Payment Declined", ADA, {"severity": "high"})
    shop.clock.advance(60)
    shop.cases.resolve(only(shop).id, cause="bank", action="called", **BOB)
    assert "not_armed" in shop.why(ADA, prompt="well")


# Who is who


def test_a_merge_brings_cases_together(shop: Any) -> None:
    """What a visitor has complained of is the person's, and the next complaint is added to it."""
    shop.answer(DEVICE, 1)
    case = only(shop).id
    shop.track("Signed In", BOTH)
    assert [each.id for each in shop.cases.list(customer="ada")] == [case]
    assert [each.id for each in shop.cases.list(customer=DEVICE)] == [case]
    shop.clock.advance(1)
    shop.answer(ADA, 2)
    assert len(only(shop).evidence) == 2
    shop.cases.acknowledge(case, **BOB)
    assert only(shop).status is CaseStatus.ACKNOWLEDGED


def test_an_unmerge_takes_them_apart(shop: Any) -> None:
    """A visitor who is somebody else takes along what they have complained of under their own id."""
    shop.answer(DEVICE, 1, impression="i")
    first = only(shop).id
    shop.track("Signed In", BOTH)
    shop.track("Payment Declined", ADA, {"severity": "high"})
    fact = {"actor": "bob", "reason": "shared"}
    shop.track("customer.unmerged", DEVICE, kind=Kind.FACT, **fact)
    assert [case.id for case in shop.cases.list(customer=DEVICE)] == [first]
    assert [case.rule for case in shop.cases.list(customer="ada")] == ["declined"]
    shop.answer(DEVICE, 1, impression="i", seq=1, answers={"more": "cold"})
    assert shop.cases.get(first).evidence[0].answers["more"] == "cold"
    before = shop.state()
    shop.rebuild()
    assert shop.state() == before


def test_forgetting_takes_everything(shop: Any) -> None:
    """Nothing is kept of the cases of somebody who was erased, not even a timer."""
    shop.answer(DEVICE, 1)
    shop.track("Signed In", BOTH)
    shop.answer(Customer("eve"), 1)
    shop.cases.resolve(shop.cases.list(customer="ada")[0].id, cause="c", action="a", **BOB)
    (fold,) = [each for each in shop.projector._folds if type(each).__name__ == "CaseFold"]
    from journeykit.store.view import Alarm, Cache, View

    view = View(shop.store, Cache(), Alarm())
    assert fold.forget(view, ["a:d1", "u:ada"]) >= 2
    left = {key for key, data in view.changes().items() if data is not None}
    gone = {key for key, data in view.changes().items() if data is None}
    assert not left
    assert {space for space, _ in gone} == {CASES, FILES, "timer"}
    assert any("ada" in key for _, key in gone)


def test_a_rebuild_is_the_same_byte_for_byte(shop: Any) -> None:
    """A folded Log gives the same State again, and nothing is derived a second time."""
    test_from_new_to_closed(shop)
    shop.answer(ADA, 1)
    shop.clock.advance(3 * DAY)
    shop.fold()
    before, derived = shop.state(), names(shop)
    shop.rebuild()
    assert shop.state() == before
    assert names(shop) == derived


def test_facts_about_no_case_mean_nothing(shop: Any) -> None:
    """A fact that names a case that is not there, or none, leaves everything as it was."""
    fact = {"actor": "b", "reason": "r", "kind": Kind.FACT}
    shop.track("case.resolved", ADA, {"case": "x"}, **fact)
    shop.track("case.assigned", ADA, {}, **fact)
    shop.track("case.assigned", ADA, {"case": ["x"], "owner": 1}, **fact)
    assert not shop.cases.list(everything=True)


def test_a_touchpoint_of_that_name_is_no_fact(shop: Any) -> None:
    """Whoever tracks an event that is called like a fact changes no case."""
    shop.answer(ADA, 1)
    entry = shop.make_entry("case.resolved", {"case": only(shop).id}, user_id="ada")
    shop.store.commit(Commit([entry]), shop.clock())
    shop.fold()
    assert only(shop).status is CaseStatus.NEW
