"""
What is secret by its form: card numbers, e-mail addresses, bank accounts, tokens.

`looks` glances at encoded bytes, and is wrong only in one direction; `spans` finds out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from journeykit.config.settings import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Where a secret begins and ends in a text.
Span = tuple[int, int]

NOTHING: Final[frozenset[Pattern]] = frozenset()

# The look. One pass sorts bytes into classes, and a search for a run of one class is fast.

#: Digits are 0; what marks an address, an escape or a parameter is @; all others are x.
_CLASSES: Final = bytes(
    ord("0") if byte in b"0123456789" else ord("@") if byte in b"@%=" else ord("x")
    for byte in range(256)
)
#: What people write between digits, and the bytes of wider spaces.
_BETWEEN: Final = b" -+" + bytes(range(128, 256))
_MARK: Final = b"@"
#: The fewest digits behind each other that an account or a card has.
_DIGITS: Final = b"0" * 10

#: Bytes that tokens are made of are w.
_WORDS: Final = bytes(
    ord("w") if (byte < 128 and chr(byte).isalnum()) or byte in b"_-." else ord(" ")
    for byte in range(256)
)
#: The fewest bytes of a token.
_LONG_WORD: Final = b"w" * 20

_ESCAPES: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_PARAMETERS: Final = re.compile(rb"[?&;#]([\w.%\[\]-]{1,64})=")
_HEXADECIMAL: Final = re.compile(rb"[0-9a-f-]+")
_RUNS: Final = re.compile(rb"[0-9]{10,}")
_BEFORE_ACCOUNT: Final = re.compile(rb"[A-Z]{2}[0-9]{2}[A-Z0-9]*$")

#: Runs of digits longer than this are not looked into.
_LONGEST_RUN: Final = 40


def looks(data: bytes, is_secret: Callable[[str], bool]) -> frozenset[Pattern]:
    """
    Return what may be in *data*, encoded JSON; nothing else is there.

    Args:
        is_secret: Whether the value of a parameter of this name is.
    """
    classes = data.translate(_CLASSES, _BETWEEN)
    words = data.translate(_WORDS)
    marked, has_digits, place = _MARK in classes, _DIGITS in classes, words.find(_LONG_WORD)
    if not (marked or has_digits) and place < 0:
        return NOTHING
    found: set[Pattern] = set()
    if marked:
        if b"@" in data or b"%40" in data:
            found.add(Pattern.EMAIL)
        if b"=" in data and any(is_secret(name.decode()) for name in _PARAMETERS.findall(data)):
            found.add(Pattern.TOKEN)
    if place >= 0 and _has_token(data, words, place):
        found.add(Pattern.TOKEN)
    if has_digits or (marked and b"%" in data):
        found |= _numbers(data)
    return frozenset(found)


def _has_token(data: bytes, words: bytes, place: int) -> bool:
    """Return whether one of the long words in *data* may be a token; the first is at *place*."""
    while place >= 0:
        end = words.find(b" ", place)
        word = data[place : end if end >= 0 else len(data)]
        # In an app that traces, each event has the id of its trace: that is none.
        if _HEXADECIMAL.fullmatch(word) is None and any(mark in word for mark in _TOKEN_MARKS):
            return True
        place = words.find(_LONG_WORD, end) if end >= 0 else -1
    return b"earer" in data


def _numbers(data: bytes) -> set[Pattern]:
    found: set[Pattern] = set()
    compact = (_ESCAPES.sub(b"", data) if b"%" in data else data).translate(None, _BETWEEN)
    for run in _RUNS.finditer(compact):
        if _BEFORE_ACCOUNT.search(compact, max(0, run.start() - 24), run.start() + 2):
            found.add(Pattern.IBAN)
        if _may_be_card(run[0].decode()):
            found.add(Pattern.CARD)
    return found


def _may_be_card(digits: str) -> bool:
    """Return whether a card's number is in *digits*, to which others may have been added."""
    if len(digits) > _LONGEST_RUN:
        return True
    return any(
        is_card(digits[start:end])
        for start in range(len(digits) - _MIN_CARD + 1)
        for end in range(start + _MIN_CARD, min(start + _MAX_CARD, len(digits)) + 1)
    )


# Finding out

#: As many blanks as an escape has characters, so that places stay the same.
_BLANK: Final = "   "
_TEXT_ESCAPES: Final = re.compile(r"%[0-9A-Fa-f]{2}")


def _without_escapes(text: str) -> str:
    return _TEXT_ESCAPES.sub(_BLANK, text) if "%" in text else text


#: Digits in groups, as people write them; a no-break, a thin and a narrow space among others.
_GROUPS: Final = re.compile(r"[0-9]+(?:[ +\-\u00a0\u2009\u202f]{1,3}[0-9]+)*")
_GROUP: Final = re.compile(r"[0-9]+")

#: How cards print their numbers.
_PRINTED: Final = frozenset({(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3)})

#: The first digits of the cards that are issued, and how many digits these cards have.
#: Thirteen are an old Visa or Maestro, and mostly the number of an article (EAN).
_ISSUERS: Final = re.compile(
    r"4(?:.{12}|.{15}|.{18})"  # Visa
    r"|(?:5[1-5]|2[3-6]).{14}|(?:22[2-9]|27[01]).{13}|(?:2221|2720).{12}"  # Mastercard
    r"|3[47].{13}"  # American Express
    r"|3(?:0[0-5]|[689]).{11,16}"  # Diners Club
    r"|35(?:2[89]|[3-8]).{13,15}|2131.{11}|1800.{11}"  # JCB
    r"|220[0-4].{12,15}"  # Mir
    r"|(?:5[0678]|6).{11,17}"  # Maestro, Discover, UnionPay, RuPay
    r"|8[12].{14,17}"  # RuPay, UnionPay
)
_FRACTION: Final = re.compile(r"[0-9]\.")
_MIN_CARD: Final = 13
_MAX_CARD: Final = 19
_EAN: Final = 13


def find_cards(text: str) -> Iterator[Span]:
    """Yield the numbers of payment cards in *text*."""
    text = _without_escapes(text)
    for chain in _GROUPS.finditer(text):
        if chain.end() - chain.start() < _MIN_CARD:
            continue
        groups = [match.span() for match in _GROUP.finditer(text, *chain.span())]
        last = 0
        for first, (start, _) in enumerate(groups):
            if start >= last and (end := _card_from(text, groups, first)):
                last = end
                yield start, end


def _card_from(text: str, groups: list[Span], first: int) -> int | None:
    """Return where a card's number ends that begins with the group *first*."""
    digits, lengths = "", []
    best = None
    for start, end in groups[first:]:
        digits += text[start:end]
        lengths.append(end - start)
        if len(digits) > _MAX_CARD or lengths[0] < 4:
            break
        is_number = len(digits) >= _MIN_CARD and is_card(digits)
        if is_number and _stands_alone(text, groups[first][0], end, tuple(lengths)):
            best = end
    return best


def is_card(digits: str) -> bool:
    """Return whether *digits* may be the number of a payment card."""
    if _ISSUERS.fullmatch(digits) is None or not luhn(digits):
        return False
    return len(digits) != _EAN or not is_ean(digits)


def luhn(digits: str) -> bool:
    """Return whether the last digit is the check digit that cards have."""
    total = sum(map(int, digits[-1::-2]))
    return (total + sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])) % 10 == 0


def is_ean(digits: str) -> bool:
    """Return whether the last digit is the check digit that numbers of articles have."""
    return (sum(map(int, digits[-1::-2])) + 3 * sum(map(int, digits[-2::-2]))) % 10 == 0


def _stands_alone(text: str, start: int, end: int, lengths: tuple[int, ...]) -> bool:
    """Return whether the digits are no part of a longer id, a fraction or a telephone number."""
    before, behind = text[max(0, start - 2) : start], text[end : end + 2]
    if before[-1:].isalnum() or behind[:1].isalnum():
        return False
    if _FRACTION.fullmatch(before) or _FRACTION.fullmatch(behind[::-1]):
        return False
    if before[-1:] == "+" and not before[:-1].isalnum():
        return False
    # Part of an id such as a UUID, unless it is written as cards are.
    return lengths in _PRINTED or (before[-1:] != "-" and behind[:1] != "-")


_LOCAL: Final = r"[\w.!$'*+^`{|}~%-]"
_EMAIL: Final = re.compile(
    rf"(?<!{_LOCAL}){_LOCAL}+(?:@|%40)"
    # The name of a picture for sharp screens, such as logo@2x.png, is no address.
    r"(?![0-9.]+x\.(?:png|jpe?g|webp|gif|svg|avif)\b)"
    r"(?:[\w-]+\.)+(?:xn--[\w-]+|[^\W\d_]{2,})"
)


def find_emails(text: str) -> Iterator[Span]:
    """Yield the e-mail addresses in *text*."""
    if "@" in text or "%40" in text:
        yield from (match.span() for match in _EMAIL.finditer(text))


#: Country → how long its account numbers are.
_IBAN_LENGTHS: Final = {
    code: int(length)
    for code, length in re.findall(
        r"([A-Z]{2})(\d\d)",
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29"
        "ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20"
        "LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29"
        "PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20"
        "YE30",
    )
}
_IBAN_START: Final = re.compile(r"(?<![A-Za-z0-9])([A-Z]{2})[0-9]{2}")
_IBAN_BETWEEN: Final = " +-\u00a0\u2009\u202f"


def find_ibans(text: str) -> Iterator[Span]:
    """Yield the numbers of bank accounts in *text*."""
    text = _without_escapes(text)
    for match in _IBAN_START.finditer(text):
        length = _IBAN_LENGTHS.get(match[1])
        end = _iban_end(text, match.start(), length) if length else None
        if end is not None:
            yield match.start(), end


def _iban_end(text: str, start: int, length: int) -> int | None:
    taken: list[str] = []
    gap = 0
    for place in range(start, len(text)):
        character = text[place]
        if character in _IBAN_BETWEEN and gap < len(_BLANK):
            gap += 1
        elif character.isascii() and (character.isdigit() or character.isupper()):
            taken.append(character)
            gap = 0
            if len(taken) == length:
                alone = not text[place + 1 : place + 2].isalnum()
                return place + 1 if alone and is_iban("".join(taken)) else None
        else:
            return None
    return None


def is_iban(account: str) -> bool:
    """Return whether the check digits of *account* are right."""
    turned = account[4:] + account[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


#: Each token has one of these in it.
_TOKEN_MARKS: Final = (
    b"eyJ", b"_live_", b"_test_", b"whsec_", b"shp", b"xox", b"AKIA", b"ASIA", b"AIza",
    b"ya29.", b"SG.", b"sq0", b"gh", b"glpat-", b"npm_", b"pypi-", b"sk-",
)  # fmt: skip
_TOKEN: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"eyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*){0,3}"  # JSON Web Token
    r"|(?:sk|rk)_(?:live|test)_\w{10,}|whsec_[\w+/=]{14,}"  # Stripe
    r"|shp(?:at|ca|pa|ss)_\w{16,}|sq0[a-z]{3}-[\w-]{16,}"  # Shopify, Square
    r"|xox[a-z]-[\w-]{15,}|SG\.[\w-]{8,}\.[\w-]{8,}"  # Slack, SendGrid
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,}|ya29\.[\w-]{16,}"  # Amazon, Google
    r"|gh[a-z]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"  # GitHub, GitLab
    r"|npm_\w{30,}|pypi-[\w-]{30,}|sk-[\w-]{20,}"
    r")"
)
_BEARER: Final = re.compile(r"(?i:\bbearer)(?:\s|%20|\+)+(?=[\w.~+/-]*[0-9])([\w.~+/-]{20,}=*)")
_TEXT_PARAMETERS: Final = re.compile(r"[?&;#]([\w.%\[\]-]{1,64})=([^&#;\s]+)")


def find_tokens(text: str, is_secret: Callable[[str], bool]) -> Iterator[Span]:
    """Yield keys and tokens in *text*, and the values of secret parameters of a URL."""
    yield from (match.span() for match in _TOKEN.finditer(text))
    yield from (match.span(1) for match in _BEARER.finditer(text))
    if "=" in text:
        for match in _TEXT_PARAMETERS.finditer(text):
            if is_secret(match[1]):
                yield match.span(2)
