"""Rules that break one promise each; run by test_rules.py, which wants to see them fail."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import pytest

from journeykit import EventView, Found, PainPointRule, Stepped
from journeykit.testing import Happening, RuleContract


class Sound(PainPointRule):
    """A coupon that is refused twice."""

    breaks: ClassVar[str] = ""
    code = "coupon.refused_twice"
    on = ("Coupon Denied",)
    also = ("Order Completed",)
    ends = ("Order Completed",)

    def key(self, event: EventView) -> str | None:
        """Return the cart's id."""
        cart = event.properties.get("cart_id")
        return cart[:200] if isinstance(cart, str) else ""

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Count refusals."""
        if event.name == "Order Completed":
            return Stepped(recovered=memory is not None)
        count = (memory or {"count": 0})["count"] + 1
        return Stepped({"count": count}, [Found()] if count == 2 else [])


class Code(Sound):
    breaks = "test_contract_rule_can_be_registered"
    code = "Coupon Refused"


class Trusting(Sound):
    breaks = "test_contract_any_event_is_understood"

    def key(self, event: EventView) -> str | None:
        return str(event.properties["cart_id"])


class Greedy(Sound):
    breaks = "test_contract_any_event_is_understood"

    def step(self, memory: Any, event: EventView) -> Stepped:
        return Stepped({"all": [*(memory or {"all": []})["all"], "x" * 700]})


class Restless(Sound):
    breaks = "test_contract_any_event_is_understood"

    def step(self, memory: Any, event: EventView) -> Stepped:
        return Stepped({"count": 1}, wake_at=event.at + 1)

    def wake(self, memory: Any, at: int) -> Stepped:
        return Stepped(memory, wake_at=at + 1)


class Forgetful(Sound):
    breaks = "test_contract_the_same_events_lead_to_the_same"
    numbers: ClassVar[Any] = itertools.count()

    def step(self, memory: Any, event: EventView) -> Stepped:
        return Stepped({"count": next(self.numbers)})


class Writing(Sound):
    breaks = "test_contract_what_it_is_handed_stays_as_it_was"

    def step(self, memory: Any, event: EventView) -> Stepped:
        memory = memory or {"count": 0}
        memory["count"] += 1
        return Stepped(memory)


class Blind(Sound):
    breaks = "test_contract_it_finds_what_hurts"

    def step(self, memory: Any, event: EventView) -> Stepped:
        return Stepped()


class Eager(Sound):
    breaks = "test_contract_it_finds_nothing_harmless"

    def step(self, memory: Any, event: EventView) -> Stepped:
        return Stepped(None, [Found()])


class _Contract(RuleContract):
    """The contract for a rule of `kind`."""

    kind: type[PainPointRule] = Sound
    hurts = ([Happening("Coupon Denied"), Happening("Coupon Denied", 60)],)
    harmless = (
        [Happening("Coupon Denied")],
        [
            Happening("Coupon Denied"),
            Happening("Order Completed", 1),
            Happening("Coupon Denied", 2),
        ],
    )

    @pytest.fixture
    def rule(self) -> PainPointRule:
        """Return the rule."""
        return self.kind()


for each in (Sound, *Sound.__subclasses__()):
    globals()[f"Test{each.__name__}"] = type(f"Test{each.__name__}", (_Contract,), {"kind": each})
