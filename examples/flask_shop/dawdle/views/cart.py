"""The basket: put in, change, take out, coupon."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from dawdle import carts, coupons
from dawdle.carts import Cart, current_cart
from dawdle.journey import kit, page_viewed
from dawdle.money import euros
from dawdle.products import Product

from .catalogue import find

pages = Blueprint("cart", __name__, url_prefix="/basket")


@pages.get("")
def show() -> str:
    cart = current_cart()
    page_viewed("Cart Viewed", cart.facts())
    return render_template("cart.html", cart=cart, most=carts.MOST)


@pages.post("/add/<slug>")
def add(slug: str) -> Response:
    product, cart = find(slug), current_cart()
    already = sum(line.quantity for line in cart.lines if line.product == product)
    _put(cart, product, already + _quantity(default=1))
    flash(f"{product.name} is in your basket.")
    return redirect(url_for(".show"))


@pages.post("/change/<slug>")
def change(slug: str) -> Response:
    product, quantity = find(slug), _quantity(default=0)
    _put(current_cart(), product, quantity)
    flash(f"{product.name}: {quantity} in your basket." if quantity else f"{product.name} is out.")
    return redirect(url_for(".show"))


@pages.post("/coupon")
def enter_coupon() -> Response:
    cart, code = current_cart(), request.form.get("coupon", "").strip().upper()[:24]
    facts = {"cart_id": cart.id, "coupon_id": code}
    kit.track("Coupon Entered", facts)
    coupon = coupons.coupon(code)
    refusal = (
        coupon.refusal(cart.subtotal) if coupon else ("unknown", f"We don't know {code or 'that'}.")
    )
    if coupon and not refusal:
        carts.set_coupon(cart, code)
        discount = euros(coupon.discount(cart.subtotal))
        kit.track("Coupon Applied", {**facts, "coupon_name": coupon.name, "discount": discount})
        flash(f"{coupon.code} counts: {coupon.name.lower()}.")
    elif refusal:
        reason, words = refusal
        kit.track("Coupon Denied", {**facts, "reason": reason})
        flash(words, "problem")
    return redirect(url_for(".show"))


def _put(cart: Cart, product: Product, quantity: int) -> None:
    more = carts.set_quantity(cart, product, quantity)
    if more > 0:
        kit.track("Product Added", {"cart_id": cart.id, **product.facts(more)})
    elif more < 0:
        kit.track("Product Removed", {"cart_id": cart.id, **product.facts(-more)})


def _quantity(*, default: int) -> int:
    quantity = request.form.get("quantity", default, type=int)
    return max(0, min(quantity, carts.MOST))
