"""The rule: what it remembers of a customer, and when it finds something."""

from __future__ import annotations

from typing import Any

from journeykit import EventView, Found, PainPointRule, Severity, Stepped


class DeniedTwice(PainPointRule):
    """A coupon was denied for the second time, before an order."""

    code = "acme.denied_twice"
    on = ("Coupon Denied",)
    also = ("Order Completed",)
    severity = Severity.LOW

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Remember the first refusal, find the second, and forget both with an order."""
        if event.name == "Order Completed":
            return Stepped()
        if memory is None:
            return Stepped(memory=[event.id])
        found = [Found(evidence=(*memory, event.id))] if len(memory) == 1 else []
        return Stepped(memory=[*memory, event.id][-2:], findings=found)
