"""What each page tells journeykit, read back from the file sink."""

from typing import Any

import pytest


def names(found: list[dict[str, Any]]) -> list[str]:
    return [event["name"] for event in found]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "Promotion Viewed"),
        ("/promotions/long-way-home", "Promotion Clicked"),
        ("/products", "Product List Viewed"),
        ("/products?category=keep-warm", "Product List Viewed"),
        ("/products?q=wool", "Products Searched"),
        ("/products/soup-mug", "Product Viewed"),
        ("/basket", "Cart Viewed"),
    ],
)
def test_a_visit_is_one_event(customer, events, path, name):
    """A page that somebody opens is one event of the standard name."""
    customer.get(path)
    [event] = events()
    assert event["name"] == name
    assert event["channel"] == "web"
    assert event["customer"]["anonymous_id"]


@pytest.mark.parametrize("path", ["/products/tent", "/products?category=tents", "/orders/D-1"])
def test_an_error_page_is_no_visit(customer, events, path):
    """A page that is not there is no page view."""
    assert customer.get(path).status_code == 404
    assert events() == []


def test_what_nobody_looks_at_is_no_visit(customer, events):
    """Neither a HEAD nor a page fetched ahead of a click is a page view."""
    customer.client.head("/products/soup-mug")
    customer.get("/products/soup-mug", headers={"Sec-Purpose": "prefetch;prerender"})
    assert events() == []


@pytest.mark.parametrize(("words", "results"), [("WOOL hat", 1), ("drone", 0)])
def test_a_search_tells_how_much_it_found(customer, events, words, results):
    """A search without results can be told from one with results."""
    customer.get("/products", query_string={"q": words})
    [event] = events()
    assert event["properties"] == {"query": words, "category": "", "results": results}


def test_the_basket_tells_each_difference(customer, events):
    """Changing a quantity adds or removes the difference, under one cart id."""
    customer.post("/basket/add/soup-mug", quantity=2)
    customer.post("/basket/change/soup-mug", quantity=5)
    customer.post("/basket/change/soup-mug", quantity=4)
    customer.post("/basket/change/soup-mug", quantity=4)
    customer.post("/basket/change/soup-mug", quantity=0)
    found = events()
    assert [(event["name"], event["properties"]["quantity"]) for event in found] == [
        ("Product Added", 2),
        ("Product Added", 3),
        ("Product Removed", 1),
        ("Product Removed", 4),
    ]
    assert len({event["properties"]["cart_id"] for event in found}) == 1
    assert found[0]["properties"]["price"] == 21.0


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        (" dawdle10 ", "Coupon Applied", None),
        ("SPRING", "Coupon Denied", "expired"),
        ("LONGWAY20", "Coupon Denied", "below_minimum"),
        ("FREE", "Coupon Denied", "unknown"),
    ],
)
def test_a_coupon_counts_or_is_denied_with_a_reason(customer, events, code, outcome, reason):
    """A coupon is entered, and then applied or denied."""
    customer.post("/basket/add/soup-mug", quantity=1)
    events()
    customer.post("/basket/coupon", coupon=code)
    found = events()
    assert names(found) == ["Coupon Entered", outcome]
    assert found[1]["properties"].get("reason") == reason
    assert outcome == "Coupon Denied" or found[1]["properties"]["discount"] == 2.1


def test_a_checkout_tells_every_step(customer, events):
    """From the start of the checkout to the order, each step is told in order."""
    customer.post("/basket/add/porch-lantern", quantity=2)
    events()
    customer.post("/checkout")
    customer.get("/checkout/address")
    customer.go_to_payment("soup-mug")
    events()
    customer.get("/checkout/payment")
    customer.pay()
    found = events()
    assert names(found) == [
        "Checkout Step Viewed",
        "Payment Info Entered",
        "Checkout Step Completed",
        "Order Completed",
    ]
    order = found[-1]["properties"]
    assert (order["revenue"], order["shipping"], order["currency"]) == (129.0, 0.0, "EUR")
    assert [item["quantity"] for item in order["products"]] == [2, 1]
    assert order["cart_id"] == found[0]["properties"]["cart_id"]


def test_a_declined_card_is_told_with_its_reason(customer, events):
    """A declined payment says why, and is followed by no order."""
    customer.go_to_payment()
    events()
    assert customer.pay("4000 0000 0000 9995").status_code == 402
    found = events()
    assert names(found) == ["Payment Info Entered", "Payment Declined"]
    assert found[1]["properties"]["reason"] == "insufficient_funds"


def test_a_card_is_neither_tracked_nor_stored(customer, events, tmp_path):
    """No file of the shop or of journeykit holds a digit group of a card, declined or not."""
    customer.go_to_payment()
    customer.pay("4000 0000 0000 0002")
    customer.pay("4242 4242 4242 4242")
    events()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 2
    for file in files:
        data = file.read_bytes().replace(b" ", b"")
        assert b"4242424242424242" not in data
        assert b"4000000000000002" not in data


def test_a_mistyped_card_is_no_payment(customer, events):
    """A number with a swapped digit is sent back before anybody is asked for money."""
    customer.go_to_payment()
    events()
    assert customer.pay("4242 4242 4242 4224").status_code == 422
    assert events() == []


def test_an_account_joins_the_visits_before_it(customer, events):
    """Signing up is a fact that ties the anonymous visitor to the account."""
    customer.get("/products/soup-mug")
    [before] = events()
    customer.sign_up()
    customer.get("/products/soup-mug")
    customer.post("/account/sign-out")
    found = events()
    assert names(found) == ["customer.identified", "Signed Up", "Product Viewed", "Signed Out"]
    assert before["customer"]["user_id"] is None
    user_ids = {event["customer"]["user_id"] for event in found}
    assert len(user_ids) == 1
    assert None not in user_ids
    visitors = {event["customer"]["anonymous_id"] for event in [before, *found]}
    assert len(visitors) == 1


def test_whoever_comes_after_a_sign_out_is_somebody_else(customer, events):
    """At the same browser, the pages behind a sign-out are those of another visitor."""
    customer.sign_up()
    customer.post("/account/sign-out")
    customer.get("/products/soup-mug")
    *hers, last = events()
    assert (hers[-1]["name"], last["name"]) == ("Signed Out", "Product Viewed")
    assert last["customer"]["user_id"] is None
    assert last["customer"]["anonymous_id"] not in {
        event["customer"]["anonymous_id"] for event in hers
    }


def test_coming_back_is_signed_in(customer, another, events):
    """Signing in at another browser identifies the same customer."""
    customer.sign_up()
    events()
    another.post("/account/sign-in", email="ADA@example.com", password="slowly, slowly")
    assert names(events()) == ["customer.identified", "Signed In"]
    another.post("/account/sign-in", email="ada@example.com", password="wrong")
    assert events() == []


def test_a_review_tells_the_stars_and_not_the_words(customer, events):
    """A review is told with its rating; its text stays in the shop."""
    customer.go_to_payment()
    customer.pay()
    events()
    customer.post("/products/soup-mug/review", stars=5, author="Ada", body="Call me: 0123")
    [event] = events()
    assert event["name"] == "Product Reviewed"
    assert event["properties"]["rating"] == 5
    assert "0123" not in str(event)


def test_a_shared_link_is_told(customer, events):
    """Asking for a link to share is a share."""
    customer.post("/products/soup-mug/share")
    [event] = events()
    assert event["name"] == "Product Shared"
    assert event["properties"]["share_via"] == "link"


def test_a_parcel_arrives_once(customer, another, events):
    """Who has bought says that it has arrived: once, and nobody else can."""
    customer.go_to_payment()
    order = customer.pay().headers["Location"].partition("?")[0]
    events()
    assert another.post(f"{order}/delivered").status_code == 404
    for _ in range(2):
        customer.post(f"{order}/delivered")
    [event] = [event for event in events() if event["name"] == "Order Delivered"]
    assert event["properties"] == {"order_id": order.rpartition("/")[2]}
    assert "there since" in customer.get(order).text


def test_who_wants_no_questions_is_asked_none(customer, another, events):
    """The button under "What we note down" is heard by journeykit, without a line of the shop's."""
    person = {"Origin": "http://localhost", "User-Agent": "Mozilla/5.0"}
    customer.get("/")
    assert customer.client.post("/journeykit/v1/prompts", headers=person).status_code == 200
    assert names(events())[-1] == "customer.consented"
    asked = []
    for somebody in (customer, another):
        somebody.go_to_payment()
        page = somebody.get(somebody.pay().headers["Location"], headers=person)
        asked.append("journeykit-form" in page.text)
    assert asked == [False, True]
