"""What tests of the web share: a browser, and the checkers that npm brings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_CHROMIUM = Path(os.environ.get("JOURNEYKIT_CHROMIUM", "/usr/bin/chromium"))
_ARGUMENTS = [
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
def chromium() -> Iterator[Any]:
    """Return a Chromium, shared by all browser tests of the web."""
    if not _CHROMIUM.exists():
        _missing(f"there is no Chromium at {_CHROMIUM} (apt install chromium fonts-dejavu-core)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed (pip install playwright)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def from_npm() -> Callable[[str], Path]:
    """Return a function that returns a file of a package that package.json names."""

    def from_npm(path: str) -> Path:
        file = _ROOT / "node_modules" / path
        if not file.exists():
            _missing(f"{path} is not there (npm ci)")
        return file

    return from_npm
