"""The admin in a real browser: its main path, and whether its pages are sound."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.web.django.admin.conftest import serving
from tests.web.django.admin.pages import LISTS, details

pytestmark = [
    pytest.mark.browser,
    # pytest-playwright, where it is installed, still uses what pytest 9 deprecates.
    pytest.mark.filterwarnings("default"),
]

CARD = "journeykit-prompt section"

Open = Callable[..., Any]


@pytest.fixture(autouse=True)
def beside_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Django work in the thread of the test, where the browser's loop runs."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")


@pytest.fixture
def open_page(boss: Any, chromium: Any) -> Iterator[Open]:
    """Return a function that opens a page, which fails the test on a breach of the policy."""
    contexts, complaints = [], []
    with serving() as address:

        def open_page(path: str, *, signed_in: bool = True, **options: Any) -> Any:
            context = chromium.new_context(base_url=address, **options)
            contexts.append(context)
            if signed_in:
                cookie = boss.client.cookies["sessionid"].value
                context.add_cookies([{"name": "sessionid", "value": cookie, "url": address}])
            page = context.new_page()
            page.set_default_timeout(10_000)
            page.on("request", lambda r: r.url.startswith(address) or complaints.append(r.url))
            page.on("console", lambda m: "Content Security" in m.text and complaints.append(m.text))
            page.on("pageerror", lambda e: complaints.append(str(e)))
            page.goto(path)
            return page

        yield open_page
        for context in contexts:
            context.close()
    assert complaints == []


def every_page(boss: Any) -> list[str]:
    """Return the addresses of all pages of a shop with something on each."""
    found = [*(f"{page}/" for page in LISTS), *details(boss).values(), "prompt/caps/"]
    return [f"/admin/journeykit/{page}" for page in found]


def test_a_prompt_that_is_switched_off_is_asked_no_more(boss: Any, open_page: Open) -> None:
    """A colleague signs in, finds the prompt, switches it off, and the shop asks no more."""
    boss.user.set_password("correct horse")
    boss.user.save()
    shopper = open_page("/thanks", signed_in=False)
    shopper.wait_for_selector(CARD)

    page = open_page("/admin/", signed_in=False)
    page.get_by_label("Username").fill("boss")
    page.get_by_label("Password").fill("correct horse")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Prompts", exact=True).click()
    page.get_by_role("link", name="after").click()
    page.get_by_label("Asked").uncheck()
    page.get_by_role("button", name="Save").click()
    page.locator(".jk-field", has=page.get_by_label("Reason")).get_by_text("required.").wait_for()
    page.get_by_label("Reason").fill("the summer sale")
    page.get_by_role("button", name="Save").click()
    page.locator(".messagelist .success").get_by_text("Prompt after is changed").wait_for()
    page.get_by_role("cell", name="the summer sale").wait_for()

    other = open_page("/thanks", signed_in=False)
    with other.expect_response(lambda r: "/journeykit/" in r.url and r.status == 204):
        pass
    assert other.locator(CARD).count() == 0

    page.get_by_label("Reason").fill("over")
    page.get_by_role("button", name="Back to what is declared").click()
    page.locator(".messagelist .success").get_by_text("as declared again").wait_for()
    again = open_page("/thanks", signed_in=False)
    again.wait_for_selector(CARD)


@pytest.mark.parametrize(
    "options",
    [
        {"viewport": {"width": 1280, "height": 900}},
        {"viewport": {"width": 390, "height": 844}},
        {"color_scheme": "dark"},
        {"extra_http_headers": {"Accept-Language": "ar"}},
    ],
    ids=["wide", "narrow", "dark", "arabic"],
)
def test_axe_finds_nothing(
    boss: Any, open_page: Open, from_npm: Callable[[str], Path], options: dict[str, Any]
) -> None:
    """No page has a problem of ours that axe knows, and none is wider than its window."""
    axe = from_npm("axe-core/axe.min.js").read_text("utf-8")
    page = open_page("/admin/", **options)
    page.context.new_cdp_session(page).send("Page.setBypassCSP", {"enabled": True})
    run = "axe.run('.jk').then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html)]))"
    for where in every_page(boss):
        page.goto(where)
        page.evaluate(axe)
        assert page.evaluate(run) == [], where
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, where


def test_the_pages_are_valid(boss: Any, from_npm: Callable[[str], Path], tmp_path: Path) -> None:
    """A validator of HTML finds nothing in what is ours, and nothing in it is inline."""
    for number, where in enumerate(every_page(boss)):
        text = boss.client.get(where).content.decode()
        inner = text.partition('<div id="content-main" class="jk">')[2]
        inner = inner.partition('<br class="clear">')[0].rpartition("</div>")[0]
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=", inner)
        whole = f"<!DOCTYPE html>\n<html lang='en'><head><title>x</title></head><body><main>{inner}"
        file = tmp_path / f"{number}.html"
        file.write_text(f"{whole}</main></body></html>", "utf-8")
    rules = {
        "extends": ["html-validate:standard"],
        "root": True,
        "rules": {"no-inline-style": "error"},
    }
    (tmp_path / ".htmlvalidate.json").write_text(json.dumps(rules), "utf-8")
    run = subprocess.run(
        [str(from_npm(".bin/html-validate")), *map(str, tmp_path.glob("*.html"))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (run.stdout, run.returncode) == ("", 0)


def test_the_pages_of_an_empty_shop(boss: Any, open_page: Open) -> None:
    """A list that was narrowed down to nothing says so, and can be opened up again."""
    page = open_page("/admin/journeykit/customer/?who=visitors&journey=shop&stage=use")
    page.get_by_text("Nobody is there.").wait_for()
    page.get_by_label("Journey").select_option("")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="visitor nobody-y…").click()
    page.get_by_role("cell", name="entered look").wait_for()
