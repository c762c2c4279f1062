"""What people see, and what they may not do."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from dawdle import cards
from dawdle.carts import Cart, Line
from dawdle.coupons import coupon
from dawdle.products import product, products

PAGES = (
    "/",
    "/products",
    "/products?q=drone",
    "/products/soup-mug",
    "/products/soup-mug/review",
    "/products/soup-mug/share",
    "/basket",
    "/account",
    "/account/sign-in",
    "/account/sign-up",
    "/behind-the-counter",
    "/what-we-note-down",
)


class Tags(HTMLParser):
    """Collects every tag of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_self_sufficient_and_labelled(customer, path):
    """Nothing inline, nothing from elsewhere; a language, a title, one h1, labels."""
    answer = customer.get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
    tags = Tags(answer.text).found
    assert ("html", {"lang": "en"}) in tags
    assert sum(tag == "h1" for tag, _ in tags) == 1
    labelled = {attrs.get("for") for tag, attrs in tags if tag == "label"}
    for tag, attrs in tags:
        assert tag != "style"
        assert tag != "script" or attrs["src"]
        assert "style" not in attrs
        for address in (attrs.get("src"), attrs.get("href") if tag == "link" else None):
            assert address is None or address.startswith(("/static/", "/journeykit/static/"))
        if tag in {"input", "select"} and attrs.get("type") not in {"hidden", "radio"}:
            assert attrs["id"] in labelled


def test_every_picture_is_there(app):
    """Each product has its illustration, and each illustration its product."""
    pictures = {path.name for path in Path(str(app.static_folder), "art").iterdir()}
    assert pictures == {Path(item.art).name for item in products()}


def test_a_forged_form_is_refused(customer):
    """A POST without the session's token does nothing."""
    for token in ("", "guess", "é"):
        answer = customer.client.post("/basket/add/soup-mug", data={"csrf": token})
        assert answer.status_code == 400
    assert "Nothing in it yet" in customer.get("/basket").text


def test_a_declined_card_keeps_the_basket(customer):
    """The message is clear, the number is gone from the form, and another card works."""
    customer.go_to_payment()
    page = customer.pay("4000 0000 0000 0002")
    assert page.status_code == 402
    assert "The card was declined" in page.text
    assert 'value="4000' not in page.text
    order = customer.pay()
    assert order.status_code == 302
    assert "Thank you, Ada" in customer.get(order.location).text


def test_an_order_is_placed_once(customer):
    """Paying twice, as a double click does, gives one order."""
    customer.go_to_payment()
    customer.pay()
    customer.pay()
    assert len(re.findall(r"/orders/D-", customer.get("/account").text)) == 1


def test_an_order_is_private(customer, another):
    """Nobody else sees an order, and its buyer does, also from an account opened later."""
    customer.go_to_payment()
    path = customer.pay().location
    assert another.get(path).status_code == 404
    customer.sign_up()
    customer.post("/account/sign-out")
    assert customer.get(path).status_code == 404
    another.post("/account/sign-in", email="ada@example.com", password="slowly, slowly")
    assert another.get(path).status_code == 200


def test_the_checkout_needs_a_basket_and_an_address(customer):
    """Who types the address of a later step is sent back to the first that is missing."""
    assert customer.get("/checkout/address").location == "/basket"
    assert customer.post("/checkout").location == "/basket"
    customer.post("/basket/add/soup-mug", quantity=1)
    assert customer.get("/checkout/payment").location == "/checkout/address"
    assert customer.pay().location == "/checkout/address"


def test_an_address_with_gaps_is_asked_for_again(customer):
    """What is missing is named beside its field, and what was typed is kept."""
    customer.post("/basket/add/soup-mug", quantity=1)
    page = customer.post("/checkout/address", name="Ada", email="ada", street="", postcode="8")
    assert page.status_code == 422
    assert "has an @ in it" in page.text
    assert 'value="Ada"' in page.text
    assert page.text.count('aria-invalid="true"') == 3


def test_only_buyers_review_and_once(customer):
    """A review needs an order with the product, and each order counts once."""
    assert customer.post("/products/soup-mug/review", stars=5, author="Ada").status_code == 403
    customer.go_to_payment()
    customer.pay()
    assert customer.post("/products/soup-mug/review", stars=9, author="").status_code == 422
    customer.post("/products/soup-mug/review", stars=4, author="<b>Ada</b>", body="Good soup.")
    page = customer.get("/products/soup-mug").text
    assert "4 of 5 stars" in page
    assert "&lt;b&gt;Ada" in page
    assert customer.post("/products/soup-mug/review", stars=1, author="Ada").status_code == 403


def test_an_address_has_one_account(customer, another):
    """A second account with the same e-mail address is refused in words."""
    customer.sign_up()
    page = another.sign_up("ADA@example.com")
    assert page.status_code == 422
    assert "an account with this address already" in page.text


@pytest.mark.parametrize("target", ["https://elsewhere.example", "//elsewhere.example", "/\\e.x"])
def test_signing_in_leads_nowhere_else(customer, target):
    """The page to return to is one of the shop's."""
    fields = {"name": "Ada", "email": "a@example.com", "password": "slowly, slowly"}
    answer = customer.post(f"/account/sign-up?next={target}", **fields)
    assert answer.location == "/account"


def test_behind_the_counter_shows_who_is_where(app, customer, another):
    """The page goes from an invitation to figures and names."""
    assert "Nobody has been in yet" in another.get("/behind-the-counter").text
    another.get("/")
    customer.sign_up()
    customer.go_to_payment()
    customer.pay()
    assert app.extensions["journeykit"].flush()
    page = customer.get("/behind-the-counter").text
    assert re.search(r"Ada</th>\s*<td><span class=\"stage purchase\">Purchase", page)
    assert re.search(r"Guest \w{4}</th>\s*<td><span class=\"stage awareness\">Awareness", page)
    assert "€21.00" in page


@pytest.mark.parametrize(
    ("slug", "quantity", "code", "total"),
    [
        ("soup-mug", 1, "", 2100 + 490),
        ("soup-mug", 1, "DAWDLE10", 1890 + 490),
        ("soup-mug", 3, "", 6300),
        ("soup-mug", 5, "LONGWAY20", 8400),
        ("soup-mug", 1, "LONGWAY20", 2100 + 490),
        ("soup-mug", 1, "SPRING", 2100 + 490),
    ],
)
def test_what_a_basket_comes_to(slug, quantity, code, total):
    """Coupons and shipping add up; a coupon that no longer counts takes nothing off."""
    thing = product(slug)
    assert thing is not None
    assert Cart("c", (Line(thing, quantity),), coupon(code)).total == total


@pytest.mark.parametrize(
    ("number", "expiry", "code", "wrong"),
    [
        ("4242 4242 4242 4242", "12/39", "123", set()),
        ("4242-4242-4242-4242", "12 / 2039", "1234", set()),
        ("4242 4242 4242 4243", "12/39", "123", {"number"}),
        ("٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢", "12/39", "123", {"number"}),
        ("", "", "", {"number", "expiry", "code"}),
        ("4242424242424242", "01/20", "12", {"expiry", "code"}),
        ("4242424242424242", "13/39", "abc", {"expiry", "code"}),
    ],
)
def test_what_is_wrong_with_a_card(number, expiry, code, wrong):
    """Each field of the card is judged on its own."""
    assert set(cards.mistakes(number, expiry, code)) == wrong
