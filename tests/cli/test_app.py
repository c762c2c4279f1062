from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from journeykit import cli as package
from journeykit.cli import app

Cli = Callable[..., Any]


@pytest.fixture
def installed(shop: Path) -> Callable[[str, str], dict[str, str]]:
    """Return a function that installs a plugin, and returns the environment that has it."""
    site = shop / "site"
    site.mkdir()

    def installed(name: str, code: str) -> dict[str, str]:
        (site / f"{name}.py").write_text(code)
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[journeykit]\n{name} = {name}\n")
        return {"PYTHONPATH": str(site)}

    return installed


@pytest.fixture
def own_group(monkeypatch: pytest.MonkeyPatch) -> Iterator[app.Group]:
    """Let commands that a test adds go with it."""
    monkeypatch.setattr(app.group, "commands", dict(app.group.commands))
    return app.group


GREETS = """
import click
from journeykit import hookimpl

@hookimpl
def register_commands(cli):
    @cli.command()
    @click.argument("name")
    def greet(name):
        "Say hello."
        click.echo(f"hello {name}")
"""

FAILS = """
from journeykit import hookimpl

@hookimpl
def register_commands(cli):
    raise LookupError("no commands today")
"""


def test_installed_plugins_add_commands(
    process: Cli, installed: Callable[[str, str], dict[str, str]]
) -> None:
    """A command of an installed plugin runs, and is listed with its help."""
    environment = installed("greeter", GREETS)

    assert process("greet", "you", **environment) == (0, "hello you\n", "")
    assert re.search(r"^ +greet +Say hello\.$", process("--help", **environment).out, re.MULTILINE)


def test_a_plugin_that_cannot_add_its_commands_is_a_warning(
    process: Cli, installed: Callable[[str, str], dict[str, str]]
) -> None:
    """One plugin's failure is told in a line; the commands of others and of the core work."""
    installed("greeter", GREETS)
    environment = installed("broken", FAILS)

    warning = (
        "warning: plugin 'broken' failed in register_commands, so its commands are missing: "
        "LookupError: no commands today\n"
    )
    assert process("greet", "you", **environment) == (0, "hello you\n", warning)
    assert process("check", **environment).code == 0


def test_a_plugin_that_cannot_be_loaded_is_told_and_can_be_left_out(
    process: Cli, installed: Callable[[str, str], dict[str, str]]
) -> None:
    """An installed plugin that does not load stops what needs plugins, and names the way out."""
    environment = installed("rotten", "import nothing_of_this_name\n")

    result = process("check", **environment)
    without = process("check", JOURNEYKIT_DISABLED_PLUGINS="rotten", **environment)

    assert result.code == 2
    assert "Traceback" not in result.err
    assert "leave it out with JOURNEYKIT_DISABLED_PLUGINS=rotten" in result.err.splitlines()[-1]
    assert (without.code, without.err) == (0, "")


def test_without_click_one_line_says_how_to_get_it() -> None:
    """Without the extra the command line ends with a line and exit code 2."""
    script = (
        "import sys; sys.modules['click'] = None\nfrom journeykit.cli import main\nsys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    hint = "journeykit: the command line needs an extra: pip install 'journeykit[cli]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", hint)


def test_main_runs_the_arguments_of_the_process(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`journeykit …` and `python -m journeykit …` are the same function, which returns the code."""
    monkeypatch.setattr(sys, "argv", ["journeykit", "check"])

    assert package.main() == 0
    assert capsys.readouterr().out.startswith(f"{shop / 'journeykit.toml'}: fine\n")


@pytest.mark.parametrize("command", [["check", "--json"], ["report", "--journey", "x", "--json"]])
@pytest.mark.parametrize("broken", [False, True])
def test_nobody_reading_is_no_traceback(shop: Path, command: list[str], broken: bool) -> None:
    """Output into a closed pipe ends quietly, for answers and for errors."""
    if broken:
        (shop / "journeykit.toml").write_text("[")
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "journeykit", *command],
        cwd=shop,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(theirs)

    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert done.returncode != 0


def test_an_interrupt_ends_a_command_with_130(own_group: app.Group, cli: Cli) -> None:
    """Ctrl-C anywhere is a word and the code that shells expect."""

    @own_group.command()
    def hang() -> None:
        raise KeyboardInterrupt

    assert cli("hang") == (130, "", "\ninterrupted\n")


def test_a_commands_own_errors_are_not_hidden(own_group: app.Group, cli: Cli) -> None:
    """A mistake of ours or of a plugin keeps its traceback; only known errors become a line."""

    @own_group.command()
    def blunder() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli("blunder")


def test_a_group_without_its_own_ending_shows_click_errors(own_group: app.Group, cli: Cli) -> None:
    """A failure of a plugin's command is a line and 1, with JSON where it was asked for."""

    @own_group.command()
    @click.option("--json", "as_json", is_flag=True)
    def fail(as_json: bool) -> None:
        raise app.Failure("no luck")

    assert cli("fail") == (1, "", "error: no luck\n")
    assert cli("fail", "--json").json == {"ok": False, "error": "no luck"}
