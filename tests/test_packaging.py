from __future__ import annotations

import ast
import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import journeykit

PACKAGE = Path(journeykit.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

#: What importing the package must not cost.
HEAVY = {
    "asyncio",
    "attrs",
    "cattrs",
    "click",
    "django",
    "flask",
    "httpx",
    "opentelemetry",
    "pluggy",
    "rich",
    "sqlite3",
    "threading",
}


def loaded_after(code: str, *, cwd: Path | None = None) -> set[str]:
    """Return the modules that a fresh interpreter has after *code*, beside those it starts with."""
    script = (
        "import sys, json\nbefore = set(sys.modules)\n"
        f"{code}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_importing_costs_little() -> None:
    """`import journeykit` loads none of its own rooms and nothing heavy."""
    loaded = loaded_after("import journeykit")
    assert not loaded & HEAVY
    assert {name for name in loaded if name.startswith("journeykit")} == {"journeykit"}


BUILD = """
from journeykit import Consent, Core, Journey, JourneyKit, Settings
kit = JourneyKit(
    Settings(
        consent=Consent("opt_out"),
        core=Core(store="memory://"),
        journeys=[Journey(key="shop", version=1, extends="ecommerce")],
    )
)
"""


def test_a_kit_in_python_needs_no_toml_and_no_network(tmp_path: Path) -> None:
    """A kit declared in Python loads neither cattrs nor httpx, nor any framework."""
    loaded = loaded_after(BUILD, cwd=tmp_path)
    assert "journeykit.kit" in loaded
    assert not loaded & {"cattrs", "httpx", "click", "rich", "flask", "django", "asyncio"}


def test_building_a_kit_starts_nothing(tmp_path: Path) -> None:
    """Neither import nor construction starts a thread or makes a file."""
    code = BUILD.replace("memory://", "sqlite:///shop.db")
    loaded_after(f"{code}\nimport threading\nassert threading.active_count() == 1", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_process_with_a_kit_ends_by_itself(tmp_path: Path) -> None:
    """A program that forgets to close its kit ends all the same, and its event is in the Log."""
    code = BUILD.replace("memory://", "sqlite:///shop.db")
    loaded_after(f"{code}\nassert kit.track('Order Completed', customer='u1')", cwd=tmp_path)
    count = (
        "import sqlite3\n"
        "log = sqlite3.connect('shop.db')\n"
        "assert 'Order Completed' in str([*log.iterdump()])\n"
        "log.close()"
    )
    loaded_after(count, cwd=tmp_path)


# Public names.


def test_all_is_sorted_and_complete() -> None:
    """`__all__` is in order, and names exactly what has a home."""
    assert journeykit.__all__ == sorted(journeykit.__all__)
    assert journeykit.__all__ == list(journeykit._HOMES)


def test_a_star_import_gives_all() -> None:
    """`from journeykit import *` gives what `__all__` names, and nothing else."""
    names: dict[str, object] = {}
    exec("from journeykit import *", names)
    names.pop("__builtins__")
    assert sorted(names) == journeykit.__all__
    assert all(value is not None for value in names.values())


@pytest.mark.parametrize("name", journeykit.__all__)
def test_a_public_name_is_what_its_home_defines(name: str) -> None:
    """A public name is the object of its home, and has a docstring where it can have one."""
    value = getattr(journeykit, name)
    home = importlib.import_module(f"journeykit.{journeykit._HOMES[name]}")
    assert getattr(home, name) is value
    assert value.__doc__


def test_type_checkers_see_the_same_names() -> None:
    """What type checkers import and what the interpreter loads are the same names and homes."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    homes = {
        alias.name: (node.module or "").removeprefix("journeykit.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert homes == journeykit._HOMES


def test_dir_names_all() -> None:
    """`dir(journeykit)`, which shells complete from, has every public name and the version."""
    assert dir(journeykit) == sorted([*journeykit.__all__, "__version__"])


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that does not exist is told like that of any module."""
    with pytest.raises(AttributeError, match="module 'journeykit' has no attribute 'Kit'"):
        _ = journeykit.Kit  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        exec("from journeykit import Kit")


def test_the_version_is_the_distributions() -> None:
    """`__version__` is what is installed."""
    assert journeykit.__version__ == importlib.metadata.version("journeykit")


# Files.


def test_types_are_shipped() -> None:
    """Type checkers may use our annotations."""
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is(path: Path) -> None:
    """Every module begins with a docstring and postpones its annotations."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body
    )


def test_requirements_are_lower_bounds() -> None:
    """A library lives beside the shop's own pins, so it sets no upper bound."""
    requirements = importlib.metadata.requires("journeykit") or []
    core = [line for line in requirements if "extra ==" not in line]
    assert core
    for line in core:
        assert not set(line) & set("<~!"), line
        assert "==" not in line


# Plugins of this repository.

ROOT = Path(__file__).parent.parent
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/[!_]*/pyproject.toml"))


@pytest.fixture(params=PLUGINS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    """Return the folder of each plugin in turn."""
    found: Path = request.param
    return found


@pytest.fixture
def project(folder: Path) -> dict[str, Any]:
    """Return what a plugin's pyproject.toml says."""
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def test_a_plugin_is_called_as_its_package(folder: Path, project: dict[str, Any]) -> None:
    """Folder, distribution, package and entry point have one name, and the package is flat."""
    name = project["project"]["name"]
    package = name.replace("-", "_")
    assert folder.name == name
    assert name.startswith("journeykit-")
    assert [path.name for path in (folder / "src").iterdir() if path.is_dir()] == [package]
    points = project["project"]["entry-points"]["journeykit"]
    assert points == {name.removeprefix("journeykit-").replace("-", "_"): package}


def test_a_plugin_has_what_a_distribution_has(folder: Path) -> None:
    """A plugin comes with a page, a changelog, its licence, its types and its tests."""
    for name in ("README.md", "CHANGELOG.md", "LICENSE", "tests"):
        assert (folder / name).exists(), name
    assert list(folder.glob("src/*/py.typed"))


def test_a_plugin_sets_lower_bounds_only(project: dict[str, Any]) -> None:
    """A plugin lives beside the shop's pins too, and says which journeykit it needs."""
    needs = project["project"]["dependencies"]
    assert any(line.startswith("journeykit>=") for line in needs)
    assert all(">=" in line and not set(line) & set("<~!,") for line in needs)


def test_a_plugin_tests_its_contracts(folder: Path) -> None:
    """A plugin's tests begin with a contract of the kit."""
    tests = "".join(path.read_text(encoding="utf-8") for path in folder.glob("tests/test_*.py"))
    assert "Contract)" in tests


def test_a_plugin_is_documented(folder: Path) -> None:
    """A plugin has a page that says how to configure it, and what to do when it does not work."""
    page = ROOT / "docs" / "plugins" / f"{folder.name.removeprefix('journeykit-')}.md"
    text = page.read_text(encoding="utf-8")
    assert "\n## Configuration\n" in text
    assert "\n## Troubleshooting\n" in text


def test_a_plugin_is_installed_and_listed(folder: Path, project: dict[str, Any]) -> None:
    """Each plugin of this repository is found by its entry point."""
    name = project["project"]["name"]
    assert importlib.metadata.version(name) == project["project"]["version"]


def test_modules_of_plugins_do_not_collide() -> None:
    """No two plugins bring a module of the same name."""
    names = [path.name for folder in PLUGINS for path in (folder / "src").iterdir()]
    assert len(set(names)) == len(names)
