"""The checkout: an address, a payment, an order."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from shop import cards, orders
from shop.carts import current_cart
from shop.forms import AddressForm, CardForm
from shop.journey import kit, page_viewed
from shop.models import Cart

ADDRESS, PAYMENT = 1, 2


@require_POST
def start(request: HttpRequest) -> HttpResponse:
    cart = current_cart(request)
    if not cart.lines:
        return redirect("cart:show")
    kit.track("Checkout Started", cart.facts())
    return redirect("checkout:address")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def address(request: HttpRequest) -> HttpResponse:
    cart = current_cart(request)
    if not cart.lines:
        return redirect("cart:show")
    if request.method == "POST":
        form = AddressForm(request.POST, instance=cart)
        if not form.is_valid():
            return render(request, "shop/address.html", {"cart": cart, "form": form}, status=422)
        form.save()
        kit.track("Checkout Step Completed", _step(cart, ADDRESS))
        return redirect("checkout:payment")
    user = request.user
    known = {} if user.is_anonymous or cart.name else {"name": user.name, "email": user.email}
    form = AddressForm(instance=cart, initial=known)
    page = render(request, "shop/address.html", {"cart": cart, "form": form})
    return page_viewed(request, page, "Checkout Step Viewed", _step(cart, ADDRESS))


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def payment(request: HttpRequest) -> HttpResponse:
    cart = current_cart(request)
    if not cart.lines or not cart.address:
        return redirect("checkout:address")
    if request.method == "POST":
        return _pay(request, cart)
    page = render(request, "shop/payment.html", {"cart": cart, "form": CardForm()})
    return page_viewed(request, page, "Checkout Step Viewed", _step(cart, PAYMENT))


def _pay(request: HttpRequest, cart: Cart) -> HttpResponse:
    form = CardForm(request.POST)
    if not form.is_valid():
        return render(request, "shop/payment.html", {"cart": cart, "form": form}, status=422)
    step = {**_step(cart, PAYMENT), "payment_method": "card"}
    kit.track("Payment Info Entered", step)
    if refusal := cards.charge(form.cleaned_data["number"]):
        reason, words = refusal
        orders.refuse(cart, reason, step)
        again = {"cart": cart, "form": CardForm(), "declined": words}
        return render(request, "shop/payment.html", again, status=402)
    order = orders.place(cart.id, request.user if request.user.is_authenticated else None, step)
    if order is None:
        return redirect("account:show")
    orders.remember(request, order)
    del request.session["cart_id"]
    return redirect(f"{reverse('checkout:order', args=[order.number])}?thanks=1")


@never_cache
@require_safe
def order(request: HttpRequest, number: str) -> HttpResponse:
    found = get_object_or_404(orders.visible(request), number=number)
    shown = {"order": found, "thanks": "thanks" in request.GET}
    return render(request, "shop/order.html", shown)


@require_POST
def delivered(request: HttpRequest, number: str) -> HttpResponse:
    """A parcel has arrived; a shop with a carrier hears so from them, and names the customer."""
    found = get_object_or_404(orders.visible(request), number=number)
    orders.deliver(found)
    return redirect(found)


def _step(cart: Cart, step: int) -> dict[str, str | int]:
    return {"cart_id": cart.id, "checkout_id": cart.id, "step": step}
