"""Orders: placed once, then only read. What was paid, and what people say of it."""

import secrets
import uuid
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from shop.money import CURRENCY, euros

from .carts import Addressed
from .goods import Product


def new_number() -> str:
    return f"D-{secrets.token_hex(4).upper()}"


def new_review() -> str:
    return f"review_{uuid.uuid4().hex[:12]}"


class Order(Addressed):
    """What was bought, for how much (in cents), and where it goes."""

    number = models.CharField(_("number"), max_length=12, unique=True, default=new_number)
    customer = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="orders",
        verbose_name=_("customer"),
    )
    placed_at = models.DateTimeField(_("placed"), auto_now_add=True)
    delivered_at = models.DateTimeField(_("delivered"), null=True, blank=True)
    coupon_code = models.CharField(_("coupon"), max_length=24, blank=True)
    subtotal = models.PositiveIntegerField(_("goods, in cents"))
    discount = models.PositiveIntegerField(_("discount, in cents"), default=0)
    shipping = models.PositiveIntegerField(_("shipping, in cents"), default=0)

    class Meta:
        ordering = ("-placed_at", "-id")
        verbose_name = _("order")
        verbose_name_plural = _("orders")

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        return reverse("checkout:order", args=[self.number])

    @cached_property
    def lines(self) -> Sequence["OrderLine"]:
        """What was bought, in the order of the basket."""
        return list(self.line_set.select_related("product__category"))

    @property
    def total(self) -> int:
        """What was paid."""
        return self.subtotal - self.discount + self.shipping

    @property
    def count(self) -> int:
        """How many things."""
        return sum(line.quantity for line in self.lines)

    def facts(self) -> dict[str, Any]:
        """The order as the standard event vocabulary describes it."""
        return {
            "order_id": self.number,
            "revenue": euros(self.subtotal - self.discount),
            "discount": euros(self.discount),
            "shipping": euros(self.shipping),
            "total": euros(self.total),
            "currency": CURRENCY,
            "coupon": self.coupon_code or None,
            "products": [line.product.facts(line.quantity) for line in self.lines],
        }


class OrderLine(models.Model):
    """So many of one product, for what it cost that day."""

    order = models.ForeignKey(Order, models.CASCADE, related_name="line_set")
    product = models.ForeignKey(Product, models.PROTECT, verbose_name=_("product"))
    quantity = models.PositiveSmallIntegerField(_("quantity"))
    price = models.PositiveIntegerField(_("price in cents"))

    class Meta:
        ordering = ("id",)
        verbose_name = _("line")
        verbose_name_plural = _("lines")

    def __str__(self) -> str:
        return f"{self.quantity} × {self.product}"

    @property
    def total(self) -> int:
        """In cents."""
        return self.price * self.quantity


class Payment(models.Model):
    """An attempt to pay. The card is nobody's business."""

    order = models.ForeignKey(
        Order, models.CASCADE, null=True, related_name="payments", verbose_name=_("order")
    )
    amount = models.PositiveIntegerField(_("amount in cents"))
    refused_for = models.CharField(_("refused for"), max_length=40, blank=True)
    made_at = models.DateTimeField(_("made"), auto_now_add=True)

    class Meta:
        ordering = ("-made_at", "-id")
        verbose_name = _("payment")
        verbose_name_plural = _("payments")

    def __str__(self) -> str:
        return f"{self.made_at:%Y-%m-%d %H:%M}"


class Review(models.Model):
    """What somebody thought: once for each thing in each order."""

    id = models.CharField(primary_key=True, max_length=32, default=new_review)
    order = models.ForeignKey(Order, models.CASCADE, verbose_name=_("order"))
    product = models.ForeignKey(
        Product, models.CASCADE, related_name="reviews", verbose_name=_("product")
    )
    author = models.CharField(_("author"), max_length=60)
    stars = models.PositiveSmallIntegerField(
        _("stars"), validators=[MinValueValidator(1), MaxValueValidator(5)]
    )
    body = models.TextField(_("words"), max_length=2000, blank=True)
    written_at = models.DateTimeField(_("written"), auto_now_add=True)

    class Meta:
        ordering = ("-written_at",)
        verbose_name = _("review")
        verbose_name_plural = _("reviews")
        constraints = (
            models.UniqueConstraint(fields=("order", "product"), name="one_review_for_each_order"),
        )

    def __str__(self) -> str:
        return f"{self.author}: {self.stars}/5"
