"""What the tests of the command line share."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from journeykit.cli.app import run

DECLARATIONS = """
[journeykit]
store = "sqlite:///var/journeykit.db"

[consent]
mode = "opt_out"

[[journeys]]
key = "shop"
version = 1
stages = [
  { key = "awareness", enter = ["home", "catalog"] },
  { key = "purchase", enter = ["cart", "purchase"] },
]

[sinks.archive]
type = "file"
path = "var/events.jsonl"
"""

ROWS = """\
user_id,session_id,event,timestamp,platform
u1,s1,home,2024-03-13 10:21:14,desktop
u1,s1,cart,2024-03-13 10:22:14,desktop
u2,s2,home,2024-03-13 10:23:14,mobile
"""


class Result(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed on standard output, which must be one JSON value."""
        return json.loads(self.out)


@pytest.fixture(scope="session")
def mapping() -> tuple[str, ...]:
    """Return the options that map the columns of the rows."""
    pairs = ("customer=user_id", "session=session_id", "name=event", "at=timestamp")
    return tuple(f"--map={pair}" for pair in pairs)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a shop's directory, which is the working directory, with declarations and rows."""
    directory = tmp_path / "shop"
    directory.mkdir()
    (directory / "journeykit.toml").write_text(DECLARATIONS)
    (directory / "rows.csv").write_text(ROWS)
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def cli(shop: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Return a function that runs a command in this process."""

    def cli(*arguments: str | Path) -> Result:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return cli


@pytest.fixture
def process(shop: Path) -> Callable[..., Result]:
    """Return a function that runs a command in a process of its own."""

    def process(*arguments: str, **environment: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "journeykit", *arguments],
            cwd=shop,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return process


@pytest.fixture
def terminal(shop: Path) -> Callable[[Sequence[str]], tuple[int, str]]:
    """Return a function that runs a command on a terminal, and returns what was to be seen there."""

    def terminal(command: Sequence[str]) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
        with subprocess.Popen(
            command, cwd=shop, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
        ) as child:
            os.close(theirs)
            seen = b""
            try:
                while chunk := os.read(ours, 65536):
                    seen += chunk
            except OSError:  # Linux tells so that the other end is closed
                pass
            os.close(ours)
            code = child.wait(60)
        return code, seen.decode()

    return terminal
