"""The webhook sink keeps the contract of sinks, in both formats."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import journeykit_webhook
from journeykit.testing import FaultyServer, HookContract, HttpSinkContract
from journeykit_webhook.sink import WebhookSink


class TestWebhookSink(HttpSinkContract):
    """The contract, with a secret, a secret address and a secret header."""

    secrets = ("AAECAwQFBgcICQ", "MfKQ9r8GKYqr", "s3cr3t", "t0k3n")

    @pytest.fixture(params=["standard", "cloudevents"])
    def sink(
        self,
        request: pytest.FixtureRequest,
        server: FaultyServer,
        make_sink: Callable[..., WebhookSink],
    ) -> WebhookSink:
        """Return a sink for the server."""
        return make_sink(
            f"{server.url}/hooks/s3cr3t?key=s3cr3t",
            format=request.param,
            headers={"Authorization": "Bearer t0k3n"},
            timeout=timedelta(seconds=0.3),
        )


class TestOneLine(HttpSinkContract):
    """The contract, over one connection."""

    @pytest.fixture
    def sink(self, server: FaultyServer, make_sink: Callable[..., WebhookSink]) -> WebhookSink:
        """Return a sink for the server."""
        return make_sink(server.url, connections=1, timeout=timedelta(seconds=0.3))


class TestPlugin(HookContract):
    """The contract of plugins."""

    @pytest.fixture
    def plugin(self) -> Any:
        """Return the plugin."""
        return journeykit_webhook
