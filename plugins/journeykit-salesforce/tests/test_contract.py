"""The sink keeps the contract of sinks, and the plugin that of plugins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

import journeykit_salesforce
from journeykit.model.event import Entry
from journeykit.testing import HookContract, HttpSinkContract


class TestSalesforceSink(HttpSinkContract):
    """It does, with a mapping that makes a touchpoint of every event, and a person of each."""

    secrets: ClassVar[tuple[str, ...]] = ("consumer-secret-5H0ULD-N0T-SH0W", "00Dxx!ACCESS.T0KEN")

    @pytest.fixture
    def server(self, server: Any) -> Any:
        """Return the org's server."""
        self.org = server.org
        # One of the customers is a contact; links to the others lead nowhere.
        known = {"Id": "003xx0000000001AAA", "Journeykit_Id__c": "customer-0"}
        self.org.records["Contact"] = {known["Id"]: known}
        return server

    @pytest.fixture
    def outside(self, outside: Any) -> Any:
        """Return what the org has taken."""
        return outside

    @pytest.fixture
    def sink(self, make_sink: Callable[..., Any]) -> Any:
        """Return a sink with the default mapping, and the other kinds besides."""
        every = {
            "object": "Touchpoint__c",
            "key": {"Journeykit_Id__c": "id"},
            "kinds": ("fact", "derived"),
            "fields": {"Name": {"path": "name", "length": 80}, "Details__c": "properties"},
        }
        return make_sink(objects=(every,))

    def refuse(self, entry: Entry) -> Any:
        """Let the org refuse the row of an event."""

        def trouble(_: Any) -> None:
            self.org.refused[entry.id] = "FIELD_CUSTOM_VALIDATION_EXCEPTION"

        return trouble


class TestPlugin(HookContract):
    """The contract of plugins."""

    @pytest.fixture
    def plugin(self) -> Any:
        """Return the plugin."""
        return journeykit_salesforce
