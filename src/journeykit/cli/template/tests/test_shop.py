"""A shop that has the plugin: from its journeykit.toml to the other side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import journeykit_acme
from journeykit import JourneyKit
from journeykit.testing import FaultyServer

TOML = """
[journeykit]
store = "memory://"

[consent]
mode = "opt_out"

[plugins]
disabled = ["acme"]  # where it is installed: these tests hand it over themselves

[sinks.acme]
type = "acme"
url = "{url}"
token = {{ env = "ACME_TOKEN" }}
"""


def test_events_of_a_shop_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faulty_server: FaultyServer
) -> None:
    """What a shop tracks is posted with the token, and what the rule finds as well."""
    monkeypatch.setenv("ACME_TOKEN", "t0k3n")
    config = tmp_path / "journeykit.toml"
    config.write_text(TOML.format(url=faulty_server.url), encoding="utf-8")

    with JourneyKit.from_toml(config, plugins=[journeykit_acme]) as kit:
        for _ in range(2):
            kit.track("Coupon Denied", {"coupon_id": "SPRING"}, customer="ada")
        assert kit.flush()

    requests = faulty_server.taken
    events = [json.loads(line) for each in requests for line in each.body.splitlines()]
    found = [event for event in events if event["name"] == "pain_point.detected"]
    assert {each.headers["authorization"] for each in requests} == {"Bearer t0k3n"}
    assert [event["name"] for event in events].count("Coupon Denied") == 2
    assert [event["properties"]["code"] for event in found] == ["acme.denied_twice"]
