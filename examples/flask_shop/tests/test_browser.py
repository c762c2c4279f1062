"""One customer, one real browser, from the shop window to telling a friend."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from demo import serving
from flask import Flask

pytestmark = [
    pytest.mark.browser,
    # pytest-playwright, where it is installed, still uses what pytest 9 deprecates.
    pytest.mark.filterwarnings("default"),
]

CHROMIUM = Path(os.environ.get("JOURNEYKIT_CHROMIUM", "/usr/bin/chromium"))
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _missing(reason: str) -> None:
    if os.environ.get("JOURNEYKIT_REQUIRE_BROWSER") == "1":
        pytest.fail(f"JOURNEYKIT_REQUIRE_BROWSER=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return a Chromium, shared by all browser tests of this shop."""
    if not CHROMIUM.exists():
        _missing(f"there is no Chromium at {CHROMIUM} (apt install chromium fonts-dejavu-core)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed (pip install playwright)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def shop(app: Flask) -> Iterator[str]:
    """Return the address of a shop that is open."""
    with serving(app, 0) as address:
        yield address


@pytest.fixture(params=[True, False], ids=["javascript", "no-javascript"])
def page(chromium: Any, shop: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return a page that fails the test on a request to elsewhere or a breach of the CSP."""
    context = chromium.new_context(base_url=shop, java_script_enabled=request.param)
    page, complaints = context.new_page(), []
    page.set_default_timeout(10_000)
    page.on("request", lambda r: r.url.startswith(shop) or complaints.append(r.url))
    page.on("console", lambda m: "Content Security" in m.text and complaints.append(m.text))
    yield page
    context.close()
    assert complaints == []


def test_a_customer_becomes_an_advocate(app: Flask, toml: Path, page: Any) -> None:
    """Browse, search, add, be declined, pay, review, share: the report shows an advocate."""
    browse_and_add(page)
    check_out(page)
    pay(page, "4000 0000 0000 0002")
    assert page.get_by_role("alert").get_by_text("The card was declined").is_visible()
    assert page.get_by_label("Card number").input_value() == ""
    pay(page, "4242 4242 4242 4242")
    assert page.get_by_role("heading", level=1).inner_text() == "Thank you, Ada Stroll."
    review_and_share(page)

    assert app.extensions["journeykit"].flush()
    command = [sys.executable, "-m", "journeykit", "report", "--json", "--customers", "5"]
    run = subprocess.run(
        [*command, "-c", str(toml)], capture_output=True, text=True, timeout=60, check=True
    )
    report = json.loads(run.stdout)
    [journey] = report["journeys"]
    assert report["customers"] == journey["instances"] == 1
    assert [stage["furthest"] for stage in journey["stages"]] == [0, 0, 0, 0, 1]
    [cookie] = [c for c in page.context.cookies() if c["name"] == "journeykit_id"]
    assert cookie["httpOnly"]

    page.goto("/behind-the-counter")
    row = page.get_by_role("row", name=re.compile("Guest"))
    assert row.get_by_text("Advocacy").first.is_visible()


def test_trouble_becomes_a_case(app: Flask, toml: Path, chromium: Any, shop: str) -> None:
    """Who was declined is asked, says so, and becomes a case with an owner; sinks hear it all."""
    page = chromium.new_page(base_url=shop)
    page.set_default_timeout(10_000)
    browse_and_add(page)
    check_out(page)
    pay(page, "4000 0000 0000 0002")
    pay(page, "4242 4242 4242 4242")

    page.get_by_role("heading", name="How easy was it to sort out your payment?").wait_for()
    page.get_by_role("radio", name="2 / 7").check(force=True)
    page.get_by_role("button", name="Next").click()
    page.get_by_role("textbox", name="What got in the way?").fill("I typed my address twice")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("heading", name="Thank you!").wait_for()

    kit = app.extensions["journeykit"]
    assert kit.flush()
    [case] = kit.cases.list()
    assert (case.owner, case.status, case.rule) == ("payments", "new", "payment")
    assert case.evidence[0].score == 2
    assert case.evidence[0].answers["how"] == "I typed my address twice"
    assert [clock.name for clock in case.clocks if clock.due] == ["first_response", "resolution"]
    assert "payment.declined" in {found.code for found in kit.pain_points()}

    lines = (toml.parent / "var" / "events.jsonl").read_text("utf-8").splitlines()
    sent = [(event["name"], event["properties"]) for event in map(json.loads, lines)]
    told = dict(sent)
    assert told["pain_point.detected"]["code"] in {"payment.declined", "score.low"}
    assert told["case.opened"]["owner"] == "payments"
    assert [name for name, _ in sent].count("case.opened") == 1

    page.goto("/behind-the-counter")
    assert page.get_by_role("row", name=re.compile("Had a hard time paying")).is_visible()
    page.close()


def test_the_keyboard_is_enough(chromium: Any, shop: str) -> None:
    """The first Tab shows a way past the menus, and it leads to the content."""
    page = chromium.new_page(base_url=shop)
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.close()


@pytest.mark.parametrize("path", ["/", "/products", "/products/soup-mug", "/behind-the-counter"])
def test_a_telephone_is_wide_enough(chromium: Any, shop: str, path: str) -> None:
    """No page scrolls sideways on a narrow screen."""
    page = chromium.new_page(base_url=shop, viewport={"width": 320, "height": 640})
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.close()


def browse_and_add(page: Any) -> None:
    page.goto("/")
    page.get_by_role("link", name="See what keeps you warm").click()
    page.get_by_label("Search the shop").fill("both hands")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="The Soup Mug").click()
    page.get_by_role("button", name="Put in the basket").click()


def check_out(page: Any) -> None:
    page.get_by_role("button", name="To the checkout").click()
    page.get_by_label("Name", exact=True).fill("Ada Stroll")
    page.get_by_label("E-mail address").fill("ada@example.com")
    page.get_by_label("Street and number").fill("Footpath 1")
    page.get_by_label("Postcode").fill("8001")
    page.get_by_label("Town or city").fill("Zürich")
    page.get_by_role("button", name="On to the payment").click()


def pay(page: Any, number: str) -> None:
    page.get_by_label("Card number").fill(number)
    page.get_by_label("Valid until").fill("12/39")
    page.get_by_label("Security code").fill("123")
    page.get_by_role("button", name=re.compile("^Pay")).click()


def review_and_share(page: Any) -> None:
    page.get_by_role("link", name="Review The Soup Mug").click()
    page.get_by_label("Glad to have it").check()
    page.get_by_label("In your words").fill("Holds the soup, and the evening.")
    page.get_by_label("Name to print with it").fill("Ada")
    page.get_by_role("button", name="Put it up").click()
    assert page.locator("p.note[role=status]").inner_text() == "Thank you. Your review is up."
    page.get_by_role("button", name="Share this with somebody").click()
    assert "/products/soup-mug" in page.get_by_label("The link").input_value()
