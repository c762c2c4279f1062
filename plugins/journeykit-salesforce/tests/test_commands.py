from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from journeykit import JourneyKit
from journeykit_salesforce.commands import salesforce

TOML = """
[journeykit]
store = "sqlite:///shop.db"

[consent]
mode = "opt_out"

[sinks.crm]
type = "salesforce"
url = "https://acme.my.salesforce.com"
client_id = "key"
secret = {{ env = "SALESFORCE_SECRET" }}
dry_run = true
{more}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a `journeykit.toml` with a sink of Salesforce, in the current directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "journeykit.toml"
    path.write_text(TOML.format(more=""))
    return path


def run(*arguments: str) -> Any:
    """Run `journeykit salesforce …` with *arguments*."""
    return CliRunner().invoke(salesforce, arguments)


def test_hook_register_commands() -> None:
    """The plugin adds its group to the command line."""
    import journeykit_salesforce

    group = click.Group("journeykit")
    journeykit_salesforce.register_commands(group)
    assert set(group.commands["salesforce"].commands) == {"describe", "preview"}  # type: ignore[attr-defined]


def test_describe_writes_what_to_deploy(config: Path) -> None:
    """`describe` writes the files and says how to deploy them."""
    done = run("describe", "--out", "made")

    assert done.exit_code == 0, done.output
    assert "sf project deploy start --metadata-dir made" in done.output
    made = sorted(str(path.relative_to("made")) for path in Path("made").rglob("*.*"))
    assert made == [
        "objects/Case.object",
        "objects/Contact.object",
        "objects/Journey__c.object",
        "objects/Touchpoint__c.object",
        "package.xml",
        "permissionsets/Journeykit.permissionset",
    ]


def test_describe_as_json(config: Path) -> None:
    """`--json` names the folder and the files."""
    done = run("describe", "--json")
    assert json.loads(done.output)["folder"] == "salesforce-metadata"


def test_preview_prints_records_and_sends_nothing(config: Path) -> None:
    """`preview` prints what the last events become, and what would be parked."""
    kit = JourneyKit.from_toml(config)
    kit.track("Order Completed", {"revenue": 5}, customer="ada")
    kit.track("Order Completed", {"revenue": "much"}, customer="ada")
    assert kit.flush()
    kit.close()
    done = run("preview")

    assert done.exit_code == 0, done.output
    assert "Revenue__c = 5" in done.output
    assert "would be parked: Revenue__c cannot hold properties.revenue" in done.output
    assert "nothing was sent" in done.output
    (first, second) = json.loads(run("preview", "--json").output)
    assert first["fields"]["Name"] == "Order Completed"
    assert "problem" in second


def test_which_sink(config: Path) -> None:
    """Of several sinks one has to be chosen, and there must be one."""
    second = TOML.format(more="").partition("[sinks.crm]")[2].replace('"key"', '"other"')
    config.write_text(TOML.format(more=f"[sinks.second]{second}"))
    assert "choose one with --sink: crm, second" in str(run("describe").output)
    assert run("describe", "--sink", "second").exit_code == 0
    assert "there is no such sink" in run("describe", "--sink", "third").output
    config.write_text('[consent]\nmode = "opt_out"\n')
    assert "there is no sink" in run("describe").output


def test_a_folder_that_cannot_be_written(config: Path) -> None:
    """A file in the way is told in a line."""
    Path("made").write_text("a file")
    done = run("describe", "--out", "made")
    assert done.exit_code != 0
