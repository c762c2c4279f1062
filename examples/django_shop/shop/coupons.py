"""Coupons, and why one may not count."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .money import price


@dataclass(frozen=True)
class Coupon:
    """So many per cent off, from a certain value."""

    code: str
    name: str
    title: Promise
    percent: int
    least: int = 0
    expired: bool = False

    def discount(self, subtotal: int) -> int:
        """What it takes off, in cents."""
        return 0 if self.refusal(subtotal) else subtotal * self.percent // 100

    def refusal(self, subtotal: int) -> tuple[str, str] | None:
        """Why it does not count: a reason for the event, and words for the customer."""
        if self.expired:
            return "expired", _("%(code)s has gone home for the year.") % {"code": self.code}
        if subtotal < self.least:
            values = {"code": self.code, "amount": price(self.least)}
            return "below_minimum", _("%(code)s counts from %(amount)s.") % values
        return None


#: Events have the name; people read the title, in their language.
_COUPONS = {
    coupon.code: coupon
    for coupon in (
        Coupon(
            "DAWDLE10",
            "Ten per cent for taking your time",
            gettext_lazy("ten per cent for taking your time"),
            10,
        ),
        Coupon(
            "LONGWAY20",
            "Twenty per cent for a full rucksack",
            gettext_lazy("twenty per cent for a full rucksack"),
            20,
            least=10000,
        ),
        Coupon("SPRING", "Spring walks", gettext_lazy("spring walks"), 15, expired=True),
    )
}


def coupon(code: str) -> Coupon | None:
    """The coupon of that code, however it was typed."""
    return _COUPONS.get(code.strip().upper())
