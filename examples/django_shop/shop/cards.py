"""A pretend card processor. It keeps nothing: a number lives as long as the request."""

from datetime import UTC, datetime

from django.utils.translation import gettext as _


def charge(number: str) -> tuple[str, str] | None:
    """Ask for the money. None when paid, else a reason and words for the customer."""
    comfort = _("Nothing was charged, and your basket is as you left it. Please try another card.")
    match digits(number):
        case "4000000000000002":
            words = _("Your bank said no to this card. It gave no reason; banks seldom do.")
            return "card_declined", f"{words} {comfort}"
        case "4000000000009995":
            words = _("There isn't enough on this card right now.")
            return "insufficient_funds", f"{words} {comfort}"
    return None


def digits(number: str) -> str:
    return number.replace(" ", "").replace("-", "")


def is_card_number(number: str) -> bool:
    found = digits(number)
    if not (found.isascii() and found.isdigit() and 12 <= len(found) <= 19):
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(found))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def is_in_future(expiry: str) -> bool:
    month, _slash, year = expiry.replace(" ", "").partition("/")
    if not (month.isdigit() and year.isdigit() and 1 <= int(month) <= 12):
        return False
    now = datetime.now(UTC)
    return (2000 + int(year) % 100, int(month)) >= (now.year, now.month)
