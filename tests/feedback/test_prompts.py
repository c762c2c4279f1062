from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from journeykit.config.settings import FeedbackSettings
from journeykit.feedback.history import ANSWERS, KEPT, PROMPTS
from journeykit.journeys.catalogue import CATALOGUE
from journeykit.model import (
    Ask,
    Customer,
    Exit,
    Goal,
    Journey,
    Kind,
    Prompt,
    Stage,
    When,
    Where,
    jsonbytes,
)
from journeykit.model.event import HISTORICAL
from journeykit.store.protocol import Commit
from journeykit.store.sqlite import SQLiteStore

MakeShop = Callable[..., Any]

ADA, DEVICE = Customer("ada", None, "s1"), Customer(None, "d1", "s1")
BOTH = Customer("ada", "d1", "s1")
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
    exits=[Exit("Cart Emptied")],
)


def csat(key: str = "q", **more: Any) -> Prompt:
    """Return a prompt that an order arms."""
    more.setdefault("when", When(event="Order Completed"))
    return Prompt(key=key, kind="csat", text="How was it?", **more)


def test_an_event_arms_and_another_cancels(make_shop: MakeShop) -> None:
    """The trigger arms its customer, names that mean the same do too, and a cancel event undoes it."""
    shop = make_shop(csat(cancel=["Order Cancelled"]))
    assert "not_armed" in shop.why(ADA)
    shop.track("purchase", ADA)
    assert shop.why(ADA) == []
    assert "not_armed" in shop.why(Customer("bob"))
    shop.clock.advance(1)
    shop.track("Order Cancelled", ADA)
    assert shop.why(ADA) == ["cancelled"]
    shop.clock.advance(1)
    shop.track("Order Completed", ADA)
    assert shop.why(ADA) == []


def test_conditions_on_the_event(make_shop: MakeShop) -> None:
    """A trigger with `where` is armed only by events with these values."""
    shop = make_shop(csat(when=When(event="Order Completed", where={"express": True})))
    shop.track("Order Completed", ADA, {"express": False})
    assert shop.why(ADA) == ["not_armed"]
    shop.track("Order Completed", ADA, {"express": True})
    assert shop.why(ADA) == []


def test_what_must_have_come_before(make_shop: MakeShop) -> None:
    """With `after`, an order arms only if the other event came before it, and not too long ago."""
    shop = make_shop(csat(when=When(event="Order Completed", after="Payment Declined")))
    shop.track("Order Completed", ADA)
    assert shop.why(ADA) == ["not_armed"]
    shop.clock.advance(1)
    shop.track("Payment Declined", ADA)
    assert shop.why(ADA) == ["not_armed"]
    shop.clock.advance(1)
    shop.track("Order Completed", ADA)
    assert shop.why(ADA) == []
    shop.clock.advance(86_401)
    shop.track("Order Completed", ADA)
    assert shop.why(ADA) == ["not_armed"]


def test_a_stage_arms(make_shop: MakeShop) -> None:
    """Entering a stage arms, of the journey that is named, in the step that derives it."""
    shop = make_shop(
        csat("bought", when=When(stage="purchase", journey="shop")),
        csat("other", when=When(stage="purchase", journey="checkout")),
        journeys=[SHOP],
    )
    shop.track("Order Completed", ADA)
    assert shop.why(ADA, prompt="bought") == []
    assert shop.why(ADA, prompt="other") == ["not_armed"]


def test_what_time_alone_finds_arms(make_shop: MakeShop) -> None:
    """A pain point or a stall that follows from nothing but time passing arms like any other."""
    shop = make_shop(
        csat("left", when=When(pain_point="cart.abandoned", within=timedelta(days=30))),
        journeys=[CHECKOUT],
        rules=[rule for rule in CATALOGUE if rule.code == "cart.abandoned"],
    )
    shop.track("Product Added", DEVICE, {"cart_id": "c1", "value": 10})
    shop.track("User Signed In", BOTH)
    assert "not_armed" in shop.why(ADA)
    shop.clock.advance(7 * 86_400)
    shop.fold()
    assert shop.log("pain_point.detected")
    assert shop.why(ADA, prompt="left") == []


def test_a_pain_point_arms(make_shop: MakeShop) -> None:
    """A pain point of the code, or of those that begin so, arms from the severity on that is asked."""
    shop = make_shop(
        csat("exact", when=When(pain_point="payment.declined")),
        csat("any", when=When(pain_point="payment.*", severity="medium")),
        csat("severe", when=When(pain_point="payment.declined", severity="critical")),
        csat("other", when=When(pain_point="payment")),
    )
    shop.track("Payment Declined", ADA, {"severity": "medium"})
    armed = {key for key in ("exact", "any", "severe", "other") if not shop.why(ADA, prompt=key)}
    assert armed == {"exact", "any"}


def test_history_arms_nothing(make_shop: MakeShop) -> None:
    """Imported events, and what is derived from them, arm no prompt and begin no quiet time."""
    shop = make_shop(
        csat(), csat("pain", when=When(pain_point="payment.declined")), journeys=[SHOP]
    )
    shop.track("Order Completed", ADA, flags=HISTORICAL)
    shop.track("Payment Declined", ADA, flags=HISTORICAL)
    assert shop.history("u:ada").triggers == {}
    assert shop.history("u:ada").pained is None


def test_the_delay_and_how_long_it_stays_armed(make_shop: MakeShop) -> None:
    """The offer carries what is left of the delay; far before it and long after it there is none."""
    delayed = When(event="Order Completed", delay=timedelta(days=3), within=timedelta(days=2))
    shop = make_shop(csat(when=delayed))
    shop.track("Order Completed", ADA)
    assert shop.why(ADA) == ["waiting"]
    shop.clock.advance(3 * 86400 - 100)
    offer = shop.ask(ADA)
    assert offer is not None
    assert offer.delay == 100
    shop.clock.advance(2 * 86400 + 101)
    assert shop.why(ADA) == ["too_late"]


def test_a_date_in_the_future_is_of_now(make_shop: MakeShop) -> None:
    """A trigger whose clock runs ahead counts from when the Log had it."""
    shop = make_shop(csat())
    shop.track("Order Completed", ADA, at=10_000.0)
    assert shop.history("u:ada").triggers["q"][0] == shop.clock()


def test_stages_of_instances(make_shop: MakeShop) -> None:
    """Nobody is asked in the stage `payment` of their last cart, unless the prompt names it."""
    shop = make_shop(
        csat("plain", when=When(event="Product Viewed")),
        csat("there", when=When(event="Product Viewed"), where=Where(stage=["checkout.payment"])),
        csat("away", when=When(event="Product Viewed"), where=Where(not_stage=["cart"])),
        journeys=[CHECKOUT],
    )
    shop.track("Product Added", ADA, {"cart_id": "c1"})
    shop.track("Product Viewed", ADA)
    assert [shop.why(ADA, prompt=key) for key in ("plain", "there", "away")] == [
        [],
        ["stage"],
        ["stage"],
    ]
    shop.clock.advance(1)
    shop.track("Payment Info Entered", ADA, {"cart_id": "c1"})
    assert [shop.why(ADA, prompt=key) for key in ("plain", "there", "away")] == [
        ["never_stage"],
        [],
        ["never_stage"],
    ]
    shop.clock.advance(1)
    shop.track("Order Completed", ADA, {"cart_id": "c1"})
    assert shop.why(ADA, prompt="plain") == []


# What becomes of impressions


def test_counts_of_what_was_shown(make_shop: MakeShop) -> None:
    """Shows and answers are counted once, however often they are reported."""
    shop = make_shop(csat(ask=Ask(limit=1)))
    shop.track("Order Completed", ADA)
    offer = shop.show(ADA)
    for _ in range(2):
        for step in ("shown", "started", "answer", "completed"):
            shop.feedback.report(offer.impression, step, customer=ADA, seq=1, answers={"score": 4})
    tally = shop.history("u:ada").tallies["q"]
    assert (tally.shows, tally.answers) == (1, 1)
    assert jsonbytes.loads(shop.store.state((ANSWERS, "q"))) == 1
    shop.track("Order Completed", Customer("bob"))
    assert shop.why(Customer("bob")) == ["limit"]


def test_no_more_than_so_many_impressions_are_kept(make_shop: MakeShop) -> None:
    """Of each prompt the newest impressions are kept, and the count of all."""
    shop = make_shop(csat(ask=Ask(always=True)), feedback=FeedbackSettings(caps=(), per_session=0))
    for _ in range(KEPT + 5):
        shop.clock.advance(60)
        shop.track("Order Completed", ADA)
        shop.show(ADA)
    history = shop.history("u:ada")
    assert len(history.impressions) == KEPT
    assert history.tallies["q"].shows == KEPT + 5


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_arrival_gives_the_same_state(
    make_shop: MakeShop, make_entry: Callable[..., Any], seed: int
) -> None:
    """Triggers, cancels, shows and answers leave the same State in whatever order they arrive."""
    prompts = (csat("a", cancel=["Page Viewed"]), csat("b", when=When(event="Product Viewed")))
    names = ("Order Completed", "Page Viewed", "Product Viewed")
    entries = [make_entry(names[number % 3], at=number, user_id="ada") for number in range(12)]
    for number, name in enumerate(("shown", "started", "answered", "dismissed")):
        for impression in ("i1", "i2"):
            properties = {"impression": impression, "prompt": "a", "seq": number}
            properties |= {"answers": {"score": 3}} if name == "answered" else {}
            entries.append(
                make_entry(f"prompt.{name}", properties, at=number, user_id="ada", kind=Kind.FACT)
            )
    states = []
    for order in (None, random.Random(seed)):
        shop = make_shop(*prompts)
        shop.clock.advance(3600)
        arriving = list(entries)
        if order is not None:
            order.shuffle(arriving)
        for entry in arriving:
            shop.store.commit(Commit([entry]), shop.clock())
            shop.fold()
        states.append([*shop.store.scan(PROMPTS), *shop.store.scan(ANSWERS)])
    assert states[0] == states[1]


def test_a_rebuild_gives_the_same(make_shop: MakeShop, tmp_path: Any) -> None:
    """State made again from the Log is the same, with merges and with what was taken apart."""
    shop = make_shop(csat(), journeys=[SHOP], store=SQLiteStore(tmp_path / "a.db"))
    _live(shop)
    spaces = (PROMPTS, ANSWERS, "setting")
    before = [item for space in spaces for item in shop.store.scan(space)]
    shop.projector.rebuild()
    shop.fold()
    assert before
    assert [item for space in spaces for item in shop.store.scan(space)] == before
    shop.store.close()


def _live(shop: Any) -> None:
    shop.track("Order Completed", DEVICE)
    offer = shop.show(DEVICE)
    shop.feedback.report(
        offer.impression, "completed", customer=DEVICE, seq=1, answers={"score": 2}
    )
    shop.feedback.set("prompts.q.on", False, actor="a", reason="b")
    shop.clock.advance(5)
    shop.track("Payment Declined", ADA)
    shop.track("Signed In", BOTH)
    shop.clock.advance(5)


def test_a_merge_takes_over(make_shop: MakeShop) -> None:
    """Who signs in was shown what their device was shown, and keeps the device's bucket."""
    prompt = csat(ask=Ask(sample=0.5))
    shop = make_shop(prompt)
    devices = [Customer(None, f"d{number}", "s1") for number in range(40)]
    for number, device in enumerate(devices):
        shop.track("Order Completed", device)
        before = "not_sampled" in shop.why(device)
        shop.track("Signed In", Customer(f"u{number}", f"d{number}"))
        known = Customer(f"u{number}", None)
        assert ("not_sampled" in shop.why(known)) == before
        assert shop.history(f"a:d{number}").triggers == {}
    assert shop.why(Customer("u0", "d0", "s9")) in ([], ["not_sampled"])


def test_a_merge_is_strict(make_shop: MakeShop) -> None:
    """What either has refused or was shown, the person has; the trigger of either arms."""
    shop = make_shop(csat(), csat("n", when=When(event="Product Viewed")))
    shop.track("Order Completed", DEVICE)
    shop.show(DEVICE)
    shop.feedback.opt_out(DEVICE)
    shop.clock.advance(10)
    shop.track("customer.consented", ADA, {"granted": ["feedback"]}, kind=Kind.FACT)
    shop.track("Product Viewed", ADA)
    assert "opted_out" not in shop.why(ADA, prompt="n")
    shop.track("Signed In", BOTH)
    assert shop.history("u:ada").tallies["q"].shows == 1
    assert "opted_out" in shop.why(ADA, prompt="n")
    assert shop.history("u:ada").triggers.keys() == {"q", "n"}


def test_an_unmerge_parts(make_shop: MakeShop) -> None:
    """Who was taken for one another keeps what they did themselves; both are left in peace."""
    shop = make_shop(csat(), csat("n", when=When(event="Product Viewed")))
    shop.track("Order Completed", DEVICE)
    shop.show(DEVICE)
    shop.clock.advance(1)
    shop.track("Product Viewed", ADA)
    shop.track("Payment Declined", ADA)
    shop.track("Signed In", BOTH)
    shop.track("customer.unmerged", DEVICE, kind=Kind.FACT)
    assert shop.history("a:d1").tallies.keys() == {"q"}
    assert shop.history("u:ada").tallies.keys() == set()
    assert shop.history("u:ada").triggers.keys() == {"n"}
    assert shop.history("a:d1").pained == shop.history("u:ada").pained is not None


def test_facts_of_others_change_nothing(make_shop: MakeShop) -> None:
    """A fact about a prompt that is not declared, or of another form, is left alone."""
    shop = make_shop(csat())
    told = (
        {"prompt": "gone", "impression": "i"},
        {"prompt": "q"},
        {"prompt": ["q"], "impression": "i"},
    )
    for properties in told:
        shop.track("prompt.shown", ADA, properties, kind=Kind.FACT)
    assert shop.store.state((PROMPTS, "u:ada")) is None


def test_events_that_no_prompt_cares_about_write_nothing(make_shop: MakeShop) -> None:
    """A customer who does nothing that concerns a prompt has nothing in State for prompts."""
    shop = make_shop(csat(), journeys=[SHOP])
    for name in ("Product Viewed", "Product Added", "Signed In"):
        shop.track(name, ADA)
    assert shop.store.state((PROMPTS, "u:ada")) is None


def test_a_page_arms(make_shop: MakeShop) -> None:
    """A prompt that a page arms needs no event."""
    shop = make_shop(csat(when=When(page="/orders/*")))
    assert shop.why(ADA, "/orders/1") == []
    assert shop.why(ADA, "/cart") == ["not_armed"]
