"""
What all tests share.

The factories are session-wide, so that Hypothesis tests may ask for them too.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import hypothesis
import pytest

from journeykit.capture import context
from journeykit.capture.encode import encode
from journeykit.capture.ids import hashed_id
from journeykit.config import Consent, Core, Settings
from journeykit.model import Entry, Kind, Stored
from journeykit.model.event import WIRE_VERSION
from journeykit.model.times import to_micros, to_rfc3339
from journeykit.plugins import DISABLED_VARIABLE
from journeykit.store.memory import MemoryStore
from journeykit.store.protocol import Store
from journeykit.store.sqlite import SQLiteStore

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

#: Noon of an ordinary day, in microseconds: where test clocks start.
NOON = to_micros(datetime(2026, 3, 2, 12, tzinfo=UTC))

_LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture(autouse=True)
def _nothing_bound() -> Iterator[None]:
    """Start every test with no customer bound, and leave none behind."""
    token = context.bind(None)
    yield
    context.unbind(token)


@pytest.fixture(autouse=True)
def _all_plugins_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the variable that disables plugins, if the developer has set it, out of tests."""
    monkeypatch.delenv(DISABLED_VARIABLE, raising=False)


@pytest.fixture(autouse=True, scope="session")
def _this_host_only() -> Iterator[None]:
    """Refuse connections to other hosts: no test needs one, and no code may open one."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not str(address[0]).startswith(_LOOPBACK):
            msg = f"a test tried to reach {address!r}"
            raise AssertionError(msg)
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@attrs.define
class Clock:
    """A clock that stands still until it is told to move; calling it gives microseconds."""

    micros: int = NOON

    def __call__(self) -> int:
        """Return the present moment."""
        return self.micros

    def advance(self, seconds: float) -> int:
        """Move on by *seconds*, and return the new present."""
        self.micros += round(seconds * 1_000_000)
        return self.micros


@pytest.fixture
def clock() -> Clock:
    """Return a clock that starts at noon and moves when told to: `clock.advance(seconds)`."""
    return Clock()


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


@pytest.fixture(scope="session")
def make_entry() -> Callable[..., Entry]:
    """
    Return a factory of entries, as `Tracker.compose` makes them.

    `at` is in seconds after noon; ids are new at each call unless given; `more` are further keys
    of the wire form, such as `actor`.
    """
    numbers = itertools.count()

    def make_entry(
        name: str = "Product Viewed",
        properties: dict[str, Any] | None = None,
        *,
        user_id: str | None = "u1",
        anonymous_id: str | None = None,
        session_id: str | None = None,
        at: float = 0.0,
        id: str | None = None,
        kind: Kind = Kind.TOUCHPOINT,
        flags: int = 0,
        channel: str | None = None,
        **more: Any,
    ) -> Entry:
        occurred_at = NOON + round(at * 1_000_000)
        event_id = id or hashed_id(occurred_at, "test", next(numbers))
        customer = {"user_id": user_id, "anonymous_id": anonymous_id, "session_id": session_id}
        wire = {
            "id": event_id,
            "kind": kind.value,
            "name": name,
            "customer": customer,
            "context": {"library": "journeykit"},
            "occurred_at": to_rfc3339(occurred_at),
            "channel": channel,
            "properties": properties or {},
            "source": {"app": "tests", "host": "localhost"},
            **more,
            "v": WIRE_VERSION,
        }
        return Entry(
            event_id,
            kind,
            name,
            user_id,
            anonymous_id,
            session_id,
            occurred_at,
            flags,
            encode(wire),
        )

    return make_entry


@pytest.fixture(scope="session")
def make_stored(make_entry: Callable[..., Entry]) -> Callable[..., Stored]:
    """Return a factory of stored entries: `make_stored(position, name, …)`."""

    def make_stored(
        position: int = 1, *args: Any, recorded_at: int | None = None, **more: Any
    ) -> Stored:
        entry = make_entry(*args, **more)
        return Stored(position, entry.occurred_at if recorded_at is None else recorded_at, entry)

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
