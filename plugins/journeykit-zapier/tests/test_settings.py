from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from journeykit import ConfigError, JourneyKit
from journeykit.plugins import Plugins
from journeykit.store.kept import Kept
from journeykit_zapier.commands import zapier
from journeykit_zapier.subscriptions import Subscription, Subscriptions

WHOLE = """
[journeykit]
store = "sqlite:///shop.db"

[consent]
mode = "opt_out"

[sinks.zapier]
type = "zapier"
{more}
"""
KEY = 'key = { env = "ZAPIER_API_KEY" }'


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a `journeykit.toml` with a sink for Zapier, in the current directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "journeykit.toml"
    path.write_text(WHOLE.format(more=KEY))
    return path


def test_it_is_found_by_its_entry_point() -> None:
    """The installed distribution is a plugin, with its version."""
    plugin = Plugins().named("zapier")
    assert plugin is not None
    version = importlib.metadata.version("journeykit-zapier")
    assert plugin.origin == f"journeykit-zapier {version}"
    assert plugin.hooks == ("register_commands", "register_endpoints", "register_sinks")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("", "name a key"),
        ('key = "k3y-itself"', "expected a reference"),
        ('key = { env = "SHORT_KEY" }', "fewer than 16 characters"),
        ('key = { env = "NOT_SET_ANYWHERE" }', "is not set"),
        (f'{KEY}\nallow = ["private"]', "expected an address or a network"),
        (f'{KEY}\ntimeout = "soon"', "is not a duration"),
        (f"{KEY}\nmost = 0", "'most' must be in"),
        (f'{KEY}\nrecord = "Order Completed"', "expected a list"),
        (f'{KEY}\nhooks = [{{ url = "https://hooks.zapier.com/t0k3n" }}]', "a reference"),
        (f'{KEY}\nhooks = [{{ url = {{ env = "BAD_URL" }} }}]', "url is no address"),
        (f"{KEY}\ntoken = 1", "is not known"),
    ],
)
def test_mistakes_stop_the_start(
    config: Path, more: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake is named with what was expected, and no secret is repeated."""
    monkeypatch.setenv("SHORT_KEY", "k3y-itself")
    monkeypatch.setenv("BAD_URL", "https:///t0k3n")
    config.write_text(WHOLE.format(more=more))
    with pytest.raises(ConfigError) as caught:
        JourneyKit.from_toml(config)
    assert says in str(caught.value)
    assert "k3y-itself" not in str(caught.value)
    assert "t0k3n" not in str(caught.value)


def run(*arguments: str) -> Any:
    """Run `journeykit zapier …` with *arguments*."""
    return CliRunner().invoke(zapier, arguments)


def test_commands_list_and_remove(config: Path) -> None:
    """Subscriptions are listed without their addresses, and one can be removed."""
    import journeykit_zapier

    group = click.Group("journeykit")
    journeykit_zapier.register_commands(group)
    assert "zapier" in group.commands
    kit = JourneyKit.from_toml(config)
    made = Subscription.of("https://hooks.zapier.com/hooks/t0k3n", "Order Completed", "2026")
    Subscriptions(Kept(kit.store, "sink:zapier")).add(made)
    kit.close()

    listed = run("list")
    assert made.id in listed.output
    assert "hooks.zapier.com" in listed.output
    assert "t0k3n" not in listed.output
    assert json.loads(run("list", "--json").output)[0]["event"] == "Order Completed"
    assert "there is no subscription nobody" in run("remove", "nobody").output
    assert run("remove", made.id).exit_code == 0
    assert json.loads(run("list", "--json").output) == []


def test_the_integration_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be pushed to Zapier comes out of the package, and overwrites nothing."""
    monkeypatch.chdir(tmp_path)
    done = run("integration")
    assert done.exit_code == 0
    assert "push" in done.output
    made = tmp_path / "zapier-integration"
    package = json.loads((made / "package.json").read_text(encoding="utf-8"))
    assert (made / package["main"]).read_text(encoding="utf-8").startswith("// A private")

    again = run("integration")
    assert again.exit_code == 1
    assert "zapier-integration is there already" in again.output
    listed = json.loads(run("integration", "--out", "other/place", "--json").output)
    assert listed == {"folder": "other/place", "files": ["index.js", "package.json"]}


def test_commands_without_a_sink(config: Path) -> None:
    """Without a sink for Zapier a line says so."""
    config.write_text('[consent]\nmode = "opt_out"\n')
    done = run("list")
    assert done.exit_code == 2
    assert 'no sink with type = "zapier"' in done.output
