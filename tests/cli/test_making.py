"""`journeykit new-plugin`: what it makes works as it is, out of the wheel and without a network."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Result

from journeykit.cli import making
from journeykit.delivery import builtin
from journeykit.plugins import DISABLED_VARIABLE

ROOT = Path(__file__).parent.parent.parent

#: No command of these tests may ask an index, or isolate a build, which would ask one.
OFFLINE = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")


def run(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    """Run Python with *arguments*; returns what it printed."""
    kept = {name: value for name, value in os.environ.items() if name != DISABLED_VARIABLE}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with journeykit installed from its wheel, as users have it."""
    pytest.importorskip("hatchling")
    site = tmp_path_factory.mktemp("wheel") / "site"
    install = ("-m", "pip", "install", *OFFLINE, "--no-build-isolation", "--target", site)
    run(*install, ROOT, cwd=site.parent)
    return site


@pytest.fixture(scope="module")
def plugin(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a plugin that was made by the installed journeykit."""
    folder = tmp_path_factory.mktemp("made")
    run("-m", "journeykit", "new-plugin", "mail-shop", cwd=folder, PYTHONPATH=str(site))
    return folder / "journeykit-mail-shop"


@pytest.fixture(scope="module")
def installed(site: Path, plugin: Path) -> str:
    """Return the paths of journeykit and of that plugin, both installed."""
    place = site.parent / "plugins"
    install = ("-m", "pip", "install", *OFFLINE, "--no-build-isolation", "--target", place)
    run(*install, plugin, cwd=plugin)
    return os.pathsep.join([str(site), str(place)])


def test_a_new_plugin_installs_and_is_found(installed: str, tmp_path: Path) -> None:
    """A plugin that was just made can be installed, and its entry point, sink and rule are found."""
    (tmp_path / "journeykit.toml").write_text(
        '[journeykit]\nstore = "memory://"\n[consent]\nmode = "opt_out"\n'
        '[sinks.post]\ntype = "mail_shop"\nurl = "https://a.example"\ntoken = { env = "T" }\n'
        "[pain_points.mail_shop_denied_twice]\n"
    )
    shown = run("-m", "journeykit", "plugins", "--json", cwd=tmp_path, PYTHONPATH=installed, T="t")

    listed = json.loads(shown)
    (found,) = [item for item in listed if item["name"] == "mail_shop"]
    assert found["origin"] == "journeykit-mail-shop 0.1.0"
    assert found["hooks"] == ["register_rules", "register_sinks"]


def test_a_new_plugin_passes_its_tests(installed: str, plugin: Path) -> None:
    """The tests of a plugin that was just made and installed pass: all three contracts."""
    done = run("-m", "pytest", "-v", "-p", "no:cacheprovider", cwd=plugin, PYTHONPATH=installed)
    for name in ("TestSink", "TestRule", "TestPlugin", "test_events_of_a_shop_arrive"):
        assert f"::{name}" in done
    assert " failed" not in done
    # The one thing that this sink leaves out.
    assert done.count("SKIPPED") == 1
    assert "test_contract_erasing_says_what_became_of_it SKIPPED" in done


def test_a_new_plugin_passes_its_type_check(site: Path, plugin: Path, tmp_path: Path) -> None:
    """`mypy --strict` finds nothing in a plugin that was just made, nor in its tests."""
    pytest.importorskip("mypy")
    project = tomllib.loads((plugin / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["mypy"]["strict"]
    done = run("-m", "mypy", "--cache-dir", tmp_path, cwd=plugin, MYPYPATH=str(site))
    assert "no issues found in 5 source files" in done


def test_what_is_made_has_the_shape_of_a_plugin(plugin: Path) -> None:
    """Folder, distribution, package and entry point have one name, and bounds are lower bounds."""
    project = tomllib.loads((plugin / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == "journeykit-mail-shop"
    assert project["entry-points"]["journeykit"] == {"mail_shop": "journeykit_mail_shop"}
    assert (plugin / "src" / "journeykit_mail_shop" / "py.typed").is_file()
    assert (plugin / "README.md").read_text().startswith("# journeykit-mail-shop\n")
    assert "class MailShopSink(" in (plugin / "src/journeykit_mail_shop/sink.py").read_text()
    assert not any(set(line) & set("<~!,") for line in project["dependencies"])


@pytest.mark.parametrize("name", ["crm", "a1-2b", "x", "a" * 40, "acme", "class"])
def test_nothing_of_the_template_is_left(tmp_path: Path, name: str) -> None:
    """Whatever the name, each module is Python, and only a plugin called so says `acme`."""
    folder = tmp_path / "made"
    making.make_plugin(name, folder)

    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == len(list(making.template_files()))
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert name == "acme" or "acme" not in f"{path.relative_to(folder)}\n{text}".lower()
        if path.suffix == ".py":
            ast.parse(text)


def test_the_template_is_where_plugins_are() -> None:
    """`plugins/_template` is the folder that the wheel has."""
    assert (ROOT / "plugins" / "_template").resolve() == making.TEMPLATE.resolve()


def test_a_full_name_means_the_same(cli: Callable[..., Result], shop: Path) -> None:
    """`journeykit-crm` is taken for `crm`, and `--into` says where the folder goes."""
    (shop / "ours").mkdir()
    done = cli("new-plugin", "journeykit-crm", "--into", "ours")
    assert done.code == 0
    assert done.out.startswith("made ours/journeykit-crm; next:\n  cd ours/journeykit-crm\n")
    assert [path.name for path in (shop / "ours").iterdir()] == ["journeykit-crm"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("MailShop", "how about 'mail-shop'?"),
        ("mail_shop", "how about 'mail-shop'?"),
        ("journeykit_crm", "how about 'crm'?"),
        ("../crm", "how about 'crm'?"),
        ("2b", "begins with a letter"),
        ("größe", "lower-case letters"),
        ("a" * 41, "40 characters at most"),
        ("mail--shop", "single hyphens"),
        ("crm\n", "how about 'crm'?"),
        ("", "begins with a letter"),
        ("http", "'http' will not do"),
    ],
)
def test_a_bad_name_is_refused(
    cli: Callable[..., Result], shop: Path, name: str, told: str
) -> None:
    """A name that cannot be that of a package is told in one line, and nothing is made."""
    before = sorted(shop.iterdir())
    done = cli("new-plugin", name)
    assert done.code == 2
    assert told in done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert sorted(shop.iterdir()) == before


@pytest.mark.parametrize(
    "name", [*making.STANDARD, *(kind.name for kind in builtin.register_sinks())]
)
def test_a_name_of_journeykits_own_is_taken(
    cli: Callable[..., Result], shop: Path, name: str
) -> None:
    """Sinks of the core and plugins of this project keep their names."""
    done = cli("new-plugin", name)
    assert done.code == 2
    assert f"{name!r} is taken" in done.err
    assert not (shop / f"journeykit-{name}").exists()


def test_every_plugin_of_this_repository_keeps_its_name() -> None:
    """A plugin that is added here is added to the names that are taken."""
    folders = {path.parent.name for path in ROOT.glob("plugins/[!_]*/pyproject.toml")}
    assert folders <= {f"journeykit-{name}" for name in making.STANDARD}


def test_a_name_of_an_installed_plugin_is_taken(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two plugins of one name would stop the start, so the second is not made."""
    point = EntryPoint("mail_shop", "journeykit_mail_shop", "journeykit")
    monkeypatch.setenv(DISABLED_VARIABLE, "mail_shop")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point])
    done = cli("new-plugin", "mail-shop")
    assert done.code == 2
    assert "'mail-shop' is taken: a plugin of this name is installed" in done.err


@pytest.fixture(params=["folder", "file", "broken link"])
def occupied(request: pytest.FixtureRequest, shop: Path) -> Iterator[Path]:
    """Return the plugin's place, with something else in it."""
    place = shop / "journeykit-crm"
    make: dict[str, Callable[[], Any]] = {
        "folder": place.mkdir,
        "file": place.touch,
        "broken link": lambda: place.symlink_to("nowhere"),
    }
    make[request.param]()
    yield place
    assert place.is_symlink() or place.exists()


def test_an_occupied_place_is_left_alone(
    cli: Callable[..., Result], shop: Path, occupied: Path
) -> None:
    """What is there already is neither replaced nor added to."""
    done = cli("new-plugin", "crm")
    assert done.code == 1
    assert "journeykit-crm is there already; choose another name" in done.err
    assert not occupied.is_dir() or list(occupied.iterdir()) == []
    assert not list(shop.glob(".journeykit-new-*"))


def test_a_plugin_is_made_whole_or_not_at_all(
    cli: Callable[..., Result], shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up leaves no half of a plugin behind, and is told in one line."""
    written = Path.write_text

    def full(self: Path, *given: Any, **more: Any) -> int:
        if self.name == "sink.py":
            raise OSError(28, "No space left on device")
        return written(self, *given, **more)

    monkeypatch.setattr(Path, "write_text", full)
    before = sorted(shop.iterdir())
    done = cli("new-plugin", "crm")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: journeykit-crm cannot be made: No space left on device\n"
    assert sorted(shop.iterdir()) == before
