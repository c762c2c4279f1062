from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from journeykit import JourneyKit

SETTINGS = """
import click
from pathlib import Path
from journeykit import hookimpl

class Mine:
    name = "mine"

    @hookimpl
    def register_commands(self, cli):
        @cli.command()
        def greet():
            "Say hello."
            click.echo("hello from the shop")

BASE_DIR = Path(__file__).parent
SECRET_KEY = "tests"
INSTALLED_APPS = ["journeykit.web.django"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "shop.sqlite3"}}
JOURNEYKIT = {"TOML": BASE_DIR / "journeykit.toml", "PLUGINS": [Mine()]}
"""
TOML = """
[journeykit]
store = "sqlite:///shop.db"
[consent]
mode = "opt_out"
[[journeys]]
key = "shop"
version = 1
extends = "ecommerce"
"""

Manage = Callable[..., tuple[int, str, str]]


@pytest.fixture
def manage(tmp_path: Path) -> Manage:
    """Return a function that runs `manage.py …` of a project of its own."""
    (tmp_path / "shop_settings.py").write_text(SETTINGS)
    (tmp_path / "journeykit.toml").write_text(TOML)

    def manage(*arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=tmp_path,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "shop_settings",
                "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return manage


def test_the_commands_run_on_the_projects_own_kit(manage: Manage) -> None:
    """`manage.py journeykit …` works with the project's store, its plugins, and their commands."""
    code, out, err = manage("journeykit", "check", "--settings", "shop_settings")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].endswith(": fine")
    assert manage("journeykit", "report")[1].startswith("0 events")
    assert "\nmine " in manage("journeykit", "plugins")[1]
    assert manage("journeykit", "greet") == (0, "hello from the shop\n", "")


def test_it_ends_with_the_code_of_the_command(manage: Manage, tmp_path: Path) -> None:
    """Mistakes of the declarations are told each in a line with code 2, an unknown command likewise; help is there."""
    (tmp_path / "journeykit.toml").write_text(TOML + "[nonsense]\n")

    code, out, err = manage("journeykit", "report")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "nonsense" in err
    assert "Traceback" not in err
    code, out, err = manage("journeykit", "--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: manage.py journeykit ")
    assert "  report " in out

    (tmp_path / "journeykit.toml").write_text(TOML)
    assert manage("journeykit", "no-such-command")[0] == 2


def test_code_may_call_it(project: Callable[..., JourneyKit], database: object) -> None:
    """`call_command` runs it, writes where it is told to, and raises where the command fails."""
    project()
    out = io.StringIO()

    call_command("journeykit", "report", stdout=out)

    assert out.getvalue().startswith("0 events")
    with pytest.raises(CommandError) as caught:
        call_command("journeykit", "no-such-command", stdout=io.StringIO())
    assert caught.value.returncode == 2


def test_without_the_extra_one_line_says_how_to_get_it(
    project: Any, database: object, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Where click is not installed, the command names the extra."""
    project()
    monkeypatch.setitem(sys.modules, "click", None)

    with pytest.raises(CommandError):
        call_command("journeykit", "report")

    assert "pip install 'journeykit[cli]'" in capsys.readouterr().err
