"""The basket of the visitor at hand."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

from flask import session

from .coupons import Coupon
from .coupons import coupon as find_coupon
from .database import db, transaction
from .money import CURRENCY, euros
from .products import Product
from .products import product as find_product

MOST = 20
SHIPPING, FREE_SHIPPING_FROM = 490, 5000


@dataclass(frozen=True)
class Line:
    """So many of one product."""

    product: Product
    quantity: int

    @property
    def total(self) -> int:
        """In cents."""
        return self.product.price * self.quantity


@dataclass(frozen=True)
class Cart:
    """What is in the basket, and what it comes to, in cents."""

    id: str
    lines: tuple[Line, ...] = ()
    coupon: Coupon | None = None
    address: dict[str, str] | None = None

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


def current_cart() -> Cart:
    """The visitor's basket. Looking into one that nobody filled yet writes nothing."""
    return load(session.setdefault("cart_id", f"cart_{uuid.uuid4().hex[:12]}"))


def cart_count() -> int:
    """For the page head: costs no cookie."""
    return load(session["cart_id"]).count if "cart_id" in session else 0


def load(cart_id: str) -> Cart:
    """Read a basket."""
    row = db().execute("SELECT coupon, address FROM cart WHERE id = ?", (cart_id,)).fetchone()
    if row is None:
        return Cart(cart_id)
    found = db().execute(
        "SELECT product, quantity FROM cart_line WHERE cart_id = ? ORDER BY rowid", (cart_id,)
    )
    lines = [(find_product(line["product"]), line["quantity"]) for line in found]
    return Cart(
        cart_id,
        tuple(Line(product, quantity) for product, quantity in lines if product),
        find_coupon(row["coupon"] or ""),
        json.loads(row["address"]) if row["address"] else None,
    )


def set_quantity(cart: Cart, product: Product, quantity: int) -> int:
    """Put so many of a product into the basket, 0 for none. Returns how many more there are."""
    quantity = max(0, min(quantity, MOST))
    before = next((line.quantity for line in cart.lines if line.product == product), 0)
    with transaction() as tx:
        tx.execute("INSERT OR IGNORE INTO cart (id) VALUES (?)", (cart.id,))
        if quantity:
            tx.execute(
                "INSERT INTO cart_line VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET quantity = excluded.quantity",
                (cart.id, product.slug, quantity),
            )
        else:
            tx.execute(
                "DELETE FROM cart_line WHERE cart_id = ? AND product = ?", (cart.id, product.slug)
            )
    return quantity - before


def set_coupon(cart: Cart, code: str | None) -> None:
    """Keep the coupon with the basket, None to take it off."""
    db().execute("UPDATE cart SET coupon = ? WHERE id = ?", (code, cart.id))


def set_address(cart: Cart, address: dict[str, str]) -> None:
    """Keep the address with the basket until it is paid."""
    db().execute("UPDATE cart SET address = ? WHERE id = ?", (json.dumps(address), cart.id))
