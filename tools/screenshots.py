"""
Take the pictures of docs/prompt-in-the-page.md anew, with the real script in headless Chromium.

`.venv/bin/python tools/screenshots.py` writes docs/_static/prompt-*.png.
"""

import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import sync_playwright  # noqa: E402
from tests.web import shop  # noqa: E402

TARGET = ROOT / "docs" / "_static"
CHROMIUM = os.environ.get("JOURNEYKIT_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]

#: Name of a picture → theme and language of the page.
LOOKS = {"light": ("light", "en"), "dark": ("dark", "en"), "rtl": ("light", "ar")}


def main() -> None:
    """Take a picture of each kind in each look, of the steps behind a score, and of a telephone."""
    with (
        shop.make_kit() as kit,
        shop.serving(shop.make_shop(kit)) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for key in sorted(set(shop.prompts()) - {"nps-plus"}):
            for look in LOOKS:
                take_kind(browser, address, key, look)
        take_steps(browser, address)
        take_phone(browser, address)
        browser.close()


def opened(browser: Any, address: str, key: str, look: str, **options: Any) -> Any:
    """Return a page on which the prompt *key* is open."""
    theme, language = LOOKS[look]
    options.setdefault("viewport", {"width": 480, "height": 420})
    context = browser.new_context(base_url=address, reduced_motion="reduce", **options)
    page = context.new_page()
    page.goto(f"/ask/{key}?theme={theme}&lang={language}")
    page.wait_for_selector("journeykit-prompt section")
    return page


def take_kind(browser: Any, address: str, key: str, look: str) -> None:
    """Take one kind in one look, with an answer chosen."""
    page = opened(browser, address, key, look)
    choose(page)
    save(page, f"prompt-{key}-{look}")


def choose(page: Any) -> None:
    """Choose an answer in the middle."""
    options = page.locator("journeykit-prompt input")
    if options.count():
        options.nth({11: 8, 7: 5, 5: 3}.get(options.count(), 0)).check(force=True)
    page.mouse.move(0, 0)


def take_steps(browser: Any, address: str) -> None:
    """Take the way from a score to the thanks."""
    page = opened(browser, address, "nps-plus", "light")
    page.locator("journeykit-prompt input[value='3']").check(force=True)
    for name in ("reasons", "comment", "thanks"):
        page.locator("journeykit-prompt .send").click()
        if name == "thanks":
            page.wait_for_selector("journeykit-prompt .thanks")
        else:
            choose(page)
        save(page, f"prompt-step-{name}", close=name == "thanks")


def take_phone(browser: Any, address: str) -> None:
    """Take a narrow screen."""
    page = opened(browser, address, "nps", "light", viewport={"width": 320, "height": 568})
    choose(page)
    save(page, "prompt-phone")


def save(page: Any, name: str, *, close: bool = True) -> None:
    """Write what the page looks like."""
    file = TARGET / f"{name}.png"
    page.screenshot(path=file)
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size} bytes")
    if close:
        page.context.close()


if __name__ == "__main__":
    main()
