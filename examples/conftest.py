"""What the tests of the examples share: each shop as a process of its own, and a browser."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from journeykit import Event, JourneyKit

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))

# Django's own tests, which Django runs; see django_shop/tests/.
collect_ignore = ["django_shop/shop"]

SHOPS = ("flask", "django")
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


@dataclass(frozen=True)
class Shop:
    """A shop that is open, and whose data anybody may look at."""

    kind: str
    address: str
    toml: Path

    @contextmanager
    def kit(self) -> Iterator[JourneyKit]:
        """Another process' look at what the shop keeps."""
        with JourneyKit.from_toml(self.toml) as kit:
            kit.store.open()
            yield kit

    def events(self) -> list[Event]:
        """Every event of the Log."""
        with self.kit() as kit:
            return [stored.event() for stored in kit.store.read(None, 100_000)]


Open = Callable[[str, Path], AbstractContextManager[Shop]]


@pytest.fixture(scope="session")
def demo() -> Callable[..., list[str]]:
    """Return a function that returns the command of a shop's demo."""
    return lambda kind, *arguments: [
        *(sys.executable, str(HERE / f"{kind}_shop" / "demo.py"), "--port", "0", *arguments)
    ]


@pytest.fixture(scope="session")
def open_shop(demo: Callable[..., list[str]]) -> Open:
    """Return a function that opens a shop, with no customers yet, and its data in a folder."""

    @contextmanager
    def open_shop(kind: str, folder: Path) -> Iterator[Shop]:
        command = demo(kind, "--shoppers", "0", "--data", str(folder))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            shown = ""
            for line in process.stdout:
                shown += line
                if "Ctrl-C" in line:
                    break
            found = re.search(r"The shop is open: (\S+)", shown)
            assert found, shown
            try:
                yield Shop(kind, found[1], folder / "journeykit.toml")
            finally:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=30)

    return open_shop


@pytest.fixture(scope="module", params=SHOPS)
def shop(
    request: pytest.FixtureRequest, open_shop: Open, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """Return a shop that is open, each in turn; the tests of a module share it."""
    with open_shop(request.param, tmp_path_factory.mktemp(request.param)) as shop:
        yield shop


def missing(reason: str) -> None:
    if os.environ.get("JOURNEYKIT_REQUIRE_BROWSER") == "1":
        pytest.fail(f"JOURNEYKIT_REQUIRE_BROWSER=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Return a Chromium, shared by the browser tests of a module."""
    if not CHROMIUM.exists():
        missing(f"there is no Chromium at {CHROMIUM} (apt install chromium fonts-dejavu-core)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed (pip install playwright)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def from_npm() -> Callable[[str], Path]:
    """Return a function that returns a file of a package that package.json names."""

    def from_npm(path: str) -> Path:
        file = HERE.parent / "node_modules" / path
        if not file.exists():
            missing(f"{path} is not there (npm ci)")
        return file

    return from_npm
