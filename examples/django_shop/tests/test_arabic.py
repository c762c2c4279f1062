"""The Arabic pages in a real browser: the other way round, and asked in Arabic."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = [
    pytest.mark.browser,
    # pytest-playwright, where it is installed, still uses what pytest 9 deprecates.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module")
def arabic(open_shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a shop that is open."""
    with open_shop("django", tmp_path_factory.mktemp("arabic")) as shop:
        yield shop


@pytest.fixture
def page(arabic: Any, chromium: Any) -> Iterator[Any]:
    """Return a page that fails the test on a breach of the policy for content."""
    context = chromium.new_context(base_url=arabic.address)
    page, complaints = context.new_page(), []
    page.set_default_timeout(10_000)
    page.on("console", lambda m: "Content Security" in m.text and complaints.append(m.text))
    yield page
    context.close()
    assert complaints == []


def left_of(page: Any, selector: str) -> float:
    box = page.locator(selector).first.bounding_box()
    return float(box["x"])


def test_the_page_is_mirrored(page: Any) -> None:
    """What is left in English is right in Arabic, on the page that the link leads to."""
    page.goto("/products/soup-mug")
    assert left_of(page, ".brand") < left_of(page, ".search") < left_of(page, ".mine")
    assert left_of(page, ".frame") < left_of(page, ".buy")
    page.get_by_role("link", name="العربيّة").click()
    page.wait_for_url("**/ar/products/soup-mug")
    assert left_of(page, ".brand") > left_of(page, ".search") > left_of(page, ".mine")
    assert left_of(page, ".frame") > left_of(page, ".buy")


def test_an_order_is_placed_and_asked_about_in_arabic(page: Any, arabic: Any) -> None:
    """The whole way to the order stays in Arabic, and the card asks in it, from right to left."""
    page.goto("/ar/products/soup-mug")
    for button in ("form.buy button", "button.wide"):
        page.locator(button).click()
    where = {"street": "Footpath 1", "postcode": "8001", "city": "Zürich"}
    for field, value in {"name": "آدا", "email": "ada@example.com", **where}.items():
        page.locator(f"#{field}").fill(value)
    page.locator(".actions button").click()
    for field, value in {"number": "4242 4242 4242 4242", "expiry": "12/39", "code": "123"}.items():
        page.locator(f"#{field}").fill(value)
        assert page.evaluate(f"getComputedStyle({field}).direction") == "ltr"
    page.locator(".actions button").click()

    page.wait_for_url("**/ar/orders/D-*")
    assert page.get_by_role("heading", level=1).inner_text() == "شكرًا لك، آدا."
    page.get_by_role("heading", name="ما مدى رضاك عن زيارتك؟").wait_for()
    card = page.locator("journeykit-prompt section")
    assert card.evaluate("e => getComputedStyle(e).direction") == "rtl"
    page.get_by_role("radio", name="5 / 5").check(force=True)
    card.locator("[part~=send]").click()
    card.locator("[part~=thanks]").wait_for()

    deadline = time.monotonic() + 15
    while "prompt.answered" not in (names := {event.name: event for event in arabic.events()}):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert names["Order Completed"].context["page"] == {"name": "checkout:payment"}
    assert names["Order Completed"].properties["products"][0]["name"] == "The Soup Mug"
    assert names["prompt.answered"].properties["answers"] == {"score": 5}
