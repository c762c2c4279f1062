"""The checkout: an address, a payment, an order."""

from flask import Blueprint, abort, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from dawdle import cards, carts, orders
from dawdle.carts import Cart, current_cart
from dawdle.customers import current_customer
from dawdle.journey import kit, page_viewed

pages = Blueprint("checkout", __name__)

ADDRESS, PAYMENT = 1, 2
FIELDS = {
    "name": "Please tell us whom the parcel is for.",
    "email": "Please give an e-mail address, so that we can say it is on its way.",
    "street": "Please give street and number.",
    "postcode": "Please give the postcode.",
    "city": "Please give town or city.",
}


@pages.post("/checkout")
def start() -> Response:
    cart = current_cart()
    if not cart.lines:
        return redirect(url_for("cart.show"))
    kit.track("Checkout Started", cart.facts())
    return redirect(url_for(".address"))


@pages.get("/checkout/address")
def address() -> str | Response:
    cart = current_cart()
    if not cart.lines:
        return redirect(url_for("cart.show"))
    customer = current_customer()
    known = {"name": customer.name, "email": customer.email} if customer else {}
    page_viewed("Checkout Step Viewed", _step(cart, ADDRESS))
    return render_template("address.html", cart=cart, values=cart.address or known, mistakes={})


@pages.post("/checkout/address")
def keep_address() -> str | Response | tuple[str, int]:
    cart = current_cart()
    if not cart.lines:
        return redirect(url_for("cart.show"))
    values = {field: request.form.get(field, "").strip()[:120] for field in FIELDS}
    mistakes = {field: words for field, words in FIELDS.items() if not values[field]}
    if "email" not in mistakes and "@" not in values["email"]:
        mistakes["email"] = "An e-mail address has an @ in it."
    if mistakes:
        return render_template("address.html", cart=cart, values=values, mistakes=mistakes), 422
    carts.set_address(cart, values)
    kit.track("Checkout Step Completed", _step(cart, ADDRESS))
    return redirect(url_for(".payment"))


@pages.get("/checkout/payment")
def payment() -> str | Response:
    cart = current_cart()
    if not cart.lines or not cart.address:
        return redirect(url_for(".address"))
    page_viewed("Checkout Step Viewed", _step(cart, PAYMENT))
    return render_template("payment.html", cart=cart, mistakes={})


@pages.post("/checkout/payment")
def pay() -> str | Response | tuple[str, int]:
    cart = current_cart()
    if not cart.lines or not cart.address:
        return redirect(url_for(".address"))
    card = [request.form.get(field, "").strip() for field in ("number", "expiry", "code")]
    if mistakes := cards.mistakes(*card):
        return render_template("payment.html", cart=cart, mistakes=mistakes), 422
    # The card itself goes to the processor, and nowhere else: not to the database, not to an event.
    step = {**_step(cart, PAYMENT), "payment_method": "card"}
    kit.track("Payment Info Entered", step)
    if refusal := cards.charge(card[0]):
        reason, words = refusal
        kit.track("Payment Declined", {**step, "reason": reason})
        return render_template("payment.html", cart=cart, mistakes={}, declined=words), 402
    order = orders.place(cart.id)
    if order is None:
        return redirect(url_for("account.show"))
    kit.track("Checkout Step Completed", step)
    bought = {**order.facts(), "cart_id": cart.id, "checkout_id": cart.id}
    # The next page asks how paying went, so that it must not be there before the event is.
    kit.track("Order Completed", bought, durable=True)
    session.pop("cart_id")
    return redirect(url_for(".order", order_id=order.id, thanks=1))


@pages.get("/orders/<order_id>")
def order(order_id: str) -> str:
    found = orders.order(order_id) or abort(404)
    return render_template("order.html", order=found, thanks="thanks" in request.args)


@pages.post("/orders/<order_id>/delivered")
def delivered(order_id: str) -> Response:
    """A parcel has arrived; a shop with a carrier hears so from them, and names the customer."""
    found = orders.order(order_id) or abort(404)
    if orders.deliver(found.id):
        kit.track("Order Delivered", {"order_id": found.id}, durable=True)
    return redirect(url_for(".order", order_id=found.id))


def _step(cart: Cart, step: int) -> dict[str, str | int]:
    return {"cart_id": cart.id, "checkout_id": cart.id, "step": step}
