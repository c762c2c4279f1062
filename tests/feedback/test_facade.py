from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from journeykit import hookimpl
from journeykit.exceptions import StoreError
from journeykit.feedback.overrides import PROMPT_KEYS
from journeykit.feedback.selecting import HOOK
from journeykit.model import Ask, Candidate, Customer, Kind, Option, Page, Prompt, PromptStep, When

MakeShop = Callable[..., Any]

ADA, BOB = Customer("ada", "d1", "s1"), Customer("bob", "d2", "s2")
OPTIONS = (Option("slow", "Slow"), Option("dear", "Dear"))
WHY = PromptStep(key="why", kind="choices", text="Why?", options=OPTIONS, at_most=2, required=True)
MORE = PromptStep(key="more", kind="text", text="More?", max_length=10)
PAGE = When(page="/*")


def csat(key: str = "q", **more: Any) -> Prompt:
    """Return a prompt that any page arms."""
    fields: dict[str, Any] = {"kind": "csat", "text": "How?", "when": PAGE, "then": (WHY, MORE)}
    return Prompt(key=key, **{**fields, **more})


def test_from_asking_to_the_end(make_shop: MakeShop) -> None:
    """What a page reports becomes facts: shown, answered so far, answered to the end."""
    shop = make_shop(csat())
    offer = shop.ask(ADA, languages=("de",))
    report = shop.feedback.report
    assert report(offer.impression, "shown", customer=ADA)
    assert report(offer.impression, "started", customer=ADA)
    assert report(offer.impression, "answer", customer=ADA, seq=1, answers={"score": 2})
    ends = {"score": "2", "why": ["dear"], "more": " oh "}
    assert report(offer.impression, "completed", customer=ADA, seq=2, answers=ends, elapsed=7.5)
    assert report(offer.impression, "completed", customer=ADA, seq=2, answers=ends)
    assert report(offer.impression, "dismissed", customer=ADA).status == "closed"
    assert len(shop.log("prompt.shown")) == len(shop.log("prompt.started")) == 1
    first, last = [entry.event() for entry in shop.log("prompt.answered")]
    assert (first.properties["complete"], last.properties["complete"]) == (False, True)
    assert last.properties["answers"] == {"score": 2, "why": ["dear"], "more": "oh"}
    assert last.properties["score"] == 2
    assert last.properties["scale"] == [1, 5]
    assert last.properties["elapsed"] == 7.5
    assert (last.properties["seq"], last.properties["surface"]) == (2, "page")
    assert last.properties["impression"] == offer.impression
    assert last.actor == "customer"


@pytest.mark.parametrize(
    ("answers", "errors"),
    [
        ({"score": 11}, {"score": "out_of_range"}),
        ({"score": 0}, {"score": "out_of_range"}),
        ({"score": "five"}, {"score": "wrong_type"}),
        ({"score": True}, {"score": "wrong_type"}),
        ({"score": 1, "why": ["cold"]}, {"why": "no_option"}),
        ({"score": 1, "why": {}}, {"why": "wrong_type"}),
        ({"score": 1, "why": "dear", "more": "x" * 11}, {"more": "too_long"}),
        ({"score": 1}, {"why": "required"}),
        ({}, {"score": "required"}),
        ({"score": 5, "else": 1}, {"else": "unknown"}),
        ("score", {"": "wrong_type"}),
    ],
)
def test_bad_answers(make_shop: MakeShop, answers: Any, errors: dict[str, str]) -> None:
    """An answer that is none is named by its step, and nothing is stored."""
    shop = make_shop(csat())
    offer = shop.show(ADA)
    outcome = shop.feedback.report(
        offer.impression, "completed", customer=ADA, seq=1, answers=answers
    )
    assert (outcome.status, dict(outcome.errors)) == ("invalid", errors)
    assert shop.log("prompt.answered") == []
    assert shop.feedback.report(
        offer.impression, "completed", customer=ADA, seq=1, answers={"score": 5}
    )


def test_what_was_not_asked_is_left_out(make_shop: MakeShop) -> None:
    """Answers to a branch that the score does not lead to are not stored."""
    shop = make_shop(csat())
    offer = shop.show(ADA)
    said = {"score": 5, "why": ["dear"]}
    shop.feedback.report(offer.impression, "completed", customer=ADA, seq=1, answers=said)
    assert shop.log("prompt.answered")[0].event().properties["answers"] == {"score": 5}


def test_bad_reports(make_shop: MakeShop) -> None:
    """What a page could never send has a status, and is never an exception."""
    shop = make_shop(csat())
    offer = shop.ask(ADA)
    report = shop.feedback.report
    assert report(offer.impression, "eaten", customer=ADA).status == "invalid"
    assert report("nobody", "shown", customer=ADA).status == "unknown"
    assert report(3, "shown", customer=ADA).status == "unknown"
    assert report(offer.impression, "shown", customer=BOB).status == "not_yours"
    assert report(offer.impression, "shown", customer=Customer()).status == "unknown"
    for seq in (-1, 10**9):
        assert report(offer.impression, "answer", customer=ADA, seq=seq).status == "invalid"
    assert report(offer.impression, "answer", customer=ADA, seq="1").status == "unknown"
    assert shop.log("prompt.shown") == []


def test_expiry(make_shop: MakeShop) -> None:
    """A claim ends five minutes after its time; an impression takes answers for a day."""
    shop = make_shop(csat(ask=Ask(always=True)))
    offer = shop.ask(ADA)
    shop.clock.advance(300)
    for _ in range(2):
        assert shop.feedback.report(offer.impression, "shown", customer=ADA).status == "expired"
    assert len(shop.log("prompt.expired")) == 1
    assert shop.why(ADA) == []
    again = shop.show(ADA)
    shop.clock.advance(86_401)
    late = shop.feedback.report(
        again.impression, "completed", customer=ADA, seq=1, answers={"score": 5}
    )
    assert late.status == "expired"


def test_an_answer_shows_what_nobody_reported(make_shop: MakeShop) -> None:
    """A plain form is answered without a report that it was shown; both are recorded."""
    shop = make_shop(csat())
    offer = shop.ask(ADA)
    assert shop.feedback.report(offer.impression, "completed", customer=ADA, answers={"score": 5})
    assert len(shop.log("prompt.shown")) == len(shop.log("prompt.answered")) == 1


def test_to_show_asks_the_gates_again(make_shop: MakeShop) -> None:
    """What has changed since the page asked keeps the prompt from being shown."""
    shop = make_shop(csat(when=When(event="Order Completed"), cancel=["Order Cancelled"]))
    shop.track("Order Completed", ADA)
    offer = shop.ask(ADA)
    shop.clock.advance(1)
    shop.track("Order Cancelled", ADA)
    report = shop.feedback.report
    assert report(offer.impression, "shown", customer=ADA).status == "closed"
    assert report(offer.impression, "answer", customer=ADA).status == "closed"
    assert shop.log("prompt.shown") == []


def test_a_page_that_was_left_does_not_block_the_next(make_shop: MakeShop) -> None:
    """Ten seconds after its time a claim gives way, and its page may show nothing any more."""
    shop = make_shop(csat())
    left = shop.ask(ADA)
    assert shop.ask(ADA) is None
    shop.clock.advance(10)
    offer = shop.ask(ADA)
    assert offer is not None
    report = shop.feedback.report
    assert report(left.impression, "shown", customer=ADA).status == "closed"
    assert report(offer.impression, "shown", customer=ADA)


def test_closing_and_leaving(make_shop: MakeShop) -> None:
    """To close without an answer is a dismissal; behind an answer it is an abandonment."""
    shop = make_shop(csat(ask=Ask(always=True)))
    offer = shop.show(ADA)
    for _ in range(2):
        assert shop.feedback.report(offer.impression, "dismissed", customer=ADA)
    assert len(shop.log("prompt.dismissed")) == 1
    offer = shop.show(BOB)
    report = shop.feedback.report
    assert report(
        offer.impression, "abandoned", customer=BOB, seq=1, answers={"score": 1, "more": "a"}
    )
    assert report(offer.impression, "dismissed", customer=BOB)
    assert len(shop.log("prompt.abandoned")) == len(shop.log("prompt.answered")) == 1
    done = {"score": 1, "why": ["slow"]}
    assert report(offer.impression, "completed", customer=BOB, seq=2, answers=done)


def test_lost_claims_cost_no_answer(make_shop: MakeShop) -> None:
    """An answer to what State knows is stored, also where the claims are gone; once, and no more."""
    shop = make_shop(csat())
    offer = shop.show(ADA)
    shop.store.claims.forget(["u:ada"])
    for _ in range(2):
        assert shop.feedback.report(
            offer.impression, "completed", customer=ADA, seq=1, answers={"score": 5}
        )
    assert len(shop.log("prompt.answered")) == 1


def test_who_signs_in_goes_on(make_shop: MakeShop) -> None:
    """What was shown to a device is answered by the person who signs in on it."""
    shop = make_shop(csat())
    device = Customer(None, "d1", "s1")
    offer = shop.show(device)
    assert shop.feedback.report(
        offer.impression, "completed", customer=ADA, seq=1, answers={"score": 5}
    )


def test_a_claim_of_the_device_counts_before_the_merge_is_folded(make_shop: MakeShop) -> None:
    """A prompt that is about to be shown on a device keeps its person from getting another."""
    shop = make_shop(csat())
    assert shop.ask(Customer(None, "d1", "s1")) is not None
    assert shop.ask(ADA) is None


def test_consent(make_shop: MakeShop) -> None:
    """Who denies the purpose of feedback, here or ever, is not asked."""
    from journeykit.capture.context import bind_customer

    shop = make_shop(csat())
    with bind_customer(ADA, denied=["feedback"]):
        assert shop.ask(ADA) is None
    with bind_customer(ADA, denied=["analytics"]):
        assert shop.ask(ADA) is None
    shop.feedback.opt_out(ADA)
    assert shop.ask(ADA) is None
    assert shop.feedback.counts == {"no_consent": 2, "opted_out": 1}


def test_a_store_that_is_away(make_shop: MakeShop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where State cannot be read nothing is shown, and answers are kept all the same."""
    shop = make_shop(csat())
    offer = shop.show(ADA)
    shop.prompt = False

    def fail(*_: Any) -> None:
        raise StoreError("away")

    monkeypatch.setattr(shop.store, "state", fail)
    monkeypatch.setattr(shop.store, "scan", fail)
    assert shop.ask(BOB) is None
    assert shop.feedback.counts["store"] == 1
    assert shop.feedback.report(
        offer.impression, "completed", customer=ADA, seq=1, answers={"score": 5}
    )
    assert [entry.name for entry in shop.waiting][-1] == "prompt.answered"


def test_what_is_not_folded_yet_arms(make_shop: MakeShop) -> None:
    """A page that comes before the projector is offered what the event in the Log has armed."""
    shop = make_shop(csat(when=When(event="Order Completed"), cancel=["Order Cancelled"]))
    shop.prompt = False
    shop.track("Order Completed", ADA)
    assert shop.why(ADA) == ["not_armed"]
    shop.commit()
    assert shop.why(BOB) == ["not_armed"]
    assert shop.why(ADA) == []
    shop.clock.advance(1)
    shop.track("Order Cancelled", ADA)
    shop.commit()
    assert shop.why(ADA) == ["cancelled"]
    shop.clock.advance(1)
    shop.track("Order Completed", ADA)
    shop.feedback.opt_out(ADA)
    shop.commit()
    assert shop.why(ADA) == ["opted_out"]
    shop.fold()
    assert shop.why(ADA) == ["opted_out"]


# Plugins choose


class Chooses:
    """A plugin that chooses as it is told."""

    def __init__(self, choice: Callable[[Sequence[Candidate]], Any]) -> None:
        self.choice = choice
        self.asked = 0

    @hookimpl
    def select_prompt(self, candidates: Sequence[Candidate], customer: Any, page: Any) -> Any:
        """Choose."""
        self.asked += 1
        assert customer == ADA
        assert isinstance(page, Page)
        return self.choice(candidates)


def _fail(_: Any) -> Any:
    raise RuntimeError("no")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (lambda found: found[1], "b"),
        (lambda _: "b", "b"),
        (lambda _: None, "a"),
        (lambda _: "c", "a"),
        (lambda _: 3, "a"),
        (_fail, "a"),
    ],
)
def test_hook_select_prompt(make_shop: MakeShop, choice: Any, expected: str) -> None:
    """A plugin chooses among what every gate lets through; what it may not choose is not shown."""
    plugin = Chooses(choice)
    shop = make_shop(
        csat("a", priority=60), csat("b"), csat("c", on=False, priority=90), plugins=[plugin]
    )
    assert shop.ask(ADA).prompt.key == expected
    assert plugin.asked == 1


def test_one_candidate_is_no_choice(make_shop: MakeShop) -> None:
    """Where there is one candidate, plugins are not asked."""
    plugin = Chooses(lambda _: None)
    shop = make_shop(csat("a"), plugins=[plugin])
    assert shop.ask(ADA) is not None
    assert plugin.asked == 0


def test_a_plugin_that_hangs_is_tripped(make_shop: MakeShop) -> None:
    """A page waits 50 ms for a plugin; then core's order holds, and it is not asked again."""
    gate = threading.Event()
    plugin = Chooses(lambda _: gate.wait(30))
    shop = make_shop(csat("a"), csat("b", priority=60), plugins=[plugin])
    assert shop.ask(ADA).prompt.key == "b"
    assert shop.store.counters()[f"tripped:Chooses:{HOOK}"] == 1
    shop.clock.advance(10)
    assert shop.ask(ADA).prompt.key == "b"
    assert plugin.asked == 1
    gate.set()


# Without a deployment


def test_what_is_changed_holds_at_once(make_shop: MakeShop) -> None:
    """A change holds once it is folded, and is told with who, why, from what to what."""
    shop = make_shop(csat(text={"en": "How?"}))
    feedback = shop.feedback
    feedback.set("prompts.q.text.en", "Well?", actor="ann", reason="nicer")
    shop.clock.advance(1)
    feedback.set("prompts.q.on", False, actor="ben", reason="too much")
    assert shop.why(ADA) == ["off"]
    assert feedback.prompt("q").text("en") == "Well?"
    told = [
        (each.path, each.old, each.new, each.actor, each.reason) for each in feedback.changes("q")
    ]
    assert told == [
        ("prompts.q.on", True, False, "ben", "too much"),
        ("prompts.q.text.en", "How?", "Well?", "ann", "nicer"),
    ]
    feedback.set("prompts.q.on", None, actor="ann", reason="back")
    assert shop.ask(ADA).prompt.text("en") == "Well?"


@pytest.mark.parametrize("key", [*PROMPT_KEYS, "text.en", "text.de", "thanks.en"])
def test_every_key_can_be_put_back(make_shop: MakeShop, key: str) -> None:
    """Also one that was never changed, and one that holds nothing."""
    feedback = make_shop(csat(text={"en": "How?"})).feedback
    assert feedback.set(f"prompts.q.{key}", None, actor="ann", reason="back")
    assert feedback.prompt("q") == csat(text={"en": "How?"})


@pytest.mark.parametrize(
    ("path", "value", "now"),
    [
        ("prompts.q.priority", 7, lambda feedback: feedback.prompt("q").priority == 7),
        ("prompts.q.ask.sample", 0.2, lambda feedback: feedback.prompt("q").ask.sample == 0.2),
        ("prompts.q.ask.limit", 9, lambda feedback: feedback.prompt("q").ask.limit == 9),
        ("prompts.q.ask.max_shows", 2, lambda feedback: feedback.prompt("q").ask.max_shows == 2),
        (
            "prompts.q.ask.every",
            "30d",
            lambda feedback: feedback.prompt("q").ask == Ask(every=timedelta(days=30)),
        ),
        ("prompts.q.thanks.en", "Ta", lambda feedback: feedback.prompt("q").thanks("en") == "Ta"),
    ],
)
def test_what_can_be_changed(
    make_shop: MakeShop, path: str, value: Any, now: Callable[[Any], bool]
) -> None:
    """Each key of the allow-list is laid over the declaration."""
    shop = make_shop(csat(ask=Ask(once=True)))
    shop.feedback.set(path, value, actor="ann", reason="why not")
    assert now(shop.feedback)


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        ("prompts.q.on", "yes", TypeError),
        ("prompts.q.ask.sample", 2, ValueError),
        ("prompts.q.ask.every", "soon", ValueError),
        ("prompts.q.ask.every", 3, TypeError),
        ("prompts.q.priority", 101, ValueError),
        ("prompts.q.text.nolanguage1", "x", ValueError),
        ("prompts.q.text.en", "", ValueError),
        ("prompts.q.kind", "nps", LookupError),
        ("prompts.x.on", True, LookupError),
        ("journeys.shop.on", True, LookupError),
        ("feedback.language", "de", LookupError),
        ("feedback.caps", [{"most": 99}], ValueError),
        ("feedback.caps", "none", TypeError),
        ("feedback.per_session", -1, ValueError),
    ],
)
def test_what_cannot_be_changed(
    make_shop: MakeShop, path: str, value: Any, error: type[Exception]
) -> None:
    """A key that is not on the list, or a value that is none for it, changes nothing."""
    shop = make_shop(csat())
    with pytest.raises(error):
        shop.feedback.set(path, value, actor="ann", reason="x")
    assert shop.log("setting.changed") == []


def test_changes_of_all_prompts(make_shop: MakeShop) -> None:
    """Caps, the cap of a visit, back-off and quiet time can be changed too."""
    shop = make_shop(csat(ask=Ask(always=True)))
    shop.show(ADA)
    assert set(shop.why(ADA)) == {"session_capped"}
    shop.feedback.set("feedback.per_session", 0, actor="ann", reason="x")
    assert shop.why(ADA) == ["capped"]
    shop.feedback.set("feedback.caps", [{"most": 2, "per": "7d"}], actor="ann", reason="x")
    assert shop.why(ADA) == []
    assert shop.feedback.changes()[0].old == [
        {"most": 1, "per": "7d"},
        {"most": 1, "per": "90d", "group": "nps"},
    ]


def test_a_change_that_no_longer_fits_is_told(make_shop: MakeShop) -> None:
    """A change to what is declared no more is ignored, and `ignored` says why."""
    shop = make_shop(csat())
    shop.record(
        "setting.changed",
        {"path": "prompts.gone.on", "old": True, "new": False},
        nobody=True,
        kind=Kind.FACT,
    )
    assert "there is no key 'prompts.gone.on'" in shop.feedback.ignored["prompts.gone.on"]
    assert shop.ask(ADA) is not None


def test_explaining(make_shop: MakeShop) -> None:
    """Without a page what depends on one is open; a prompt that is not there is named."""
    shop = make_shop(csat())
    told = {gate.name: gate.passes for gate in shop.feedback.explain(ADA, "q")}
    assert told["armed"] is None
    with pytest.raises(LookupError, match="there are: q"):
        shop.feedback.explain(ADA, "x")


def test_nothing_declared(make_shop: MakeShop) -> None:
    """Without prompts nothing is read and nothing is asked."""
    shop = make_shop()
    assert shop.ask(ADA) is None
    assert shop.feedback.counts == {}
