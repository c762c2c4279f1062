"""The orders of the visitor at hand, and how one is placed."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from .journey import track_in_transaction
from .models import Cart, Customer, Order, OrderLine, Payment, Product, Review


def place(cart_id: str, customer: Customer | None, step: Mapping[str, Any]) -> Order | None:
    """Turn a paid basket into an order. None if it is one already, as after a double click.

    The order, its payment and what journeykit hears of them are there together or not at all.
    """
    with transaction.atomic():
        cart = Cart.objects.select_for_update().filter(pk=cart_id).first()
        if cart is None or not cart.lines or not cart.address:
            return None
        order = Order.objects.create(
            customer=customer,
            coupon_code=cart.coupon_code if cart.discount else "",
            subtotal=cart.subtotal,
            discount=cart.discount,
            shipping=cart.shipping,
            **cart.address,
        )
        OrderLine.objects.bulk_create(
            OrderLine(order=order, product=x.product, quantity=x.quantity, price=x.product.price)
            for x in cart.lines
        )
        Payment.objects.create(order=order, amount=order.total)
        track_in_transaction("Checkout Step Completed", step)
        bought = {**order.facts(), "cart_id": cart_id, "checkout_id": cart_id}
        # The next page asks how paying went, so that it must not be there before the event is.
        track_in_transaction("Order Completed", bought, id=f"order-{order.number}", durable=True)
        cart.delete()
    return order


def refuse(cart: Cart, reason: str, step: Mapping[str, Any]) -> None:
    """Keep that a payment was refused."""
    with transaction.atomic():
        Payment.objects.create(amount=cart.total, refused_for=reason)
        track_in_transaction("Payment Declined", {**step, "reason": reason})


def deliver(order: Order) -> None:
    """Note that a parcel has arrived, if that was not known."""
    with transaction.atomic():
        waiting = Order.objects.filter(pk=order.pk, delivered_at=None)
        if waiting.update(delivered_at=timezone.now()):
            facts = {"order_id": order.number}
            track_in_transaction("Order Delivered", facts, durable=True)


def visible(request: HttpRequest) -> QuerySet[Order]:
    """The orders that the visitor may see: placed in this session, or by this customer."""
    mine = Q(number__in=request.session.get("orders", []))
    if request.user.is_authenticated:
        mine |= Q(customer=request.user)
    return Order.objects.filter(mine)


def remember(request: HttpRequest, order: Order) -> None:
    """Let a guest find the order again, as long as the session lasts."""
    request.session["orders"] = [*request.session.get("orders", []), order.number][-20:]


def adopt(request: HttpRequest, customer: Customer) -> None:
    """Give the orders that a guest has just placed to the account that the guest opened."""
    placed = Order.objects.filter(number__in=request.session.get("orders", []), customer=None)
    placed.update(customer=customer)


def to_review(request: HttpRequest, product: Product) -> Order | None:
    """The visitor's latest order that holds the product and has no review of it yet."""
    reviewed = Review.objects.filter(product=product).values("order")
    bought = visible(request).filter(line_set__product=product).exclude(pk__in=reviewed)
    return bought.first()
