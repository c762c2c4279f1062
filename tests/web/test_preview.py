"""A prompt shown in a page of this machine, with the real script and the real form."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest
from tests.web import shop

from journeykit.config.settings import Consent, Settings
from journeykit.web.http import Request
from journeykit.web.preview import Preview, serving

CARD = "journeykit-prompt section"
SETTINGS = Settings(consent=Consent("opt_out"))

browser = [pytest.mark.browser, pytest.mark.filterwarnings("default")]


def preview(key: str = "nps-plus", language: str | None = None, **changes: Any) -> Preview:
    """Return the preview of a prompt of the test shop."""
    return Preview(attrs.evolve(shop.prompts()[key], **changes), SETTINGS, language)


def ask(shown: Preview, method: str, path: str, body: Any = b"", **headers: str) -> Any:
    """Return what the preview answers."""
    query = dict(pair.split("=") for pair in path.partition("?")[2].split("&") if pair)
    kind = {} if isinstance(body, bytes) else {"content-type": "application/json"}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    agent = {"user-agent": "Firefox", "sec-fetch-site": "same-origin"}
    return shown.answer(
        Request(
            method=method,
            path=path.partition("?")[0],
            query=query,
            headers={**agent, **kind, **headers},
            body=data,
        )
    )


def test_every_look_is_on_the_page() -> None:
    """The page has a frame for each look, in the language asked for, and says what it is."""
    shown = preview(language="ar")
    text = ask(shown, "GET", "/").body.decode()
    for look in ("light", "dark", "rtl", "phone", "form"):
        assert f'src="/{look}?lang=ar"' in text
    assert "Answers go nowhere" in text
    assert '<a href="/?lang=ar" aria-current="page">ar</a>' in text
    assert "switched off" not in text
    assert "mirrored" not in text
    text = ask(shown, "GET", "/?lang=en").body.decode()
    assert 'src="/light?lang=en"' in text
    assert 'src="/rtl?lang=ar"' in text


def test_what_to_know_is_said() -> None:
    """A prompt that is off, one without a text for the reader, and one that is mirrored say so."""
    shown = preview("csat-stars", "de", on=False, text={"en": "How?"})
    text = ask(shown, "GET", "/").body.decode()
    assert "It is switched off" in text
    assert "no text for readers of de" in text
    assert "mirrored" in text
    assert "Languages" not in text
    offer = ask(shown, "GET", "/rtl/journeykit/v1/prompt?lang=de")
    assert (json.loads(offer.body)["dir"], json.loads(offer.body)["lang"]) == ("rtl", "en")


def test_a_text_of_the_configuration_is_text(tmp_path: Path) -> None:
    """What is written in a declaration, or asked for in the address, is no HTML."""
    shown = preview("csat-stars", text={"en": "<b>How?</b>"}, thanks=None)
    for path in ("/?lang=%22%3E%3Cb%3E", '/light?lang="><b>', "/form?lang=en"):
        assert b"<b>" not in ask(shown, "GET", path).body


def test_answers_are_checked_and_forgotten() -> None:
    """An answer that is none is refused as in the shop; one that is some leaves no trace."""
    shown = preview("csat-stars")
    offer = json.loads(ask(shown, "GET", "/light/journeykit/v1/prompt").body)
    told = {"token": offer["token"], "event": "completed", "seq": 1}
    path = f"/light/journeykit/v1/impressions/{offer['impression']}"
    refused = ask(shown, "POST", path, {**told, "answers": {"score": 9}})
    assert (refused.status, json.loads(refused.body)["errors"]) == (422, {"score": "out_of_range"})
    for answers in ({"score": 4}, {"score": 4}):
        assert ask(shown, "POST", path, {**told, "answers": answers}).status == 204
    assert ask(shown, "DELETE", "/light/journeykit/v1/prompts").status == 204
    assert (
        json.loads(ask(shown, "GET", "/light/journeykit/v1/prompt").body)["prompt"] == "csat-stars"
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/light/nothing", 404),
        ("GET", "/other/journeykit/v1/prompt", 404),
        ("POST", "/", 405),
        ("GET", "/favicon.ico", 204),
        ("GET", "/preview.css", 200),
    ],
)
def test_what_there_is(method: str, path: str, status: int) -> None:
    """What is not there is not found, and the pages are only to be read."""
    assert ask(preview(), method, path).status == status


def test_it_is_served_to_this_machine_until_it_ends() -> None:
    """The address is of this machine, large bodies are refused, and it is gone at the end."""
    with serving(preview()) as address:
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=10) as page:
            assert page.status == 200
            assert page.headers["content-security-policy"].startswith("default-src 'self'")
        post = urllib.request.Request(
            f"{address}light/journeykit/v1/impressions/x",
            b"x" * 70_000,
            {"sec-fetch-site": "same-origin"},
            method="POST",
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(post, timeout=10)
        assert refused.value.code == 413
        refused.value.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=10)


# In a browser

Open = Callable[..., Any]


@pytest.fixture
def open_preview(chromium: Any) -> Iterator[Open]:
    """Return a function that opens a preview, which fails the test on any complaint."""
    complaints: list[str] = []
    with ExitStack() as stack:

        def open_preview(shown: Preview, path: str = "") -> Any:
            address = stack.enter_context(serving(shown))
            context = chromium.new_context(base_url=address, reduced_motion="reduce")
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(10_000)
            page.on("request", lambda r: r.url.startswith(address) or complaints.append(r.url))
            page.on("console", lambda m: complaints.append(m.text))
            page.on("pageerror", lambda e: complaints.append(str(e)))
            page.goto(f"{address}{path}")
            return page

        yield open_preview
    assert complaints == []


class TestInABrowser:
    """The preview in headless Chromium."""

    pytestmark = browser

    @pytest.mark.parametrize("key", tuple(shop.prompts()))
    def test_every_kind_in_every_look(self, open_preview: Open, key: str) -> None:
        """The real script opens each kind in four frames, and the form stands in the fifth."""
        page = open_preview(preview(key))
        for look in ("light", "dark", "rtl", "phone"):
            page.frame_locator(f"iframe[src^='/{look}']").locator(CARD).wait_for()
        form = page.frame_locator("iframe[src^='/form']").locator("form.journeykit-form")
        form.get_by_role("button", name="Send").wait_for()

    def test_the_looks_differ(self, open_preview: Open) -> None:
        """Dark is dark, right to left runs to the left, and the telephone is narrow."""
        page = open_preview(preview("csat-stars"))
        colour = "card => getComputedStyle(card).backgroundColor"
        card = {
            look: page.frame_locator(f"iframe[src^='/{look}']").locator(CARD)
            for look in ("light", "dark", "rtl", "phone")
        }
        assert card["light"].evaluate(colour) == "rgb(255, 255, 255)"
        assert card["dark"].evaluate(colour) == "rgb(27, 34, 33)"
        assert [card[look].get_attribute("dir") for look in card] == ["ltr", "ltr", "rtl", "ltr"]
        assert card["rtl"].get_attribute("lang") == "ar"
        assert card["phone"].bounding_box()["width"] <= 320

    def test_the_way_to_the_thanks(self, open_preview: Open) -> None:
        """A score leads on to its reasons and to the thanks, as in the shop."""
        page = open_preview(preview())
        frame = page.frame_locator("iframe[src^='/light']")
        frame.locator(f"{CARD} input[value='3']").check(force=True)
        frame.get_by_role("button", name="Next").click()
        frame.get_by_label("The prices").check()
        frame.get_by_role("button", name="Next").click()
        frame.get_by_role("button", name="Send").click()
        frame.get_by_role("heading", name="Thank you. That helps us a lot.").wait_for()

    def test_the_way_through_the_form(self, open_preview: Open) -> None:
        """The plain form goes from step to step in its frame, and says thanks."""
        page = open_preview(preview(), "?lang=ar")
        frame = page.frame_locator("iframe[src^='/form']")
        frame.get_by_label("9", exact=True).check()
        for _ in range(3):
            frame.get_by_role("button", name="إرسال").click()
            frame.locator("html[dir=rtl]").wait_for()
        frame.get_by_role("heading", name="شكرًا لك. هذا يساعدنا كثيرًا.").wait_for()

    def test_another_language(self, open_preview: Open) -> None:
        """A link shows the prompt in another of its languages."""
        page = open_preview(preview("ces"))
        page.get_by_role("link", name="ar").click()
        title = page.frame_locator("iframe[src^='/light']").locator(f"{CARD} h2")
        title.get_by_text("ما مدى سهولة الدفع؟").wait_for()

    def test_the_pages_are_sound(
        self, open_preview: Open, from_npm: Callable[[str], Path], tmp_path: Path
    ) -> None:
        """A validator of HTML finds nothing in any of the pages, and axe nothing in the whole."""
        page = open_preview(preview())
        for name in ("", "light", "form"):
            file = tmp_path / f"{name or 'all'}.html"
            file.write_text(page.request.get(f"/{name}").text(), "utf-8")
        rules = {"extends": ["html-validate:standard"], "root": True}
        (tmp_path / ".htmlvalidate.json").write_text(json.dumps(rules), "utf-8")
        run = subprocess.run(
            [str(from_npm(".bin/html-validate")), *map(str, tmp_path.glob("*.html"))],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (run.stdout, run.returncode) == ("", 0)
        axe = from_npm("axe-core/axe.min.js").read_text("utf-8")
        session = page.context.new_cdp_session(page)
        session.send("Page.setBypassCSP", {"enabled": True})
        page.reload()
        page.frame_locator("iframe[src^='/light']").locator(CARD).wait_for()
        page.evaluate(axe)
        found = page.evaluate("axe.run().then(r => r.violations.map(v => [v.id, v.nodes.length]))")
        assert found == []
