"""The page "Write a sink in 15 minutes", followed to the letter by somebody without a network."""

from __future__ import annotations

import doctest
import os
import re
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "write-a-sink.md"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")

#: What the reader types, each a command of the environment made for this test; and what is added,
#: so that nobody is asked: neither an index, nor by an isolated build.
TOOLS = {
    "pip": "--no-index --no-build-isolation --disable-pip-version-check",
    "pytest": "",
    "mypy": "",
    "journeykit": "",
}


class Step(NamedTuple):
    """A file to write, or a command and what the page says that it prints."""

    file: str = ""
    content: str = ""
    command: str = ""
    printed: str = ""


def steps() -> Iterator[Step]:
    """Yield what the page tells its reader to do."""
    for kind, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, printed = part.partition("\n")
                yield Step(command=command, printed=printed)
        else:
            named = _FILE.match(text)
            assert named is not None, f"where does this go? {text[:60]}"
            # A module begins with its docstring, not with its name.
            yield Step(named[1], text[named.end() :])


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the variables of an environment in which a plugin can be installed, offline."""
    pytest.importorskip("hatchling")
    pytest.importorskip("mypy")
    made = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True, timeout=60)
    python = made / "bin" / "python"
    # What is installed here is there as well, journeykit above all.
    lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
    (packages,) = made.glob("lib/python*/site-packages")
    (packages / "outer.pth").write_text("\n".join([str(ROOT / "src"), *lines]))
    for name, added in TOOLS.items():
        tool = made / "bin" / name
        tool.write_text(f'#!/bin/sh\nexec {python} -m {name} "$@" {added}\n')
        tool.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "PATH": f"{made / 'bin'}:{kept['PATH']}", "COLUMNS": "100"}


def test_the_page_can_be_followed_literally(tmp_path: Path, environment: dict[str, str]) -> None:
    """Each command of the page does what the page shows, with the files that the page gives."""
    place, ran = tmp_path, list[str]()
    for step in steps():
        if step.file:
            (place / step.file).write_text(step.content, encoding="utf-8")
        elif step.command.startswith("cd "):
            place /= step.command.removeprefix("cd ")
        else:
            done = subprocess.run(
                ["sh", "-c", step.command],
                cwd=place,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=240,
                check=False,
            )
            failing = step.printed.startswith("error: ")
            assert failing or done.returncode == 0, f"$ {step.command}\n{done.stdout}"
            wanted = step.printed or done.stdout
            same = doctest.OutputChecker().check_output(wanted, done.stdout, doctest.ELLIPSIS)
            assert same, f"$ {step.command}\nexpected:\n{wanted}\ngot:\n{done.stdout}"
            ran.append(step.command.split()[0])
    assert {"pip", "pytest", "mypy", "journeykit"} <= set(ran)
