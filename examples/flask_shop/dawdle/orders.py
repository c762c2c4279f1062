"""Orders: placed once, then only read."""

import json
import secrets
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import session

from .carts import Cart, Line, load
from .database import db, transaction
from .money import CURRENCY, euros
from .products import product as find_product


@dataclass(frozen=True)
class Order:
    """What was bought, for how much (in cents), and where it goes."""

    id: str
    placed_at: datetime
    address: dict[str, str]
    lines: tuple[Line, ...]
    subtotal: int
    discount: int
    shipping: int
    coupon: str | None
    delivered_at: datetime | None

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
            "order_id": self.id,
            "revenue": euros(self.subtotal - self.discount),
            "discount": euros(self.discount),
            "shipping": euros(self.shipping),
            "total": euros(self.total),
            "currency": CURRENCY,
            "coupon": self.coupon,
            "products": [line.product.facts(line.quantity) for line in self.lines],
        }


def place(cart_id: str) -> Order | None:
    """Turn a paid basket into an order. None if it is one already, as after a double click."""
    order_id = f"D-{secrets.token_hex(4).upper()}"
    with transaction() as tx:
        cart = load(cart_id)
        if not cart.lines or cart.address is None:
            return None
        _write(tx, order_id, cart)
        tx.execute("DELETE FROM cart WHERE id = ?", (cart.id,))
    session["orders"] = [*session.get("orders", []), order_id][-20:]
    return _read(order_id)


def _write(tx: sqlite3.Connection, order_id: str, cart: Cart) -> None:
    code = cart.coupon.code if cart.coupon and cart.discount else None
    now = datetime.now(UTC).isoformat()
    tx.execute(
        "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
        (
            *(order_id, session.get("user_id"), now, json.dumps(cart.address), code),
            *(cart.subtotal, cart.discount, cart.shipping),
        ),
    )
    tx.executemany(
        "INSERT INTO order_line VALUES (?, ?, ?, ?)",
        [(order_id, line.product.slug, line.quantity, line.product.price) for line in cart.lines],
    )


def order(order_id: str) -> Order | None:
    """An order that the visitor may see: placed in this session, or by this customer."""
    return _read(order_id) if order_id in _visible() else None


def deliver(order_id: str) -> bool:
    """Note that a parcel has arrived. False if that was known."""
    with transaction() as tx:
        query = "UPDATE orders SET delivered_at = ? WHERE id = ? AND delivered_at IS NULL"
        return tx.execute(query, (datetime.now(UTC).isoformat(), order_id)).rowcount == 1


def history() -> list[Order]:
    """The orders that the visitor may see, newest first."""
    found = [_read(order_id) for order_id in _visible()]
    return sorted((o for o in found if o), key=lambda o: o.placed_at, reverse=True)


def adopt(customer_id: str) -> None:
    """Give the orders that a guest has just placed to the account that the guest opened."""
    with transaction() as tx:
        tx.executemany(
            "UPDATE orders SET customer_id = ? WHERE id = ? AND customer_id IS NULL",
            [(customer_id, order_id) for order_id in session.get("orders", [])],
        )


def _visible() -> set[str]:
    rows = db().execute("SELECT id FROM orders WHERE customer_id = ?", (session.get("user_id"),))
    return {row["id"] for row in rows} | set(session.get("orders", []))


def _read(order_id: str) -> Order | None:
    row = db().execute("SELECT * FROM orders WHERE id = ?", (order_id,)).fetchone()
    if row is None:
        return None
    query = "SELECT * FROM order_line WHERE order_id = ? ORDER BY rowid"
    found, delivered = db().execute(query, (order_id,)).fetchall(), row["delivered_at"]
    lines = [(find_product(line["product"]), line["quantity"]) for line in found]
    return Order(
        id=row["id"],
        placed_at=datetime.fromisoformat(row["placed_at"]),
        address=json.loads(row["address"]),
        lines=tuple(Line(product, quantity) for product, quantity in lines if product),
        subtotal=row["subtotal"],
        discount=row["discount"],
        shipping=row["shipping"],
        coupon=row["coupon"],
        delivered_at=datetime.fromisoformat(delivered) if delivered else None,
    )
