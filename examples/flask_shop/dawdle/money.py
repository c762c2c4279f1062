"""Money is whole cents inside the shop, and euros for people and for events."""

from flask import Flask

CURRENCY = "EUR"


def euros(cents: int) -> float:
    """The amount as events carry it."""
    return cents / 100


def price(cents: int) -> str:
    """The amount as people read it."""
    return f"€{cents / 100:,.2f}"


def init_app(app: Flask) -> None:
    """Give the templates their `price` filter."""
    app.add_template_filter(price)
