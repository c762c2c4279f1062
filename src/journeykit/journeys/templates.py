"""Journeys to build on: `extends = "ecommerce"`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from journeykit.model.journey import Goal, Journey, Rule, Stage
from journeykit.model.vocabulary import PAGE_VIEWED

if TYPE_CHECKING:
    from collections.abc import Mapping

_ORDER: Final = "Order Completed"

#: Five stages, fed by the standard event names.
#: The first order is part of the purchase; what follows an order is retention.
#: Events that fit none of the five (e-mail deliveries, refunds, signing up) bear no stage.
ECOMMERCE: Final = Journey(
    key="ecommerce",
    version=1,
    stages=(
        Stage(
            "awareness",
            enter=(PAGE_VIEWED, "Promotion Viewed", "Promotion Clicked", "Experiment Viewed"),
        ),
        Stage(
            "consideration",
            enter=(
                "Products Searched",
                "Product List Viewed",
                "Product List Filtered",
                "Product Clicked",
                "Product Viewed",
                "Product Added to Wishlist",
                "Product Removed from Wishlist",
                "Wishlist Product Added to Cart",
                "Live Chat Conversation Started",
                "Product Added",
                "Product Removed",
                "Cart Viewed",
                "Coupon Entered",
                "Coupon Applied",
                "Coupon Denied",
                "Coupon Removed",
            ),
        ),
        Stage(
            "purchase",
            enter=(
                "Checkout Started",
                "Checkout Step Viewed",
                "Checkout Step Completed",
                "Payment Info Entered",
                _ORDER,
                "Order Updated",
            ),
        ),
        Stage(
            "retention",
            enter=(Rule(_ORDER, after=_ORDER), Rule("Signed In", after=_ORDER)),
        ),
        Stage("advocacy", enter=("Product Reviewed", "Product Shared", "Cart Shared")),
    ),
    goal=Goal(_ORDER, value="revenue"),
)

TEMPLATES: Final[Mapping[str, Journey]] = {"ecommerce": ECOMMERCE}


def extend(journey: Journey) -> Journey:
    """
    Return *journey* with what its template gives it.

    A stage of its own replaces the template's stage of that key; without rules it keeps the
    template's.
    An unknown template or stage is left for `problems` to name.
    """
    template = TEMPLATES.get(journey.extends or "")
    if template is None:
        return journey
    own = {stage.key: stage for stage in journey.stages}
    stages = tuple(_merge(stage, own.get(stage.key)) for stage in template.stages)
    return attrs.evolve(journey, stages=stages, goal=journey.goal or template.goal)


def _merge(base: Stage, own: Stage | None) -> Stage:
    if own is None:
        return base
    return attrs.evolve(own, enter=own.enter or base.enter)
