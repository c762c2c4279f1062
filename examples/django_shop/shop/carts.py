"""The basket of the visitor at hand."""

from django.http import HttpRequest

from .models import Cart, CartLine
from .models.carts import new_id


def current_cart(request: HttpRequest) -> Cart:
    """The visitor's basket. Looking into one that nobody filled yet writes none."""
    cart_id = request.session.get("cart_id")
    if cart_id is None:
        cart_id = request.session["cart_id"] = new_id()
    return Cart.objects.filter(pk=cart_id).first() or Cart(id=cart_id)


def cart_count(request: HttpRequest) -> int:
    """For the page head: costs no session."""
    cart_id = request.session.get("cart_id")
    if cart_id is None:
        return 0
    return sum(CartLine.objects.filter(cart_id=cart_id).values_list("quantity", flat=True))
