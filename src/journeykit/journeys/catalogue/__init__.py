"""The built-in pain-point rules, in the form of anybody's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journeykit.journeys.catalogue.carts import CartAbandoned, CheckoutAbandoned, PaymentDeclined
from journeykit.journeys.catalogue.clicks import ClickDead, ClickFailed, ClickRaged
from journeykit.journeys.catalogue.pages import (
    FormAbandoned,
    FormStruggled,
    PageLooped,
    PageQuickBack,
    PageSlow,
    SearchLooped,
    SearchNoResults,
    ServerError,
)
from journeykit.journeys.catalogue.service import (
    ContactRepeated,
    DeliveryLate,
    OrderCancelled,
    OrderRefunded,
    OrderReturned,
    ReplySlow,
    ScoreLow,
)

if TYPE_CHECKING:
    from journeykit.model.rule import PainPointRule

__all__ = [
    "CATALOGUE",
    "CartAbandoned",
    "CheckoutAbandoned",
    "ClickDead",
    "ClickFailed",
    "ClickRaged",
    "ContactRepeated",
    "DeliveryLate",
    "FormAbandoned",
    "FormStruggled",
    "OrderCancelled",
    "OrderRefunded",
    "OrderReturned",
    "PageLooped",
    "PageQuickBack",
    "PageSlow",
    "PaymentDeclined",
    "ReplySlow",
    "ScoreLow",
    "SearchLooped",
    "SearchNoResults",
    "ServerError",
]

#: Every built-in rule as it is without settings.
CATALOGUE: Final[tuple[PainPointRule, ...]] = (
    CartAbandoned(),
    CheckoutAbandoned(),
    PaymentDeclined(),
    SearchNoResults(),
    SearchLooped(),
    ServerError(),
    PageSlow(),
    PageQuickBack(),
    PageLooped(),
    FormAbandoned(),
    FormStruggled(),
    ClickRaged(),
    ClickDead(),
    ClickFailed(),
    ReplySlow(),
    ContactRepeated(),
    ScoreLow(),
    DeliveryLate(),
    OrderCancelled(),
    OrderReturned(),
    OrderRefunded(),
)
