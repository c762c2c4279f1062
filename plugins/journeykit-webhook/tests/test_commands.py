from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import journeykit_webhook
from journeykit import JourneyKit
from journeykit.testing import FaultyServer
from journeykit_webhook.commands import webhook

TOML = """
[journeykit]
store = "sqlite:///shop.db"

[consent]
mode = "opt_out"

[sinks.partner]
type = "webhook"
url = { env = "PARTNER_URL" }
secret = { env = "PARTNER_SECRET" }
allow = ["127.0.0.1"]

[sinks.stock]
type = "webhook"
url = "https://stock.example/hooks"
secret = { env = "PARTNER_SECRET" }
events = ["Nothing"]
"""


@pytest.fixture
def config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faulty_server: FaultyServer, secret: str
) -> Path:
    """Return a `journeykit.toml` with two endpoints, in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARTNER_URL", f"{faulty_server.url}/hooks/t0k3n")
    monkeypatch.setenv("PARTNER_SECRET", secret)
    path = tmp_path / "journeykit.toml"
    path.write_text(TOML)
    return path


def run(*arguments: str) -> Any:
    """Run `journeykit webhook …` with *arguments*."""
    return CliRunner().invoke(webhook, arguments)


def test_plugin_adds_its_commands() -> None:
    """`journeykit webhook` is there where the plugin is."""
    group = click.Group("journeykit")
    journeykit_webhook.register_commands(group)
    assert sorted(group.commands["webhook"].commands) == ["enable", "list"]  # type: ignore[attr-defined]


def test_gone_endpoint_is_listed_and_enabled(config: Path, faulty_server: FaultyServer) -> None:
    """What answered 410 is listed with its time until it is enabled; then its events go out."""
    faulty_server.then(410)
    with JourneyKit.from_toml(config) as kit:
        kit.track("Product Viewed", customer="ada")
        kit.flush(1.0)
    with JourneyKit.from_toml(config) as kit:
        kit.flush(1.0)
    assert len(faulty_server.requests) == 1

    listed = {each["sink"]: each for each in json.loads(run("list", "--json").output)}
    assert listed["partner"]["gone"].endswith("Z")
    assert listed["stock"] == {"sink": "stock", "endpoint": "https://stock.example", "gone": None}
    assert listed["partner"]["gone"] in run("list").output
    assert "t0k3n" not in run("list").output
    assert "enabled partner" in run("enable", "partner").output
    with JourneyKit.from_toml(config) as kit:
        assert kit.flush()
    assert len(faulty_server.taken) == 1
    assert json.loads(run("list", "--json").output)[0]["gone"] is None


def test_what_cannot_be_enabled_is_told(config: Path) -> None:
    """A sink that is none, or that is enabled, is told in a line, with an exit code."""
    unknown, enabled = run("enable", "nobody"), run("enable", "stock")
    assert unknown.exit_code == 2
    assert "there is partner, stock" in unknown.output
    assert enabled.exit_code == 1
    assert "stock is enabled: https://stock.example has not answered 410" in enabled.output


def test_commands_without_an_endpoint(config: Path) -> None:
    """Without a webhook a line says so."""
    config.write_text('[consent]\nmode = "opt_out"\n')
    done = run("list")
    assert done.exit_code == 2
    assert 'no sink with type = "webhook"' in done.output
