"""What the shop sells. The window is one TOML file, read once."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .money import CURRENCY, euros


@dataclass(frozen=True)
class Category:
    """A shelf."""

    key: str
    title: str
    blurb: str


@dataclass(frozen=True)
class Product:
    """A thing on a shelf."""

    slug: str
    name: str
    category: str
    price: int
    line: str
    text: str
    details: str

    @property
    def art(self) -> str:
        """Its picture, under static/."""
        return f"art/{self.slug}.svg"

    def facts(self, quantity: int = 1) -> dict[str, Any]:
        """The product as the standard event vocabulary describes it."""
        return {
            "product_id": self.slug,
            "name": self.name,
            "category": self.category,
            "price": euros(self.price),
            "quantity": quantity,
            "currency": CURRENCY,
        }


@cache
def _window() -> tuple[tuple[Category, ...], tuple[Product, ...]]:
    window = tomllib.loads(Path(__file__).with_name("products.toml").read_text("utf-8"))
    return (
        tuple(Category(**row) for row in window["categories"]),
        tuple(Product(**row) for row in window["products"]),
    )


def categories() -> tuple[Category, ...]:
    """Every shelf, in order."""
    return _window()[0]


def category(key: str) -> Category | None:
    """One shelf."""
    return next((shelf for shelf in categories() if shelf.key == key), None)


def products() -> tuple[Product, ...]:
    """Every product, in order."""
    return _window()[1]


def product(slug: str) -> Product | None:
    """One product."""
    return next((item for item in products() if item.slug == slug), None)


def search(query: str = "", shelf: str = "") -> list[Product]:
    """The products that hold every word of `query`, from one shelf or from all."""
    words = query.casefold().split()
    return [
        item
        for item in products()
        if (not shelf or item.category == shelf)
        and all(word in f"{item.name} {item.line} {item.text}".casefold() for word in words)
    ]
