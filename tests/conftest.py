"""
What all tests share.

The factories are session-wide, so that Hypothesis tests may ask for them too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from journeykit.capture import context
from journeykit.config import Consent, Core, Settings
from journeykit.hookspecs import PROJECT
from journeykit.model import Entry, Stored
from journeykit.plugins import DISABLED_VARIABLE
from journeykit.store.memory import MemoryStore
from journeykit.store.protocol import Store
from journeykit.store.sqlite import SQLiteStore
from journeykit.testing import NOON, Clock, make_entry, make_stored

__all__ = ["NOON"]

hypothesis.settings.register_profile(
    "quick",
    deadline=None,
    max_examples=60,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "thorough", hypothesis.settings.get_profile("quick"), max_examples=2_000
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True)
def _nothing_bound() -> Iterator[None]:
    """Start every test with no customer bound, and leave none behind."""
    token = context.bind(None)
    yield
    context.unbind(token)


#: The plugins of this repository, and whatever else the developer has installed.
_INSTALLED = ",".join(point.name for point in entry_points(group=PROJECT))


@pytest.fixture(autouse=True)
def _no_installed_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out installed plugins: the core's tests say what the core does by itself."""
    monkeypatch.setenv(DISABLED_VARIABLE, _INSTALLED)


@pytest.fixture(autouse=True, scope="session")
def _this_host_only(this_host_only: None) -> None:
    """Refuse connections to other hosts: no test needs one, and no code may open one."""


@pytest.fixture(scope="session")
def make_clock() -> Callable[[], Clock]:
    """Return a factory of clocks, for Hypothesis tests."""
    return Clock


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """Return a function that waits for a condition, and fails when it does not come true."""

    def wait_until(condition: Callable[[], object], timeout: float = 10.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"still not true after {timeout} s"
            time.sleep(0.002)

    return wait_until


@pytest.fixture(scope="session", name="make_entry")
def _make_entry() -> Callable[..., Entry]:
    """Return a factory of entries, as `Tracker.compose` makes them; `at` is seconds after noon."""
    return make_entry


@pytest.fixture(scope="session", name="make_stored")
def _make_stored() -> Callable[..., Stored]:
    """Return a factory of stored entries: `make_stored(position, name, …)`."""
    return make_stored


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """
    Return a factory of strict settings with a store in memory, based at `tmp_path`.

    `core` replaces fields of `Core`; everything else goes to `Settings`.
    """

    def make_settings(
        consent: str = "opt_out", core: dict[str, Any] | None = None, **more: Any
    ) -> Settings:
        return Settings(
            consent=Consent(consent),
            core=Core(**{"store": "memory://", "strict": True, **(core or {})}),
            **{"base": tmp_path, **more},
        )

    return make_settings


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Return an empty store, of each kind in turn."""
    store: Store = MemoryStore()
    if request.param == "sqlite":
        store = SQLiteStore(tmp_path / "store.db")
    yield store
    store.close()
