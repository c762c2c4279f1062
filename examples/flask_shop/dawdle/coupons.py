"""Coupons, and why one may not count."""

from dataclasses import dataclass

from .money import price


@dataclass(frozen=True)
class Coupon:
    """So many per cent off, from a certain value."""

    code: str
    name: str
    percent: int
    least: int = 0
    expired: bool = False

    def discount(self, subtotal: int) -> int:
        """What it takes off, in cents."""
        return 0 if self.refusal(subtotal) else subtotal * self.percent // 100

    def refusal(self, subtotal: int) -> tuple[str, str] | None:
        """Why it does not count: a reason for the event, and words for the customer."""
        if self.expired:
            return "expired", f"{self.code} has gone home for the year."
        if subtotal < self.least:
            return "below_minimum", f"{self.code} counts from {price(self.least)}."
        return None


_COUPONS = {
    coupon.code: coupon
    for coupon in (
        Coupon("DAWDLE10", "Ten per cent for taking your time", 10),
        Coupon("LONGWAY20", "Twenty per cent for a full rucksack", 20, least=10000),
        Coupon("SPRING", "Spring walks", 15, expired=True),
    )
}


def coupon(code: str) -> Coupon | None:
    """The coupon of that code, however it was typed."""
    return _COUPONS.get(code.strip().upper())
