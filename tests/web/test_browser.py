"""The real script in a real browser, against real endpoints and the real `kit.feedback`."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.web import shop

from journeykit import JourneyKit
from journeykit.model.prompt import Ask

pytestmark = [
    pytest.mark.browser,
    # pytest-playwright, where it is installed, still uses what pytest 9 deprecates.
    pytest.mark.filterwarnings("default"),
]

KINDS = tuple(shop.prompts())
CARD = "journeykit-prompt section"


@pytest.fixture
def kit() -> Iterator[JourneyKit]:
    """Return a kit with a prompt of every kind."""
    with shop.make_kit(friction=True) as kit:
        yield kit


@pytest.fixture
def address(kit: JourneyKit) -> Iterator[str]:
    """Return the address of a shop with the policy `default-src 'self'`."""
    with shop.serving(shop.make_shop(kit)) as address:
        yield address


Open = Callable[..., Any]


@pytest.fixture
def open_page(chromium: Any, address: str) -> Iterator[Open]:
    """Return a function that opens a page, which fails the test on a breach of the policy."""
    contexts, complaints = [], []

    def open_page(
        path: str, *, wait: bool = True, script: str = "", complain: bool = True, **options: Any
    ) -> Any:
        options.setdefault("viewport", {"width": 900, "height": 640})
        context = chromium.new_context(base_url=address, **options)
        contexts.append(context)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("request", lambda r: r.url.startswith(address) or complaints.append(r.url))
        page.on("console", lambda m: "Content Security" in m.text and complaints.append(m.text))
        page.on("pageerror", lambda e: complain and complaints.append(str(e)))
        page.goto(path)
        if wait:
            page.wait_for_selector(CARD)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def answered(kit: JourneyKit) -> list[dict[str, Any]]:
    """Return the properties of the answers in the Log."""
    return [each.properties for each in shop.facts(kit) if each.name == "prompt.answered"]


def names(kit: JourneyKit) -> list[str]:
    """Return the names of what was recorded of impressions."""
    return [each.name.removeprefix("prompt.") for each in shop.facts(kit)]


# What is asked


@pytest.mark.parametrize(("score", "reason"), [(3, "The prices"), (9, "The choice of products")])
def test_a_score_leads_to_its_reasons_and_a_comment(
    kit: JourneyKit, open_page: Open, score: int, reason: str
) -> None:
    """NPS+ asks for the score, then why, by its band, then for a comment, and says thanks."""
    page = open_page("/ask/nps-plus")
    page.locator(f"{CARD} input[value='{score}']").check(force=True)
    page.get_by_role("button", name="Next").click()
    page.get_by_label(reason).check()
    page.get_by_role("button", name="Next").click()
    page.locator(f"{CARD} textarea").fill("<img src=x onerror=alert(1)> ok & \u202eolleh")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("heading", name="Thank you. That helps us a lot.").wait_for()

    last = answered(kit)[-1]
    why = "why_low" if score == 3 else "why_high"
    key = "price" if score == 3 else "range"
    comment = "<img src=x onerror=alert(1)> ok & \u202eolleh"
    assert last["answers"] == {"score": score, why: [key], "more": comment}
    assert last["complete"] is True


@pytest.mark.parametrize("style", ["stars", "faces", "numbers"])
def test_a_satisfaction_is_a_number_however_it_looks(
    kit: JourneyKit, open_page: Open, style: str
) -> None:
    """Stars, faces and numbers are five radio buttons, and the answer is a number."""
    page = open_page(f"/ask/csat-{style}")
    assert page.get_by_role("radio").count() == 5
    page.get_by_role("radio", name="4 / 5").check(force=True)
    page.get_by_role("button", name="Send").click()
    page.wait_for_selector(f"{CARD} .thanks")
    assert answered(kit)[-1]["answers"] == {"score": 4}


@pytest.mark.parametrize(
    ("kind", "labels", "answer"),
    [
        ("choice", ["By searching"], "search"),
        ("choices", ["To look around", "To return something"], ["back", "look"]),
    ],
)
def test_options_are_chosen(
    kit: JourneyKit, open_page: Open, kind: str, labels: list[str], answer: Any
) -> None:
    """One option is an answer, and several are a list."""
    page = open_page(f"/ask/{kind}")
    for label in labels:
        page.get_by_label(label).check()
    page.get_by_role("button", name="Send").click()
    page.wait_for_selector(f"{CARD} .thanks")
    assert answered(kit)[-1]["answers"] == {"answer": answer}


def test_a_step_back_changes_the_branch(kit: JourneyKit, open_page: Open) -> None:
    """Who goes back and scores otherwise is asked for other reasons, and the old ones are gone."""
    page = open_page("/ask/nps-plus")
    page.locator(f"{CARD} input[value='3']").check(force=True)
    page.get_by_role("button", name="Next").click()
    page.get_by_label("The prices").check()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Back").click()
    assert page.get_by_label("The prices").is_checked()
    page.get_by_role("button", name="Back").click()
    assert page.locator(f"{CARD} input[value='3']").is_checked()
    page.locator(f"{CARD} input[value='10']").check(force=True)
    for button in ("Next", "Next", "Send"):
        page.get_by_role("button", name=button).click()
    page.wait_for_selector(f"{CARD} .thanks")
    assert answered(kit)[-1]["answers"] == {"score": 10}


# With the keyboard, and for a screen reader


def test_the_keyboard_is_enough(kit: JourneyKit, open_page: Open) -> None:
    """One Tab enters the scale, arrows move and send nothing, Enter goes on, Escape closes."""
    page = open_page("/ask/nps")
    assert page.evaluate("document.activeElement === document.body")
    page.locator("#about").focus()
    page.keyboard.press("Tab")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    inner = "document.querySelector('journeykit-prompt').shadowRoot.activeElement"
    assert page.evaluate(f"{inner}.value") == "4"
    assert page.evaluate(f"{inner}.matches(':focus-visible')")
    assert answered(kit) == []
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{CARD} textarea")
    assert page.evaluate(f"{inner}.textContent") == "Is there anything you would like to add?"
    page.keyboard.press("Tab")
    page.keyboard.type("Yes")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{CARD} .thanks")
    assert page.evaluate(f"{inner}.textContent") == "Thank you!"
    page.keyboard.press("Escape")
    assert page.locator(CARD).count() == 0
    assert page.evaluate("document.activeElement.id") == "about"
    assert answered(kit)[-1]["answers"] == {"score": 4, "more": "Yes"}


def test_escape_dismisses_from_inside_only(
    kit: JourneyKit, open_page: Open, wait_until: Callable[..., None]
) -> None:
    """Escape elsewhere is the shop's; inside it closes, and is a dismissal."""
    page = open_page("/ask/ces")
    page.locator("#q").focus()
    page.keyboard.press("Escape")
    assert page.locator(CARD).count() == 1
    page.get_by_role("radio").first.focus()
    page.keyboard.press("Escape")
    assert page.locator(CARD).count() == 0
    assert page.evaluate("document.activeElement.id") == "q"
    wait_until(lambda: names(kit) == ["shown", "dismissed"])


def test_what_a_screen_reader_hears(open_page: Open) -> None:
    """A named region, a group named by the question, radios by their number and what ends mean."""
    page = open_page("/ask/nps")
    tree = page.locator("journeykit-prompt").aria_snapshot()
    question = "How likely are you to recommend us to a friend?"
    assert f'region "{question}"' in tree
    assert f'group "{question}"' in tree
    assert f'heading "{question}" [level=2]' in tree
    assert 'radio "0 / 10, Not at all likely"' in tree
    assert 'radio "10 / 10, Extremely likely"' in tree
    assert 'button "Close"' in tree
    said = page.locator("journeykit-prompt [role=status]")
    assert said.text_content() == f"A short question, at the end of this page: {question}"
    assert page.locator(f"{CARD}[aria-modal]").count() == 0


def test_what_is_missing_is_said(kit: JourneyKit, open_page: Open) -> None:
    """Sending nothing says what is missing, where it is seen and heard, and sends nothing."""
    page = open_page("/ask/ces")
    page.get_by_role("button", name="Send").click()
    error = page.locator(f"{CARD} .error")
    assert error.text_content() == "Please choose an answer."
    assert page.locator(f"{CARD} fieldset").get_attribute("aria-describedby") == "e"
    said = page.locator("journeykit-prompt [role=status]")
    assert said.text_content() == "Please choose an answer."
    assert answered(kit) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing(
    open_page: Open, from_npm: Callable[[str], Path], kind: str, theme: str
) -> None:
    """No kind, in no theme and no language, has a problem that axe knows, thanks included."""
    axe = from_npm("axe-core/axe.min.js").read_text("utf-8")
    language = "ar" if theme == "dark" else "en"
    page = open_page(
        f"/ask/{kind}?theme={theme}&lang={language}", bypass_csp=True, reduced_motion="reduce"
    )
    page.evaluate(axe)
    run = "axe.run('journeykit-prompt').then(r => r.violations.map(v => [v.id, v.nodes.length]))"
    assert page.evaluate(run) == []
    radios = page.get_by_role("radio")
    if radios.count():
        radios.nth(1).check(force=True)
    assert page.evaluate(run) == []


# Where it stands


@pytest.mark.parametrize("kind", KINDS)
def test_a_narrow_screen_is_wide_enough(open_page: Open, kind: str) -> None:
    """At 320 pixels nothing scrolls sideways, and every target is at least 24 pixels large."""
    page = open_page(f"/ask/{kind}", viewport={"width": 320, "height": 600})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    card = page.locator(CARD)
    assert card.evaluate("card => card.scrollWidth <= card.clientWidth")
    boxes = page.locator(f"{CARD} :is(label,button)").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect()).map(b => [b.width, b.height])"
    )
    assert boxes
    assert min(min(box) for box in boxes) >= 24


def test_right_to_left(open_page: Open) -> None:
    """In Arabic the card stands at the left, runs to the left, and says its own words in Arabic."""
    page = open_page("/ask/nps?lang=ar")
    card = page.locator(CARD)
    assert (card.get_attribute("dir"), card.get_attribute("lang")) == ("rtl", "ar")
    box = card.bounding_box()
    assert box["x"] < 100
    first, last = (page.get_by_role("radio").nth(at).bounding_box() for at in (0, 10))
    assert first["x"] > last["x"]
    assert page.get_by_role("button", name="التالي").is_visible()


@pytest.mark.parametrize(("motion", "moves"), [("reduce", False), ("no-preference", True)])
def test_who_wants_no_motion_gets_none(open_page: Open, motion: str, moves: bool) -> None:
    """The card comes with a short motion, and without one where less is preferred."""
    page = open_page("/ask/nps", reduced_motion=motion)
    name = page.locator(CARD).evaluate("card => getComputedStyle(card).animationName")
    assert (name != "none") is moves


def test_what_has_the_focus_is_never_covered(open_page: Open) -> None:
    """Where the focus goes beneath the card, the card goes to the other end of the page."""
    page = open_page("/ask/nps", viewport={"width": 400, "height": 420})
    page.locator("#about").focus()
    page.wait_for_function(
        """() => {
          const a = document.activeElement.getBoundingClientRect();
          const card = document.querySelector('journeykit-prompt').shadowRoot.querySelector('section');
          const b = card.getBoundingClientRect();
          return document.querySelector('journeykit-prompt').hasAttribute('top')
            && (a.bottom <= b.top || a.top >= b.bottom || a.right <= b.left || a.left >= b.right);
        }"""
    )


def test_a_shop_may_give_it_its_colours(open_page: Open) -> None:
    """Custom properties and parts reach the card."""
    page = open_page("/ask/nps")
    page.evaluate(
        """() => {
          const sheet = new CSSStyleSheet();
          sheet.replaceSync(`:root{--jk-accent:rgb(120, 0, 80)}
            journeykit-prompt::part(title){letter-spacing:2px}`);
          document.adoptedStyleSheets = [sheet];
        }"""
    )
    style = "each => getComputedStyle(each)"
    send = page.locator(f"{CARD} .send").evaluate(
        f"{style.replace('(each)', '(each).backgroundColor')}"
    )
    title = page.locator(f"{CARD} .title").evaluate("each => getComputedStyle(each).letterSpacing")
    assert (send, title) == ("rgb(120, 0, 80)", "2px")


# What it costs, and what goes wrong


def test_one_request_and_no_shift(open_page: Open) -> None:
    """Until it opens it asks once, polls nothing, and moves nothing; nor does it when it opens."""
    watch = """
      window.shifts = [];
      new PerformanceObserver(list => list.getEntries().forEach(e => shifts.push(e.value)))
        .observe({ type: 'layout-shift', buffered: true });
    """
    for path, expected in (("/", ["prompt"]), ("/ask/nps", ["prompt", "impressions"])):
        page = open_page(path, wait=path != "/", script=watch)
        page.wait_for_function(
            "() => performance.getEntriesByType('resource').some(e => e.name.includes('/v1/'))"
        )
        page.wait_for_timeout(1200)
        asked = page.evaluate(
            "performance.getEntriesByType('resource').map(e => e.name).filter(n => n.includes('/v1/'))"
        )
        assert [re.search(r"/v1/(\w+)", each)[1] for each in asked] == expected  # type: ignore[index]
        assert page.evaluate("shifts") == []


def test_a_lost_reply_counts_once(kit: JourneyKit, open_page: Open) -> None:
    """Where the answer got through and the reply did not, sending it again stores it once."""
    page = open_page("/ask/ces")
    lost = []

    def lose(route: Any) -> None:
        if '"completed"' in (route.request.post_data or "") and not lost:
            lost.append(route.fetch().status)
            route.abort()
        else:
            route.continue_()

    page.route("**/v1/impressions/*", lose)
    page.get_by_role("radio", name="6 / 7").check(force=True)
    page.get_by_role("button", name="Send").click()
    page.get_by_text("That did not get through. Please try again.").first.wait_for()
    page.get_by_role("button", name="Send").click()
    page.wait_for_selector(f"{CARD} .thanks")
    assert lost == [204]
    assert [each["answers"] for each in answered(kit)] == [{"score": 6}]


def test_two_tabs_show_it_once(chromium: Any) -> None:
    """Two tabs that ask at once show one card."""
    with shop.make_kit(ask=Ask(once=True)) as kit, shop.serving(shop.make_shop(kit)) as address:
        context = chromium.new_context(base_url=address)
        with context.expect_event("response", lambda response: "/v1/prompt" in response.url):
            context.new_page().goto("/")
        pages = [context.new_page(), context.new_page()]
        for page in pages:
            page.goto("/ask/nps", wait_until="commit")
        for page in pages:
            page.wait_for_load_state("networkidle")
        pages[0].wait_for_timeout(500)
        shown = [page.locator(CARD).count() for page in pages]
        context.close()
        assert sum(shown) == 1
        assert names(kit).count("shown") == 1


def test_who_wants_no_questions_says_so(kit: JourneyKit, open_page: Open) -> None:
    """One button ends the questions, and says that it did."""
    page = open_page("/ask/nps")
    page.get_by_role("button", name="Don’t ask me again").click()
    page.get_by_role("heading", name="All right. We will not ask you again.").wait_for()
    page.wait_for_timeout(200)
    assert kit.flush()
    page.goto("/ask/ces")
    page.wait_for_timeout(500)
    assert page.locator(CARD).count() == 0
    assert kit.requests["opted_out"] == 1


def test_a_page_that_changes_without_loading_asks_again(open_page: Open) -> None:
    """A change of the address asks once more, and a page that swaps its body keeps the element."""
    page = open_page("/", wait=False)
    page.wait_for_timeout(300)
    page.evaluate("history.pushState({}, '', '/ask/nps')")
    page.wait_for_selector(CARD)
    page.evaluate(
        """() => {
          document.body.innerHTML = '<main>Another page</main>';
          document.body.dispatchEvent(new CustomEvent('htmx:afterSettle', { bubbles: true }));
        }"""
    )
    page.wait_for_selector(CARD)


def test_a_shop_may_ask_by_itself(open_page: Open) -> None:
    """The event `journeykit:ask`, which HTMX can trigger by a header, asks where it was asked."""
    page = open_page("/", wait=False)
    page.wait_for_timeout(300)
    before = page.evaluate("performance.getEntriesByType('resource').length")
    page.evaluate("document.body.dispatchEvent(new Event('journeykit:ask', { bubbles: true }))")
    page.wait_for_function(f"() => performance.getEntriesByType('resource').length > {before}")


# Without the script


def test_without_javascript_a_form_does_it(kit: JourneyKit, open_page: Open) -> None:
    """The form in the page asks step by step, branches, thanks, and leads back."""
    page = open_page("/form/nps-plus", wait=False, java_script_enabled=False)
    page.get_by_label("3", exact=True).check()
    page.get_by_role("button", name="Send").click()
    page.get_by_label("The prices").check()
    page.get_by_role("button", name="Send").click()
    page.get_by_label("Is there anything you would like to add?").fill("No.")
    page.get_by_role("button", name="Send").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Thank you. That helps us a lot."
    page.get_by_role("link", name="Back to the shop").click()
    assert page.url.endswith("/form/nps-plus")
    whole = {"score": 3, "why_low": ["price"], "more": "No."}
    assert answered(kit)[-1]["answers"] == whole
    assert names(kit).count("shown") >= 1


def test_the_script_makes_more_of_the_form(kit: JourneyKit, open_page: Open) -> None:
    """With the script the form in the page is the same card, in its place, shown once."""
    page = open_page("/form/csat-stars")
    assert (
        page.locator("journeykit-prompt[inline]").evaluate(
            "each => getComputedStyle(each).position"
        )
        == "static"
    )
    page.get_by_role("radio", name="5 / 5").check(force=True)
    page.get_by_role("button", name="Send").click()
    page.wait_for_selector(f"{CARD} .thanks")
    assert names(kit).count("shown") == 1
    assert answered(kit)[-1]["answers"] == {"score": 5}


def test_the_pages_are_valid(
    open_page: Open, address: str, from_npm: Callable[[str], Path], tmp_path: Path
) -> None:
    """A validator of HTML finds nothing in the shop's page with our markup, nor in our own."""
    validate = from_npm(".bin/html-validate")
    page = open_page("/form/nps-plus", wait=False, java_script_enabled=False)
    (tmp_path / "shop.html").write_text(page.request.get("/form/ces").text(), "utf-8")
    page.get_by_label("3", exact=True).check()
    with page.expect_response("**/v1/impressions/*") as step:
        page.get_by_role("button", name="Send").click()
    (tmp_path / "step.html").write_text(step.value.text(), "utf-8")
    thanks = page.request.get("/journeykit/v1/thanks?prompt=nps-plus").text()
    (tmp_path / "thanks.html").write_text(thanks, "utf-8")
    rules = {"extends": ["html-validate:standard"], "root": True}
    (tmp_path / ".htmlvalidate.json").write_text(json.dumps(rules), "utf-8")
    run = subprocess.run(
        [str(validate), *map(str, tmp_path.glob("*.html"))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (run.stdout, run.returncode) == ("", 0)


# Friction


def tracked(kit: JourneyKit, wait_until: Callable[..., None], name: str) -> Any:
    """Return the first event of a name, once there is one."""

    def found() -> list[Any]:
        return [each for each in shop.events(kit) if each.name == name]

    wait_until(found)
    return found()[0]


def test_a_rage_and_a_dead_click_are_told(
    kit: JourneyKit, open_page: Open, wait_until: Callable[..., None]
) -> None:
    """Three clicks on one spot are a rage click, and a click behind which nothing happens is dead."""
    page = open_page("/", wait=False)
    page.evaluate(
        """() => {
          const button = Object.assign(document.createElement('button'), { type: 'button', id: 'pay' });
          button.textContent = 'Ada Lovelace';
          document.querySelector('main').append(button);
        }"""
    )
    page.wait_for_timeout(300)
    page.locator("#pay").click(click_count=3, delay=20)
    page.wait_for_timeout(2700)
    page.goto("/?next")
    rage = tracked(kit, wait_until, "Rage Clicked")
    dead = tracked(kit, wait_until, "Dead Clicked")
    assert rage.properties == {"element": "button#pay", "page": "home"}
    assert dead.properties == {"element": "button#pay", "page": "home", "waited_ms": 2500}


def test_an_error_and_a_form_that_was_left_are_told(
    kit: JourneyKit, open_page: Open, wait_until: Callable[..., None]
) -> None:
    """An error behind a click, and the last field of a form; never what was typed."""
    page = open_page("/", wait=False, complain=False)
    page.evaluate("() => { document.querySelector('h1').onclick = () => { throw Error('4242') } }")
    page.locator("h1").click()
    page.locator("#q").fill("a very private thing")
    page.locator("#q").blur()
    page.goto("/?next")
    clicked = tracked(kit, wait_until, "Element Clicked")
    assert clicked.properties == {"element": "h1", "page": "home"}
    assert tracked(kit, wait_until, "Script Failed").properties == {"page": "home"}
    filled = tracked(kit, wait_until, "Form Field Filled")
    left = tracked(kit, wait_until, "Form Left")
    assert filled.properties == {"form": "form", "field": "q", "page": "home"}
    assert left.properties == {"form": "form", "page": "home"}
    assert not any("private" in str(each) or "4242" in str(each) for each in shop.events(kit))
