"""
The event names that journeykit knows, and the other names that mean the same.

The names are those of the Segment specification (e-commerce v2, email, live chat, A/B testing and
the account events of B2B SaaS).
An alias is a name of Google Analytics 4 or of Snowplow's e-commerce actions that has one meaning
among them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: A page was shown; the name for what Segment sends as a `page` call.
PAGE_VIEWED: Final = "Page Viewed"

#: What the script tells that looks for friction in the page.
FRICTION_NAMES: Final = frozenset(
    {
        "Dead Clicked",
        "Element Clicked",
        "Form Field Failed",
        "Form Field Filled",
        "Form Field Returned",
        "Form Left",
        "Form Submitted",
        "Rage Clicked",
        "Request Failed",
        "Script Failed",
    }
)

STANDARD_NAMES: Final = frozenset(
    {
        PAGE_VIEWED,
        # e-commerce
        "Products Searched",
        "Product List Viewed",
        "Product List Filtered",
        "Promotion Viewed",
        "Promotion Clicked",
        "Product Clicked",
        "Product Viewed",
        "Product Added",
        "Product Removed",
        "Cart Viewed",
        "Checkout Started",
        "Checkout Step Viewed",
        "Checkout Step Completed",
        "Payment Info Entered",
        "Order Updated",
        "Order Completed",
        "Order Refunded",
        "Order Cancelled",
        "Coupon Entered",
        "Coupon Applied",
        "Coupon Denied",
        "Coupon Removed",
        "Product Added to Wishlist",
        "Product Removed from Wishlist",
        "Wishlist Product Added to Cart",
        "Product Shared",
        "Cart Shared",
        "Product Reviewed",
        # email
        "Email Bounced",
        "Email Delivered",
        "Email Link Clicked",
        "Email Marked as Spam",
        "Email Opened",
        "Unsubscribed",
        # live chat
        "Live Chat Conversation Started",
        "Live Chat Conversation Ended",
        "Live Chat Message Sent",
        "Live Chat Message Received",
        # A/B testing
        "Experiment Viewed",
        # accounts
        "Account Created",
        "Account Deleted",
        "Signed Up",
        "Signed In",
        "Signed Out",
        "Invite Sent",
        "Account Added User",
        "Account Removed User",
        "Trial Started",
        "Trial Ended",
    }
)

#: Other name → every standard name that it may mean.
MEANINGS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        # Google Analytics 4
        "view_promotion": ("Promotion Viewed",),
        "select_promotion": ("Promotion Clicked",),
        "page_view": (PAGE_VIEWED,),
        "search": ("Products Searched",),
        "view_search_results": ("Products Searched",),
        "view_item_list": ("Product List Viewed",),
        "select_item": ("Product Clicked",),
        "view_item": ("Product Viewed",),
        "add_to_wishlist": ("Product Added to Wishlist",),
        "add_to_cart": ("Product Added",),
        "remove_from_cart": ("Product Removed",),
        "view_cart": ("Cart Viewed",),
        "begin_checkout": ("Checkout Started",),
        "add_shipping_info": ("Checkout Step Completed",),
        "add_payment_info": ("Payment Info Entered",),
        "purchase": ("Order Completed",),
        "refund": ("Order Refunded",),
        "share": ("Product Shared", "Cart Shared"),
        "sign_up": ("Signed Up",),
        "generate_lead": ("Signed Up",),
        "login": ("Signed In",),
        # Snowplow e-commerce actions
        "promo_view": ("Promotion Viewed",),
        "promo_click": ("Promotion Clicked",),
        "list_view": ("Product List Viewed", "Product List Filtered"),
        "list_click": ("Product Clicked",),
        "product_view": ("Product Viewed",),
        "checkout_step": (
            "Checkout Started",
            "Checkout Step Viewed",
            "Checkout Step Completed",
            "Payment Info Entered",
        ),
        "transaction": ("Order Completed",),
        # older Segment names
        "page": (PAGE_VIEWED,),
        "Completed Order": ("Order Completed",),
    }
)

#: Other name → the one standard name that it means.
ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {alias: names[0] for alias, names in MEANINGS.items() if len(names) == 1}
)

#: Other name → the standard names between which it does not decide.
AMBIGUOUS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {alias: names for alias, names in MEANINGS.items() if len(names) > 1}
)


class Vocabulary:
    """
    Which names mean the same: the built-in aliases and the shop's own names.

    Args:
        own: The shop's name → the standard name that it means.

        declared: Names that the shop declared as touchpoints; they mean themselves.
    """

    def __init__(self, own: Mapping[str, str] | None = None, declared: Iterable[str] = ()) -> None:
        self._declared = frozenset(declared)
        self._standard = {
            alias: name for alias, name in ALIASES.items() if alias not in self._declared
        }
        self._standard.update(own or {})
        self._others: dict[str, list[str]] = {}
        for alias, name in self._standard.items():
            self._others.setdefault(name, []).append(alias)

    def standard(self, name: str) -> str:
        """Return the standard name that *name* means, or *name* itself."""
        return self._standard.get(name, name)

    def same(self, name: str) -> tuple[str, ...]:
        """Return every name that means what *name* means, *name* first."""
        standard = self.standard(name)
        others = (standard, *self._others.get(standard, ()))
        return (name, *(other for other in others if other != name))

    def doubt(self, name: str) -> tuple[str, ...]:
        """Return the names between which *name* does not decide; empty if it is clear."""
        known = name in self._declared or name in self._standard
        return () if known else AMBIGUOUS.get(name, ())
