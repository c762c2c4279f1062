from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WITH_KIT = """
import click, flask
from journeykit import JourneyKit, hookimpl
from journeykit.web.flask import init_app

class Mine:
    name = "mine"

    @hookimpl
    def register_commands(self, cli):
        @cli.command()
        def greet():
            "Say hello."
            click.echo("hello from the shop")

class Broken:
    name = "broken"

    @hookimpl
    def register_commands(self, cli):
        raise LookupError("no commands today")

app = flask.Flask("dawdle")
kit = JourneyKit.from_toml("journeykit.toml", plugins=[Mine()])
init_app(app, kit)

def broken():
    app = flask.Flask("broken")
    init_app(app, JourneyKit.from_toml("journeykit.toml", plugins=[Broken()]))
    return app
"""


@pytest.fixture
def flask_command(shop: Path) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs `flask …` for an app in the shop's directory."""
    (shop / "shop.py").write_text(WITH_KIT)
    (shop / "bare.py").write_text("import flask\napp = flask.Flask('bare')\n")

    def flask_command(app: str, *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "flask", *arguments],
            cwd=shop,
            env={**os.environ, "FLASK_APP": app},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return flask_command


def test_the_commands_run_on_the_apps_own_kit(
    flask_command: Callable[..., Any], mapping: tuple[str, ...]
) -> None:
    """`flask journeykit …` imports into and reports from the kit of the app, plugins and all."""
    code, out, _ = flask_command("shop", "journeykit", "import", "rows.csv", *mapping)
    assert (code, out.splitlines()[0]) == (
        0,
        "3 rows: 3 events added, 0 already there, 0 rejected",
    )
    assert flask_command("shop", "journeykit", "report")[1].startswith("3 events of 2 customers\n")
    assert "\nmine " in flask_command("shop", "journeykit", "plugins")[1]


def test_plugins_of_the_app_add_commands(flask_command: Callable[..., Any]) -> None:
    """A command of the app's own plugin runs, and is listed among the others."""
    assert flask_command("shop", "journeykit", "greet") == (0, "hello from the shop\n", "")
    shown = flask_command("shop", "journeykit", "--help")[1]
    assert re.search(r"^ +greet +Say hello\.$", shown, re.MULTILINE)


def test_a_plugin_of_the_app_that_cannot_add_commands_is_a_warning(
    flask_command: Callable[..., Any],
) -> None:
    """The other commands stay when one plugin fails to add its own."""
    code, out, err = flask_command("shop:broken", "journeykit", "check")

    assert (code, out.splitlines()[0].endswith(": fine")) == (0, True)
    assert err == (
        "warning: plugin 'broken' failed in register_commands, so its commands are missing: "
        "LookupError: no commands today\n"
    )


def test_an_app_without_a_kit_is_told_in_a_line(flask_command: Callable[..., Any]) -> None:
    """Where `init_app` was forgotten, one line says where to call it."""
    message = (
        "error: the app 'bare' has no kit; call journeykit.web.flask.init_app(app, kit) where it "
        "is made\n"
    )
    assert flask_command("bare", "journeykit", "report") == (2, "", message)


def test_the_help_needs_no_kit(flask_command: Callable[..., Any]) -> None:
    """`flask journeykit --help` lists the core's commands for any app."""
    code, out, err = flask_command("bare", "journeykit", "--help")

    assert (code, err) == (0, "")
    assert "  report " in out
