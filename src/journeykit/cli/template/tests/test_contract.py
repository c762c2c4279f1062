"""The plugin keeps the contracts of journeykit: most of what can go wrong is tried here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType

import pytest

import journeykit_acme
from journeykit import PainPointRule, Secret
from journeykit.testing import (
    FaultyServer,
    Happening,
    HookContract,
    HttpSinkContract,
    RuleContract,
)
from journeykit_acme.rule import DeniedTwice
from journeykit_acme.sink import AcmeSettings, AcmeSink

TOKEN = "t0k3n-of-the-tests"


class TestSink(HttpSinkContract):
    """What every sink keeps, with a server on this host that fails in every way."""

    secrets = (TOKEN,)

    @pytest.fixture
    def sink(self, server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[AcmeSink]:
        """Return a sink for the server that does not wait long."""
        monkeypatch.setenv("ACME_TOKEN", TOKEN)
        settings = AcmeSettings(
            url=server.url, token=Secret(env="ACME_TOKEN"), timeout=timedelta(seconds=0.3)
        )
        sink = AcmeSink("acme", settings)
        yield sink
        sink.close()


class TestRule(RuleContract):
    """What every rule keeps."""

    hurts = ([Happening("Coupon Denied"), Happening("Coupon Denied", 60)],)
    harmless = (
        [Happening("Coupon Denied")],
        [
            Happening("Coupon Denied"),
            Happening("Order Completed", 60),
            Happening("Coupon Denied", 120),
        ],
    )

    @pytest.fixture
    def rule(self) -> PainPointRule:
        """Return the rule."""
        return DeniedTwice()


class TestPlugin(HookContract):
    """What every plugin keeps."""

    @pytest.fixture
    def plugin(self) -> ModuleType:
        """Return the module with the hooks."""
        return journeykit_acme
