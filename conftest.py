"""
Runs the code in README.md and docs/.

Each page is a test of its own directory, which is removed afterwards:

- a Python block is run; the blocks of a page share their names
- a TOML block must be a valid part of `journeykit.toml`
- a block that begins with `# some/file.py` or `# some/file.toml` is also written to that file
- `ROOT` is the directory of this repository
- plugins that are installed are left out, but for the pages in docs/plugins/
- in a console block, the `journeykit`, `flask` and `python manage.py` commands are run, and print
  what the block shows (`...` stands for anything)
"""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.myst import CodeBlockParser
from sybil.sybil import SybilCollection

from journeykit import JourneyKit

_FILE = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")
_ROOT = Path(__file__).parent

#: Its commands install and test what it makes: tests/test_write_a_sink.py follows it.
FOLLOWED = "docs/write-a-sink.md"

_LEAVE = "_leave"
_INSTALLED = [point.name for point in entry_points(group="journeykit")]
_run_python = PythonEvaluator()


def _begin(namespace: dict[str, Any]) -> None:
    """Go to a new directory, where no setting of the developer's counts."""
    leave = contextlib.ExitStack()
    directory = leave.enter_context(tempfile.TemporaryDirectory(prefix="journeykit-docs-"))
    leave.enter_context(contextlib.chdir(directory))
    sys.path.insert(0, directory)
    leave.callback(sys.path.remove, directory)
    environment = dict(os.environ)
    leave.callback(os.environ.update, environment)
    leave.callback(os.environ.clear)
    for name in environment:
        if name.startswith(("JOURNEYKIT_", "FLASK_", "DJANGO_")):
            del os.environ[name]
    os.environ.update({"COLUMNS": "100", "PYTHONDONTWRITEBYTECODE": "1"})
    os.environ["JOURNEYKIT_DISABLED_PLUGINS"] = ",".join(_INSTALLED)
    namespace.update({_LEAVE: leave, "ROOT": _ROOT, "__name__": "page"})


def _begin_with_plugins(namespace: dict[str, Any]) -> None:
    """Go to a new directory, where the plugins of this repository are installed."""
    _begin(namespace)
    del os.environ["JOURNEYKIT_DISABLED_PLUGINS"]


def _end(namespace: dict[str, Any]) -> None:
    """Close every kit that the page has made, and remove what it has written."""
    with namespace[_LEAVE]:
        for value in list(namespace.values()):
            if isinstance(value, JourneyKit):
                value.close(1.0)


def _write(source: str) -> Path | None:
    named = _FILE.match(source)
    if named is None:
        return None
    path = Path(named[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    return path


def _python(example: Example) -> str | None:
    path = _write(example.parsed)
    return _run_python(example) if path is None else _import(path, example.namespace)


def _import(path: Path, namespace: dict[str, Any]) -> None:
    """Run a file that a block has written as Python would, and give its names to the page."""
    spec = importlib.util.spec_from_file_location(path.stem, path.absolute())
    assert spec is not None  # noqa: S101 - its name ends in .py
    assert spec.loader is not None  # noqa: S101 - ditto
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    namespace[_LEAVE].callback(sys.modules.pop, path.stem, None)
    spec.loader.exec_module(module)
    names = {name: value for name, value in vars(module).items() if not name.startswith("__")}
    namespace.update(names)


def _toml(example: Example) -> None:
    tables = tomllib.loads(example.parsed)
    if "project" in tables or _write(example.parsed):
        return
    # A part of a journeykit.toml: complete it by what the other parts would say.
    missing = "" if "consent" in tables else '\n[consent]\nmode = "opt_out"\n'
    if "journeykit" not in tables:
        # The page's own store may have another content of the same version.
        missing += '\n[journeykit]\nstore = "memory://"\n'
    part = Path("part-of-a-journeykit.toml")
    part.write_text(example.parsed + missing, encoding="utf-8")
    JourneyKit.from_toml(part).close()


def _console(example: Example) -> str | None:
    for command, expected in _commands(example.parsed):
        tool, *arguments = shlex.split(command)
        is_script = tool == "python" and arguments[:1] == ["manage.py"]
        if tool not in {"journeykit", "flask"} and not is_script:
            continue
        done = subprocess.run(  # noqa: S603 - commands of our own pages
            [sys.executable, *(() if is_script else ("-m", tool)), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        checker = doctest.OutputChecker()
        if expected.strip() and not checker.check_output(expected, done.stdout, doctest.ELLIPSIS):
            return f"$ {command}\nexpected:\n{expected}\ngot:\n{done.stdout}"
        if not expected.strip() and done.returncode:
            return f"$ {command}\nended with {done.returncode}:\n{done.stdout}"
    return None


def _commands(text: str) -> list[tuple[str, str]]:
    """Return each command of a console block, and the output shown below it."""
    found = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.replace("\\\n", "").partition("\n")
        found.append((command.partition("  #")[0], output))
    return found


def _pages(
    setup: Callable[[dict[str, Any]], None], *patterns: str, excludes: Sequence[str] = ()
) -> Sybil:
    return Sybil(
        parsers=[
            CodeBlockParser("python", _python),
            CodeBlockParser("toml", _toml),
            CodeBlockParser("console", _console),
        ],
        patterns=list(patterns),
        excludes=list(excludes),
        setup=setup,
        teardown=_end,
    )


pytest_collect_file = SybilCollection(
    [
        _pages(_begin, "README.md", "docs/*.md", "docs/decisions/*.md", excludes=[FOLLOWED]),
        _pages(_begin_with_plugins, "docs/plugins/*.md"),
    ]
).pytest()
