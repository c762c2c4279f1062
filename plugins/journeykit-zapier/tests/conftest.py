"""Zapier on this host, and sinks that post to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from journeykit import Secret
from journeykit.store.kept import Kept
from journeykit.testing import FaultyServer
from journeykit_zapier.settings import CatchHook, ZapierSettings
from journeykit_zapier.sink import ZapierSink
from journeykit_zapier.subscriptions import Subscription, Subscriptions

KEY = "zapier-key-5H0ULD-N0T-SH0W"
LOCAL = {"allow": ("127.0.0.1",), "timeout": timedelta(seconds=0.5)}


@pytest.fixture(autouse=True)
def _alone(this_host_only: None) -> None:
    """Let no test reach another host."""


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the key where the settings say that it is."""
    monkeypatch.setenv("ZAPIER_API_KEY", KEY)


@pytest.fixture
def key() -> str:
    """Return the key that Zapier has."""
    return KEY


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """Return Zapier."""
    with FaultyServer() as server:
        yield server


@pytest.fixture
def make_sink(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., ZapierSink]]:
    """Return a function that makes sinks with catch hooks at the paths that it is given."""
    made = []

    def make_sink(*paths: str, events: tuple[str, ...] = (), **more: Any) -> ZapierSink:
        hooks = []
        for index, path in enumerate(paths):
            monkeypatch.setenv(f"ZAP_{index}", f"{server.url}{path}")
            hooks.append(CatchHook(url=Secret(env=f"ZAP_{index}"), events=events))
        options = {name: more.pop(name) for name in ("now",) if name in more}
        given = {"key": Secret(env="ZAPIER_API_KEY"), **LOCAL, **more}
        settings = ZapierSettings(hooks=tuple(hooks), **given)
        made.append(ZapierSink("zapier", settings, **options))
        return made[-1]

    yield make_sink
    for sink in made:
        sink.close()


@pytest.fixture
def subscribe(server: FaultyServer) -> Callable[..., Subscription]:
    """Return a function that subscribes in a store, as the endpoint does."""

    def subscribe(store: Any, path: str, event: str, since: str = "2020") -> Subscription:
        made = Subscription.of(f"{server.url}{path}", event, since)
        Subscriptions(Kept(store, "sink:zapier")).add(made)
        return made

    return subscribe
