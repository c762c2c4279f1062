"""
Fixtures for pytest, for those who ask for them.

```toml
[tool.pytest.ini_options]
addopts = ["-p", "journeykit.testing.plugin"]
```
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from journeykit.kit import JourneyKit
    from journeykit.testing.clock import Clock
    from journeykit.testing.recording import RecordingSink
    from journeykit.testing.server import FaultyServer

_LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture
def clock() -> Clock:
    """Return a clock that starts at noon and moves when told to: `clock.advance(seconds)`."""
    from journeykit.testing.clock import Clock

    return Clock()


@pytest.fixture
def recording_sink() -> RecordingSink:
    """Return a sink that keeps what it is handed."""
    from journeykit.testing.recording import RecordingSink

    return RecordingSink()


@pytest.fixture
def faulty_server() -> Iterator[FaultyServer]:
    """Return an HTTP server on this host, to be told how to fail."""
    from journeykit.testing.server import FaultyServer

    with FaultyServer() as server:
        yield server


@pytest.fixture
def make_kit() -> Iterator[Callable[..., JourneyKit]]:
    """
    Return a function that makes strict kits with a store in memory; they are closed at the end.

    `core` replaces fields of `Core`; `plugins`, `sinks` and `now` go to `JourneyKit`, everything
    else to `Settings`.
    """
    from journeykit.config.settings import Consent, ConsentMode, Core, Settings
    from journeykit.kit import JourneyKit

    made: list[JourneyKit] = []

    def make_kit(core: dict[str, Any] | None = None, **more: Any) -> JourneyKit:
        given = {name: more.pop(name) for name in ("plugins", "sinks", "now") if name in more}
        settings = Settings(
            **{
                "consent": Consent(ConsentMode.OPT_OUT),
                "core": Core(**{"store": "memory://", "strict": True, **(core or {})}),
                **more,
            }
        )
        made.append(JourneyKit(settings, **given))
        return made[-1]

    yield make_kit
    for kit in made:
        kit.close()


@pytest.fixture(scope="session")
def this_host_only() -> Iterator[None]:
    """Refuse connections to other hosts: a test needs none, and no code may open one."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not str(address[0]).startswith(_LOOPBACK):
            msg = f"a test tried to reach {address!r}"
            raise AssertionError(msg)
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield
