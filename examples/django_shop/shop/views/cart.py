"""The basket."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from shop import coupons
from shop.carts import current_cart
from shop.forms import CouponForm, QuantityForm
from shop.journey import kit, page_viewed
from shop.models import MOST, Cart, Product
from shop.money import euros

from .catalogue import find


@never_cache
@require_safe
def show(request: HttpRequest) -> HttpResponse:
    cart = current_cart(request)
    page = render(request, "shop/cart.html", {"cart": cart, "most": MOST})
    return page_viewed(request, page, "Cart Viewed", cart.facts())


@require_POST
def add(request: HttpRequest, slug: str) -> HttpResponse:
    product = find(slug)
    _put(request, product, _quantity(request, usual=1), more=True)
    messages.success(request, _("%(thing)s is in your basket.") % {"thing": product.name})
    return redirect("cart:show")


@require_POST
def change(request: HttpRequest, slug: str) -> HttpResponse:
    product, quantity = find(slug), _quantity(request, usual=0)
    _put(request, product, quantity)
    words = _("%(thing)s: %(quantity)s in your basket.") if quantity else _("%(thing)s is out.")
    messages.success(request, words % {"thing": product.name, "quantity": quantity})
    return redirect("cart:show")


@require_POST
def enter_coupon(request: HttpRequest) -> HttpResponse:
    form = CouponForm(request.POST)
    form.is_valid()
    cart, code = current_cart(request), form.cleaned_data["coupon"]
    facts = {"cart_id": cart.id, "coupon_id": code}
    kit.track("Coupon Entered", facts)
    coupon = coupons.coupon(code)
    unknown = _("We don't know %(code)s.") % {"code": code} if code else _("We don't know that.")
    refusal = coupon.refusal(cart.subtotal) if coupon else ("unknown", unknown)
    if coupon and not refusal:
        Cart.objects.filter(pk=cart.pk).update(coupon_code=code)
        discount = euros(coupon.discount(cart.subtotal))
        kit.track("Coupon Applied", {**facts, "coupon_name": coupon.name, "discount": discount})
        values = {"code": coupon.code, "title": coupon.title}
        messages.success(request, _("%(code)s counts: %(title)s.") % values)
    elif refusal:
        reason, words = refusal
        kit.track("Coupon Denied", {**facts, "reason": reason})
        messages.warning(request, words)
    return redirect("cart:show")


def _put(request: HttpRequest, product: Product, quantity: int, *, more: bool = False) -> None:
    cart = current_cart(request)
    difference = cart.put(product, quantity, more=more)
    if difference > 0:
        kit.track("Product Added", {"cart_id": cart.id, **product.facts(difference)})
    elif difference < 0:
        kit.track("Product Removed", {"cart_id": cart.id, **product.facts(-difference)})


def _quantity(request: HttpRequest, *, usual: int) -> int:
    form = QuantityForm(request.POST, usual=usual)
    form.is_valid()
    quantity: int = form.cleaned_data["quantity"]
    return quantity
