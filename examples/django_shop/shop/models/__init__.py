"""What the shop keeps."""

from .carts import MOST, Cart, CartLine
from .goods import Category, Product
from .orders import Order, OrderLine, Payment, Review
from .people import Customer

__all__ = [
    "MOST",
    "Cart",
    "CartLine",
    "Category",
    "Customer",
    "Order",
    "OrderLine",
    "Payment",
    "Product",
    "Review",
]
