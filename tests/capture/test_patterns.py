from __future__ import annotations

import string
import uuid
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.capture.encode import encode
from journeykit.capture.patterns import (
    find_cards,
    find_emails,
    find_ibans,
    find_tokens,
    is_ean,
    is_iban,
    looks,
    luhn,
)
from journeykit.config.settings import Pattern


def _is_secret(key: str) -> bool:
    return key in ("token", "password")


def _tokens(text: str) -> Iterator[tuple[int, int]]:
    return find_tokens(text, _is_secret)


FINDERS: dict[Pattern, Callable[[str], Iterator[tuple[int, int]]]] = {
    Pattern.CARD: find_cards,
    Pattern.EMAIL: find_emails,
    Pattern.IBAN: find_ibans,
    Pattern.TOKEN: _tokens,
}


def found(kind: Pattern, text: str) -> list[str]:
    """Return what of *kind* is found in *text*; checks that the glance has let it through."""
    hits = [text[start:end] for start, end in FINDERS[kind](text)]
    if hits:
        assert kind in looks(encode({"text": text}), _is_secret)
    return hits


# Cards


@pytest.mark.parametrize(
    "number",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111\u00a01111\u00a01111\u00a01111",
        "4111%201111%201111%201111",
        "4111+1111+1111+1111",
        "5555555555554444",
        "2223003122003222",
        "3782 822463 10005",
        "30569309025904",
        "6011111111111117",
        "3530111333300000",
        "6200000000000005",
        "6304000000000000",
        "4222222222222220004",
    ],
)
@pytest.mark.parametrize("around", ["{}", "card {} 12/27", "12 {}", "({})", "n={}&x=1", "{}."])
def test_cards_are_found_however_they_are_written(number: str, around: str) -> None:
    """A card's number is found in groups or not, alone, and between other words and numbers."""
    hits = found(Pattern.CARD, around.format(number))

    assert [hit.replace(" ", "") for hit in hits] == [number.replace(" ", "")]


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",
        "1772452800123",
        "1772452800123456",
        "2026-03-02 12-30-45",
        "2026-03-02T12:30:45.123456Z",
        "4006381333931",
        "EAN 4 006381 333931",
        "978-3-16-148410-0",
        "+49 176 12345678",
        "+4917612345678",
        "0.4111111111111111",
        "4111111111111111.5",
        "order-2026-0000-1234-5678",
        "41111111111111110000",
        "x4111111111111111",
        "4111111111111111x",
        "12.50 1299.00 4.99",
        "550e8400-e29b-41d4-a716-446655440000",
        "41111111-1111-1111-8111-111111111111",
        "4bf92f3577b34da6a3ce929d0e0e4736",
    ],
)
def test_other_numbers_are_no_cards(text: str) -> None:
    """Times, articles, telephones, fractions, ids and numbers with a wrong check digit stay."""
    assert found(Pattern.CARD, text) == []


@st.composite
def cards(draw: st.DrawFn) -> str:
    """Return the number of a Visa, Mastercard or American Express."""
    prefix, length = draw(st.sampled_from([("4", 16), ("52", 16), ("37", 15)]))
    rest = draw(
        st.text("0123456789", min_size=length - 1 - len(prefix), max_size=length - 1 - len(prefix))
    )
    return next(number for digit in range(10) if luhn(number := f"{prefix}{rest}{digit}"))


@given(cards(), st.sampled_from([" ", "-", "", " - "]), st.text(" ,;:!?()[]<>/", max_size=3))
def test_every_card_is_found(card: str, gap: str, around: str) -> None:
    """Whatever its digits, a card's number is found, in its printed groups or in one piece."""
    groups = (
        [card[:4], card[4:10], card[10:]]
        if len(card) == 15
        else [card[i : i + 4] for i in range(0, 16, 4)]
    )
    text = f"{around}{gap.join(groups)}{around}"

    assert [hit.replace(" ", "").replace("-", "") for hit in found(Pattern.CARD, text)] == [card]


@given(cards(), st.integers(1, 9))
def test_one_wrong_digit_is_no_card(card: str, change: int) -> None:
    """Luhn's check digit tells any single wrong digit."""
    wrong = card[:-1] + str((int(card[-1]) + change) % 10)

    assert found(Pattern.CARD, wrong) == []


@given(st.text("0123456789", min_size=12, max_size=12))
def test_numbers_of_articles_stay(digits: str) -> None:
    """No EAN is taken for a card, whatever it begins with."""
    article = next(number for digit in range(10) if is_ean(number := f"{digits}{digit}"))

    assert found(Pattern.CARD, article) == []


@given(st.uuids())
def test_uuids_stay(value: uuid.UUID) -> None:
    """No UUID is taken for anything."""
    for kind in FINDERS:
        assert found(kind, str(value)) == []
        assert found(kind, f"id {value.hex}") == []


# Addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ada@example.com", "ada@example.com"),
        ("write to ada.l+shop@mail.example.co.uk!", "ada.l+shop@mail.example.co.uk"),
        ("<Ada@Example.COM>", "Ada@Example.COM"),
        ("mailto:ada@example.com?subject=x", "ada@example.com"),
        ("https://shop.test/?mail=ada%40example.com&x=1", "ada%40example.com"),
        ("grüße@bücher.example", "grüße@bücher.example"),
        ("a@xn--bcher-kva.example.", "a@xn--bcher-kva.example"),
    ],
)
def test_addresses_are_found(text: str, address: str) -> None:
    """An address is found in a text, and in the query of a URL."""
    assert found(Pattern.EMAIL, text) == [address]


@pytest.mark.parametrize(
    "text",
    [
        "@ada",
        "3 @ 5.00",
        "logo@2x.png",
        "img@1.5x.webp",
        "root@localhost",
        "a@b",
        "pkg@1.2.3",
        "50% off",
    ],
)
def test_what_only_has_the_sign_stays(text: str) -> None:
    """Names, prices, pictures and versions are no addresses."""
    assert found(Pattern.EMAIL, text) == []


_LOCAL = st.text(string.ascii_letters + string.digits + "._+-", min_size=1, max_size=20)
_LABEL = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=10)


@given(_LOCAL, st.lists(_LABEL, min_size=1, max_size=3), st.sampled_from(["com", "de", "shop"]))
def test_every_address_is_found(local: str, labels: list[str], top: str) -> None:
    """No address stays, whatever its parts."""
    address = f"{local}@{'.'.join(labels)}.{top}"

    assert found(Pattern.EMAIL, f"from {address}, yesterday") == [address]


@pytest.mark.parametrize(
    "text", ["a" * 30_000, "a@" * 15_000, "a." * 15_000, "a%40" * 8_000, "@a." * 10_000]
)
def test_hostile_texts_take_no_time(text: str) -> None:
    """A text as long as an event may be is looked through at once, not for minutes."""
    assert found(Pattern.EMAIL, text) == []


# Accounts


@pytest.mark.parametrize(
    "account",
    [
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "GB29NWBK60161331926819",
        "GB29 NWBK 6016 1331 9268 19",
        "FR1420041010050500013M02606",
        "NL91ABNA0417164300",
        "NO9386011117947",
        "MT84MALT011000012345MTLCAST001S",
    ],
)
@pytest.mark.parametrize("around", ["{}", "to {} BIC", "{},", "iban:{}", "iban=%20{}&x"])
def test_accounts_are_found_however_they_are_written(account: str, around: str) -> None:
    """An account is found in groups or not, and a word behind it is not part of it."""
    assert found(Pattern.IBAN, around.format(account)) == [account]


@pytest.mark.parametrize(
    "text",
    [
        "DE88370400440532013000",
        "DE8937040044053201300",
        "XX89370400440532013000",
        "SKU12345678901234",
        "ADE89370400440532013000",
    ],
)
def test_what_looks_like_an_account_stays(text: str) -> None:
    """A wrong check digit, length or country is no account."""
    assert found(Pattern.IBAN, text) == []


@given(st.text("0123456789", min_size=18, max_size=18))
def test_every_german_account_is_found(digits: str) -> None:
    """Whatever its digits, an account is found, and no other check digits are right."""
    right = [check for check in range(2, 99) if is_iban(f"DE{check:02}{digits}")]

    assert len(right) == 1
    assert found(Pattern.IBAN, f"DE{right[0]:02}{digits}") == [f"DE{right[0]:02}{digits}"]


# Tokens


@pytest.mark.parametrize(
    ("text", "token"),
    [
        (f"jwt eyJhbGciOiJI.eyJzdWIiOiIx.{'s' * 20}", f"eyJhbGciOiJI.eyJzdWIiOiIx.{'s' * 20}"),
        ("Authorization: Bearer 0123456789abcdefghij==", "0123456789abcdefghij=="),
        (f"bearer {'a1' * 12}", "a1" * 12),
        (f"key=sk_live_{'a1' * 12}", f"sk_live_{'a1' * 12}"),
        (f"(ghp_{'a1' * 18})", f"ghp_{'a1' * 18}"),
        ("AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOP"),
        (f"shpat_{'0a' * 16}", f"shpat_{'0a' * 16}"),
        ("https://shop.test/reset?token=abc&x=1", "abc"),
        ("/x?a=1&password=hunter2#top", "hunter2"),
    ],
)
def test_tokens_are_found(text: str, token: str) -> None:
    """Tokens are found by their beginnings, behind `Bearer`, and as parameters of a URL."""
    assert found(Pattern.TOKEN, text) == [token]


@pytest.mark.parametrize(
    "text",
    [
        "the bearer of this voucher",
        "bearer certificates-of-all-kinds-and-ages",
        "sk_live_",
        "darjeeling-first-flush-2026-organic-loose",
        "/x?color=red&size=xl",
        "eyJust a word",
        "risk-0123456789012345678901234567",
    ],
)
def test_what_is_no_token_stays(text: str) -> None:
    """Ordinary words, slugs and parameters are no tokens."""
    assert found(Pattern.TOKEN, text) == []


# The glance


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.text(max_size=30) | st.integers() | st.floats(allow_nan=False),
        max_size=5,
    )
)
def test_the_glance_misses_nothing(properties: dict[str, object]) -> None:
    """What a glance does not let through has nothing in it that would be found."""
    seen = looks(encode(properties), _is_secret)
    texts = [*properties, *(value for value in properties.values() if isinstance(value, str))]
    for kind, find in FINDERS.items():
        assert kind in seen or not any(list(find(text)) for text in texts)


def test_an_ordinary_event_is_let_through() -> None:
    """Prices, names and ids are seen at a glance to be harmless."""
    properties = {
        "product_id": "tea-042",
        "name": "Darjeeling, first flush",
        "price": 12.5,
        "cart_id": "c-81723",
    }

    assert looks(encode(properties), _is_secret) == frozenset()
