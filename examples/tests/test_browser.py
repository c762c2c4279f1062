"""One customer, one real browser, from the shop window to telling a friend: in either shop."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.browser,
    # pytest-playwright, where it is installed, still uses what pytest 9 deprecates.
    pytest.mark.filterwarnings("default"),
]

PAGES = ("/", "/products", "/products?q=drone", "/products/soup-mug", "/products/soup-mug/review")
PAGES += ("/products/soup-mug/share", "/basket", "/account", "/account/sign-in")
PAGES += ("/account/sign-up", "/what-we-note-down", "/nowhere")
STAFF = ("/behind-the-counter",)


def pages_of(shop: Any) -> list[str]:
    """Every page that a visitor sees, in each language of the shop."""
    prefixes = ("", "/ar") if shop.kind == "django" else ("",)
    return [*(f"{prefix}{page}" for prefix in prefixes for page in PAGES), *STAFF]


@pytest.fixture(params=[True, False], ids=["javascript", "no-javascript"])
def page(chromium: Any, shop: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return a page that fails the test on a request to elsewhere or a breach of the CSP."""
    context = chromium.new_context(base_url=shop.address, java_script_enabled=request.param)
    yield from watched(context, shop)


def watched(context: Any, shop: Any) -> Iterator[Any]:
    page, complaints = context.new_page(), []
    page.set_default_timeout(10_000)
    page.on("request", lambda r: r.url.startswith(shop.address) or complaints.append(r.url))
    page.on("console", lambda m: "Content Security" in m.text and complaints.append(m.text))
    yield page
    context.close()
    assert complaints == []


def anonymous_id(page: Any) -> str:
    [cookie] = [c for c in page.context.cookies() if c["name"] == "journeykit_id"]
    assert cookie["httpOnly"]
    return str(cookie["value"]).split(".")[0]


def wait_for(look: Callable[[], Any]) -> Any:
    """Return what *look* finds, once it finds something."""
    deadline = time.monotonic() + 15
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_a_customer_becomes_an_advocate(shop: Any, page: Any) -> None:
    """Browse, search, add, be declined, pay, review, share: the report shows an advocate."""
    browse_and_add(page)
    check_out(page)
    pay(page, "4000 0000 0000 0002")
    assert page.get_by_role("alert").get_by_text("The card was declined").is_visible()
    assert page.get_by_label("Card number").input_value() == ""
    pay(page, "4242 4242 4242 4242")
    assert page.get_by_role("heading", level=1).inner_text() == "Thank you, Ada Stroll."
    review_and_share(page)

    me = anonymous_id(page)
    with shop.kit() as kit:
        seen = wait_for(lambda: [c for c in kit.customers("shop") if is_advocate(c, me)])
    assert seen[0].furthest == "advocacy"

    page.goto("/behind-the-counter")
    row = page.get_by_role("row", name=re.compile(f"Guest {me[-4:]}"))
    assert row.get_by_text("Advocacy").first.is_visible()


def is_advocate(seen: Any, customer: str) -> bool:
    return bool(seen.customer == customer and seen.stage == "advocacy")


def test_trouble_becomes_a_case(shop: Any, chromium: Any) -> None:
    """Who was declined is asked, says so, and becomes a case with an owner; sinks hear it all."""
    page = chromium.new_page(base_url=shop.address)
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

    with shop.kit() as kit:
        [case] = wait_for(kit.cases.list)
        assert (case.owner, case.status, case.rule) == ("payments", "new", "payment")
        assert case.evidence[0].score == 2
        assert case.evidence[0].answers["how"] == "I typed my address twice"
        assert [c.name for c in case.clocks if c.due] == ["first_response", "resolution"]
        assert "payment.declined" in {found.code for found in kit.pain_points()}

    sent = wait_for(lambda: told_to_sinks(shop, "case.opened"))
    assert [told["owner"] for name, told in sent if name == "case.opened"] == ["payments"]
    pains = {told["code"] for name, told in sent if name == "pain_point.detected"}
    assert pains >= {"payment.declined"}

    page.goto("/behind-the-counter")
    assert page.get_by_role("row", name=re.compile("Had a hard time paying")).is_visible()
    page.close()


def told_to_sinks(shop: Any, name: str) -> list[tuple[str, Any]]:
    """The names and properties of all that went to the file, once there is one of this name."""
    lines = (shop.toml.parent / "var" / "events.jsonl").read_text("utf-8").splitlines()
    sent = [(event["name"], event["properties"]) for event in map(json.loads, lines)]
    return sent if name in dict(sent) else []


def test_the_keyboard_is_enough(shop: Any, chromium: Any) -> None:
    """The first Tab shows a way past the menus, and it leads to the content."""
    page = chromium.new_page(base_url=shop.address)
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.close()


def test_a_telephone_is_wide_enough(shop: Any, chromium: Any) -> None:
    """No page scrolls sideways on a narrow screen, in any language."""
    page = chromium.new_page(base_url=shop.address, viewport={"width": 320, "height": 640})
    wide = {}
    for path in pages_of(shop):
        page.goto(path)
        wide[path] = page.evaluate("document.documentElement.scrollWidth")
    assert {path: width for path, width in wide.items() if width > 320} == {}
    page.close()


def test_the_pages_are_in_order(
    shop: Any, chromium: Any, from_npm: Callable[[str], Path], tmp_path: Path
) -> None:
    """A validator of HTML finds nothing in any page, and axe nothing, in any language."""
    axe, validate = from_npm("axe-core/axe.min.js"), from_npm(".bin/html-validate")
    page = chromium.new_page(base_url=shop.address, bypass_csp=True)
    page.set_default_timeout(10_000)
    browse_and_add(page)
    check_out(page)
    pay(page, "4242 4242 4242 4242")
    order = page.url
    browse_and_add(page)
    paths = [*pages_of(shop), "/checkout/address", order]
    found = {}
    for number, path in enumerate(paths):
        answer = page.goto(path)
        (tmp_path / f"{number:02}.html").write_bytes(answer.body())
        page.evaluate(axe.read_text("utf-8"))
        run = "axe.run().then(r => r.violations.map(v => [v.id, v.nodes[0].html]))"
        found[path] = page.evaluate(run)
    page.close()
    assert {path: faults for path, faults in found.items() if faults} == {}

    rules = {"extends": ["html-validate:standard"], "root": True}
    (tmp_path / ".htmlvalidate.json").write_text(json.dumps(rules))
    run = subprocess.run(
        [str(validate), *map(str, sorted(tmp_path.glob("*.html")))],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + str(dict(enumerate(paths)))


def test_the_report_is_the_one_behind_the_counter(shop: Any, chromium: Any) -> None:
    """The figures of the command line are those that the shop shows."""
    page = chromium.new_page(base_url=shop.address)
    page.goto("/")
    command = [sys.executable, "-m", "journeykit", "report", "--json", "-c", str(shop.toml)]

    def agreed() -> bool:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        report = json.loads(run.stdout)
        page.goto("/behind-the-counter")
        shown = page.locator(".figures dd").all_inner_texts()[:2]
        return bool(report["customers"]) and shown == [
            f"{report[key]:,}" for key in ("customers", "events")
        ]

    wait_for(agreed)
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
