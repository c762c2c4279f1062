"""A pretend card processor. It keeps nothing: a number lives as long as the request."""

from datetime import UTC, datetime

_COMFORT = "Nothing was charged, and your basket is as you left it. Please try another card."
_DECLINED = {
    "4000000000000002": (
        "card_declined",
        f"Your bank said no to this card. It gave no reason; banks seldom do. {_COMFORT}",
    ),
    "4000000000009995": (
        "insufficient_funds",
        f"There isn't enough on this card right now. {_COMFORT}",
    ),
}


def mistakes(number: str, expiry: str, code: str) -> dict[str, str]:
    """What is wrong with the three fields, each in words for the customer."""
    found = {}
    if not _is_card_number(_digits(number)):
        found["number"] = "That isn't a card number. Is a digit missing, or swapped?"
    if not _is_in_future(expiry):
        found["expiry"] = "Please give a month and year to come, such as 08/30."
    if not (code.isascii() and code.isdigit() and len(code) in {3, 4}):
        found["code"] = "Three digits on the back of the card, or four on the front."
    return found


def charge(number: str) -> tuple[str, str] | None:
    """Ask for the money. None when paid, else a reason and words for the customer."""
    return _DECLINED.get(_digits(number))


def _digits(number: str) -> str:
    return number.replace(" ", "").replace("-", "")


def _is_card_number(digits: str) -> bool:
    if not (digits.isascii() and digits.isdigit() and 12 <= len(digits) <= 19):
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def _is_in_future(expiry: str) -> bool:
    month, _, year = expiry.replace(" ", "").partition("/")
    if not (month.isdigit() and year.isdigit() and 1 <= int(month) <= 12):
        return False
    now = datetime.now(UTC)
    return (2000 + int(year) % 100, int(month)) >= (now.year, now.month)
