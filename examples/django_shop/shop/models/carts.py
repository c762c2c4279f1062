"""Baskets."""

import uuid
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from shop.coupons import Coupon
from shop.coupons import coupon as find_coupon
from shop.money import CURRENCY, euros

from .goods import Product

#: How many of one thing a basket holds.
MOST = 20
SHIPPING, FREE_SHIPPING_FROM = 490, 5000


def new_id() -> str:
    return f"cart_{uuid.uuid4().hex[:12]}"


class Addressed(models.Model):
    """Where a parcel goes."""

    name = models.CharField(_("name"), max_length=120, blank=True)
    email = models.EmailField(_("e-mail address"), max_length=120, blank=True)
    street = models.CharField(_("street and number"), max_length=120, blank=True)
    postcode = models.CharField(_("postcode"), max_length=12, blank=True)
    city = models.CharField(_("town or city"), max_length=120, blank=True)

    class Meta:
        abstract = True

    @property
    def address(self) -> dict[str, str]:
        """The address, by the names of its fields; empty where there is none yet."""
        found = {field.name: getattr(self, field.name) for field in Addressed._meta.fields}
        return found if all(found.values()) else {}


class Cart(Addressed):
    """What is in the basket, and what it comes to, in cents."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id)
    coupon_code = models.CharField(max_length=24, blank=True)
    made_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.id

    @cached_property
    def lines(self) -> Sequence["CartLine"]:
        """What is in it, in the order in which it was put in."""
        return list(self.line_set.select_related("product__category"))

    @property
    def coupon(self) -> Coupon | None:
        return find_coupon(self.coupon_code)

    @property
    def count(self) -> int:
        """How many things."""
        return sum(line.quantity for line in self.lines)

    @property
    def subtotal(self) -> int:
        """Before coupon and shipping."""
        return sum(line.total for line in self.lines)

    @property
    def discount(self) -> int:
        """What the coupon takes off, as long as the basket still qualifies for it."""
        return self.coupon.discount(self.subtotal) if self.coupon else 0

    @property
    def refusal(self) -> str:
        """Why the coupon does not count, in words; empty where it does."""
        refusal = self.coupon.refusal(self.subtotal) if self.coupon else None
        return refusal[1] if refusal else ""

    @property
    def revenue(self) -> int:
        """What the goods bring in."""
        return self.subtotal - self.discount

    @property
    def shipping(self) -> int:
        """Free for a basket that is worth the walk to the post office."""
        return 0 if not self.lines or self.revenue >= FREE_SHIPPING_FROM else SHIPPING

    @property
    def total(self) -> int:
        """What the customer pays."""
        return self.revenue + self.shipping

    def facts(self) -> dict[str, Any]:
        """The basket as the standard event vocabulary describes it."""
        return {
            "cart_id": self.id,
            "value": euros(self.total),
            "currency": CURRENCY,
            "products": [line.product.facts(line.quantity) for line in self.lines],
        }

    def put(self, product: Product, quantity: int, *, more: bool = False) -> int:
        """Have so many of a product in the basket, or so many more. Returns the difference."""
        with transaction.atomic():
            Cart.objects.get_or_create(id=self.id)
            line = self.line_set.select_for_update().filter(product=product).first()
            before = line.quantity if line else 0
            quantity = max(0, min(quantity + before * more, MOST))
            if quantity:
                values = {"quantity": quantity}
                CartLine.objects.update_or_create(values, cart_id=self.id, product=product)
            elif line:
                line.delete()
        vars(self).pop("lines", None)
        return quantity - before


class CartLine(models.Model):
    """So many of one product."""

    cart = models.ForeignKey(Cart, models.CASCADE, related_name="line_set")
    product = models.ForeignKey(Product, models.CASCADE)
    quantity = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=("cart", "product"), name="one_line_for_each_product"),
        )

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"

    @property
    def total(self) -> int:
        """In cents."""
        return self.product.price * self.quantity
