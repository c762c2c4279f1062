"""Money is whole cents inside the shop, and euros for people and for events."""

from decimal import Decimal

from django.utils.formats import number_format
from django.utils.translation import pgettext

CURRENCY = "EUR"


def euros(cents: int) -> float:
    """The amount as events carry it."""
    return cents / 100


def price(cents: int) -> str:
    """The amount as people read it, in their language."""
    amount = number_format(Decimal(abs(cents)) / 100, 2, use_l10n=True, force_grouping=True)
    if cents < 0:
        # Translators: an amount of money that is taken off, such as −€21.00
        return pgettext("money", "−€%(amount)s") % {"amount": amount}
    # Translators: an amount of money, such as €21.00
    return pgettext("money", "€%(amount)s") % {"amount": amount}
