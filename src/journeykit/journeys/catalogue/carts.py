"""Carts and payments that come to no order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from journeykit.journeys.catalogue.common import (
    CART,
    WORTH,
    count,
    derived,
    duration,
    ids,
    key_of,
    key_or_every,
    micros,
    names,
    newest,
    number,
    within,
)
from journeykit.model.pain_point import Severity
from journeykit.model.rule import EventView, Found, PainPointRule, Stepped

#: More of one thing in a cart is a mistake.
_MOST_PIECES = 1_000_000


@attrs.frozen(kw_only=True)
class CartAbandoned(PainPointRule):
    """
    A cart that is not empty, and that nothing was done with for a while.

    What is in the cart counts from the last checkout or order on: a checkout that comes to no order
    is `checkout.abandoned`.
    A later order of the cart is its recovery.

    Default: 60 minutes (Wix and verbb take one hour, YouCan 10 minutes, WoowUp 30).

    Args:
        on: Something was put into the cart: `cart_id`, `price`, `quantity`.

        removed: Something was taken out of it.

        touched: Something else was done with it.

        checkout, ended: The cart went on to the checkout; the order was made.
            One without a `cart_id` does so for every cart of the customer.

        window: How long nothing happens.

        recovery: How long after that an order still counts as recovery.
    """

    code = "cart.abandoned"

    on: tuple[str, ...] = names("Product Added", "Wishlist Product Added to Cart")
    removed: tuple[str, ...] = names("Product Removed")
    touched: tuple[str, ...] = names("Cart Viewed")
    checkout: tuple[str, ...] = names("Checkout Started")
    ended: tuple[str, ...] = names("Order Completed")
    window: timedelta = duration(minutes=60)
    recovery: timedelta = duration(days=30)
    also: tuple[str, ...] = derived(
        lambda self: (*self.removed, *self.touched, *self.checkout, *self.ended)
    )
    ends: tuple[str, ...] = derived(lambda self: (*self.checkout, *self.ended))
    lasts: timedelta | None = derived(lambda self: self.recovery)

    def key(self, event: EventView) -> str | None:
        """Return the cart."""
        if event.name in self.ended or event.name in self.checkout:
            return key_or_every(event, CART)
        return key_of(event, CART)

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Follow what is in the cart: how many pieces, what they are worth, and by which events."""
        name = event.name
        if memory is None and name not in self.on:
            return Stepped()
        pieces, worth, evidence, was_found = memory or (0, 0.0, [], 0)
        if name in self.ended:
            return Stepped(recovered=bool(was_found))
        if name in self.checkout:
            return self._rest([0, worth, evidence, was_found])
        if name in self.on or name in self.removed:
            many = number(event.properties, "quantity")
            many = 1.0 if many is None else min(max(many, 0.0), _MOST_PIECES)
            many = many if name in self.on else -many
            price = number(event.properties, "price") or 0.0
            pieces = max(0.0, pieces + many)
            worth = max(0.0, round(worth + many * price, 6)) if pieces else 0.0
        memory = [pieces, worth, newest(evidence, event.id), was_found]
        if not pieces:
            return self._rest(memory)
        return Stepped(memory, wake_at=event.at + micros(self.window))

    def wake(self, memory: Any, at: int) -> Stepped:
        """Find that nothing was done."""
        pieces, worth, evidence, _ = memory
        found = Found(tuple(evidence), value=worth or None)
        return Stepped([pieces, worth, evidence, 1], [found])

    @staticmethod
    def _rest(memory: list[Any]) -> Stepped:
        """Wait for nothing but an order of what was found before."""
        return Stepped(memory if memory[-1] else None)


@attrs.frozen(kw_only=True)
class CheckoutAbandoned(PainPointRule):
    """
    A checkout that came to no order.

    A later order of the same cart is its recovery.

    Default: 60 minutes, as for carts; Shopify tells the two apart likewise.

    Args:
        on: The checkout began, or went on.

        ended: The order was made; one without a `cart_id` ends every checkout of the customer.

        window: How long there is no order.

        recovery: How long after that an order still counts as recovery.
    """

    code = "checkout.abandoned"
    severity = Severity.HIGH

    on: tuple[str, ...] = names("Checkout Started")
    ended: tuple[str, ...] = names("Order Completed")
    window: timedelta = duration(minutes=60)
    recovery: timedelta = duration(days=30)
    also: tuple[str, ...] = derived(lambda self: self.ended)
    ends: tuple[str, ...] = derived(lambda self: self.ended)
    lasts: timedelta | None = derived(lambda self: self.recovery)

    def key(self, event: EventView) -> str | None:
        """Return the cart."""
        return (key_or_every if event.name in self.ended else key_of)(event, CART)

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Remember the checkout: what it is worth, its events, and whether it was found."""
        worth, evidence, was_found = memory or (None, [], 0)
        if event.name in self.ended:
            return Stepped(recovered=bool(was_found))
        told = number(event.properties, *WORTH)
        memory = [worth if told is None else told, newest(evidence, event.id), was_found]
        return Stepped(memory, wake_at=event.at + micros(self.window))

    def wake(self, memory: Any, at: int) -> Stepped:
        """Find that there is no order."""
        worth, evidence, _ = memory
        return Stepped([worth, evidence, 1], [Found(tuple(evidence), value=worth)])


@attrs.frozen(kw_only=True)
class PaymentDeclined(PainPointRule):
    """
    A payment that was declined; a second one soon is worse.

    An order of the same cart is its recovery.
    Nothing of the payment is kept but the events' ids: no number, no name, no bank's text.

    Default: one is medium, two for a cart in 24 hours are high (our recommendation).

    Args:
        on: A payment was declined.

        ended: The order was made after all.

        repeats: How many are high.

        window: In how much time.
    """

    code = "payment.declined"

    on: tuple[str, ...] = names("Payment Declined", "Payment Failed")
    ended: tuple[str, ...] = names("Order Completed")
    repeats: int = count(2)
    window: timedelta = duration(hours=24)
    also: tuple[str, ...] = derived(lambda self: self.ended)
    ends: tuple[str, ...] = derived(lambda self: self.ended)
    lasts: timedelta | None = derived(lambda self: self.window)

    def key(self, event: EventView) -> str | None:
        """Return the cart."""
        return (key_or_every if event.name in self.ended else key_of)(event, CART)

    def step(self, memory: Any, event: EventView) -> Stepped:
        """Count the declined payments of the window."""
        if event.name in self.ended:
            return Stepped(recovered=memory is not None)
        pairs = within(memory, event, micros(self.window), max(self.repeats, 5))
        severity = Severity.HIGH if len(pairs) >= self.repeats else Severity.MEDIUM
        value = number(event.properties, *WORTH)
        return Stepped(pairs, [Found(ids(pairs), severity, value)])
