"""A small shop with something on every page of the admin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from journeykit import Customer, DeliveryError, JourneyKit, Page

TOML = """
[[journeys]]
key = "shop"
version = 1
title = "The shop"
stages = [
  { key = "look", title = "Looking", enter = ["Product Viewed"], expected = "1h" },
  { key = "buy", title = "Buying", enter = ["Product Added"] },
  { key = "use", title = "Using", enter = ["Order Completed"] },
]
goal = { event = "Order Completed", value = "revenue" }

[[prompts]]
key = "after"
kind = "csat"
when = { event = "Order Completed" }
ask = { always = true }
text = { en = "How was it?", ar = "كيف كان؟" }
then = [{ key = "more", kind = "text", text = { en = "More?", ar = "المزيد؟" } }]

[[prompts]]
key = "why"
kind = "text"
when = { page = "/never" }
text = "Why?"
on = false

[feedback]
caps = []
per_session = 0
never_pages = []
min_answers = 5

[insight]
segments = ["plan"]

[pain_points.payment_declined]

[cases]
causes = ["the courier", "the stock"]
actions = ["money back", "a new one"]
owner = "care"

[[cases.rules]]
key = "low"
title = "A low score"
when = { prompt = "after" }
"""

#: The toml of a shop with nothing declared.
EMPTY = ""


class Refusing:
    """A sink that takes nothing called `Coupon Denied`."""

    name = "crm"

    def deliver(self, batch: Any) -> None:
        """Refuse them for good."""
        if any(event.name == "Coupon Denied" for event in batch):
            raise DeliveryError("there is no such field: coupon", retryable=False)

    def close(self) -> None:
        """Keep nothing."""


def fill(kit: JourneyKit, *, people: int = 6) -> None:
    """Let customers come, buy, fail, answer and complain."""
    now = datetime.now(UTC)
    for number in range(people):
        who = Customer(str(number + 1), f"device-{number + 1}", f"visit-{number + 1}")
        at = now - timedelta(hours=people - number)
        with kit.bind_customer(who, context={"page": {"name": "product", "path": "/p"}}):
            plan = {"plan": "gold" if number % 2 else "basic"}
            kit.track("Product Viewed", {"product_id": "boots", **plan}, at=at)
            kit.track("Product Added", {"product_id": "boots"}, at=at + timedelta(minutes=4))
            if number % 3:
                kit.track(
                    "Payment Declined", {"cart_id": f"c{number}"}, at=at + timedelta(minutes=6)
                )
            if number % 2:
                order = {"order_id": f"o{number}", "revenue": 49.5}
                kit.track("Order Completed", order, at=now)
    kit.track("Product Viewed", customer=Customer(None, "nobody-yet"), at=now)
    kit.track("Coupon Denied", {"coupon": "SPRING"}, customer="1", at=now)
    settle(kit)
    for number, score in ((1, 1), (3, 5), (5, 2)):
        answer(kit, Customer(str(number + 1), f"device-{number + 1}"), score, "it was *late*")
    settle(kit)


def answer(kit: JourneyKit, who: Customer, score: int, more: str) -> None:
    """Let somebody answer the question that they are asked."""
    offer = kit.feedback.ask(who, Page(path="/thanks"))
    assert offer is not None
    said: dict[str, Any] = {"score": score, "more": more}
    assert kit.feedback.report(offer.impression, "shown", customer=who)
    assert kit.feedback.report(offer.impression, "completed", customer=who, seq=1, answers=said)


def settle(kit: JourneyKit) -> None:
    """Wait until all of it is folded and was delivered, or not."""
    assert kit.flush(20)
