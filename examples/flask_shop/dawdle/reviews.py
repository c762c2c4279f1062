"""Reviews, one for each thing in each order."""

import sqlite3
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from .database import db
from .orders import history
from .products import Product


@dataclass(frozen=True)
class Review:
    """What somebody thought."""

    id: str
    author: str
    stars: int
    body: str
    written_at: datetime


def of_product(product: Product) -> list[Review]:
    """Its reviews, newest first."""
    rows = db().execute(
        "SELECT id, author, stars, body, written_at FROM review"
        " WHERE product = ? ORDER BY written_at DESC LIMIT 50",
        (product.slug,),
    )
    return [
        Review(**{**row, "written_at": datetime.fromisoformat(row["written_at"])})
        for row in map(dict, rows)
    ]


def order_to_review(product: Product) -> str | None:
    """The visitor's order that holds the product and has no review of it yet."""
    for order in history():
        if any(line.product == product for line in order.lines):
            query = "SELECT 1 FROM review WHERE order_id = ? AND product = ?"
            if not db().execute(query, (order.id, product.slug)).fetchone():
                return order.id
    return None


def write(order_id: str, product: Product, author: str, stars: int, body: str) -> str | None:
    """Keep a review and return its id. None if that order has one already."""
    review_id = f"review_{uuid.uuid4().hex[:12]}"
    now = datetime.now(UTC).isoformat()
    try:
        db().execute(
            "INSERT INTO review VALUES (?, ?, ?, ?, ?, ?, ?)",
            (review_id, order_id, product.slug, author, stars, body, now),
        )
    except sqlite3.IntegrityError:
        return None
    return review_id
