"""What the shop sells. The window is one TOML file, read once."""

import re
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
    def words(self) -> set[str]:
        """What it can be found by."""
        return _words(f"{self.name} {self.line} {self.text} {self.details}")

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


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


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
    """The products, of one shelf or of all, with words that begin as those of `query`."""
    words = _words(query)
    return [
        item
        for item in products()
        if (not shelf or item.category == shelf)
        and all(any(found.startswith(word) for found in item.words) for word in words)
    ]
