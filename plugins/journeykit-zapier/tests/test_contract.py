"""The sink keeps the contract of sinks, and the plugin that of plugins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

import journeykit_zapier
from journeykit.testing import HookContract, HttpSinkContract


class TestZapierSink(HttpSinkContract):
    """It does, with one catch hook."""

    secrets: ClassVar[tuple[str, ...]] = ("zapier-key-5H0ULD-N0T-SH0W", "t0ken-of-the-hook")

    @pytest.fixture
    def server(self, server: Any) -> Any:
        """Return Zapier."""
        return server

    @pytest.fixture
    def sink(self, make_sink: Callable[..., Any]) -> Any:
        """Return a sink with one hook."""
        return make_sink("/hooks/catch/1/t0ken-of-the-hook/")


class TestPlugin(HookContract):
    """The contract of plugins."""

    @pytest.fixture
    def plugin(self) -> Any:
        """Return the plugin."""
        return journeykit_zapier
